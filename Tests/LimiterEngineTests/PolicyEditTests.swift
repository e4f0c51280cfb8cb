// Many small edits of policies and rules in sequence: the table always equals one built from scratch, a failed edit
// changes nothing, and an edit of one rule rebuilds little.

import TestSupport
import Testing

@testable import LimiterEngine

@Suite struct PolicyEditTests {
    private let engine = Engine(shards: 1, seed: HashSeed(1, 2, 3))
    private var registry: PolicyRegistry { engine.policies }
    private let now = EngineTime.seconds(1_000)
    private let seed = HashSeed(1, 2, 3)

    private func name(_ text: String, _ number: Int) -> [UInt8] { Array("\(text)\(number)".utf8) }

    private func policy(_ number: Int, units: Int64 = 10) throws -> Policy {
        Policy(name: name("p", number), limit: try Limit(.gcra, units: units, period: 60_000_000_000))
    }

    private func answer(_ table: PolicyTable, _ names: [[UInt8]]) -> [[UInt8]]? {
        let found = names[0].withUnsafeBytes { tenant in
            names[1].withUnsafeBytes { client in
                names[2].withUnsafeBytes { table.resolve(tenant: tenant, client: client, action: $0) }
            }
        }
        return found.map {
            let rule = table.rule(of: $0)
            #expect(table.policies[$0.policy].name == rule.policy)
            #expect(table.rule(for: rule.subject) == rule)
            return [rule.policy, [$0.level.rawValue]]
        }
    }

    @Test func editsMakeTheTableThatAllOfItWouldMake() throws {
        var random = SeededGenerator(for: "editsMakeTheTableThatAllOfItWouldMake")
        let seed = random.seed
        var policies: [[UInt8]: Policy] = [:]
        var rules: [RuleSubject: Rule] = [:]
        func names() -> [[UInt8]] {
            [name("t", random.below(40)), name("c", random.below(8)), name("a", random.below(4))]
        }
        var most = 0
        for round in 0..<400 {
            // Ensures a large table: at the beginning, and again after it was emptied.
            let fills = [0, 51, 251].contains(round)
            let mayFail = !fills && random.below(5) == 0
            let before = registry.table
            var newPolicies = policies
            var newRules = rules
            do throws(PolicyError) {
                try registry.edit(now: now) { draft throws(PolicyError) in
                    if fills {
                        let policy = try! policy(0)
                        try draft.set(policy)
                        newPolicies[policy.name] = draft.policies[policy.name]
                        for number in 0..<320 {
                            let (tenant, client) = (name("t", number / 8), name("c", number % 8))
                            let rule = Rule(
                                RuleSubject(tenant: tenant, client: client, action: nil), policy: policy.name)
                            try draft.set(rule)
                            newRules[rule.subject] = rule
                        }
                    }
                    for _ in 0...random.below(random.below(30) == 0 ? 300 : 3) {
                        let all = names()
                        let subject = RuleSubject(
                            tenant: random.below(6) > 0 ? all[0] : nil, client: random.below(3) > 0 ? all[1] : nil,
                            action: random.below(2) > 0 ? all[2] : nil)
                        switch random.below(12) {
                        case 0:
                            let policy = try! policy(random.below(12), units: Int64(1 + random.below(9)))
                            try draft.set(policy)
                            newPolicies[policy.name] = draft.policies[policy.name]
                        case 1 where newRules[subject] != nil:
                            try draft.removeRule(subject)
                            newRules[subject] = nil
                        case 2:
                            let unused = newPolicies.keys.filter { key in
                                !newRules.values.contains { $0.policy == key }
                            }
                            guard let gone = unused.min(by: { $0.lexicographicallyPrecedes($1) }) else { continue }
                            try draft.removePolicy(gone)
                            newPolicies[gone] = nil
                        case 3 where round % 200 == 50:
                            draft.removeAll()
                            (newPolicies, newRules) = ([:], [:])
                        default:
                            let named = newPolicies.keys.sorted { $0.lexicographicallyPrecedes($1) }
                            guard !named.isEmpty else { continue }
                            let rule = Rule(subject, policy: random.pick(named))
                            try draft.set(rule)
                            newRules[subject] = rule
                        }
                    }
                    if mayFail { try draft.removePolicy([255]) }
                }
                (policies, rules) = (newPolicies, newRules)
                #expect(!mayFail)
            } catch {
                #expect(mayFail && error == .unknownPolicy([255]), "seed \(seed)")
                #expect(registry.table === before, "seed \(seed)")
            }
            most = max(most, rules.count)
            let table = registry.table
            let whole = PolicyTable(
                PolicySet(policies.values, seed: self.seed, series: registry.series), rules.values, seed: self.seed)
            #expect(table.policies == whole.policies, "seed \(seed)")
            #expect(table.ruleCount == rules.count && table.rules.count == rules.count, "seed \(seed)")
            for _ in 0..<20 {
                let names = names()
                #expect(answer(table, names) == answer(whole, names), "seed \(seed), round \(round)")
            }
        }
        #expect(most > 100, "seed \(seed)")
        var cursor = PolicyTable.RuleCursor()
        var walked: Set<RuleSubject> = []
        while let rule = registry.table.nextRule(&cursor) { walked.insert(rule.subject) }
        #expect(walked == Set(rules.keys))
    }

