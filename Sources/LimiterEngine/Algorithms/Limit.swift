// What a limit is: an algorithm and its numbers, checked and multiplied out once. Nothing here knows a state or a key;
// the algorithms themselves are rows of the table in `StateKind.swift`.

/// Why a set of numbers is no limit. Names the argument as commands call it.
public enum LimitError: Error, Equatable, Sendable {
    /// The argument is below zero.
    case negative(Argument)
    /// The argument must be above zero.
    case zero(Argument)
    /// The argument is above what the algorithm can hold.
    case tooLarge(Argument, maximum: Int64)
    /// The algorithm has no use for the argument.
    case unsupported(Argument, Limit.Algorithm)
    /// The period is a duration, and the algorithm has windows of the calendar, or the other way round.
    case wrongPeriod(Limit.Algorithm)
    /// The unit of the calendar has no such start.
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

/// A rate limit: how many units in which time, by which algorithm.
public struct Limit: Equatable, Sendable {
    /// The largest offset from UTC in nanoseconds, either way: a day.
    public static let offsetMax: Int64 = 86_400_000_000_000

    // What GCRA asks with every call comes first: see `LimitCall`.

    /// How units are counted.
    public private(set) var algorithm: Algorithm
    /// The algorithm's kind of state as records have it.
    private(set) var rawKind: UInt8
    /// For windows of the calendar: the unit and where it starts; nil for every other algorithm.
    public private(set) var calendar: CalendarPeriod?
    /// For windows of the calendar: whose calendar.
    public private(set) var zone = ZoneNumber.utc
    /// What one unit costs in nanoseconds, 1 or more: the period through the units, rounded down.
    public private(set) var emissionInterval: Int64
    /// The emission interval times the capacity, in nanoseconds; 0 except for GCRA and the token bucket.
    public private(set) var tolerance: Int64
    /// Units that may pass at once from full: for GCRA and the token bucket as given, for the others `units`.
    public private(set) var capacity: Int64
    /// Engine time in nanoseconds from which on nothing is capped; 0 when nothing is.
    public private(set) var cappedUntil: Int64 = 0
    /// Units per period, 0 or more; 0 lets nothing pass.
    public private(set) var units: Int64
    /// The period in nanoseconds, 1 or more; for windows of the calendar, whose length differs, a short one.
    public private(set) var period: Int64
    /// For fixed windows: how far local time is ahead of UTC in nanoseconds, so that a day may begin at local midnight.
    public private(set) var offset: Int64
    /// What an earlier limit still means for this one: see `bound`. For GCRA and the token bucket: no more than this is
    /// tolerated of a key with a debt, in nanoseconds. `Int64.max` for no cap.
    private(set) var toleranceCap = Int64.max
    /// The least that a unit of a debt in time may have cost when it was taken under an earlier limit, in nanoseconds,
    /// and from when on no such debt is left.
    private var debtPrice = Int64.max
    private var debtPriceUntil: Int64 = 0

    /// A limit of one per nanosecond: a place to write a real one into.
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
    ///   - burst: How many may pass at once from full, for GCRA and the token bucket only; nil for as many as `units`.
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

    /// A limit of `units` in each window of the calendar; `period` is about as long as one of them.
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

    /// Makes this a GCRA limit, of what `GCRA` asks with every call. What it was before by the units of a period, and
    /// what an earlier limit means for it, is left as it was: only refunds, and calls that carry over, look at that.
    @inline(__always)
    mutating func setRate(emissionInterval: Int64, capacity: Int64, tolerance: Int64) {
        algorithm = .gcra
        rawKind = StateKind.gcra.rawValue
        self.emissionInterval = emissionInterval
        self.tolerance = tolerance
        self.capacity = capacity
        cappedUntil = 0
    }

    /// What GCRA tolerates of a key whose TAT lies `ahead` nanoseconds ahead of `now`. A key without a debt owes
    /// nothing to an earlier limit.
    @inline(__always)
    func tolerance(at now: Int64, ahead: Int64) -> Int64 {
        now >= cappedUntil || ahead == 0 ? tolerance : min(tolerance, toleranceCap)
    }

    /// What one unit of a debt in time found at `now` cost when it was taken, as far as is known, and rather less than
    /// more: at a lower price a debt is of more units, and a unit given back takes less of it away.
    func debtPrice(at now: Int64) -> Int64 {
        guard now < debtPriceUntil else { return emissionInterval }
        return algorithm.hasBurst ? min(debtPrice, emissionInterval) : debtPrice
    }

    /// This limit as the successor of earlier ones, whose debts may still be about: lowering gives nothing back.
    ///
    /// What a key has spent outlives a change of its limit. A fixed window keeps its units until it ends, a sliding
    /// log keeps every grant for as long as it was granted for, a sliding window goes on fading as before until
    /// something is granted under the new limit, which then carries over all that still counts. GCRA's state is a debt
    /// in time, and nobody knows at which price it was made: were a unit dearer from now on *and* the tolerance longer,
    /// the same debt would count as fewer units than were taken. So whoever has a debt is tolerated no more than
    /// before, until all debts of then must have been worked off. Who has none is full, by any limit.
    ///
    /// Another algorithm that meets a debt counts its units at the lowest price there was, and at that price units are
    /// given back.
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

    /// Whether more is tolerated than by an earlier limit, other than by what whole nanoseconds round away: a period
    /// divided by its units is cut once for each unit. Less than a unit gives none back.
    private func isLonger(than old: SupersededLimit) -> Bool {
        let more = tolerance.subtractingReportingOverflow(old.tolerance)
        let rounding = min(old.tolerance / old.emissionInterval, emissionInterval - 1)
        return !more.overflow && more.partialValue > rounding
    }
}
