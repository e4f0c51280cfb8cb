// All policies and rules at one instant: immutable, replaced whole, so that readers need no lock.
//
// Rules are looked up by the hash of their three names, where everybody (`*`) counts as nothing. A question tries the
// patterns from the most specific to the least: at most eight look-ups, and only those of patterns that any rule has.
//
// A table is made of parts that the next one takes over where nothing has changed: the policies, and the rules by the
// hash, about a hundred in a part. So a change of one rule costs the same among a hundred and among a million, but for
// the list of parts.

import CLinux

/// An immutable set of policies and rules.
///
/// `@unchecked Sendable`: its memory is written in `init` alone, and given back in `deinit`.
public final class PolicyTable: @unchecked Sendable {
    /// Most policies that commands and files may make; a journal that is replayed may pass it for a while.
    public static let policiesMax = 65_536
    /// Most rules that commands and files may make; a journal that is replayed may pass it for a while.
    public static let rulesMax = 1_000_000
    /// Patterns from the most specific to the least: client and action, client, tenant and action, tenant, action,
    /// nothing. Where the client is named, one of this tenant goes before one of any.
    /// A byte each, the first one lowest: a constant, so that no look-up reads memory for it.
    private static var patterns: UInt64 { 0x00_04_01_05_02_03_06_07 }

    /// What a call needs of a policy.
    public struct Terms: Equatable, Sendable {
        /// The limit.
        public var limit: Limit
        /// How seriously it is meant.
        public var mode: LimitCall.Mode

        /// A call of the policy. Other than a limit said in numbers, it finds what another algorithm has counted: the
        /// policy may have had that one before.
        public func take(_ demand: Demand) -> LimitCall {
            var call = LimitCall(limit, demand)
            call.mode = mode
            call.carriesOver = true
            return call
        }
    }

    private let seed: HashSeed
    private let policySet: PolicySet
    /// The rules by the hash: see `partNumber`. A power of two.
    private let parts: [RuleChunk]
    /// What look-ups need of the parts, so that they touch no reference.
    private let views: UnsafeMutablePointer<RuleChunk.View>
    private let partMask: Int
    /// How many rules have each pattern.
    private let patternCounts: [Int]
    /// The patterns that any rule has, from the most specific to the least: a byte each, the first one lowest.
    private let patternsInUse: UInt64
    private let patternsInUseCount: Int

    /// Rules in a part when all parts are made anew; until there are twice as many.
    private static let partTarget = 64
    private static let partsMax = 1 << 14

    // MARK: Making

    /// No policies, no rules.
    convenience init(seed: HashSeed) { self.init(PolicySet([], seed: seed), [], seed: seed) }

    /// All parts anew: O(rules). Rules whose policy is not among the policies are left out.
    convenience init(_ set: PolicySet, _ rules: some Collection<Rule>, seed: HashSeed) {
        var count = 1
        while count * PolicyTable.partTarget < rules.count, count < PolicyTable.partsMax { count *= 2 }
        var members = [[RuleChunk.Hashed]](repeating: [], count: count)
        for rule in rules {
            let hash = PolicyTable.hash(rule.subject, seed)
            members[PolicyTable.partNumber(hash, count - 1)].append((rule, hash))
        }
        let parts = members.map { RuleChunk($0, set) }
        var patternCounts = [Int](repeating: 0, count: 8)
        for part in parts {
            for rule in part.rules { patternCounts[rule.subject.pattern] += 1 }
        }
        self.init(set, parts, patternCounts, seed: seed)
    }

    private init(_ set: PolicySet, _ parts: [RuleChunk], _ patternCounts: [Int], seed: HashSeed) {
        self.seed = seed
        policySet = set
        self.parts = parts
        self.patternCounts = patternCounts
        partMask = parts.count - 1
        views = .allocate(capacity: parts.count)
        for (number, part) in parts.enumerated() { (views + number).initialize(to: part.view) }
        let order = (0..<8).map { PolicyTable.patterns >> (8 * $0) & 0xFF }.filter { patternCounts[Int($0)] > 0 }
        patternsInUse = order.reversed().reduce(0) { $0 << 8 | $1 }
        patternsInUseCount = order.count
    }

