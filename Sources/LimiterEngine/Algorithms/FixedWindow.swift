// Fixed windows, aligned to the clock: a quota per window. Pure arithmetic.
//
//   state   0 end of the window   8 units spent in it
//
// Window k spans [k·period, (k+1)·period) of local time, which is `offset` ahead of UTC. Around a boundary, two
// windows' quotas may be granted back to back; that is inherent in the algorithm. A state belongs to its window until
// that ends, whatever limit is applied in between: a changed limit sees what was spent, and neither a lower limit nor a
// shorter period gives it back. Memory: 16 bytes a key, whatever the limit.

/// The state of a key under a fixed window.
public struct FixedWindow: Equatable, Sendable {
    /// The window's end in nanoseconds of engine time; at that instant the state expires.
    public var end: Int64
    /// Units spent in the window, 0 or more.
    public var spent: Int64

    /// A state with these fields.
    public init(end: Int64, spent: Int64) {
        self.end = end
        self.spent = spent
    }

    init(_ state: UnsafeRawPointer) {
        end = state.loadUnaligned(as: Int64.self)
        spent = (state + 8).loadUnaligned(as: Int64.self)
    }

    func store(to state: UnsafeMutableRawPointer) {
        state.storeBytes(of: end, as: Int64.self)
        (state + 8).storeBytes(of: spent, as: Int64.self)
    }

    /// The end of the limit's window around `now`; nil when that is not a representable instant.
    public static func end(_ limit: Limit, now: Int64) -> Int64? {
        // Remainders first: the sum of instant and offset might overflow, and may lie before the epoch.
        let shift = limit.offset % limit.period
        let ahead = UInt64(shift < 0 ? shift + limit.period : shift) + UInt64(now % limit.period)
        let elapsed = Int64(ahead % UInt64(limit.period))
        let (end, overflows) = now.addingReportingOverflow(limit.period - elapsed)
        return overflows ? nil : end
    }

    /// Decides one call.
    ///
    /// - Parameters:
    ///   - stored: The key's state; nil, or a state whose window has ended, means a full quota.
    ///   - now: Engine time in nanoseconds, 0 or more.
    /// - Returns: The state of the limit after the call, and the state to store; the latter is meaningful only when
    ///   something was granted.
    public static func decide(
        _ limit: Limit, _ demand: Demand, stored: FixedWindow?, now: Int64
    ) -> (decision: LimitDecision, next: FixedWindow) {
        decide(limit, demand, stored: stored, now: now) { End(end($0, now: $1)) }
    }

    /// When a window ends, or why it cannot open.
    enum End {
        case at(Int64)
        case failed(LimitDecision.Outcome)

        init(_ end: Int64?) { self = end.map { .at($0) } ?? .failed(.outOfRange) }
    }

    /// As above, with `end` computing the window's end when a window opens.
    @inline(__always)
    static func decide(
        _ limit: Limit, _ demand: Demand, stored: FixedWindow?, now: Int64, end: (Limit, Int64) -> End
    ) -> (decision: LimitDecision, next: FixedWindow) {
        let live = stored.flatMap { $0.end > now ? $0 : nil }
        let spent = live?.spent ?? 0
        let room = limit.units - spent
        var window = live ?? FixedWindow(end: now, spent: 0)
        guard let granted = demand.granted(room: room) else {
            let left = window.end - now
            return (
                LimitDecision(
                    .denied, limit: limit.capacity, remaining: max(0, room),
                    retryAfter: demand.least <= limit.units ? left : -1, resetAfter: left),
                window
            )
        }
        if live == nil, granted > 0 {
            switch end(limit, now) {
            case .at(let end): window.end = end
            case .failed(let outcome): return (.failure(outcome), window)
            }
        }
        window.spent += granted
        return (
            LimitDecision(
                .allowed, granted: granted, limit: limit.capacity, remaining: room - granted,
                resetAfter: window.end - now),
            window
        )
    }

}

// MARK: - Witness

extension FixedWindow: LimiterWitness {
    static var kind: StateKind { .fixedWindow }
    static var name: StaticString { "fixed-window" }
    static var summary: StaticString { "a quota per window, aligned to the clock" }
    static var fixedSize: Int? { 16 }
    static var hasOffset: Bool { true }

    static func isValid(_ bytes: UnsafeRawBufferPointer) -> Bool {
        let window = FixedWindow(bytes.baseAddress!)
        return window.end >= 0 && window.spent >= 1
    }

    static func decide(
        _ limit: Limit, _ demand: Demand, state: UnsafeMutableRawPointer?, now: Int64
    ) -> (decision: LimitDecision, next: FixedWindow) {
        decide(limit, demand, stored: state.map { FixedWindow($0) }, now: now)
    }

    static func store(
        _ next: FixedWindow, granted: Int64, to state: UnsafeMutableRawPointer, isNew: Bool, now: Int64
    ) {
        next.store(to: state)
    }

    static func unitsInForce(_ state: UnsafeMutableRawPointer, against limit: Limit, now: Int64) -> Int64? {
        FixedWindow(state).spent
    }

    static func refund(
        _ units: Int64, _ state: UnsafeMutableRawPointer, _ limit: Limit, now: Int64
    ) -> (units: Int64, isFull: Bool) {
        var window = FixedWindow(state)
        let given = window.end > now ? min(units, window.spent) : 0
        guard given > 0 else { return (0, false) }
        window.spent -= given
        guard window.spent > 0 else { return (given, true) }
        window.store(to: state)
        return (given, false)
    }

    static func carry(
        _ units: Int64, _ limit: Limit, now: Int64, to memory: UnsafeMutableRawPointer
    ) -> LimitDecision.Outcome {
        carry(units, to: memory, until: End(end(limit, now: now)))
    }

    /// Writes a window that ends there, unless it cannot.
    static func carry(
        _ units: Int64, to memory: UnsafeMutableRawPointer, until end: End
    ) -> LimitDecision.Outcome {
        switch end {
        case .at(let end):
            FixedWindow(end: end, spent: units).store(to: memory)
            return .allowed
        case .failed(let outcome): return outcome
        }
    }
}
