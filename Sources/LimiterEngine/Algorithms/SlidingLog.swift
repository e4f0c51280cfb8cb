// A sliding log: every grant is kept for exactly one period, so no span of that length contains more than the limit. A
// borrowed view of the state's bytes, and the decision over it.
//
//   state    0 expiry: when the newest grant ends             8
//            8 capacity: number of grants it has room for     2   1 … 4096
//           10 position of the oldest grant in the ring        2
//           12 grants in the ring                              2
//           14 units of all of them                            2   … 4096
//           16 ring: per grant 8 bytes for its end, 2 bytes for its units       10 · capacity
//
// Invariants: (1) Instants in the ring never decrease from oldest to newest; the newest is the expiry. (2) Every grant
// has at least one unit, and the units' sum is stored. (3) Unused places of the ring are zero.
//
// A grant is kept until the instant its own limit promised, whatever limits come later; one granted under a shorter
// period waits for those before it. Memory: 16 bytes a key and 10 for each place in the ring, which doubles as it fills
// up: at most 16 + 10 · limit, so 40 KiB for the largest possible log. Grants with the same end share a place.

/// A key's sliding log, borrowed: valid while its bytes are.
public struct SlidingLog {
    /// Largest number of units of a limit, and therefore of grants in a log.
    public static let unitsMax: Int64 = 4096

    static let headerSize = 16
    static let grantSize = 10

    private let state: UnsafeMutableRawPointer

    init(_ state: UnsafeMutableRawPointer) { self.state = state }

    static func byteCount(capacity: Int) -> Int { headerSize + grantSize * capacity }
    static func capacity(byteCount: Int) -> Int { (byteCount - headerSize) / grantSize }

    /// An empty ring, all zero. The first grant sets the expiry.
    func initialize(capacity: Int) {
        assert(capacity >= 1 && capacity <= SlidingLog.unitsMax)
        state.initializeMemory(as: UInt8.self, repeating: 0, count: SlidingLog.byteCount(capacity: capacity))
        setField(8, capacity)
    }

    /// When all grants have ended, in nanoseconds of engine time.
    private(set) var expiry: Int64 {
        get { state.loadUnaligned(as: Int64.self) }
        nonmutating set { state.storeBytes(of: newValue, as: Int64.self) }
    }
    var capacity: Int { field(8) }
    private(set) var head: Int {
        get { field(10) }
        nonmutating set { setField(10, newValue) }
    }
    /// Grants held, including ended ones until a new one is added.
    private(set) var count: Int {
        get { field(12) }
        nonmutating set { setField(12, newValue) }
    }
    private(set) var units: Int64 {
        get { Int64(field(14)) }
        nonmutating set { setField(14, Int(newValue)) }
    }
    var byteCount: Int { SlidingLog.byteCount(capacity: capacity) }

    struct Grant {
        /// When it stops counting.
        var end: Int64
        var units: Int64
    }

    /// The grant at this position from the oldest.
    func grant(_ position: Int) -> Grant {
        let place = place(position)
        return Grant(
            end: place.loadUnaligned(as: Int64.self), units: Int64((place + 8).loadUnaligned(as: UInt16.self)))
    }

    private func setGrant(_ position: Int, _ grant: Grant) {
        let place = place(position)
        place.storeBytes(of: grant.end, as: Int64.self)
        (place + 8).storeBytes(of: UInt16(grant.units), as: UInt16.self)
    }

    private func place(_ position: Int) -> UnsafeMutableRawPointer {
        assert(position >= 0 && position < capacity)
        let slot = head + position
        return state + SlidingLog.headerSize + (slot < capacity ? slot : slot - capacity) * SlidingLog.grantSize
    }

    private func field(_ offset: Int) -> Int { Int((state + offset).loadUnaligned(as: UInt16.self)) }

    private func setField(_ offset: Int, _ value: Int) {
        (state + offset).storeBytes(of: UInt16(value), as: UInt16.self)
    }

    // MARK: Deciding

    /// The grants in force at an instant.
    struct Load {
        /// Ended grants at the ring's beginning.
        var ended: Int
        /// Units of all others.
        var used: Int64
    }

    /// O(ended grants).
    func load(at now: Int64) -> Load {
        var load = Load(ended: 0, used: units)
        while load.ended < count {
            let oldest = grant(load.ended)
            guard oldest.end <= now else { break }
            load.used -= oldest.units
            load.ended += 1
        }
        return load
    }

