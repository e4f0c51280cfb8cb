// The rules file and changes by commands: changes of the file take effect, and changes by commands persist, across
// restarts too.

import Testing

@testable import LimiterEngine

@Suite struct PolicyFileTests {
    private let registry = KeyspaceSession(engine: Engine(shards: 1, seed: HashSeed(1, 2, 3))).engine.policies
    private let now = EngineTime.seconds(1_000)

    private static func policy(_ name: String, _ units: Int64) -> Policy {
        Policy(name: Array(name.utf8), limit: try! Limit(.gcra, units: units, period: 60_000_000_000))
    }

    private static func subject(_ tenant: String?) -> RuleSubject {
        RuleSubject(tenant: tenant.map { Array($0.utf8) }, client: nil, action: nil)
    }

    private static func rule(_ tenant: String?, _ policy: String) -> Rule {
        Rule(subject(tenant), policy: Array(policy.utf8))
    }

    /// Loads the file at its current contents: `name units` for a policy, `tenant>name` for a rule.
    @discardableResult
    private func load(_ file: String, force: Bool = false) throws -> FileReport {
        var policies: [Policy] = []
        var rules: [Rule] = []
        for word in file.split(separator: ",").map({ $0.trimmed }) {
            if let mark = word.firstIndex(of: ">") {
                rules.append(Self.rule(String(word[..<mark]), String(word[word.index(after: mark)...])))
            } else {
                let parts = word.split(separator: " ")
                policies.append(Self.policy(String(parts[0]), Int64(parts[1])!))
            }
        }
        var report = FileReport()
        try registry.edit(now: now) { draft throws(PolicyError) in
            report = try draft.applyFile(policies: policies, rules: rules, force: force)
        }
        return report
    }

    private func command(_ body: (inout PolicyDraft) throws(PolicyError) -> Void) throws {
        try registry.edit(now: now, body)
    }

    private func set(_ name: String, _ units: Int64) throws {
        try command { draft throws(PolicyError) in try draft.set(Self.policy(name, units)) }
    }

    private func remove(_ name: String) throws {
        try command { draft throws(PolicyError) in try draft.removePolicy(Array(name.utf8)) }
    }

    /// The policies and rules in force: `name units` or `tenant>name`, with a star for those owned by commands.
    private var inForce: [String] {
        func mark(_ origin: PolicyOrigin) -> String { origin == .command ? "*" : "" }
        let table = registry.table
        return table.policies.map { "\(String(decoding: $0.name, as: UTF8.self)) \($0.limit.units)\(mark($0.origin))" }
            + table.rules.map {
                let tenant = $0.subject.tenant.map { String(decoding: $0, as: UTF8.self) } ?? ""
                return "\(tenant)>\(String(decoding: $0.policy, as: UTF8.self))\(mark($0.origin))"
            }.sorted()
    }

