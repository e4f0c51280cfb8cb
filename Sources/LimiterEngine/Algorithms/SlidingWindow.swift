// A sliding window of two counters: the units of the clock-aligned window around now, and those of the window before
// it, weighted by how much of that the last period still covers. Pure arithmetic.
//
//   state   0 expiry   8 period   16 units of the previous window (4 bytes)   20 units of the current one (4 bytes)
//
//     used(now) = current + ⌈previous · (start + period − now) / period⌉      start ≤ now < start + period
//
// It assumes that the previous window's units were spread evenly and rounds up, so it never admits what even spreading
// would not. The start of the current window follows from the expiry, at which used becomes 0 for good: two periods
// after the start, or one if the current window is empty.
//
// A state decays by its own period whatever the limit's period. What is granted under another period carries all units
// still in force into that period's current window. Memory: 24 bytes a key, whatever the limit.

/// The state of a key under a sliding window of two counters.
public struct SlidingWindow: Equatable, Sendable {
    /// Largest number of units of a limit: what a counter can hold.
    public static let unitsMax = Int64(UInt32.max)

    /// Start of the current window in nanoseconds of engine time.
    public var start: Int64
    /// The windows' length in nanoseconds, 1 or more.
    public var period: Int64
    /// Units spent in the window before the current one.
    public var previous: UInt32
    /// Units spent in the current window.
    public var current: UInt32

    /// A state with these fields.
    public init(start: Int64, period: Int64, previous: UInt32, current: UInt32) {
        self.start = start
        self.period = period
        self.previous = previous
        self.current = current
    }

    init(_ state: UnsafeRawPointer) {
        let expiry = state.loadUnaligned(as: Int64.self)
        period = (state + 8).loadUnaligned(as: Int64.self)
        previous = (state + 16).loadUnaligned(as: UInt32.self)
        current = (state + 20).loadUnaligned(as: UInt32.self)
        start = expiry - (current > 0 ? 2 * period : period)
    }

    func store(to state: UnsafeMutableRawPointer) {
        state.storeBytes(of: expiry!, as: Int64.self)
        (state + 8).storeBytes(of: period, as: Int64.self)
        (state + 16).storeBytes(of: previous, as: UInt32.self)
        (state + 20).storeBytes(of: current, as: UInt32.self)
    }

    /// When no units are in force any more; nil when that is not a representable instant.
    public var expiry: Int64? {
        let (length, overflows) = period.multipliedReportingOverflow(by: current > 0 ? 2 : 1)
        let (expiry, expiryOverflows) = start.addingReportingOverflow(length)
        return overflows || expiryOverflows ? nil : expiry
    }

    /// An empty state in the window of `period` around `now`.
    static func empty(period: Int64, now: Int64) -> SlidingWindow {
        SlidingWindow(start: now - now % period, period: period, previous: 0, current: 0)
    }

    /// The same state from the point of view of the window around `now`.
    func advanced(to now: Int64) -> SlidingWindow {
        // Before the current window's start the state is used unchanged: stricter, never laxer.
        guard now >= start else { return self }
        switch (now - start) / period {
        case 0: return self
        case 1: return SlidingWindow(start: start + period, period: period, previous: current, current: 0)
        default: return SlidingWindow.empty(period: period, now: now)
        }
    }

    /// Units in force at `now`, which must lie in the current window or before it.
    public func used(at now: Int64) -> Int64 {
        guard previous > 0 else { return Int64(current) }
        // start + period is at most the expiry of a state that is not empty.
        let left = now < start ? period : start + period - now
        let product = UInt64(left).multipliedFullWidth(by: UInt64(previous))
        let (quotient, remainder) = UInt64(period).dividingFullWidth((product.high, product.low))
        return Int64(current) + Int64(quotient) + (remainder > 0 ? 1 : 0)
    }

    /// Decides one call.
    ///
    /// - Parameters:
    ///   - stored: The key's state; nil is a full limit.
    ///   - now: Engine time in nanoseconds, 0 or more.
    /// - Returns: The state of the limit after the call, and the state to store; the latter is meaningful only when
    ///   something was granted.
    public static func decide(
        _ limit: Limit, _ demand: Demand, stored: SlidingWindow?, now: Int64
    ) -> (decision: LimitDecision, next: SlidingWindow) {
        var window = stored?.advanced(to: now) ?? .empty(period: limit.period, now: now)
        let used = window.used(at: now)
        let room = limit.units - used
        guard let granted = demand.granted(room: room) else {
            return (
                LimitDecision(
                    .denied, limit: limit.capacity, remaining: max(0, room),
                    retryAfter: demand.least <= limit.units ? window.wait(demand.least, limit.units, now: now) : -1,
                    resetAfter: used == 0 ? 0 : window.expiry! - now),
                window
            )
        }
        if granted > 0 {
            if window.period != limit.period {
                window = .empty(period: limit.period, now: now)
                window.current = UInt32(used)
            }
            // The sum is at most the limit, which fits a counter.
            window.current += UInt32(granted)
            guard window.expiry != nil else { return (.failure(.outOfRange), window) }
        }
        return (
            LimitDecision(
                .allowed, granted: granted, limit: limit.capacity, remaining: room - granted,
                resetAfter: used + granted == 0 ? 0 : window.expiry! - now),
            window
        )
    }

