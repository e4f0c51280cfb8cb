// How many keys of a shard have a deadline that a client set, when these are on average, and how many keys never end.
//
// What INFO keyspace shows without a walk: counted where a record enters the index, leaves it, or gets another
// deadline. A limiter ends when it is replenished, so without a deadline it is neither the one nor the other.

/// Counts of a shard's keys by how they end. Hidden keys are not counted.
struct DeadlineTally {
    /// Keys with a deadline.
    private(set) var expiring = 0
    /// Keys that stay until they are removed: counters without a deadline.
    private(set) var persistent = 0
    /// The sum of the deadlines, in nanoseconds: 128 bits, since a few keys would overflow 64.
    private var low: UInt64 = 0
    private var high: UInt64 = 0

    /// The sum of the deadlines, to 53 bits: a mean made of it is off by less than a microsecond.
    var deadlineSum: Double { Double(high) * 0x1p64 + Double(low) }

    mutating func add(_ record: Record) {
        guard !record.isHidden else { return }
        let deadline = record.deadline
        guard deadline != Int64.max else {
            if record.kind == .counter { persistent += 1 }
            return
        }
        expiring += 1
        let (sum, carries) = low.addingReportingOverflow(UInt64(bitPattern: deadline))
        low = sum
        if carries { high &+= 1 }
    }

    mutating func remove(_ record: Record) {
        guard !record.isHidden else { return }
        let deadline = record.deadline
        guard deadline != Int64.max else {
            if record.kind == .counter { persistent -= 1 }
            return
        }
        expiring -= 1
        let (rest, borrows) = low.subtractingReportingOverflow(UInt64(bitPattern: deadline))
        low = rest
        if borrows { high &-= 1 }
    }
}

extension DeadlineTally: Equatable {}

extension Shard {
    /// Counts a record that has just got its place in the index, with its kind and deadline. One test for a limiter
    /// without a deadline.
    @inline(__always)
    mutating func tallyAdded(_ record: Record) {
        if record.isTallied { deadlines.add(record) }
    }

    /// Takes a record out of the count that is about to lose its place in the index, or its deadline.
    @inline(__always)
    mutating func tallyRemoved(_ record: Record) {
        if record.isTallied { deadlines.remove(record) }
    }
}

extension Record {
    /// Whether the tally has to look at the record.
    @inline(__always)
    fileprivate var isTallied: Bool { hasDeadline || rawKind == StateKind.counter.rawValue }
}
