// The generic cell rate algorithm, in whole nanoseconds. Pure arithmetic: no table, no clock, no memory.
//
// One number is a limiter's whole state: the theoretical arrival time (TAT), the instant at which the limiter is full
// again. With emission interval E (the time one unit costs) and a limit of L units from full:
//
//     tolerance = E·L            the longest the TAT may lie ahead of now
//     ahead     = max(now, TAT) − now
//     allowed  ⇔ ahead + E·quantity ≤ tolerance;   then TAT = now + ahead + E·quantity
//
// Everything is computed relative to now and as 64-bit unsigned sums of two non-negative signed numbers, which cannot
// overflow. The products are checked where the parameters come in, so nothing in `decide` can trap on client input.

/// Why a set of limiter parameters is no limiter.
public enum ThrottleParameterError: Error, Equatable, Sendable {
    /// The named parameter is below zero.
    case negative(StaticParameter)
    /// No rate at all: count or period is 0, or a unit would cost less than a nanosecond.
    case zeroRate
    /// A product of the parameters does not fit 64 bits.
    case outOfRange

    /// The parameters of CL.THROTTLE by name.
    public enum StaticParameter: String, Sendable {
        case maxBurst = "max_burst"
        case count
        case period
        case quantity
    }
}

/// A rate limit and one call's cost, checked and multiplied out.
@frozen
public struct ThrottleParameters: Sendable {
    /// E: nanoseconds one unit costs, 1 or more.
    public var emissionInterval: Int64
    /// L: units from full, 1 or more.
    public var limit: Int64
    /// E·L in nanoseconds.
    public var tolerance: Int64
    /// E·quantity in nanoseconds; 0 asks without taking.
    public var cost: Int64

    /// A limiter that allows nothing to be decided; a place to write a real one into.
    @inlinable
    public init() {
        emissionInterval = 1
        limit = 1
        tolerance = 1
        cost = 0
    }

    /// Checks and multiplies out `count` units per `period` seconds with `maxBurst` units on top of the first.
    ///
    /// - Returns: nil when the parameters are now those, else why not; then they are unchanged.
    public mutating func set(
        maxBurst: Int64, count: Int64, period: Int64, quantity: Int64
    ) -> ThrottleParameterError? {
        if maxBurst | count | period | quantity < 0 {
            if maxBurst < 0 { return .negative(.maxBurst) }
            if count < 0 { return .negative(.count) }
            if period < 0 { return .negative(.period) }
            return .negative(.quantity)
        }
        guard count > 0, period > 0 else { return .zeroRate }
        let (nanoseconds, periodOverflows) = period.multipliedReportingOverflow(by: 1_000_000_000)
        guard !periodOverflows else { return .outOfRange }
        let emission = nanoseconds / count
        guard emission > 0 else { return .zeroRate }
        let (limit, limitOverflows) = maxBurst.addingReportingOverflow(1)
        let (tolerance, toleranceOverflows) = emission.multipliedReportingOverflow(by: limit)
        let (cost, costOverflows) = emission.multipliedReportingOverflow(by: quantity)
        guard !limitOverflows, !toleranceOverflows, !costOverflows else { return .outOfRange }
        emissionInterval = emission
        self.limit = limit
        self.tolerance = tolerance
        self.cost = cost
        return nil
    }
}

/// What a limiter answered.
@frozen
public struct ThrottleDecision: Equatable, Sendable {
    /// How the call ended.
    @frozen
    public enum Outcome: UInt8, Sendable {
        /// Taken, or asked for nothing and not over the limit.
        case allowed
        /// Refused; nothing changed.
        case denied
        /// The key holds another kind of state; nothing changed.
        case wrongKind
        /// A new key would not fit the memory limit; nothing changed.
        case outOfMemory
        /// The TAT would lie behind the last representable instant; nothing changed.
        case outOfRange
    }

    /// How the call ended. The other fields are 0 unless it is `allowed` or `denied`.
    public var outcome: Outcome
    /// Units left, 0 … limit.
    public var remaining: Int64
    /// Nanoseconds until the same call would be allowed; -1 when it was, or never will be.
    public var retryAfter: Int64
    /// Nanoseconds until the limiter is full again, 0 or more.
    public var resetAfter: Int64

    /// A decision with these fields.
    @inlinable
    public init(outcome: Outcome, remaining: Int64 = 0, retryAfter: Int64 = 0, resetAfter: Int64 = 0) {
        self.outcome = outcome
        self.remaining = remaining
        self.retryAfter = retryAfter
        self.resetAfter = resetAfter
    }
}

/// The formula itself.
public enum GCRA {
    /// Decides one call.
    ///
    /// - Parameters:
    ///   - parameters: The limit and the cost of this call.
    ///   - arrivalTime: The stored TAT in nanoseconds; anything up to `now` counts as now, so an absent key is 0.
    ///   - now: Engine time in nanoseconds, 0 or more.
    /// - Returns: The decision, and the TAT to store; meaningful only when the call was allowed and cost something.
    @inline(__always)
    public static func decide(
        _ parameters: ThrottleParameters, arrivalTime: Int64, now: Int64
    ) -> (decision: ThrottleDecision, newArrivalTime: Int64) {
        let ahead = UInt64(bitPattern: max(arrivalTime, now) &- now)
        let tolerance = UInt64(bitPattern: parameters.tolerance)
        let cost = UInt64(bitPattern: parameters.cost)
        let aheadIfTaken = ahead &+ cost
        guard aheadIfTaken <= tolerance else {
            let never = cost > tolerance
            return (
                ThrottleDecision(
                    outcome: .denied, remaining: remaining(parameters, ahead: ahead),
                    retryAfter: never ? -1 : clamped(aheadIfTaken &- tolerance),
                    resetAfter: Int64(bitPattern: ahead)),
                arrivalTime
            )
        }
        // `aheadIfTaken` is at most the tolerance, so it fits a signed number; the sum with now may not.
        let (newArrivalTime, overflows) = now.addingReportingOverflow(Int64(bitPattern: aheadIfTaken))
        guard !overflows else { return (ThrottleDecision(outcome: .outOfRange), arrivalTime) }
        return (
            ThrottleDecision(
                outcome: .allowed, remaining: remaining(parameters, ahead: aheadIfTaken), retryAfter: -1,
                resetAfter: Int64(bitPattern: aheadIfTaken)),
            newArrivalTime
        )
    }

    /// ⌊(tolerance − ahead) / E⌋, not below 0. Never above the limit, since tolerance is E·limit.
    @inline(__always)
    private static func remaining(_ parameters: ThrottleParameters, ahead: UInt64) -> Int64 {
        let tolerance = UInt64(bitPattern: parameters.tolerance)
        guard ahead < tolerance else { return 0 }
        return Int64(bitPattern: (tolerance &- ahead) / UInt64(bitPattern: parameters.emissionInterval))
    }

    /// A wait longer than 292 years is that long.
    @inline(__always)
    private static func clamped(_ nanoseconds: UInt64) -> Int64 {
        nanoseconds > UInt64(Int64.max) ? Int64.max : Int64(bitPattern: nanoseconds)
    }
}
