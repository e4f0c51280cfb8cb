// The policies at one instant: immutable, and shared by all tables until a policy changes.
//
// Flat memory, so that a lookup allocates nothing and touches no reference counts: `slots` are NameSlots, in which a
// policy's number is its position; names follow each other in `bytes`.

/// An immutable set of policies.
///
/// `@unchecked Sendable`: its memory is written only in `init`, and freed in `deinit`.
final class PolicySet: @unchecked Sendable {
    /// Sorted by name in byte order. A policy's number is its position.
    let policies: [Policy]
    /// Shared by all sets of an engine.
    let series: PolicySeries

    private struct Span {
        var start: Int32
        var count: Int32
    }

    private let seed: HashSeed
    private let terms: UnsafeMutablePointer<PolicyTable.Terms>
    private let names: UnsafeMutablePointer<Span>
    private let slots: NameSlots
    private let bytes: UnsafeMutablePointer<UInt8>

    /// O(policies).
    init(_ policies: some Collection<Policy>, seed: HashSeed, series: PolicySeries = PolicySeries()) {
        self.policies = policies.sorted { $0.name.lexicographicallyPrecedes($1.name) }
        self.series = series
        self.seed = seed
        terms = .allocate(capacity: max(1, policies.count))
        names = .allocate(capacity: max(1, policies.count))
        slots = NameSlots(for: policies.count)
        bytes = .allocate(capacity: max(1, policies.reduce(0) { $0 + $1.name.count }))
        var end = 0
        for (number, policy) in self.policies.enumerated() {
            (terms + number).initialize(
                to: PolicyTable.Terms(
                    limit: policy.limit, mode: policy.mode, series: series.number(of: policy.name)))
            // Names are short and the number of policies is bounded, so positions fit 32 bits.
            (names + number).initialize(to: Span(start: Int32(end), count: Int32(policy.name.count)))
            (bytes + end).initialize(from: policy.name, count: policy.name.count)
            slots.insert(number, hash: seed.hash(bytes + end, count: policy.name.count))
            end += policy.name.count
        }
    }

    deinit {
        terms.deallocate()
        names.deallocate()
        slots.deallocate()
        bytes.deallocate()
    }

    /// The number of the policy of this name. O(name).
    func number(of name: UnsafeRawBufferPointer) -> Int? {
        let base = name.baseAddress ?? emptyKey
        return slots.find(seed.hash(base, count: name.count)) {
            Int(names[$0].count) == name.count
                && bytesAreEqual(bytes + Int(names[$0].start), base, count: name.count)
        }
    }

    /// The name of the policy with this number, borrowed. O(1).
    func name(_ number: Int) -> UnsafeBufferPointer<UInt8> {
        precondition(number >= 0 && number < policies.count)
        return UnsafeBufferPointer(start: bytes + Int(names[number].start), count: Int(names[number].count))
    }

    /// The terms of the policy with this number, in place. O(1), without touching its name.
    @inline(__always)
    func terms(_ number: Int) -> UnsafePointer<PolicyTable.Terms> {
        precondition(number >= 0 && number < policies.count)
        return UnsafePointer(terms + number)
    }
}

/// Numbers by hash, in open addressing; the caller compares what they stand for.
///
///   at most one slot in two is used: 63‥32 high half of the hash, 31‥0 the number + 1; 0 unused
///
/// A view: its creator frees it.
struct NameSlots {
    private let base: UnsafeMutablePointer<UInt64>
    private let mask: Int

    /// Room for `count` numbers, all unused.
    init(for count: Int) {
        var capacity = 2
        while capacity < 2 * count { capacity *= 2 }
        base = .allocate(capacity: capacity)
        base.initialize(repeating: 0, count: capacity)
        mask = capacity - 1
    }

    func deallocate() { base.deallocate() }

    func insert(_ number: Int, hash: UInt64) {
        var slot = Int(truncatingIfNeeded: hash) & mask
        while base[slot] != 0 { slot = (slot + 1) & mask }
        base[slot] = (hash & ~0xFFFF_FFFF) | UInt64(number + 1)
    }

    /// The first slot of a lookup of this hash.
    @inline(__always)
    func home(_ hash: UInt64) -> UnsafeMutablePointer<UInt64> { base + (Int(truncatingIfNeeded: hash) & mask) }

    /// The number with this hash for which `matches` is true.
    @inline(__always)
    func find(_ hash: UInt64, where matches: (Int) -> Bool) -> Int? {
        var slot = Int(truncatingIfNeeded: hash) & mask
        while base[slot] != 0 {
            let entry = base[slot]
            let number = Int(entry & 0xFFFF_FFFF) - 1
            if entry >> 32 == hash >> 32, matches(number) { return number }
            slot = (slot + 1) & mask
        }
        return nil
    }
}
