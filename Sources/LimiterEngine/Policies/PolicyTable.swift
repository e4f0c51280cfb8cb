// All policies and rules at one instant: immutable, replaced whole, so that readers need no lock.
//
// Rules are looked up by the hash of their three names, where everybody (`*`) counts as nothing. A question tries the
// patterns from the most specific to the least: at most eight look-ups, and only those of patterns that any rule has.
// The tables below are flat memory, so a look-up allocates nothing and counts no references.
//
//   slots    one in two is used at most: 63‥32 high half of the hash, 31‥0 number of the entry + 1; 0 unused
//   bytes    all names of policies, one after the other
//   rules    one after the other at multiples of 16, whose number is a slot's; each with its names behind it

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

    /// The policies, by name in byte order.
    public let policies: [Policy]
    /// The rules, in no particular order.
    public let rules: [Rule]

    /// What a call needs of a policy.
    public struct Terms: Equatable, Sendable {
        /// The limit.
        public var limit: Limit
        /// How seriously it is meant.
        public var mode: TakeRequest.Mode

        /// A call of the policy. Other than a limit said in numbers, it finds what another algorithm has counted: the
        /// policy may have had that one before.
        public func take(_ demand: Demand) -> TakeRequest {
            var take = TakeRequest(limit, demand)
            take.mode = mode
            take.carriesOver = true
            return take
        }
    }

    private struct Span {
        var start: Int32
        var count: Int32
    }

    /// What a look-up needs of a rule, in front of its names: they mostly lie in one line of the cache together.
    private struct FlatRule {
        var number: Int32
        var policy: Int32
        /// Lengths of the names, 0 for everybody; at most `Policy.nameLengthMax`.
        var tenant: UInt16
        var client: UInt16
        var action: UInt16
        var pattern: UInt8
    }

    private let seed: HashSeed
    private let policyCount: Int
    private let terms: UnsafeMutablePointer<Terms>
    private let policyNames: UnsafeMutablePointer<Span>
    private let policySlots: UnsafeMutableBufferPointer<UInt64>
    private let ruleSlots: UnsafeMutableBufferPointer<UInt64>
    private let flatRules: UnsafeMutableRawPointer
    private let bytes: UnsafeMutablePointer<UInt8>
    /// The patterns that any rule has, from the most specific to the least: a byte each, the first one lowest.
    private let patternsInUse: UInt64
    private let patternsInUseCount: Int

    /// No policies, no rules.
    convenience init(seed: HashSeed) { self.init(policies: [], rules: [], seed: seed) }

    /// O(policies + rules). Rules whose policy is not among the policies are left out.
    init(policies: [Policy], rules all: [Rule], seed: HashSeed) {
        let names = Set(policies.map(\.name))
        let rules = all.filter { names.contains($0.policy) }
        self.policies = policies.sorted { $0.name.lexicographicallyPrecedes($1.name) }
        self.rules = rules
        self.seed = seed
        policyCount = policies.count
        terms = .allocate(capacity: max(1, policies.count))
        policyNames = .allocate(capacity: max(1, policies.count))
        policySlots = PolicyTable.slots(for: policies.count)
        ruleSlots = PolicyTable.slots(for: rules.count)
        flatRules = .allocate(
            byteCount: max(1, rules.reduce(0) { $0 + PolicyTable.flatSize($1.subject) }),
            alignment: PolicyTable.flatStep)
        bytes = .allocate(capacity: max(1, policies.reduce(0) { $0 + $1.name.count }))
        let inUse = Set(rules.map { UInt64($0.subject.pattern) })
        let order = (0..<8).map { PolicyTable.patterns >> (8 * $0) & 0xFF }.filter(inUse.contains)
        patternsInUse = order.reversed().reduce(0) { $0 << 8 | $1 }
        patternsInUseCount = order.count
        var end = 0
        var numbers: [[UInt8]: Int32] = [:]
        for (number, policy) in self.policies.enumerated() {
            (terms + number).initialize(to: Terms(limit: policy.limit, mode: policy.mode))
            numbers[policy.name] = Int32(number)
            let name = append(policy.name, &end)
            (policyNames + number).initialize(to: name.span)
            PolicyTable.insert(number, hash: name.hash, policySlots)
        }
        var place = 0
        for (number, rule) in rules.enumerated() {
            let subject = rule.subject
            let flat = flatRules + place * PolicyTable.flatStep
            flat.initializeMemory(
                as: FlatRule.self,
                to: FlatRule(
                    number: Int32(number), policy: numbers[rule.policy]!, tenant: UInt16(subject.tenant?.count ?? 0),
                    client: UInt16(subject.client?.count ?? 0), action: UInt16(subject.action?.count ?? 0),
                    pattern: UInt8(subject.pattern)))
            var name = flat + PolicyTable.flatHeader
            let hashes = [subject.tenant, subject.client, subject.action].map { bytes -> UInt64 in
                guard let bytes else { return 0 }
                name.copyMemory(from: bytes, byteCount: bytes.count)
                defer { name += bytes.count }
                return seed.hash(name, count: bytes.count)
            }
            PolicyTable.insert(
                place, hash: PolicyTable.mixed(hashes[0], hashes[1], hashes[2], pattern: subject.pattern), ruleSlots)
            place += PolicyTable.flatSize(subject) / PolicyTable.flatStep
        }
    }

    /// Rules lie at multiples of this, so that a slot's 32 bits can name the place of any.
    private static var flatStep: Int { 16 }
    /// Where the names begin.
    private static var flatHeader: Int { MemoryLayout<FlatRule>.size }

    /// Bytes of a rule and its names: so few that all places fit 32 bits, since rules are bounded and names are short.
    private static func flatSize(_ subject: RuleSubject) -> Int {
        let names = (subject.tenant?.count ?? 0) + (subject.client?.count ?? 0) + (subject.action?.count ?? 0)
        return (flatHeader + names + flatStep - 1) / flatStep * flatStep
    }

    /// Puts a name behind the others. Names are short and rules bounded, so positions fit 32 bits.
    private func append(_ name: [UInt8]?, _ end: inout Int) -> (span: Span, hash: UInt64) {
        guard let name else { return (Span(start: 0, count: 0), 0) }
        let span = Span(start: Int32(end), count: Int32(name.count))
        for (offset, byte) in name.enumerated() { bytes[end + offset] = byte }
        end += name.count
        return (span, seed.hash(bytes + Int(span.start), count: name.count))
    }

    deinit {
        terms.deallocate()
        policyNames.deallocate()
        policySlots.deallocate()
        ruleSlots.deallocate()
        flatRules.deallocate()
        bytes.deallocate()
    }

    private static func slots(for count: Int) -> UnsafeMutableBufferPointer<UInt64> {
        var capacity = 2
        while capacity < 2 * count { capacity *= 2 }
        let slots = UnsafeMutableBufferPointer<UInt64>.allocate(capacity: capacity)
        slots.initialize(repeating: 0)
        return slots
    }

    private static func insert(_ number: Int, hash: UInt64, _ slots: UnsafeMutableBufferPointer<UInt64>) {
        let mask = slots.count - 1
        var slot = Int(truncatingIfNeeded: hash) & mask
        while slots[slot] != 0 { slot = (slot + 1) & mask }
        slots[slot] = (hash & ~0xFFFF_FFFF) | UInt64(number + 1)
    }

    /// The entry whose hash this is and that `matches`.
    @inline(__always)
    private static func find(
        _ hash: UInt64, in slots: UnsafeMutableBufferPointer<UInt64>, where matches: (Int) -> Bool
    ) -> Int? {
        let mask = slots.count - 1
        var slot = Int(truncatingIfNeeded: hash) & mask
        while slots[slot] != 0 {
            let entry = slots[slot]
            let number = Int(entry & 0xFFFF_FFFF) - 1
            if entry >> 32 == hash >> 32, matches(number) { return number }
            slot = (slot + 1) & mask
        }
        return nil
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

    // MARK: Questions

    /// The position of a policy in `policies`. O(name).
    public func policyNumber(named name: UnsafeRawBufferPointer) -> Int? {
        let base = name.baseAddress ?? emptyKey
        return PolicyTable.find(seed.hash(base, count: name.count), in: policySlots) { isName(policyNames[$0], name) }
    }

    /// What the policy at this position says. O(1), without touching its name.
    public func terms(ofPolicy number: Int) -> Terms {
        precondition(number >= 0 && number < policies.count)
        return terms[number]
    }

    /// Makes `take` a call of the policy at this position, as `Terms.take` does, but for what is asked of it. In place,
    /// since a call is long.
    public func writeTerms(ofPolicy number: Int, to take: UnsafeMutablePointer<TakeRequest>) {
        precondition(number >= 0 && number < policyCount)
        take.pointee.limit = terms[number].limit
        take.pointee.mode = terms[number].mode
        take.pointee.carriesOver = true
    }

    /// Which rule wins and why.
    public struct Resolution: Equatable, Sendable {
        /// The rule's position in `rules`.
        public var rule: Int
        /// The policy's position in `policies`.
        public var policy: Int
        /// What made it win.
        public var level: RuleLevel
    }

    /// The most specific rule for these names; nil when none matches. Hashes each name once; O(names), at most eight
    /// look-ups: one for each pattern of names that any rule has.
    public func resolve(
        tenant: UnsafeRawBufferPointer, client: UnsafeRawBufferPointer, action: UnsafeRawBufferPointer
    ) -> Resolution? {
        let tenantHash = seed.hash(tenant.baseAddress ?? emptyKey, count: tenant.count)
        let clientHash = seed.hash(client.baseAddress ?? emptyKey, count: client.count)
        let actionHash = seed.hash(action.baseAddress ?? emptyKey, count: action.count)
        // All slots are fetched before the first is looked at: most look-ups find none, and so many waits overlap.
        let mask = ruleSlots.count - 1
        let slots = ruleSlots.baseAddress.unsafelyUnwrapped
        return withUnsafeTemporaryAllocation(of: UInt64.self, capacity: 8) { hashes in
            let hashes = hashes.baseAddress.unsafelyUnwrapped
            var left = patternsInUse
            for position in 0..<patternsInUseCount {
                let hash = PolicyTable.mixed(tenantHash, clientHash, actionHash, pattern: Int(left & 0xFF))
                hashes[position] = hash
                clinux_prefetch(slots + (Int(truncatingIfNeeded: hash) & mask))
                left >>= 8
            }
            left = patternsInUse
            for position in 0..<patternsInUseCount {
                let pattern = Int(left & 0xFF)
                left >>= 8
                let found = PolicyTable.find(hashes[position], in: ruleSlots) {
                    isRule($0, pattern, tenant, client, action)
                }
                guard let found else { continue }
                let rule = flatRule(found).pointee
                return Resolution(
                    rule: Int(rule.number), policy: Int(rule.policy), level: RuleLevel(pattern: pattern))
            }
            return nil
        }
    }

    @inline(__always)
    private func flatRule(_ place: Int) -> UnsafePointer<FlatRule> {
        UnsafePointer((flatRules + place &* PolicyTable.flatStep).assumingMemoryBound(to: FlatRule.self))
    }

    /// Whether the rule at this place has the pattern, and the names that the pattern has. The others' lengths are 0.
    @inline(__always)
    private func isRule(
        _ place: Int, _ pattern: Int, _ tenant: UnsafeRawBufferPointer, _ client: UnsafeRawBufferPointer,
        _ action: UnsafeRawBufferPointer
    ) -> Bool {
        let rule = flatRule(place)
        guard Int(rule.pointee.pattern) == pattern else { return false }
        let names = UnsafeRawPointer(rule) + PolicyTable.flatHeader
        let tenantCount = Int(rule.pointee.tenant)
        let clientCount = Int(rule.pointee.client)
        return (pattern & 1 == 0 || PolicyTable.isName(names, tenantCount, tenant))
            && (pattern & 2 == 0 || PolicyTable.isName(names + tenantCount, clientCount, client))
            && (pattern & 4 == 0
                || PolicyTable.isName(names + (tenantCount &+ clientCount), Int(rule.pointee.action), action))
    }

    /// Whether the `count` bytes at `own` are this name: eight at a time where it has as many, the last eight perhaps a
    /// second time.
    @inline(__always)
    private static func isName(_ own: UnsafeRawPointer, _ count: Int, _ name: UnsafeRawBufferPointer) -> Bool {
        guard count == name.count else { return false }
        let other = name.baseAddress ?? emptyKey
        guard count >= 8 else { return bytesAreEqual(own, other, count: count) }
        var offset = 0
        while offset &+ 8 < count {
            guard
                own.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
                    == other.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
            else { return false }
            offset &+= 8
        }
        return own.loadUnaligned(fromByteOffset: count &- 8, as: UInt64.self)
            == other.loadUnaligned(fromByteOffset: count &- 8, as: UInt64.self)
    }

    /// The rule about exactly this subject; nil when there is none. O(names).
    public func rule(for subject: RuleSubject) -> Rule? {
        func hash(_ name: [UInt8]?) -> UInt64 {
            guard let name else { return 0 }
            return name.withUnsafeBytes { seed.hash($0.baseAddress ?? emptyKey, count: $0.count) }
        }
        let pattern = subject.pattern
        let hash = PolicyTable.mixed(
            hash(subject.tenant), hash(subject.client), hash(subject.action), pattern: pattern)
        let found = PolicyTable.find(hash, in: ruleSlots) { rules[Int(flatRule($0).pointee.number)].subject == subject }
        return found.map { rules[Int(flatRule($0).pointee.number)] }
    }

    @inline(__always)
    private func isName(_ span: Span, _ name: UnsafeRawBufferPointer) -> Bool {
        Int(span.count) == name.count
            && bytesAreEqual(bytes + Int(span.start), name.baseAddress ?? emptyKey, count: name.count)
    }
}
