// GCRA given by its emission interval, as limiter libraries specify it, instead of by a count and a period.

extension LimitCall {
    /// Makes this a call for `quantity` units of a GCRA limit with a burst of `capacity` units, each of which costs
    /// `emissionInterval` nanoseconds.
    ///
    /// - Parameter isPartial: Whether fewer units are acceptable, as long as there is at least one.
    /// - Returns: Nil on success; otherwise the reason, with the call unchanged.
    @inline(__always)
    public mutating func setRate(
        emissionInterval: Int64, capacity: Int64, quantity: Int64, isPartial: Bool = false
    ) -> ThrottleParameterError? {
        guard capacity >= 0 else { return .negative(.maxBurst) }
        guard quantity >= 0 else { return .negative(.quantity) }
        guard emissionInterval > 0 else { return .zeroRate }
        let (tolerance, toleranceOverflows) = emissionInterval.multipliedReportingOverflow(by: capacity)
        let (_, costOverflows) = emissionInterval.multipliedReportingOverflow(by: quantity)
        guard !toleranceOverflows, !costOverflows else { return .outOfRange }
        begin(.take)
        demand = Demand(trusted: quantity, isPartial: isPartial)
        limit.setRate(emissionInterval: emissionInterval, capacity: capacity, tolerance: tolerance)
        return nil
    }
}
