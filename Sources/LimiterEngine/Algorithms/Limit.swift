// A limit: an algorithm and its numbers, validated and multiplied out once. Nothing here knows a state or a key; the
// algorithms are rows of the table in `StateKind.swift`.

/// Why a set of numbers is not a limit. Names the argument as commands do.
public enum LimitError: Error, Equatable, Sendable {
    /// The argument is below zero.
    case negative(Argument)
    /// The argument must be above zero.
    case zero(Argument)
    /// The argument is above what the algorithm can hold.
    case tooLarge(Argument, maximum: Int64)
    /// The algorithm does not use the argument.
    case unsupported(Argument, Limit.Algorithm)
    /// The period is a duration but the algorithm uses calendar windows, or the other way round.
    case wrongPeriod(Limit.Algorithm)
    /// The calendar unit has no such start.
    case badStart(CalendarUnit)
    /// A unit would cost less than a nanosecond.
    case rateTooHigh
    /// A product with the argument does not fit 64 bits.
    case outOfRange(Argument)

    /// The arguments of a limit by name.
    public enum Argument: String, Sendable {
        case limit
        case period
        case burst
        case cost
        case offset
        case zone
        case start
    }
}

/// A rate limit: a number of units per period, and the algorithm.
public struct Limit: Equatable, Sendable {
    /// The largest offset from UTC in nanoseconds, either way: a day.
    public static let offsetMax: Int64 = 86_400_000_000_000

    // The fields that GCRA reads with every call come first: see `LimitCall`.

    /// How units are counted.
    public private(set) var algorithm: Algorithm
    /// The algorithm's kind of state, as encoded in records.
    private(set) var rawKind: UInt8
    /// For calendar windows: the unit and where it starts; nil for other algorithms.
    public private(set) var calendar: CalendarPeriod?
    /// For calendar windows: the time zone.
    public private(set) var zone = ZoneNumber.utc
    /// Cost of one unit in nanoseconds, 1 or more: the period divided by the units, rounded down.
    public private(set) var emissionInterval: Int64
    /// The emission interval times the capacity, in nanoseconds; 0 except for GCRA and the token bucket.
    public private(set) var tolerance: Int64
    /// Units that may be granted at once from full: as given for GCRA and the token bucket, otherwise `units`.
    public private(set) var capacity: Int64
    /// Engine time in nanoseconds at which the cap ends; 0 when there is none.
    public private(set) var cappedUntil: Int64 = 0
    /// Units per period, 0 or more; 0 denies everything.
    public private(set) var units: Int64
    /// The period in nanoseconds, 1 or more; for calendar windows, whose length varies, a short one.
    public private(set) var period: Int64
    /// For fixed windows: how far local time is ahead of UTC in nanoseconds, so that a day can begin at local midnight.
    public private(set) var offset: Int64
    /// The effect of superseded limits on this one: see `bound`. For GCRA and the token bucket: upper bound on the
    /// tolerance for a key with a debt, in nanoseconds. `Int64.max` for no cap.
    private(set) var toleranceCap = Int64.max
    /// Lower bound on what a unit of a debt in time cost when it was taken under a superseded limit, in nanoseconds,
    /// and the time at which no such debt is left.
    private var debtPrice = Int64.max
    private var debtPriceUntil: Int64 = 0

    /// A limit of one per nanosecond: a placeholder for a real one.
    init() {
        algorithm = .gcra
        rawKind = StateKind.gcra.rawValue
        units = 1
        period = 1
        capacity = 1
        offset = 0
        emissionInterval = 1
        tolerance = 1
    }

    /// A limit of `units` per `period` nanoseconds.
    ///
    /// - Parameters:
    ///   - units: 0 or more; at most `SlidingLog.unitsMax` for a sliding log, 4,294,967,295 for a sliding window.
    ///   - burst: Units that may be granted at once from full, for GCRA and the token bucket only; nil for `units`.
    ///   - offset: For fixed windows only: how far local time is ahead of UTC, at most a day either way.
    /// - Throws: `LimitError`, naming the argument.
    public init(
        _ algorithm: Algorithm, units: Int64, period: Int64, burst: Int64? = nil, offset: Int64 = 0
    ) throws(LimitError) {
        guard units >= 0 else { throw .negative(.limit) }
        guard period >= 0 else { throw .negative(.period) }
        guard period > 0 else { throw .zero(.period) }
        guard !algorithm.facts.usesCalendar else { throw .wrongPeriod(algorithm) }
        if let burst, burst < 0 { throw .negative(.burst) }
        let facts = algorithm.facts
        let isRate = facts.hasBurst
        if burst != nil, !isRate { throw .unsupported(.burst, algorithm) }
        if offset != 0 {
            guard facts.hasOffset else { throw .unsupported(.offset, algorithm) }
            guard offset.magnitude <= Limit.offsetMax.magnitude else {
                throw .tooLarge(.offset, maximum: Limit.offsetMax)
            }
        }
        if units == 0, let burst, burst > 0 { throw .zero(.limit) }
        if let maximum = facts.limitMax, units > maximum { throw .tooLarge(.limit, maximum: maximum) }
        let emissionInterval = units == 0 ? period : period / units
        if isRate, emissionInterval == 0 { throw .rateTooHigh }
        let capacity = burst ?? units
        let (tolerance, overflows) = emissionInterval.multipliedReportingOverflow(by: isRate ? capacity : 0)
        guard !overflows else { throw .outOfRange(.burst) }
        self.algorithm = algorithm
        rawKind = facts.kind.rawValue
        self.units = units
        self.period = period
        self.capacity = capacity
        self.offset = offset
        self.emissionInterval = max(1, emissionInterval)
        self.tolerance = tolerance
    }