    private func expect(
        _ report: FileReport, applied: Int = 0, kept: Int = 0, conflicts: Int = 0, _ expected: [String],
        sourceLocation: SourceLocation = #_sourceLocation
    ) {
        #expect(
            report.appliedCount == applied && report.keptCount == kept
                && report.kept.count(where: \.hasFileChanged) == conflicts, "\(report)", sourceLocation: sourceLocation)
        #expect(inForce == expected, sourceLocation: sourceLocation)
    }

    @Test func changesByCommandsPersist() throws {
        expect(try load("a 1, b 2, t>a"), applied: 3, ["a 1", "b 2", "t>a"])
        try set("a", 9)
        // Reloaded repeatedly, as by a nightly job.
        for _ in 0..<2 { expect(try load("a 1, b 2, t>a"), kept: 1, ["a 9*", "b 2", "t>a"]) }
        // The file changes another policy, then this one.
        expect(try load("a 1, b 3, t>a"), applied: 1, kept: 1, ["a 9*", "b 3", "t>a"])
        expect(try load("a 5, b 3, t>a"), kept: 1, conflicts: 1, ["a 9*", "b 3", "t>a"])
        expect(try load("a 5, b 3, t>a"), kept: 1, ["a 9*", "b 3", "t>a"])
        // The file catches up with the command's value: from now on the policy belongs to the file again.
        expect(try load("a 9, b 3, t>a"), ["a 9", "b 3", "t>a"])
        expect(try load("a 4, b 3, t>a"), applied: 1, ["a 4", "b 3", "t>a"])
    }

    @Test func aRevertedChangeBelongsToTheFileAgain() throws {
        try load("a 1, b 1")
        try set("a", 9)
        try set("a", 1)
        try set("b", 9)
        try set("b", 1)
        expect(try load("a 1, b 2"), applied: 1, ["a 1", "b 2"])
        expect(try load("a 3, b 2"), applied: 1, ["a 3", "b 2"])
    }

    @Test func removalsByCommandsPersist() throws {
        try load("a 1, b 2, t>a, u>a")
        try command { draft throws(PolicyError) in
            try draft.removeRule(Self.subject("t"))
            try draft.removePolicy(Array("b".utf8))
        }
        expect(try load("a 1, b 2, t>a, u>a"), kept: 2, ["a 1", "u>a"])
        expect(try load("a 1, b 3, t>a, u>a"), kept: 2, conflicts: 1, ["a 1", "u>a"])
        // The file drops both and adds them again later: then they are new.
        expect(try load("a 1, u>a"), ["a 1", "u>a"])
        expect(try load("a 1, b 3, t>a, u>a"), applied: 2, ["a 1", "b 3", "t>a", "u>a"])
    }

    @Test func aRemovedPolicyComesBackWithTheRuleThatNeedsIt() throws {
        try load("a 1, b 2")
        try remove("b")
        expect(try load("a 1, b 2"), kept: 1, ["a 1"])
        expect(try load("a 1, b 2, t>b"), applied: 2, ["a 1", "b 2", "t>b"])
    }

    @Test func entriesDroppedFromTheFileAreRemovedUnlessChangedByACommand() throws {
        try load("a 1, b 2, c 3, t>a, u>a")
        try set("b", 9)
        try set("mine", 4)
        try command { draft throws(PolicyError) in try draft.set(Self.rule("u", "mine")) }
        expect(
            try load("a 1"), applied: 2, kept: 2, conflicts: 2, ["a 1", "b 9*", "mine 4*", "u>mine*"])
        // It is no longer recorded that they came from the file.
        expect(try load("a 1"), ["a 1", "b 9*", "mine 4*", "u>mine*"])
    }

    @Test func aPolicyThatACommandsRuleUsesStays() throws {
        try load("a 1, b 2")
        try command { draft throws(PolicyError) in try draft.set(Self.rule("t", "b")) }
        expect(try load("a 1"), kept: 1, conflicts: 1, ["a 1", "b 2", "t>b*"])
        #expect(throws: PolicyError.policyInUse(by: Self.subject("t"), count: 1)) { try load("a 1", force: true) }
        try command { draft throws(PolicyError) in try draft.removeRule(Self.subject("t")) }
        expect(try load("a 1"), applied: 1, ["a 1"])
    }

    @Test func aFileThatContradictsItselfIsRefused() throws {
        try load("a 1, b 2, t>b")
        #expect(throws: PolicyError.policyInUse(by: Self.subject("t"), count: 1)) { try load("a 1, t>b") }
        #expect(throws: PolicyError.unknownPolicy(Array("nosuch".utf8))) { try load("a 9, b 2, t>nosuch") }
        #expect(inForce == ["a 1", "b 2", "t>b"])
        // Even if the entry would not take effect.
        try command { draft throws(PolicyError) in try draft.removeRule(Self.subject("t")) }
        #expect(throws: PolicyError.unknownPolicy(Array("nosuch".utf8))) { try load("a 1, b 2, t>nosuch") }
        expect(try load("a 1, b 2, t>b"), kept: 1, ["a 1", "b 2"])
    }

    @Test func forceOverridesChangesByCommands() throws {
        try load("a 1, b 2, c 3, t>a, u>a")
        try set("a", 9)
        try set("c", 9)
        try set("mine", 4)
        try command { draft throws(PolicyError) in
            try draft.removeRule(Self.subject("t"))
            try draft.removePolicy(Array("b".utf8))
            try draft.set(Self.rule("u", "mine"))
        }
        // Entries created by commands that the file never contained are not affected.
        expect(
            try load("a 1, b 2, t>a, u>a", force: true), applied: 5, ["a 1", "b 2", "mine 4*", "t>a", "u>a"])
        #expect(registry.overrides.isEmpty)
    }

    @Test func entriesMadeByCommandsAreKeptWhenAFileIsAdded() throws {
        try set("a", 9)
        expect(try load("a 1, b 2"), applied: 1, kept: 1, conflicts: 1, ["a 9*", "b 2"])
        expect(try load("a 1, b 2"), kept: 1, ["a 9*", "b 2"])
    }

    @Test func supersededLimitsAreNotADifferenceAndSurviveReloads() throws {
        try load("a 100")
        try set("a", 1)
        try load("a 100", force: true)
        let past = registry.table.policies[0].earlier
        #expect(!past.isEmpty)
        try set("a", 7)
        try set("a", 100)
        try load("a 100")
        #expect(inForce == ["a 100"] && registry.table.policies[0].earlier.count > 1)
        var journaled: [PolicyRecord] = []
        try registry.edit(now: now) { draft throws(PolicyError) in
            _ = try draft.applyFile(policies: [Self.policy("a", 100)], rules: [])
        } journal: {
            journaled = $0
        }
        #expect(journaled == [], "unchanged entries are not journaled")
    }

    @Test func anEditThatFailsOverridesNothing() throws {
        try load("a 1, b 2, t>a")
        #expect(throws: PolicyError.unknownPolicy([255])) {
            try command { draft throws(PolicyError) in
                try draft.set(Self.policy("a", 9))
                try draft.removeRule(Self.subject("t"))
                try draft.removePolicy([255])
            }
        }
        #expect(registry.overrides.isEmpty)
        try set("b", 3)
        #expect(throws: PolicyError.unknownPolicy(Array("nosuch".utf8))) { try load("a 1, t>nosuch", force: true) }
        #expect(registry.overrides.policies.count == 1 && registry.overrides.rules.isEmpty)
        expect(try load("a 1, b 2, t>a"), kept: 1, ["a 1", "b 3*", "t>a"])
    }

    // MARK: Stored overrides

    @Test func overridesAreStoredOnce() throws {
        try load("a 1, b 2")
        #expect(registry.drainUnsavedOverrides() == UnsavedOverrides(overrides: FileOverrides(), replacesAll: true))
        #expect(!registry.hasUnsavedOverrides && registry.drainUnsavedOverrides() == nil)
        try set("a", 9)
        #expect(registry.hasUnsavedOverrides)
        var said = FileOverrides()
        said.policies[Array("a".utf8)] = registry.overrides.policies[Array("a".utf8)]
        #expect(registry.drainUnsavedOverrides() == UnsavedOverrides(overrides: said, replacesAll: false))
        try set("a", 10)
        #expect(!registry.hasUnsavedOverrides, "the file's value is already recorded")
        registry.storeAllOverrides()
        #expect(registry.drainUnsavedOverrides() == UnsavedOverrides(overrides: said, replacesAll: true))
    }

    /// A registry rebuilt from the journal and from the stored overrides.
    private func restarted(_ overrides: FileOverrides) throws -> PolicyFileTests {
        let copy = PolicyFileTests()
        let records = registry.table.records
        try copy.registry.edit(now: .seconds(0)) { draft throws(PolicyError) in
            for record in records { try draft.apply(record) }
        }
        copy.registry.restoreOverrides(overrides)
        return copy
    }

    @Test func changesByCommandsSurviveARestart() throws {
        try load("a 1, b 2, c 3, t>a, u>a")
        try set("a", 9)
        try remove("b")
        try command { draft throws(PolicyError) in try draft.removeRule(Self.subject("t")) }
        // In the meantime the file has changed c, and has a new rule.
        let copy = try restarted(registry.overrides)
        copy.expect(
            try copy.load("a 1, b 2, c 4, t>a, u>a, v>c"), applied: 2, kept: 3,
            ["a 9*", "c 4", "u>a", "v>c"])
        // Without the stored overrides, removals are reverted but changes are kept.
        let other = try restarted(FileOverrides())
        other.expect(
            try other.load("a 1, b 2, c 4, t>a, u>a"), applied: 3, kept: 1, conflicts: 1,
            ["a 9*", "b 2", "c 4", "t>a", "u>a"])
    }

    @Test func overridesOfAReplacedStateAreDiscarded() throws {
        try load("a 1")
        try remove("a")
        try command { draft throws(PolicyError) in draft.removeAll() }
        #expect(registry.overrides.isEmpty)
        expect(try load("a 1"), applied: 1, ["a 1"])
    }

    @Test func listsAreBoundedAndConflictsComeFirst() throws {
        let count = FileReport.listedMax + 10
        func file(_ units: Int) -> String { (0..<count).map { "p\($0) \($0 < 5 ? units : 1)" }.joined(separator: ",") }
        #expect(try load(file(1)).applied.count == FileReport.listedMax)
        try command { draft throws(PolicyError) in
            for number in (0..<count).reversed() { try draft.set(Self.policy("p\(number)", 100)) }
        }
        let report = try load(file(2))
        #expect(report.keptCount == count && report.kept.count == FileReport.listedMax)
        #expect(report.kept.prefix(5).allSatisfy(\.hasFileChanged) && !report.kept[5].hasFileChanged)
    }
}

extension Substring {
    fileprivate var trimmed: Substring { drop { $0 == " " } }
}
