// Policies and rules: precedence, permitted removals, journal records, and check keys that never collide.

import TestSupport
import Testing

@testable import LimiterEngine

@Suite struct PolicyTests {
    private let session = KeyspaceSession(engine: Engine(shards: 2, seed: HashSeed(1, 2, 3)))
    private var registry: PolicyRegistry { session.engine.policies }
    private let now = EngineTime.seconds(1_000)

    private func policy(_ name: String, units: Int64 = 10, mode: LimitCall.Mode = .enforce) throws -> Policy {
        Policy(name: Array(name.utf8), limit: try Limit(.gcra, units: units, period: 60_000_000_000), mode: mode)
    }

    private func subject(_ tenant: String, _ client: String, _ action: String) -> RuleSubject {
        func name(_ text: String) -> [UInt8]? { text == "*" ? nil : Array(text.utf8) }
        return RuleSubject(tenant: name(tenant), client: name(client), action: name(action))
    }

    private func edit(_ body: (inout PolicyDraft) throws(PolicyError) -> Void) throws(PolicyError) {
        try registry.edit(now: now, body)
    }

    private func winner(_ tenant: String, _ client: String, _ action: String) -> (policy: String, level: RuleLevel)? {
        let table = session.policies
        return tenant.bytes { tenant in
            client.bytes { client in
                action.bytes { action in
                    table.resolve(tenant: tenant, client: client, action: action).map {
                        (String(decoding: table.policies[$0.policy].name, as: UTF8.self), $0.level)
                    }
                }
            }
        }
    }

    @Test func theMostSpecificRuleWins() throws {
        let order: [(RuleSubject, RuleLevel)] = [
            (subject("t", "c", "a"), .clientAction), (subject("*", "c", "a"), .clientAction),
            (subject("t", "c", "*"), .client), (subject("*", "c", "*"), .client),
            (subject("t", "*", "a"), .tenantAction), (subject("t", "*", "*"), .tenant),
            (subject("*", "*", "a"), .globalAction), (subject("*", "*", "*"), .globalDefault),
        ]
        for number in order.indices { try edit { try! $0.set(policy("\(number)")) } }
        #expect(winner("t", "c", "a") == nil)
        // Rules that name other subjects never win, whatever else matches.
        try edit { draft throws(PolicyError) in
            for other in [
                subject("t", "c", "b"), subject("u", "c", "a"), subject("t", "d", "*"), subject("*", "*", "b"),
            ] {
                try draft.set(Rule(other, policy: Array("7".utf8)))
            }
        }
        #expect(winner("t", "c", "a") == nil)
        for (number, (subject, level)) in order.enumerated().reversed() {
            try edit { draft throws(PolicyError) in try draft.set(Rule(subject, policy: Array("\(number)".utf8))) }
            let found = try #require(winner("t", "c", "a"))
            #expect(found == ("\(number)", level))
        }
        for (number, (subject, _)) in order.enumerated().dropLast() {
            try edit { draft throws(PolicyError) in try draft.removeRule(subject) }
            #expect(try #require(winner("t", "c", "a")) == ("\(number + 1)", order[number + 1].1))
        }
        #expect(RuleLevel.clientAction > .client && RuleLevel.globalAction > .globalDefault)
    }

    /// Tries rules one by one, from the most specific pattern to the least.
    private func searched(_ rules: [RuleSubject: [UInt8]], _ names: [[UInt8]]) -> [UInt8]? {
        for (tenant, client, action) in [
            (true, true, true), (false, true, true), (true, true, false), (false, true, false),
            (true, false, true), (true, false, false), (false, false, true), (false, false, false),
        ] {
            let subject = RuleSubject(
                tenant: tenant ? names[0] : nil, client: client ? names[1] : nil, action: action ? names[2] : nil)
            if let policy = rules[subject] { return policy }
        }
        return nil
    }

