// All policies and rules at one instant: immutable and replaced as a whole, so that readers need no lock.
//
// Rules are looked up by the hash of their three names, where `*` contributes nothing. A lookup tries the patterns from
// the most specific to the least: at most eight probes, and only for patterns that some rule has.
//
// A table consists of parts that the next one shares where nothing has changed: the policies, and the rules by hash,
// about a hundred in a chunk. So changing one rule costs the same among a hundred rules and among a million, except for
// copying the list of chunks.

import CLinux

/// An immutable set of policies and rules.
///
/// `@unchecked Sendable`: its memory is written only in `init`, and freed in `deinit`.
public final class PolicyTable: @unchecked Sendable {
    /// Maximum number of policies that commands and files may create; replaying a journal may exceed it temporarily.
    public static let policiesMax = 65_536
    /// Maximum number of rules that commands and files may create; replaying a journal may exceed it temporarily.
    public static let rulesMax = 1_000_000
    /// Patterns from the most specific to the least: client and action, client, tenant and action, tenant, action,
    /// nothing. Where the client is named, a rule with the tenant precedes one without. One byte each, lowest first: a
    /// constant, so that no lookup reads memory for it.
    private static var patterns: UInt64 { 0x00_04_01_05_02_03_06_07 }

    /// The terms of a policy that a call needs.
    public struct Terms: Equatable, Sendable {
        /// The limit.
        public var limit: Limit
        /// The enforcement mode.
        public var mode: LimitCall.Mode
        /// The number under which the policy's decisions are counted: see `PolicySeries`.
        var series: UInt16 = 0

        /// A call under the policy. Unlike a limit given as numbers, it accepts the state of another algorithm: the
        /// policy may have had that algorithm before.
        public func take(_ demand: Demand) -> LimitCall {
            var call = LimitCall(limit, demand)
            call.mode = mode
            call.carriesOver = true
            return call
        }
    }

    private let seed: HashSeed
    private let policySet: PolicySet
    /// The rules, divided into parts by hash: see `partNumber`. The number of parts is a power of two.
    private let parts: [RuleChunk]
    /// The data that lookups need, without references, so that no reference count is touched.
    private let views: UnsafeMutablePointer<RuleChunk.View>
    private let partMask: Int
    /// Number of rules per pattern.
    private let patternCounts: [Int]
    /// The patterns that some rule has, from the most specific to the least: one byte each, lowest first.
    private let patternsInUse: UInt64
    private let patternsInUseCount: Int

    /// Rules per part when all parts are rebuilt; they are rebuilt when there are twice as many.
    private static let partTarget = 64
    private static let partsMax = 1 << 14

    // MARK: Building

    /// No policies, no rules.
    convenience init(seed: HashSeed, series: PolicySeries = PolicySeries()) {
        self.init(PolicySet([], seed: seed, series: series), [], seed: seed)
    }

    /// Builds all parts: O(rules). Rules without their policy are omitted.
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