    /// Nanoseconds until `units` fit under `limit`, if they do not now; `units` is at most `limit`.
    private func wait(_ units: Int64, _ limit: Int64, now: Int64) -> Int64 {
        let room = limit - units - Int64(current)
        if room >= 0 {
            // The previous window has to decay to `room` or less, at the latest when it is over.
            return start + period - share(room, of: previous) - now
        }
        // Units of the current window decay during the next one.
        return start + 2 * period - share(limit - units, of: current) - now
    }

    /// ⌊period · part / whole⌋; `part` is at most `whole`.
    private func share(_ part: Int64, of whole: UInt32) -> Int64 {
        let product = UInt64(period).multipliedFullWidth(by: UInt64(part))
        return Int64(UInt64(whole).dividingFullWidth((product.high, product.low)).quotient)
    }

    /// Refunds units, most recent first. Returns nil when nothing is in force any more: the limit is full.
    ///
    /// - Precondition: Advanced to now.
    func refunding(_ units: Int64) -> SlidingWindow? {
        var window = self
        let recent = min(units, Int64(current))
        window.current -= UInt32(recent)
        window.previous -= UInt32(min(units - recent, Int64(previous)))
        return window.current > 0 || window.previous > 0 ? window : nil
    }
}

// MARK: - Witness

extension SlidingWindow: LimiterWitness {
    static var kind: StateKind { .slidingWindow }
    static var name: StaticString { "sliding-window" }
    static var summary: StaticString { "the current window plus a decaying share of the previous one" }
    static var fixedSize: Int? { 24 }
    static var limitMax: Int64? { unitsMax }

    /// Guarantees that no sum in this file overflows.
    static func isValid(_ bytes: UnsafeRawBufferPointer) -> Bool {
        let state = bytes.baseAddress!
        let expiry = state.loadUnaligned(as: Int64.self)
        let period = (state + 8).loadUnaligned(as: Int64.self)
        let previous = (state + 16).loadUnaligned(as: UInt32.self)
        let current = (state + 20).loadUnaligned(as: UInt32.self)
        guard period >= 1, expiry >= 0, previous > 0 || current > 0 else { return false }
        guard current > 0 else { return expiry >= period }
        return period <= Int64.max / 2 && expiry >= 2 * period
    }

    static func moveBack(_ state: UnsafeMutableRawPointer, by duration: Int64) {
        var window = SlidingWindow(state)
        window.start = StateView.movedBack(window.start, by: duration)
        window.store(to: state)
    }

    static func decide(
        _ limit: Limit, _ demand: Demand, state: UnsafeMutableRawPointer?, now: Int64
    ) -> (decision: LimitDecision, next: SlidingWindow) {
        decide(limit, demand, stored: state.map { SlidingWindow($0) }, now: now)
    }

    static func store(
        _ next: SlidingWindow, granted: Int64, to state: UnsafeMutableRawPointer, isNew: Bool, now: Int64
    ) {
        next.store(to: state)
    }

    static func unitsInForce(_ state: UnsafeMutableRawPointer, against limit: Limit, now: Int64) -> Int64? {
        SlidingWindow(state).advanced(to: now).used(at: now)
    }

    /// The units in force, reduced by the refund: units that have decayed are not given back a second time.
    static func refund(
        _ units: Int64, _ state: UnsafeMutableRawPointer, _ limit: Limit, now: Int64
    ) -> (units: Int64, isFull: Bool) {
        let window = SlidingWindow(state).advanced(to: now)
        let next = window.refunding(units)
        let given = window.used(at: now) - (next?.used(at: now) ?? 0)
        if given > 0 { next?.store(to: state) }
        return (given, next == nil)
    }

    static func carry(
        _ units: Int64, _ limit: Limit, now: Int64, to memory: UnsafeMutableRawPointer
    ) -> LimitDecision.Outcome {
        var window = empty(period: limit.period, now: now)
        window.current = UInt32(units)
        guard window.expiry != nil else { return .outOfRange }
        window.store(to: memory)
        return .allowed
    }
}
