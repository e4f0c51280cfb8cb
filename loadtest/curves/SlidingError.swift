// How far `sliding-window` deviates from `sliding-log`: both decide the same calls. Also the most that the former
// admits.

public import LimiterEngine

/// The decisions of both algorithms for one traffic under one limit.
public struct SlidingError: Equatable, Sendable {
    /// Units per period.
    public let units: Int64
    /// Calls made.
    public var calls = 0
    /// Calls that the log granted.
    public var grantedByLog = 0
    /// Calls that the window granted.
    public var granted = 0
    /// Calls that the window granted and the log denied.
    public var over = 0
    /// Calls that the window denied and the log granted.
    public var under = 0
    /// The most that the window granted in any span of one period.
    public var most = 0

    /// Sends the traffic to both. O(calls).
    public static func measure(_ calls: [Int64], units: Int64, period: Int64) throws(LimitError) -> SlidingError {
        let window = try Meter(.slidingWindow, units: units, period: period)
        let log = try Meter(.slidingLog, units: units, period: period)
        var error = SlidingError(units: units)
        var grants: [Int64] = []
        for now in calls {
            let isGranted = window.take(at: now)
            let isGrantedByLog = log.take(at: now)
            error.calls += 1
            if isGrantedByLog { error.grantedByLog += 1 }
            if isGranted, !isGrantedByLog { error.over += 1 }
            if !isGranted, isGrantedByLog { error.under += 1 }
            if isGranted { grants.append(now) }
        }
        error.granted = grants.count
        error.most = mostInAnySpan(grants, period: period)
        return error
    }
}