    @Test func tenThousandRules() throws {
        var random = SeededGenerator(for: "ten thousand rules")
        /// Short, similar names that contain separator-like bytes.
        func name() -> [UInt8] {
            (0...random.below(3)).map { _ in random.pick([0, 1, UInt8(ascii: "*"), UInt8(ascii: "a"), 255]) }
        }
        var rules: [RuleSubject: [UInt8]] = [:]
        try edit { draft throws(PolicyError) in
            for number in 0..<50 { try draft.set(try! policy("p\(number)")) }
            for _ in 0..<10_000 {
                let subject = RuleSubject(
                    tenant: random.below(4) > 0 ? name() : nil, client: random.below(3) > 0 ? name() : nil,
                    action: random.below(2) > 0 ? name() : nil)
                let policy = Array("p\(random.below(50))".utf8)
                rules[subject] = policy
                try draft.set(Rule(subject, policy: policy))
            }
        }
        let table = session.policies
        #expect(table.rules.count == rules.count)
        for _ in 0..<20_000 {
            let names = [name(), name(), name()]
            let found = names[0].withUnsafeBytes { tenant in
                names[1].withUnsafeBytes { client in
                    names[2].withUnsafeBytes { table.resolve(tenant: tenant, client: client, action: $0) }
                }
            }
            guard found.map({ table.policies[$0.policy].name }) == searched(rules, names),
                found.map({ rules[table.rule(of: $0).subject] == table.policies[$0.policy].name }) ?? true
            else {
                Issue.record("\(names): \(found as Any)")
                return
            }
        }
        for (number, policy) in table.policies.enumerated() {
            #expect(policy.name.withUnsafeBytes { table.policyNumber(named: $0) } == number)
            #expect(table.terms(ofPolicy: number).limit == policy.limit)
        }
        #expect("none".bytes { table.policyNumber(named: $0) } == nil)
        #expect("".bytes { table.policyNumber(named: $0) } == nil)
    }

    @Test func keysOfDifferentNamesDiffer() {
        var random = SeededGenerator(for: "check keys")
        var seen: [[UInt8]: [[UInt8]]] = [:]
        for _ in 0..<30_000 {
            let names = (0..<3).map { _ in (0..<random.below(4)).map { _ in UInt8(random.pick([0, 1, 2, 67, 128])) } }
            let key = checkKey(names)
            if let other = seen.updateValue(names, forKey: key), other != names {
                Issue.record("\(names) and \(other) share a key")
                return
            }
        }
        for count in [0, 127, 128, 16_383, 16_384, 70_000] {
            let name = [UInt8](repeating: 9, count: count)
            #expect(checkKey([name, name, []]).count > 2 * count)
            #expect(checkKey([name, [], name]) != checkKey([[], name, name]) || count == 0)
        }
    }

    private func checkKey(_ names: [[UInt8]]) -> [UInt8] {
        names[0].withUnsafeBytes { tenant in
            names[1].withUnsafeBytes { client in
                names[2].withUnsafeBytes { action in
                    let count = CheckKey.count(tenant: tenant, client: client, action: action)
                    return [UInt8](unsafeUninitializedCapacity: count) { memory, written in
                        written = CheckKey.write(
                            tenant: tenant, client: client, action: action, to: memory.baseAddress!)
                        #expect(written == count)
                    }
                }
            }
        }
    }

    @Test func aKeyNamesItsSubject() {
        let long = [UInt8](repeating: 7, count: 300)
        for names in [[[1], [2, 3], [4]], [[], [], []], [long, [], long], [[0], long + long, [0]], [[], [9], []]]
            as [[[UInt8]]]
        {
            checkKey(names).withUnsafeBytes { key in
                let found = CheckKey.names(key)
                #expect([Array(found.tenant), Array(found.client), Array(found.action)] == names)
            }
        }
    }

