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

    /// How the call ended. The numbers are 0 unless it is `allowed` or `denied`.
    public var outcome: Outcome
    /// The key's kind where that was the wrong one.
    public var foundKind: StateKind?
    /// Units left, 0 … limit.
    public var remaining: Int64
    /// Nanoseconds until the same call would be allowed; -1 when it was, or never will be.
    public var retryAfter: Int64
    /// Nanoseconds until the limiter is full again, 0 or more.
    public var resetAfter: Int64

    /// A decision with these fields.
    @inlinable
    public init(
        outcome: Outcome, foundKind: StateKind? = nil, remaining: Int64 = 0, retryAfter: Int64 = 0,
        resetAfter: Int64 = 0
    ) {
        self.outcome = outcome
        self.foundKind = foundKind
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

    /// Decides one call at a limit: the same formula for any part of a cost, with one division.
    ///
    /// - Parameters:
    ///   - arrivalTime: The stored TAT in nanoseconds; anything up to `now` counts as now, so an absent key is 0.
    ///   - now: Engine time in nanoseconds, 0 or more.
    /// - Returns: The decision as after the call, and the TAT to store; meaningful only when something was granted.
    public static func decide(
        _ limit: Limit, _ demand: Demand, arrivalTime: Int64, now: Int64
    ) -> (decision: LimitDecision, newArrivalTime: Int64) {
        var decision = LimitDecision(.denied)
        let next = withUnsafePointer(to: limit) {
            decide($0, demand, arrivalTime: arrivalTime, now: now, to: &decision)
        }
        return (decision, next)
    }

    /// As above, over a limit in place and with the answer written in place: both are long, and copying them took
    /// longer than deciding.
    ///
    /// - Returns: The TAT to store; meaningful only when something was granted.
    @inline(__always)
    static func decide(
        _ limit: UnsafePointer<Limit>, _ demand: Demand, arrivalTime: Int64, now: Int64,
        to decision: UnsafeMutablePointer<LimitDecision>
    ) -> Int64 {
        let ahead = max(arrivalTime, now) &- now
        let tolerance = limit.pointee.tolerance(at: now, ahead: ahead)
        let room = ahead <= tolerance ? (tolerance - ahead) / limit.pointee.emissionInterval : -1
        guard let granted = demand.granted(room: room) else {
            let wait = wait(limit, demand.least, ahead: ahead, tolerance: tolerance, now: now)
            decision.pointee.set(
                .denied, granted: 0, limit: limit.pointee.capacity, remaining: max(0, room), retryAfter: wait,
                resetAfter: ahead)
            return arrivalTime
        }
        // What is granted fits the tolerance, so neither product nor sum overflows; the sum with now may.
        let aheadIfTaken = ahead + granted * limit.pointee.emissionInterval
        let (newArrivalTime, overflows) = now.addingReportingOverflow(aheadIfTaken)
        guard !overflows else {
            decision.pointee = .failure(.outOfRange)
            return arrivalTime
        }
        decision.pointee.set(
            .allowed, granted: granted, limit: limit.pointee.capacity, remaining: room - granted, retryAfter: -1,
            resetAfter: aheadIfTaken)
        if now < limit.pointee.cappedUntil, ahead == 0, granted > 0 {
            // From here on it has a debt, which an earlier limit may bound.
            let left = limit.pointee.tolerance(at: now, ahead: aheadIfTaken) - aheadIfTaken
            decision.pointee.remaining = max(0, left) / limit.pointee.emissionInterval
        }
        return newArrivalTime
    }

    /// Nanoseconds until `units` fit; -1 when they never do.
    private static func wait(
        _ limit: UnsafePointer<Limit>, _ units: Int64, ahead: Int64, tolerance: Int64, now: Int64
    ) -> Int64 {
        let limit = limit.pointee
        guard units <= limit.capacity else { return -1 }
        // At most the limit's own tolerance.
        let cost = units * limit.emissionInterval
        let aheadIfTaken = UInt64(ahead) &+ UInt64(cost)
        let free = clamped(aheadIfTaken &- UInt64(limit.tolerance))
        guard tolerance < limit.tolerance else { return free }
        // Under a cap the wait ends as soon as the cap allows, when the cap is gone, or when there is no debt left.
        let capEnds = max(limit.cappedUntil - now, aheadIfTaken > UInt64(limit.tolerance) ? free : 0)
        let allowed = cost <= tolerance ? min(clamped(aheadIfTaken &- UInt64(tolerance)), capEnds) : capEnds
        return min(allowed, ahead)
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