    /// Decides one call without changing anything. O(grants visited): the ended ones, and for a denied call those it
    /// waits for.
    ///
    /// - Parameters:
    ///   - log: The key's state; nil is a full limit.
    ///   - now: Engine time in nanoseconds, 0 or more.
    /// - Returns: The state of the limit after the call, and until when its grant counts.
    static func decide(
        _ limit: Limit, _ demand: Demand, log: SlidingLog?, now: Int64
    ) -> (decision: LimitDecision, end: Int64) {
        let load = log?.load(at: now) ?? Load(ended: 0, used: 0)
        let room = limit.units - load.used
        // If anything is in force, the newest grant is.
        let left = load.used > 0 ? log!.expiry - now : 0
        guard let granted = demand.granted(room: room) else {
            let isEver = demand.least <= limit.units
            return (
                LimitDecision(
                    .denied, limit: limit.capacity, remaining: max(0, room),
                    retryAfter: isEver ? log!.wait(demand.least - room, from: load.ended, now: now) : -1,
                    resetAfter: left),
                now
            )
        }
        guard granted > 0 else {
            return (
                LimitDecision(.allowed, limit: limit.capacity, remaining: room, resetAfter: left), now
            )
        }
        let (ownEnd, overflows) = now.addingReportingOverflow(limit.period)
        guard !overflows else { return (.failure(.outOfRange), now) }
        let end = load.used > 0 ? max(ownEnd, log!.expiry) : ownEnd
        return (
            LimitDecision(
                .allowed, granted: granted, limit: limit.capacity, remaining: room - granted, resetAfter: end - now),
            end
        )
    }

    /// Nanoseconds until this many units, which are held, have ended.
    private func wait(_ units: Int64, from first: Int, now: Int64) -> Int64 {
        var missing = units
        var position = first
        while true {
            let oldest = grant(position)
            missing -= oldest.units
            if missing <= 0 { return oldest.end - now }
            position += 1
        }
    }

    // MARK: Changing

    /// The capacity a ring needs to hold another grant besides those in force; the current one when there is room.
    /// Grants in force have at least one unit each, so a ring of `limit` places is never too small.
    func capacityNeeded(ended: Int, end: Int64, limit: Int64) -> Int {
        let kept = count - ended
        // A grant with the same end as the newest one shares its place.
        if kept < capacity || expiry == end { return capacity }
        return min(capacity * 2, Int(limit))
    }

    /// Drops the oldest grants.
    func dropFirst(_ ended: Int) {
        for _ in 0..<ended {
            units -= grant(0).units
            setGrant(0, Grant(end: 0, units: 0))
            head = head + 1 < capacity ? head + 1 : 0
            count -= 1
        }
    }

    /// Adds a grant that counts until `end`, no earlier than the newest. There must be room.
    func append(_ granted: Int64, until end: Int64) {
        assert(granted > 0 && units + granted <= SlidingLog.unitsMax)
        if count > 0, expiry == end {
            let newest = grant(count - 1)
            setGrant(count - 1, Grant(end: end, units: newest.units + granted))
        } else {
            assert(count < capacity && (count == 0 || end >= expiry))
            count += 1
            setGrant(count - 1, Grant(end: end, units: granted))
            expiry = end
        }
        units += granted
    }

    /// Refunds up to `given` units, most recent grants first. The log may be empty afterwards: a full limit.
    func refund(_ given: Int64) {
        var left = given
        while left > 0, count > 0 {
            let newest = grant(count - 1)
            let part = min(left, newest.units)
            units -= part
            left -= part
            guard part == newest.units else {
                setGrant(count - 1, Grant(end: newest.end, units: newest.units - part))
                return
            }
            setGrant(count - 1, Grant(end: 0, units: 0))
            count -= 1
            if count > 0 { expiry = grant(count - 1).end }
        }
    }

    /// Moves the end of every grant back by `duration`.
    func moveBack(by duration: Int64) {
        for position in 0..<count {
            let grant = grant(position)
            setGrant(position, Grant(end: StateView.movedBack(grant.end, by: duration), units: grant.units))
        }
        expiry = StateView.movedBack(expiry, by: duration)
    }