    deinit { views.deallocate() }

    /// The table after an edit. O(changed rules · a part + parts) while the names of policies stay the same, and
    /// O(policies) more if a policy changed; else O(policies + rules).
    func succeeded(by draft: PolicyDraft) -> PolicyTable {
        let changes = draft.changes
        let set = changes.changesPolicies ? PolicySet(draft.policies.values, seed: seed) : policySet
        // Parts know policies by their numbers, which follow from all names.
        let isGrown = draft.rules.count > 2 * PolicyTable.partTarget * parts.count && parts.count < PolicyTable.partsMax
        guard !changes.changesNames, !isGrown, changes.subjects.count <= parts.count else {
            return PolicyTable(set, draft.rules.values, seed: seed)
        }
        var changed: [Int: [RuleSubject: UInt64]] = [:]
        for subject in changes.subjects {
            let hash = PolicyTable.hash(subject, seed)
            changed[PolicyTable.partNumber(hash, partMask), default: [:]][subject] = hash
        }
        var (parts, patternCounts) = (parts, patternCounts)
        for (number, subjects) in changed {
            let kept = parts[number].rules.filter { subjects[$0.subject] == nil }
            let members =
                kept.map { ($0, PolicyTable.hash($0.subject, seed)) }
                + subjects.compactMap { subject, hash in draft.rules[subject].map { ($0, hash) } }
            for rule in parts[number].rules { patternCounts[rule.subject.pattern] -= 1 }
            parts[number] = RuleChunk(members, set)
            for rule in parts[number].rules { patternCounts[rule.subject.pattern] += 1 }
        }
        return PolicyTable(set, parts, patternCounts, seed: seed)
    }

    /// How many parts are not another table's: what an edit has cost. O(parts).
    func partsMadeAnew(since other: PolicyTable) -> Int {
        let known = Set(other.parts.map(ObjectIdentifier.init))
        return parts.reduce(0) { $0 + (known.contains(ObjectIdentifier($1)) ? 0 : 1) }
    }

    // MARK: Hashes

    /// Which part a hash belongs to: by bits that no part's slots are chosen by, as long as parts are small.
    @inline(__always)
    private static func partNumber(_ hash: UInt64, _ mask: Int) -> Int { Int(truncatingIfNeeded: hash >> 18) & mask }

    private static func hash(_ subject: RuleSubject, _ seed: HashSeed) -> UInt64 {
        func hash(_ name: [UInt8]?) -> UInt64 {
            name?.withUnsafeBytes { seed.hash($0.baseAddress ?? emptyKey, count: $0.count) } ?? 0
        }
        return mixed(hash(subject.tenant), hash(subject.client), hash(subject.action), pattern: subject.pattern)
    }

    /// One hash of three, those of names that the pattern has. All are keyed, so odd factors keep them apart.
    @inline(__always)
    private static func mixed(_ tenant: UInt64, _ client: UInt64, _ action: UInt64, pattern: Int) -> UInt64 {
        var sum = UInt64(pattern) &* 0x9E37_79B9_7F4A_7C15
        if pattern & 1 != 0 { sum = sum &+ tenant }
        if pattern & 2 != 0 { sum = sum &+ client &* 0xBF58_476D_1CE4_E5B9 }
        if pattern & 4 != 0 { sum = sum &+ action &* 0x94D0_49BB_1331_11EB }
        let product = sum.multipliedFullWidth(by: 0xD6E8_FEB8_6659_FD93)
        return product.high ^ product.low
    }

    // MARK: Policies

    /// The policies, by name in byte order.
    public var policies: [Policy] { policySet.policies }

    /// The position of a policy in `policies`. O(name).
    public func policyNumber(named name: UnsafeRawBufferPointer) -> Int? { policySet.number(of: name) }

    /// What the policy at this position says. O(1), without touching its name.
    public func terms(ofPolicy number: Int) -> Terms { policySet.terms(number).pointee }

