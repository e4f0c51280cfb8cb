// The generic cell rate algorithm, in whole nanoseconds. Pure arithmetic: no table, no clock, no memory.
//
// One number is a limiter's whole state: the theoretical arrival time (TAT), the instant at which the limiter is fully
// replenished. With emission interval E (the time one unit costs) and a burst of B units from full:
//
//     tolerance = E·B            the furthest the TAT may be ahead of now
//     ahead     = max(now, TAT) − now
//     room      = ⌊(tolerance − ahead) / E⌋
//     allowed  ⇔ units ≤ room;   then TAT = now + ahead + E·units
//
// Everything is computed relative to now. The products are checked when the parameters are set, so nothing in `decide`
// can trap on client input. CL.THROTTLE is a limit with a burst of max_burst + 1.

/// Why CL.THROTTLE's parameters do not form a limit.
public enum ThrottleParameterError: Error, Equatable, Sendable {
    /// The named parameter is below zero.
    case negative(Parameter)
    /// Not a rate: count or period is 0, or a unit costs less than a nanosecond.
    case zeroRate
    /// A product of the parameters does not fit 64 bits.
    case outOfRange

    /// The parameters of CL.THROTTLE by name.
    public enum Parameter: String, Sendable {
        case maxBurst = "max_burst"
        case count
        case period
        case quantity
    }
}

extension LimitCall {
    /// Makes this a CL.THROTTLE call: `quantity` units of a limit of `count` units per `period` seconds with a burst of
    /// `maxBurst` + 1.
    ///
    /// - Returns: Nil on success; otherwise the reason, with the call unchanged.
    @inline(__always)
    public mutating func setThrottle(
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
        return setThrottle(maxBurst: maxBurst, emissionInterval: nanoseconds / count, quantity: quantity)
    }

    /// As above, with the emission interval in nanoseconds instead of a rate. `maxBurst` and `quantity` are 0 or more.
    @inline(__always)
    public mutating func setThrottle(
        maxBurst: Int64, emissionInterval: Int64, quantity: Int64
    ) -> ThrottleParameterError? {
        assert(maxBurst | quantity >= 0)
        guard emissionInterval > 0 else { return .zeroRate }
        let (burst, burstOverflows) = maxBurst.addingReportingOverflow(1)
        let (tolerance, toleranceOverflows) = emissionInterval.multipliedReportingOverflow(by: burst)
        // The cost itself is computed later, where it is known to fit the tolerance.
        let (_, costOverflows) = emissionInterval.multipliedReportingOverflow(by: quantity)
        guard !burstOverflows, !toleranceOverflows, !costOverflows else { return .outOfRange }
        begin(.take)
        amount = quantity
        limit.setRate(emissionInterval: emissionInterval, capacity: burst, tolerance: tolerance)
        return nil
    }
}

/// The formula itself.
public enum GCRA {
    /// Decides one call, for all units or as many as fit, with one division.
    ///
    /// - Parameters:
    ///   - arrivalTime: The stored TAT in nanoseconds; anything up to `now` counts as now, so an absent key is 0.
    ///   - now: Engine time in nanoseconds, 0 or more.
    /// - Returns: The state of the limit after the call, and the TAT to store; the latter is meaningful only when
    ///   something was granted.
    public static func decide(
        _ limit: Limit, _ demand: Demand, arrivalTime: Int64, now: Int64
    ) -> (decision: LimitDecision, newArrivalTime: Int64) {
        var decision = LimitDecision(.denied)
        let next = withUnsafePointer(to: limit) {
            decide($0, demand, arrivalTime: arrivalTime, now: now, to: &decision)
        }
        return (decision, next)
    }

    /// As above, but reads the limit and writes the answer in place: both are large, and copying them took longer than
    /// deciding.
    ///
    /// - Returns: The TAT to store; meaningful only when something was granted.
    @inline(__always)
    static func decide(
        _ limit: UnsafePointer<Limit>, _ demand: Demand, arrivalTime: Int64, now: Int64,
        to decision: UnsafeMutablePointer<LimitDecision>
    ) -> Int64 {
        // Neither is negative, and an emission interval is 1 or more.
        let ahead = max(arrivalTime, now) &- now
        let tolerance =
            now >= limit.pointee.cappedUntil ? limit.pointee.tolerance : cappedTolerance(limit, now: now, ahead: ahead)
        let interval = limit.pointee.emissionInterval
        let room =
            ahead <= tolerance
            ? Int64(bitPattern: UInt64(bitPattern: tolerance &- ahead) / UInt64(bitPattern: interval)) : -1
        guard let granted = demand.granted(room: room) else {
            deny(limit, demand.least, room: room, ahead: ahead, tolerance: tolerance, now: now, to: decision)
            return arrivalTime
        }
        // What is granted fits the tolerance, so neither product nor sum overflows; the sum with now may.
        let aheadIfTaken = ahead &+ granted &* interval
        let (newArrivalTime, overflows) = now.addingReportingOverflow(aheadIfTaken)
        guard !overflows else {
            decision.pointee = .failure(.outOfRange)
            return arrivalTime
        }
        decision.pointee.set(
            .allowed, granted: granted, limit: limit.pointee.capacity, remaining: room &- granted, retryAfter: -1,
            resetAfter: aheadIfTaken)
        if now < limit.pointee.cappedUntil, ahead == 0, granted > 0 {
            // Now it has a debt, which a superseded limit may bound.
            let left = cappedTolerance(limit, now: now, ahead: aheadIfTaken) - aheadIfTaken
            decision.pointee.remaining = max(0, left) / interval
        }
        return newArrivalTime
    }