    @Test func anEditOfARuleLeavesOtherRulesInPlace() throws {
        try registry.edit(now: now) { draft throws(PolicyError) in
            try draft.set(try! policy(1))
            try draft.set(try! policy(2))
            for number in 0..<20_000 {
                let subject = RuleSubject(tenant: name("t", number), client: nil, action: nil)
                try draft.set(Rule(subject, policy: name("p", 1)))
            }
        }
        func made(_ body: (inout PolicyDraft) throws(PolicyError) -> Void) throws -> Int {
            let before = registry.table
            try registry.edit(now: now, body)
            return registry.table.partsMadeAnew(since: before)
        }
        let all = registry.table.partsMadeAnew(since: PolicyTable(seed: seed))
        #expect(all > 100)
        let subject = RuleSubject(tenant: name("t", 77), client: nil, action: nil)
        #expect(try made { draft throws(PolicyError) in try draft.set(Rule(subject, policy: name("p", 2))) } == 1)
        #expect(try made { draft throws(PolicyError) in try draft.removeRule(subject) } == 1)
        #expect(try made { draft throws(PolicyError) in try draft.set(try! policy(2, units: 5)) } == 0)
        #expect(registry.table.policies[1].limit.units == 5)
        #expect(try made { draft throws(PolicyError) in try draft.set(try! policy(0)) } == all, "renumbers all rules")
        #expect(answer(registry.table, [name("t", 78), [1], [2]])?.first == name("p", 1))
        #expect(answer(registry.table, [name("t", 77), [1], [2]]) == nil)
    }

    /// When a journal is replayed over a later state, a rule may precede its policy.
    @Test func aRuleWaitsForItsPolicy() throws {
        let subject = RuleSubject(tenant: [1], client: nil, action: nil)
        func apply(_ record: PolicyRecord) throws {
            try registry.edit(now: now) { draft throws(PolicyError) in try draft.apply(record) }
        }
        try apply(PolicyRecord(Rule(subject, policy: name("p", 7))))
        #expect(answer(registry.table, [[1], [2], [3]]) == nil && registry.table.ruleCount == 0)
        try apply(PolicyRecord(try policy(3)))
        try apply(PolicyRecord(try policy(7)))
        #expect(answer(registry.table, [[1], [2], [3]])?.first == name("p", 7) && registry.table.ruleCount == 1)
        try apply(PolicyRecord(removingPolicy: name("p", 7)))
        #expect(answer(registry.table, [[1], [2], [3]]) == nil && registry.table.ruleCount == 0)
        try apply(PolicyRecord(try policy(8)))
        #expect(answer(registry.table, [[1], [2], [3]]) == nil)
    }
}