    /// Makes a call that has been begun one of the policy at this position, as `Terms.take` does. In place, since a
    /// call is long.
    public func writeTerms(ofPolicy number: Int, to call: UnsafeMutablePointer<LimitCall>) {
        let terms = policySet.terms(number)
        call.pointee.limit = terms.pointee.limit
        call.pointee.mode = terms.pointee.mode
        call.pointee.carriesOver = true
    }

    // MARK: Rules

    /// How many rules there are. O(1).
    public var ruleCount: Int { patternCounts.reduce(0, +) }

    /// The rules, in no particular order. O(rules).
    public var rules: [Rule] { parts.flatMap(\.rules) }

    /// Where a walk over all rules has got to.
    public struct RuleCursor: Sendable {
        fileprivate var part = 0
        fileprivate var position = 0

        /// In front of the first rule.
        public init() {}
    }

    /// The next rule of a walk over all of them; nil at its end. O(1), amortised.
    public func nextRule(_ cursor: inout RuleCursor) -> Rule? {
        while cursor.part < parts.count {
            let rules = parts[cursor.part].rules
            if cursor.position < rules.count {
                cursor.position += 1
                return rules[cursor.position - 1]
            }
            cursor.part += 1
            cursor.position = 0
        }
        return nil
    }

    /// Which rule wins and why.
    public struct Resolution: Equatable, Sendable {
        /// The policy's position in `policies`.
        public var policy: Int
        /// What made it win.
        public var level: RuleLevel
        /// Where the rule is: see `PolicyTable.rule(of:)`.
        fileprivate var part: Int
        fileprivate var number: Int
    }

    /// The rule that won.
    public func rule(of resolution: Resolution) -> Rule { parts[resolution.part].rules[resolution.number] }

    /// The most specific rule for these names; nil when none matches. Hashes each name once; O(names), at most eight
    /// look-ups: one for each pattern of names that any rule has.
    public func resolve(
        tenant: UnsafeRawBufferPointer, client: UnsafeRawBufferPointer, action: UnsafeRawBufferPointer
    ) -> Resolution? {
        let tenantHash = seed.hash(tenant.baseAddress ?? emptyKey, count: tenant.count)
        let clientHash = seed.hash(client.baseAddress ?? emptyKey, count: client.count)
        let actionHash = seed.hash(action.baseAddress ?? emptyKey, count: action.count)
        // All slots are fetched before the first is looked at: most look-ups find none, and so many waits overlap.
        return withUnsafeTemporaryAllocation(of: UInt64.self, capacity: 8) { hashes in
            let hashes = hashes.baseAddress.unsafelyUnwrapped
            var left = patternsInUse
            for position in 0..<patternsInUseCount {
                let hash = PolicyTable.mixed(tenantHash, clientHash, actionHash, pattern: Int(left & 0xFF))
                hashes[position] = hash
                clinux_prefetch(views[PolicyTable.partNumber(hash, partMask)].slots.home(hash))
                left >>= 8
            }
            left = patternsInUse
            for position in 0..<patternsInUseCount {
                let pattern = Int(left & 0xFF)
                left >>= 8
                let part = PolicyTable.partNumber(hashes[position], partMask)
                guard let rule = views[part].find(hashes[position], pattern, tenant, client, action) else { continue }
                return Resolution(
                    policy: Int(rule.pointee.policy), level: RuleLevel(pattern: pattern), part: part,
                    number: Int(rule.pointee.number))
            }
            return nil
        }
    }

    /// The rule about exactly this subject; nil when there is none. O(names).
    public func rule(for subject: RuleSubject) -> Rule? {
        let hash = PolicyTable.hash(subject, seed)
        let part = PolicyTable.partNumber(hash, partMask)
        let none: [UInt8] = []
        return (subject.tenant ?? none).withUnsafeBytes { tenant in
            (subject.client ?? none).withUnsafeBytes { client in
                (subject.action ?? none).withUnsafeBytes { action in
                    views[part].find(hash, subject.pattern, tenant, client, action).map {
                        parts[part].rules[Int($0.pointee.number)]
                    }
                }
            }
        }
    }
}