    @inline(never)
    private static func cappedTolerance(_ limit: UnsafePointer<Limit>, now: Int64, ahead: Int64) -> Int64 {
        limit.pointee.tolerance(at: now, ahead: ahead)
    }

    @inline(never)
    private static func deny(
        _ limit: UnsafePointer<Limit>, _ units: Int64, room: Int64, ahead: Int64, tolerance: Int64, now: Int64,
        to decision: UnsafeMutablePointer<LimitDecision>
    ) {
        let wait = wait(limit, units, ahead: ahead, tolerance: tolerance, now: now)
        decision.pointee.set(
            .denied, granted: 0, limit: limit.pointee.capacity, remaining: max(0, room), retryAfter: wait,
            resetAfter: ahead)
    }

    /// Nanoseconds until `units` fit; -1 when they never do.
    private static func wait(
        _ limit: UnsafePointer<Limit>, _ units: Int64, ahead: Int64, tolerance: Int64, now: Int64
    ) -> Int64 {
        guard units <= limit.pointee.capacity else { return -1 }
        // At most the limit's own tolerance.
        let cost = units * limit.pointee.emissionInterval
        let ownTolerance = UInt64(limit.pointee.tolerance)
        let aheadIfTaken = UInt64(ahead) &+ UInt64(cost)
        let free = clamped(aheadIfTaken &- ownTolerance)
        guard tolerance < limit.pointee.tolerance else { return free }
        // Under a cap the wait ends as soon as the cap allows, when the cap is gone, or when there is no debt left.
        let capEnds = max(limit.pointee.cappedUntil - now, aheadIfTaken > ownTolerance ? free : 0)
        let allowed = cost <= tolerance ? min(clamped(aheadIfTaken &- UInt64(tolerance)), capEnds) : capEnds
        return min(allowed, ahead)
    }

    /// Caps a wait at 292 years.
    @inline(__always)
    private static func clamped(_ nanoseconds: UInt64) -> Int64 {
        nanoseconds > UInt64(Int64.max) ? Int64.max : Int64(bitPattern: nanoseconds)
    }
}

// MARK: - Witness

extension GCRA: LimiterWitness {
    static var kind: StateKind { .gcra }
    static var name: StaticString { "gcra" }
    static var encoding: StaticString { "tat64" }
    static var summary: StaticString { "a steady rate plus a burst" }
    static var fixedSize: Int? { 8 }
    static var hasBurst: Bool { true }

    static func isValid(_ bytes: UnsafeRawBufferPointer) -> Bool { true }

    static func fields(_ state: UnsafeMutableRawPointer) -> [(name: StaticString, value: Int64)]? {
        [("tat_ns", state.loadUnaligned(as: Int64.self))]
    }

    static func decide(
        _ limit: Limit, _ demand: Demand, state: UnsafeMutableRawPointer?, now: Int64
    ) -> (decision: LimitDecision, next: Int64) {
        let (decision, next) = decide(
            limit, demand, arrivalTime: state?.loadUnaligned(as: Int64.self) ?? now, now: now)
        return (decision, next)
    }

    static func store(_ next: Int64, granted: Int64, to state: UnsafeMutableRawPointer, isNew: Bool, now: Int64) {
        state.storeBytes(of: next, as: Int64.self)
    }

    static func unitsInForce(_ state: UnsafeMutableRawPointer, against limit: Limit, now: Int64) -> Int64? {
        ceilingUnits(max(now, state.loadUnaligned(as: Int64.self)) - now, unit: limit.debtPrice(at: now))
    }

    static func refund(
        _ units: Int64, _ state: UnsafeMutableRawPointer, _ limit: Limit, now: Int64
    ) -> (units: Int64, isFull: Bool) {
        let price = limit.debtPrice(at: now)
        let ahead = max(state.loadUnaligned(as: Int64.self), now) - now
        let (time, overflows) = units.multipliedReportingOverflow(by: price)
        let back = overflows ? ahead : min(time, ahead)
        let given = min(units, ceilingUnits(back, unit: price))
        let isFull = back == ahead
        if given > 0, !isFull { state.storeBytes(of: now + ahead - back, as: Int64.self) }
        return (given, isFull)
    }

    static func carriedMax(_ limit: Limit) -> Int64 { limit.capacity }

    static func carry(
        _ units: Int64, _ limit: Limit, now: Int64, to memory: UnsafeMutableRawPointer
    ) -> LimitDecision.Outcome {
        let (arrivalTime, overflows) = now.addingReportingOverflow(units * limit.emissionInterval)
        memory.storeBytes(of: arrivalTime, as: Int64.self)
        return overflows ? .outOfRange : .allowed
    }
}