    /// The table after an edit. O(changed rules · part size + parts) while the names of policies stay the same, plus
    /// O(policies) if a policy changed; otherwise O(policies + rules).
    func succeeded(by draft: PolicyDraft) -> PolicyTable {
        let changes = draft.changes
        let set =
            changes.changesPolicies
            ? PolicySet(draft.policies.values, seed: seed, series: policySet.series) : policySet
        // Parts refer to policies by number, and the numbers depend on all names.
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

    /// Number of parts not shared with another table: the cost of an edit. O(parts).
    func partsMadeAnew(since other: PolicyTable) -> Int {
        let known = Set(other.parts.map(ObjectIdentifier.init))
        return parts.reduce(0) { $0 + (known.contains(ObjectIdentifier($1)) ? 0 : 1) }
    }

    // MARK: Hashes

    /// The part for a hash: chosen by bits that do not select slots within parts, as long as parts are small.
    @inline(__always)
    private static func partNumber(_ hash: UInt64, _ mask: Int) -> Int { Int(truncatingIfNeeded: hash >> 18) & mask }

    private static func hash(_ subject: RuleSubject, _ seed: HashSeed) -> UInt64 {
        func hash(_ name: [UInt8]?) -> UInt64 {
            name?.withUnsafeBytes { seed.hash($0.baseAddress ?? emptyKey, count: $0.count) } ?? 0
        }
        return mixed(hash(subject.tenant), hash(subject.client), hash(subject.action), pattern: subject.pattern)
    }

    /// Combines three hashes into one, for the names that the pattern has. All are keyed, so odd factors keep them
    /// apart.
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

    /// The terms of the policy at this position. O(1), without touching its name.
    public func terms(ofPolicy number: Int) -> Terms { policySet.terms(number).pointee }

    /// Makes a prepared call one under the policy at this position, as `Terms.take` does. In place, since a call is
    /// large.
    public func writeTerms(ofPolicy number: Int, to call: UnsafeMutablePointer<LimitCall>) {
        let terms = policySet.terms(number)
        call.pointee.limit = terms.pointee.limit
        call.pointee.mode = terms.pointee.mode
        call.pointee.carriesOver = true
        call.pointee.setPolicy(series: terms.pointee.series)
    }

    /// The name of the policy at this position, borrowed as long as this table is referenced. O(1).
    public func name(ofPolicy number: Int) -> UnsafeBufferPointer<UInt8> { policySet.name(number) }

    // MARK: Rules

    /// Number of rules. O(1).
    public var ruleCount: Int { patternCounts.reduce(0, +) }

    /// The rules, in no particular order. O(rules).
    public var rules: [Rule] { parts.flatMap(\.rules) }

    /// Position of an iteration over all rules.
    public struct RuleCursor: Sendable {
        fileprivate var part = 0
        fileprivate var position = 0

        /// Before the first rule.
        public init() {}

        /// The position that `number` was of; nil for a number that it cannot be. In another table than that one, it
        /// is somewhere near.
        public init?(number: Int) {
            guard number >= 0, number >> 32 < PolicyTable.partsMax else { return nil }
            part = number >> 32
            position = number & 0xFFFF_FFFF
        }

        /// The position as a number, 0 or more.
        public var number: Int { part << 32 | position }
    }

    /// The next rule of an iteration; nil at its end. O(1), amortised.
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

    /// The winning rule and the reason.
    public struct Resolution: Equatable, Sendable {
        /// The policy's position in `policies`.
        public var policy: Int
        /// Why it won.
        public var level: RuleLevel
        /// The names that the rule has: bit 0 for the tenant, 1 for the client, 2 for the action. The others are `*`.
        public var names: UInt8
        /// Where the rule is stored: see `PolicyTable.rule(of:)`.
        fileprivate var part: Int
        fileprivate var number: Int
    }

    /// The winning rule.
    public func rule(of resolution: Resolution) -> Rule { parts[resolution.part].rules[resolution.number] }

    /// The most specific rule for these names; nil when none matches. Hashes each name once. O(names), with at most
    /// eight probes: one for each pattern that some rule has.
    public func resolve(
        tenant: UnsafeRawBufferPointer, client: UnsafeRawBufferPointer, action: UnsafeRawBufferPointer
    ) -> Resolution? {
        let tenantHash = seed.hash(tenant.baseAddress ?? emptyKey, count: tenant.count)
        let clientHash = seed.hash(client.baseAddress ?? emptyKey, count: client.count)
        let actionHash = seed.hash(action.baseAddress ?? emptyKey, count: action.count)
        // All slots are prefetched before the first is read: most probes find nothing, and this way the cache misses
        // overlap.
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
                    policy: Int(rule.pointee.policy), level: RuleLevel(pattern: pattern),
                    names: UInt8(truncatingIfNeeded: pattern), part: part, number: Int(rule.pointee.number))
            }
            return nil
        }
    }

    /// The rule with exactly this subject; nil when there is none. O(names).
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