    /// Copies every grant into an empty ring with room for them.
    func copy(to other: SlidingLog) {
        for position in 0..<count {
            other.count += 1
            other.setGrant(position, grant(position))
        }
        other.units = units
        other.expiry = expiry
    }

}

// MARK: - Witness

extension SlidingLog: LimiterWitness {
    static var kind: StateKind { .slidingLog }
    static var name: StaticString { "sliding-log" }
    static var summary: StaticString { "an exact quota for any span of one period" }
    static var fixedSize: Int? { nil }
    static var initialSize: Int { byteCount(capacity: 1) }
    static var sizeMax: Int { byteCount(capacity: Int(unitsMax)) }
    static var limitMax: Int64? { unitsMax }

    static func byteCount(_ state: UnsafeMutableRawPointer) -> Int { SlidingLog(state).byteCount }

    static func initialize(_ state: UnsafeMutableRawPointer, byteCount: Int) {
        SlidingLog(state).initialize(capacity: capacity(byteCount: byteCount))
    }

    static func moveBack(_ state: UnsafeMutableRawPointer, by duration: Int64) {
        SlidingLog(state).moveBack(by: duration)
    }

    static func decide(
        _ limit: Limit, _ demand: Demand, state: UnsafeMutableRawPointer?, now: Int64
    ) -> (decision: LimitDecision, next: Int64) {
        let (decision, end) = decide(limit, demand, log: state.map { SlidingLog($0) }, now: now)
        return (decision, end)
    }

    static func sizeNeeded(_ end: Int64, _ state: UnsafeMutableRawPointer, _ limit: Limit, now: Int64) -> Int {
        let log = SlidingLog(state)
        return byteCount(
            capacity: log.capacityNeeded(ended: log.load(at: now).ended, end: end, limit: limit.units))
    }

    static func copy(_ state: UnsafeMutableRawPointer, to larger: UnsafeMutableRawPointer) {
        SlidingLog(state).copy(to: SlidingLog(larger))
    }

    static func store(_ end: Int64, granted: Int64, to state: UnsafeMutableRawPointer, isNew: Bool, now: Int64) {
        let log = SlidingLog(state)
        if !isNew { log.dropFirst(log.load(at: now).ended) }
        log.append(granted, until: end)
    }

    static func growthMax(_ state: UnsafeMutableRawPointer) -> Int {
        let log = SlidingLog(state)
        return log.count < log.capacity ? 0 : grantSize * log.capacity
    }

    static func unitsInForce(_ state: UnsafeMutableRawPointer, against limit: Limit, now: Int64) -> Int64? {
        SlidingLog(state).load(at: now).used
    }

    static func refund(
        _ units: Int64, _ state: UnsafeMutableRawPointer, _ limit: Limit, now: Int64
    ) -> (units: Int64, isFull: Bool) {
        let log = SlidingLog(state)
        let load = log.load(at: now)
        let given = min(units, load.used)
        guard given > 0 else { return (0, false) }
        log.dropFirst(load.ended)
        log.refund(given)
        return (given, log.count == 0)
    }

    static func carry(
        _ units: Int64, _ limit: Limit, now: Int64, to memory: UnsafeMutableRawPointer
    ) -> LimitDecision.Outcome {
        let (end, overflows) = now.addingReportingOverflow(limit.period)
        guard !overflows else { return .outOfRange }
        SlidingLog(memory).append(units, until: end)
        return .allowed
    }

    /// O(bytes); reads nothing beyond them.
    static func isValid(_ bytes: UnsafeRawBufferPointer) -> Bool {
        guard bytes.count >= headerSize, let base = bytes.baseAddress else { return false }
        // Never written through: the view uses one pointer type for both.
        let log = SlidingLog(UnsafeMutableRawPointer(mutating: base))
        guard log.capacity >= 1, log.capacity <= unitsMax, bytes.count == log.byteCount, log.head < log.capacity,
            log.count >= 1, log.count <= log.capacity
        else { return false }
        var sum: Int64 = 0
        var last: Int64 = 0
        for position in 0..<log.count {
            let grant = log.grant(position)
            guard grant.end >= last, grant.units >= 1 else { return false }
            last = grant.end
            sum += grant.units
        }
        for position in log.count..<log.capacity {
            let unused = log.grant(position)
            guard unused.end == 0, unused.units == 0 else { return false }
        }
        return sum == log.units && sum <= unitsMax && last == log.expiry
    }
}
