// How many keys of a shard have an explicit deadline, the mean of these deadlines, and how many keys never expire.
//
// Provides the numbers of INFO keyspace without a walk: updated when a record enters the index, leaves it, or gets
// another deadline. A limiter expires when it is replenished, so without a deadline it counts as neither.

/// Counts of a shard's keys by how they expire. Hidden keys are not counted.
struct DeadlineTally {
    /// Keys with a deadline.
    private(set) var expiring = 0
    /// Keys that stay until they are removed: counters without a deadline.
    private(set) var persistent = 0
    /// The sum of the deadlines, in nanoseconds: 128 bits, since a few keys would overflow 64.
    private var low: UInt64 = 0
    private var high: UInt64 = 0

    /// The sum of the deadlines, to 53 bits: a mean computed from it is off by less than a microsecond.
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

extension DeadlineTally {
    /// Uncounts all keys of another tally, which are among the keys of this one.
    mutating func subtract(_ other: DeadlineTally) {
        expiring -= other.expiring
        persistent -= other.persistent
        let (rest, borrows) = low.subtractingReportingOverflow(other.low)
        low = rest
        high = high &- other.high &- (borrows ? 1 : 0)
    }
}

extension Shard {
    /// Counts a record that has just entered the index, with its kind and deadline. One test for a limiter without a
    /// deadline.
    @inline(__always)
    mutating func tallyAdded(_ record: Record) {
        guard record.isTallied else { return }
        deadlines.add(record)
        if record.isNumbered { databases.change(record.database) { $0.deadlines.add(record) } }
    }

    /// Uncounts a record that is about to leave the index or lose its deadline.
    @inline(__always)
    mutating func tallyRemoved(_ record: Record) {
        guard record.isTallied else { return }
        deadlines.remove(record)
        if record.isNumbered { databases.change(record.database) { $0.deadlines.remove(record) } }
    }
}

extension Record {
    /// Whether the record affects the tally.
    @inline(__always)
    fileprivate var isTallied: Bool { hasDeadline || rawKind == StateKind.counter.rawValue }
}
