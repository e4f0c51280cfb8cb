// Counts the keys that a sequence of records leaves, for tools that need the number and not the state.
//
// A key is represented by 63 bits of its hash: eight bytes in a table that is at most three quarters full, so about a
// tenth of what an engine needs for the key. Two keys with the same fingerprint are counted as one: with a hundred
// million keys the odds of a single such pair are one in two thousand. The seed is random, so a client cannot choose
// keys that collide.
//
// Owns: the same rules as Restorer, applied to numbers. A removal does not concern tokens; a flush does.

/// Counts keys by database. Not thread-safe.
public struct KeyCensus: Sendable {
    private let horizon: Int64
    private let seed: HashSeed
    /// Indexed by the number of the database.
    private var keys: [FingerprintTable] = []
    private var tokens: [FingerprintTable] = []

    /// The keys of one database.
    public struct Database: Equatable, Sendable {
        /// Its number.
        public let number: Int
        /// Keys whose state is in force.
        public let keys: Int
        /// Keys whose last state has expired: a start drops them.
        public let expired: Int
    }

    /// Counts from nothing.
    ///
    /// - Parameters:
    ///   - horizon: States that expire by this instant count as expired.
    ///   - seed: The hash's seed; random except in tests.
    public init(horizon: EngineTime, seed: HashSeed = HashSeed()) {
        self.horizon = horizon.nanoseconds
        self.seed = seed
    }

    /// The databases that have keys, by number.
    public var databases: [Database] {
        keys.enumerated().filter { $0.element.count > 0 }.map { number, table in
            Database(number: number, keys: table.count - table.marked, expired: table.marked)
        }
    }

    /// Answers to idempotency tokens that are in force.
    public var tokensInForce: Int { tokens.reduce(0) { $0 + $1.count - $1.marked } }

    /// Adds a key's valid state, or replaces the previous one. O(bytes of the key), amortised.
    public mutating func put(_ state: StateView, _ name: KeyName) {
        let hash = seed.hash(name.base, count: name.count)
        let isExpired = state.expiry <= horizon
        let database = name.database(state.kind)
        if state.kind.isHidden {
            KeyCensus.table(database, in: &tokens) { $0.put(hash, isMarked: isExpired) }
        } else {
            KeyCensus.table(database, in: &keys) { $0.put(hash, isMarked: isExpired) }
        }
    }

    /// Removes a key, if there is one.
    public mutating func remove(_ name: KeyName) {
        let database = name.database(nil)
        guard database < keys.count else { return }
        keys[database].remove(seed.hash(name.base, count: name.count))
    }

    /// Removes everything.
    public mutating func removeAll() {
        keys = []
        tokens = []
    }

    /// Removes every key and token of a database.
    public mutating func removeAll(ofDatabase database: UInt8) {
        if Int(database) < keys.count { keys[Int(database)] = FingerprintTable() }
        if Int(database) < tokens.count { tokens[Int(database)] = FingerprintTable() }
    }

    @inline(__always)
    private static func table(
        _ database: Int, in tables: inout [FingerprintTable], _ body: (inout FingerprintTable) -> Void
    ) {
        while tables.count <= database { tables.append(FingerprintTable()) }
        body(&tables[database])
    }
}

/// A set of hashes, each with a mark. Open addressing with linear probing.
struct FingerprintTable: Sendable {
    /// The number of elements, and how many of them are marked.
    private(set) var count = 0
    private(set) var marked = 0
    /// A power of two, or none. The lowest bit of an element is its mark; 0 is a free slot.
    private var slots: [UInt64] = []

    private static let slotsMin = 16

    /// Adds a hash, or replaces its mark.
    mutating func put(_ hash: UInt64, isMarked: Bool) {
        if (count + 1) * 4 > slots.count * 3 { grow() }
        let element = FingerprintTable.element(hash) | (isMarked ? 1 : 0)
        let slot = find(element)
        if slots[slot] == 0 { count += 1 } else if slots[slot] & 1 != 0 { marked -= 1 }
        if isMarked { marked += 1 }
        slots[slot] = element
    }

    /// Removes a hash, if it is there. Elements after the gap that would not be found any more move into it.
    mutating func remove(_ hash: UInt64) {
        guard count > 0 else { return }
        var gap = find(FingerprintTable.element(hash))
        guard slots[gap] != 0 else { return }
        count -= 1
        if slots[gap] & 1 != 0 { marked -= 1 }
        let mask = slots.count - 1
        var next = (gap + 1) & mask
        while slots[next] != 0 {
            if (next &- home(slots[next])) & mask >= (next &- gap) & mask {
                slots[gap] = slots[next]
                gap = next
            }
            next = (next + 1) & mask
        }
        slots[gap] = 0
    }

    private static func element(_ hash: UInt64) -> UInt64 { hash > 1 ? hash & ~1 : 2 }

    private func home(_ element: UInt64) -> Int { Int(truncatingIfNeeded: element >> 1) & (slots.count - 1) }

    /// The slot of an element, whatever its mark, or the free slot where it belongs.
    private func find(_ element: UInt64) -> Int {
        let mask = slots.count - 1
        var slot = home(element)
        while slots[slot] != 0, slots[slot] | 1 != element | 1 { slot = (slot + 1) & mask }
        return slot
    }

    private mutating func grow() {
        let old = slots
        slots = Array(repeating: 0, count: max(FingerprintTable.slotsMin, old.count * 2))
        for element in old where element != 0 { slots[find(element)] = element }
    }
}