    /// A limit of `units` per calendar window; `period` is approximately the length of one.
    init(calendar: CalendarPeriod, zone: ZoneNumber, units: Int64, period: Int64) throws(LimitError) {
        guard units >= 0 else { throw .negative(.limit) }
        algorithm = .calendar
        rawKind = StateKind.calendar.rawValue
        self.calendar = calendar
        self.zone = zone
        self.units = units
        self.period = period
        capacity = units
        offset = 0
        emissionInterval = max(1, units == 0 ? period : period / units)
        tolerance = 0
    }

    /// Makes this a GCRA limit by writing only the fields that `GCRA` reads with every call. Units, period and the
    /// effects of superseded limits keep their previous values: only refunds and calls that carry over read them.
    @inline(__always)
    mutating func setRate(emissionInterval: Int64, capacity: Int64, tolerance: Int64) {
        algorithm = .gcra
        rawKind = StateKind.gcra.rawValue
        self.emissionInterval = emissionInterval
        self.tolerance = tolerance
        self.capacity = capacity
        cappedUntil = 0
    }

    /// GCRA's tolerance for a key whose TAT is `ahead` nanoseconds ahead of `now`. A key without a debt is not affected
    /// by superseded limits.
    @inline(__always)
    func tolerance(at now: Int64, ahead: Int64) -> Int64 {
        now >= cappedUntil || ahead == 0 ? tolerance : min(tolerance, toleranceCap)
    }

    /// What one unit of a debt in time found at `now` cost when it was taken, as far as known, rounded to the lower
    /// side: at a lower price a debt is worth more units, and a refunded unit reduces it less.
    func debtPrice(at now: Int64) -> Int64 {
        guard now < debtPriceUntil else { return emissionInterval }
        return algorithm.hasBurst ? min(debtPrice, emissionInterval) : debtPrice
    }

    /// This limit as the successor of earlier ones, whose debts may still exist: lowering a limit gives nothing back.
    ///
    /// What a key has spent outlives a change of its limit. A fixed window keeps its units until it ends. A sliding log
    /// keeps every grant for as long as it was granted for. A sliding window decays as before until something is
    /// granted under the new limit, which then carries over all units still in force. GCRA's state is a debt in time,
    /// and the price at which it was incurred is unknown: if a unit becomes more expensive *and* the tolerance longer,
    /// the same debt would count as fewer units than were taken. So a key with a debt is granted no more tolerance than
    /// before, until all debts of that time must have been paid off. A key without a debt is full under any limit.
    ///
    /// Another algorithm that finds a debt counts its units at the lowest price there was, and refunds use the same
    /// price.
    func bound(by earlier: [SupersededLimit]) -> Limit {
        var limit = self
        (limit.toleranceCap, limit.cappedUntil, limit.debtPrice, limit.debtPriceUntil) = (.max, 0, .max, 0)
        for old in earlier {
            limit.debtPrice = min(limit.debtPrice, old.emissionInterval)
            limit.debtPriceUntil = max(limit.debtPriceUntil, old.end)
            guard algorithm.hasBurst, old.emissionInterval < emissionInterval, isLonger(than: old) else {
                continue
            }
            limit.toleranceCap = min(limit.toleranceCap, old.tolerance)
            limit.cappedUntil = max(limit.cappedUntil, old.end)
        }
        return limit
    }

    /// Whether this limit tolerates more than an earlier one, apart from rounding to whole nanoseconds: dividing a
    /// period by its units rounds down once per unit. Less than a unit gives none back.
    private func isLonger(than old: SupersededLimit) -> Bool {
        let more = tolerance.subtractingReportingOverflow(old.tolerance)
        let rounding = min(old.tolerance / old.emissionInterval, emissionInterval - 1)
        return !more.overflow && more.partialValue > rounding
    }
}