    @Test func invalidEditsAreRefused() throws {
        let rule = Rule(subject("t", "*", "*"), policy: Array("free".utf8))
        let free = Array("free".utf8)
        #expect(throws: PolicyError.unknownPolicy(free)) {
            try edit { draft throws(PolicyError) in
                try draft.set(try! policy("pro"))
                try draft.removePolicy(free)
            }
        }
        #expect(session.policies.policies == [], "an edit that throws changes nothing")
        #expect(throws: PolicyError.unknownPolicy(Array("free".utf8))) {
            try edit { draft throws(PolicyError) in try draft.set(rule) }
        }
        try edit { draft throws(PolicyError) in
            try draft.set(try! policy("free"))
            try draft.set(rule)
        }
        #expect(throws: PolicyError.policyInUse(by: rule.subject, count: 1)) {
            try edit { draft throws(PolicyError) in try draft.removePolicy(Array("free".utf8)) }
        }
        #expect(throws: PolicyError.unknownRule(subject("t", "*", "a"))) {
            try edit { draft throws(PolicyError) in try draft.removeRule(subject("t", "*", "a")) }
        }
        let long = [UInt8](repeating: 1, count: Policy.nameLengthMax + 1)
        #expect(throws: PolicyError.nameTooLong) {
            try edit { draft throws(PolicyError) in
                try draft.set(Rule(RuleSubject(tenant: long, client: nil, action: nil), policy: Array("free".utf8)))
            }
        }
        #expect(throws: PolicyError.emptyName) {
            try edit { draft throws(PolicyError) in try draft.set(try! policy("")) }
        }
        try edit { draft throws(PolicyError) in
            try draft.removeRule(rule.subject)
            try draft.removePolicy(Array("free".utf8))
        }
        #expect(session.policies.policies == [] && session.policies.rules == [])
    }

    /// All names of a full file may change at once.
    @Test func aFullFileMayBeReplacedCompletely() throws {
        let registry = KeyspaceSession(engine: Engine(shards: 1, seed: HashSeed(1, 2, 3))).engine.policies
        let count = PolicyTable.policiesMax / 2 + 1
        for prefix in ["a", "b"] {
            let policies = try (0..<count).map { try policy("\(prefix)\($0)") }
            try registry.edit(now: now) { draft throws(PolicyError) in
                _ = try draft.applyFile(policies: policies, rules: [])
            } journal: {
                #expect($0.count == (prefix == "a" ? count : 2 * count))
            }
            #expect(registry.table.policies.count == count)
        }
        let tooMany = try (0...PolicyTable.policiesMax).map { try policy("c\($0)") }
        #expect(throws: PolicyError.tooManyPolicies) {
            try registry.edit(now: now) { draft throws(PolicyError) in
                _ = try draft.applyFile(policies: tooMany, rules: [])
            } journal: { _ in
            }
        }
        #expect(registry.table.policies.count == count)
    }

    @Test func theFileOwnsItsEntries() throws {
        try edit { draft throws(PolicyError) in
            try draft.set(try! policy("mine"))
            try draft.set(Rule(subject("t", "*", "*"), policy: Array("mine".utf8)))
        }
        var journaled: [PolicyRecord] = []
        func load(_ policies: [Policy], _ rules: [Rule], force: Bool = false) throws {
            journaled = []
            try registry.edit(now: now) { draft throws(PolicyError) in
                _ = try draft.applyFile(policies: policies, rules: rules, force: force)
            } journal: {
                journaled = $0
            }
        }
        let rules = [Rule(subject("*", "*", "*"), policy: Array("a".utf8))]
        try load([try policy("a"), try policy("b")], rules)
        #expect(journaled.count == 3)
        #expect(session.policies.policies.map(\.origin) == [.file, .file, .command])
        try load([try policy("a"), try policy("b")], rules)
        #expect(journaled == [], "unchanged entries are not journaled")
        try load([try policy("a", units: 5)], rules)
        #expect(journaled.map(\.kind) == [.policy, .policyRemoval])
        try edit { draft throws(PolicyError) in try draft.set(Rule(subject("u", "*", "*"), policy: Array("a".utf8))) }
        #expect(throws: PolicyError.policyInUse(by: subject("u", "*", "*"), count: 1)) {
            try load([], [], force: true)
        }
        #expect(session.policies.rules.count == 3, "all or nothing")
    }

    @Test func recordsRoundTrip() throws {
        var random = SeededGenerator(for: "policy records")
        var journaled: [PolicyRecord] = []
        for round in 0..<300 {
            try registry.edit(now: EngineTime(nanoseconds: Int64(round) * 1_000_000_000)) { draft throws(PolicyError) in
                let name = Array("p\(random.below(12))".utf8)
                let subject = subject(
                    random.pick(["*", "t", "u"]), random.pick(["*", "c"]), random.pick(["*", "a", "b"]))
                let limit = random.limit(random.pick(Limit.Algorithm.allCases))
                let (own, rest) = (Array("own".utf8), self.subject("own", "*", "*"))
                switch round < 4 ? -1 - round : random.below(6) {
                // Ensures one of every kind.
                case -1: try draft.set(Policy(name: own, limit: limit))
                case -2: try draft.set(Rule(rest, policy: own))
                case -3: try draft.removeRule(rest)
                case -4: try draft.removePolicy(own)
                case 0: do throws(PolicyError) { try draft.removePolicy(name) } catch {}
                case 1: do throws(PolicyError) { try draft.removeRule(subject) } catch {}
                case 2...3: do throws(PolicyError) { try draft.set(Rule(subject, policy: name)) } catch {}
                default: try draft.set(Policy(name: name, limit: limit, mode: random.pick(LimitCall.Mode.allCases)))
                }
            } journal: {
                journaled += $0
            }
        }
        #expect(Set(journaled.map(\.kind)).count == PolicyRecord.Kind.allCases.count)
        let copy = Engine(shards: 1)
        for _ in 0..<2 {
            for record in journaled {
                try copy.policies.edit(now: .seconds(0)) { draft throws(PolicyError) in try draft.apply(record) }
            }
        }
        func sorted(_ engine: Engine) -> [[UInt8]] {
            engine.policies.table.records.map { $0.key + $0.value }.sorted { $0.lexicographicallyPrecedes($1) }
        }
        #expect(sorted(copy) == sorted(session.engine))
        #expect(copy.policies.table.policies == session.policies.policies, "including the journaled caps")
        let whole = Engine(shards: 1)
        try whole.policies.edit(now: .seconds(0)) { draft throws(PolicyError) in
            for record in session.policies.records { try draft.apply(record) }
        }
        #expect(sorted(whole) == sorted(copy))
    }

    /// When a journal is replayed over a later state, an entry that is removed later may be added after a newer one
    /// already present.
    @Test func recordsMayExceedTheLimitsOfCommands() throws {
        try edit { draft throws(PolicyError) in
            (draft.policiesMax, draft.rulesMax) = (2, 1)
            try draft.set(try! policy("a"))
            try draft.set(try! policy("b"))
            try draft.set(Rule(subject("t", "*", "*"), policy: Array("a".utf8)))
        }
        let (third, rule) = (try policy("c"), Rule(subject("*", "*", "a"), policy: Array("c".utf8)))
        let other = Rule(rule.subject, policy: Array("a".utf8))
        #expect(throws: PolicyError.tooManyPolicies) { try edit { draft throws(PolicyError) in try draft.set(third) } }
        #expect(throws: PolicyError.tooManyRules) { try edit { draft throws(PolicyError) in try draft.set(other) } }
        try edit { draft throws(PolicyError) in
            try draft.apply(PolicyRecord(third))
            try draft.apply(PolicyRecord(rule))
        }
        #expect(session.policies.policies.count == 3 && session.policies.rules.count == 2)
        #expect(try #require(winner("u", "c", "a")) == ("c", .globalAction))
        #expect(throws: PolicyError.tooManyPolicies) {
            try edit { draft throws(PolicyError) in try draft.set(try! policy("d")) }
        }
    }

    @Test func damagedRecordsAreRefused() throws {
        var random = SeededGenerator(for: "spoiled policy records")
        let samples = [
            PolicyRecord(try policy("free")), PolicyRecord(removingPolicy: [1, 2]),
            PolicyRecord(Rule(subject("tenant", "*", "a"), policy: Array("free".utf8))),
            PolicyRecord(removingRule: subject("*", "c", "*")),
        ]
        var refused = 0
        for _ in 0..<20_000 {
            var record = random.pick(samples)
            for _ in 0...random.below(2) {
                if random.below(2) == 0, !record.key.isEmpty {
                    record.key[random.below(record.key.count)] = UInt8(random.below(256))
                } else if !record.value.isEmpty {
                    record.value[random.below(record.value.count)] = UInt8(random.below(256))
                }
                if random.below(6) == 0 { record.key = Array(record.key.prefix(random.below(record.key.count + 1))) }
                if random.below(6) == 0 {
                    record.value = Array(record.value.prefix(random.below(record.value.count + 1)))
                }
                if random.below(6) == 0 { record.key.append(0) }
            }
            let engine = Engine(shards: 1)
            do {
                try engine.policies.edit(now: .seconds(0)) { draft throws(PolicyError) in
                    try draft.set(try! policy("free"))
                    try draft.apply(record)
                }
                // An accepted record must be encodable again, and usable in decisions without a trap.
                for policy in engine.policies.table.policies {
                    var take = LimitCall(policy.limit, .one)
                    KeyspaceSession(engine: engine).decide("k", &take, now: now)
                }
            } catch {
                refused += 1
            }
        }
        #expect(refused > 2_000)
        for record in [
            PolicyRecord(kind: .policy, key: [], value: samples[0].value),
            PolicyRecord(kind: .policy, key: [1], value: samples[0].value + [0]),
            PolicyRecord(kind: .rule, key: samples[2].key + [0], value: samples[2].value),
            PolicyRecord(kind: .rule, key: samples[2].key, value: [1, 0]),
            PolicyRecord(kind: .ruleRemoval, key: [1, 0xFF, 0xFF, 0xFF, 0xFF], value: []),
        ] {
            #expect(throws: PolicyError.damagedRecord) {
                try edit { draft throws(PolicyError) in try draft.apply(record) }
            }
        }
    }

    @Test func aChangeAppliesToTheNextCall() throws {
        func take(_ units: Int64) throws -> LimitDecision {
            let table = session.policies
            let number = try #require("tier".bytes { table.policyNumber(named: $0) })
            return session.decide("k", table.terms(ofPolicy: number).take(try Demand(units)), token: nil, now: now)
        }
        let day: Int64 = 86_400_000_000_000
        func set(_ limit: Limit, _ mode: LimitCall.Mode = .enforce) throws {
            try edit { draft throws(PolicyError) in
                try draft.set(Policy(name: Array("tier".utf8), limit: limit, mode: mode))
            }
        }
        try set(try Limit(.fixedWindow, units: 10, period: day))
        #expect(try take(4).remaining == 6)
        try set(try Limit(.fixedWindow, units: 5, period: day))
        #expect(try take(0).remaining == 1)
        try set(try Limit(.slidingLog, units: 8, period: day))
        #expect(try take(1).remaining == 3, "spent units carry over to another algorithm")
        try set(try Limit(.slidingLog, units: 5, period: day), .shadow)
        let watched = try take(2)
        #expect(watched.outcome == .allowed && watched.isShadowed && watched.remaining == 0)
        try set(try Limit(.slidingLog, units: 5, period: day), .off)
        #expect(try take(9).remaining == 5)
        try set(try Limit(.slidingLog, units: 6, period: day))
        #expect(try take(0).remaining == 1)
    }

    @Test func whichCallsMustBeDurable() throws {
        let limit = try Limit(.fixedWindow, units: 2, period: 86_400_000_000_000)
        func changes(_ units: Int64, _ operation: LimitCall.Operation = .take, token: Bool = false) throws -> Bool {
            var take = LimitCall(limit, try Demand(units))
            take.operation = operation
            return "t".bytes { bytes in
                if token { take.token = bytes }
                session.decide("k", &take, now: now)
                return take.hasChangedState
            }
        }
        #expect(try !changes(1, .peek) && !changes(0) && !changes(3) && !changes(1, .refund))
        #expect(try changes(2) && changes(1, .refund) && changes(5, token: true) && changes(5, token: true))
    }

    @Test func sessionsSeeAChangeAtOnce() throws {
        let other = KeyspaceSession(engine: session.engine)
        #expect(other.policies === session.policies)
        let before = session.policies
        try edit { draft throws(PolicyError) in try draft.set(try! policy("free")) }
        #expect(other.policies !== before && other.policies === session.policies)
        #expect(before.policies == [], "a table kept for a batch stays as it was")
    }
}
