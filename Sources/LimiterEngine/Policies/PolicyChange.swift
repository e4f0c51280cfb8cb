// A change of a policy by a command: the values specified, and how the others are determined.

/// The values that a command specifies for a policy.
///
/// An existing policy keeps its other values, with two exceptions that follow from the numbers themselves:
/// - A burst equal to the limit follows the limit, as if it had never been specified. With a limit of 0 there is no
///   burst.
/// - An algorithm without a burst, an offset or a zone drops it. Another calendar unit drops the start.
public struct PolicyChange: Equatable, Sendable {
    /// The policy's name.
    public var name: [UInt8]
    /// How units are counted; by default `gcra` for a new policy.
    public var algorithm: Limit.Algorithm?
    /// Units per period. Required for a new policy.
    public var units: Int64?
    /// The period in nanoseconds. Required for a new policy.
    public var period: Int64?
    /// Units that may be granted at once from full.
    public var burst: Int64?
    /// How far local time is ahead of UTC, in nanoseconds.
    public var offset: Int64?
    /// The calendar unit, if the period is one.
    public var unit: CalendarUnit?
    /// The calendar's time zone; by default UTC for a new policy.
    public var zone: ZoneNumber?
    /// Where a calendar window starts; by default the unit's first start for a new policy.
    public var start: Int?
    /// The enforcement mode; by default `enforce` for a new policy.
    public var mode: LimitCall.Mode?

    /// A change without values.
    public init(name: [UInt8]) { self.name = name }

    /// The policy after the change.
    ///
    /// - Parameter old: The policy of this name; nil if there is none and the change creates it.
    /// - Throws: `incomplete`, or `invalidLimit`, which names the argument.
    func applied(to old: Policy?) throws(PolicyError) -> Policy {
        guard let units = units ?? old?.limit.units else { throw .incomplete(.limit) }
        let algorithm = algorithm ?? old?.limit.algorithm ?? .gcra
        if algorithm.facts.usesCalendar || old?.limit.calendar != nil || unit != nil {
            guard period != nil || unit != nil || old != nil else { throw .incomplete(.period) }
            return try applied(to: old, algorithm, units: units)
        }
        guard let period = period ?? old?.limit.period else { throw .incomplete(.period) }
        let offset = offset ?? (algorithm.facts.hasOffset ? old?.limit.offset : nil) ?? 0
        do throws(LimitError) {
            try refuseCalendarWords(algorithm)
            if burst == 0, units > 0, algorithm.hasBurst { throw .zero(.burst) }
            let limit = try Limit(
                algorithm, units: units, period: period, burst: burst ?? keptBurst(of: old, algorithm, units: units),
                offset: offset)
            return Policy(name: name, limit: limit, mode: mode ?? old?.mode ?? .enforce)
        } catch {
            throw .invalidLimit(error, keeping: names(error) ? nil : old)
        }
    }

    /// As above, if the policy has, had or will have calendar windows.
    private func applied(
        to old: Policy?, _ algorithm: Limit.Algorithm, units: Int64
    ) throws(PolicyError) -> Policy {
        var rest = self
        do throws(LimitError) {
            guard algorithm.facts.usesCalendar else {
                guard unit == nil, period != nil else { throw .wrongPeriod(algorithm) }
                // No other calendar values are kept.
                rest.algorithm = algorithm
                rest.units = units
                rest.mode = mode ?? old?.mode
                return try rest.uncalendared()
            }
            if burst != nil { throw .unsupported(.burst, algorithm) }
            if let offset, offset != 0 { throw .unsupported(.offset, algorithm) }
            guard period == nil, let unit = unit ?? old?.limit.calendar?.unit else { throw .wrongPeriod(algorithm) }
            let kept = old?.limit.calendar.flatMap { $0.unit == unit ? $0.start : nil }
            guard let calendar = CalendarPeriod(unit, start: start ?? kept) else { throw .badStart(unit) }
            let limit = try Limit(units: units, per: calendar, zone: zone ?? old?.limit.zone ?? .utc)
            return Policy(name: name, limit: limit, mode: mode ?? old?.mode ?? .enforce)
        } catch {
            throw .invalidLimit(error, keeping: names(error) ? nil : old)
        }
    }

    /// The policy created by a change that specifies everything.
    private func uncalendared() throws(LimitError) -> Policy {
        try refuseCalendarWords(algorithm!)
        if burst == 0, units! > 0, algorithm!.hasBurst { throw .zero(.burst) }
        let limit = try Limit(algorithm!, units: units!, period: period!, burst: burst, offset: offset ?? 0)
        return Policy(name: name, limit: limit, mode: mode ?? .enforce)
    }

    private func refuseCalendarWords(_ algorithm: Limit.Algorithm) throws(LimitError) {
        if zone != nil { throw .unsupported(.zone, algorithm) }
        if start != nil { throw .unsupported(.start, algorithm) }
    }

    /// Whether the change specifies everything the error is about.
    private func names(_ error: LimitError) -> Bool {
        switch error {
        case .negative(let argument), .zero(let argument), .tooLarge(let argument, _), .unsupported(let argument, _),
            .outOfRange(let argument):
            switch argument {
            case .limit: units != nil
            case .period: period != nil
            case .burst: burst != nil
            case .offset: offset != nil
            case .zone: zone != nil
            case .start: start != nil
            case .cost: true
            }
        case .wrongPeriod: unit != nil || period != nil
        case .badStart: start != nil && unit != nil
        case .rateTooHigh: units != nil && period != nil
        }
    }

    /// The burst that is kept if none is specified; nil for the limit's.
    private func keptBurst(of old: Policy?, _ algorithm: Limit.Algorithm, units: Int64) -> Int64? {
        guard let limit = old?.limit, limit.algorithm.hasBurst, algorithm.hasBurst, units > 0,
            limit.capacity != limit.units
        else { return nil }
        return limit.capacity
    }
}
