// Windows of the calendar: so many units until the day, week, month or year ends in a zone, then as many again.
//
//   state   0 end of the window   8 units spent in it
//
// As a fixed window, but where a window ends follows from the calendar and the zone's rules (`ZoneTable`): a day of 23
// or 25 hours and a month of 28 to 31 days are one window each. The end is looked up when a window opens and is part of
// the state from then on. So a window that has begun ends when it was said to, whatever limit or zone asks in between,
// even if the zone's rules change or this machine does not have the zone; only the next one needs them. Memory: 16
// bytes a key, whatever the limit.

/// The witness of windows of the calendar. Their bytes are a fixed window's.
enum Calendar: LimiterWitness {
    static var kind: StateKind { .calendar }
    static var name: StaticString { "calendar" }
    static var summary: StaticString { "so many in each day, week, month or year of a time zone" }
    static var fixedSize: Int? { 16 }
    static var usesCalendar: Bool { true }

    static func isValid(_ bytes: UnsafeRawBufferPointer) -> Bool { FixedWindow.isValid(bytes) }

    static func fields(_ state: UnsafeMutableRawPointer) -> [(name: StaticString, value: Int64)]? {
        let window = FixedWindow(state)
        return [("end_ns", window.end), ("spent", window.spent)]
    }

    /// The end of the limit's window around `now`.
    static func end(_ limit: Limit, now: Int64) -> FixedWindow.End {
        guard let period = limit.calendar else { return .failed(.unknownZone) }
        let time = EngineTime(nanoseconds: now)
        guard let window = ZoneRegistry.shared.window(containing: time, period, zone: limit.zone) else {
            return .failed(.unknownZone)
        }
        // The last instant means never: a window that long would never be forgotten.
        return window.end > now && window.end < Int64.max ? .at(window.end) : .failed(.outOfRange)
    }

    static func decide(
        _ limit: Limit, _ demand: Demand, state: UnsafeMutableRawPointer?, now: Int64
    ) -> (decision: LimitDecision, next: FixedWindow) {
        FixedWindow.decide(limit, demand, stored: state.map { FixedWindow($0) }, now: now, end: end)
    }

    static func store(
        _ next: FixedWindow, granted: Int64, to state: UnsafeMutableRawPointer, isNew: Bool, now: Int64
    ) {
        next.store(to: state)
    }

    static func unitsInForce(_ state: UnsafeMutableRawPointer, against limit: Limit, now: Int64) -> Int64? {
        FixedWindow.unitsInForce(state, against: limit, now: now)
    }

    static func refund(
        _ units: Int64, _ state: UnsafeMutableRawPointer, _ limit: Limit, now: Int64
    ) -> (units: Int64, isFull: Bool) {
        FixedWindow.refund(units, state, limit, now: now)
    }

    static func carry(
        _ units: Int64, _ limit: Limit, now: Int64, to memory: UnsafeMutableRawPointer
    ) -> LimitDecision.Outcome {
        FixedWindow.carry(units, to: memory, until: end(limit, now: now))
    }
}

extension Limit {
    /// A limit of `units` in each window of the calendar.
    ///
    /// - Parameters:
    ///   - units: 0 or more.
    ///   - period: A day, week, month or year, and where it starts.
    ///   - zone: Whose calendar. Its rules need not be known: then no window can open.
    /// - Throws: `LimitError.negative(.limit)`.
    public init(units: Int64, per period: CalendarPeriod, zone: ZoneNumber) throws(LimitError) {
        try self.init(calendar: period, zone: zone, units: units, period: period.unit.shortest)
    }
}

extension Limit {
    /// The name of the zone, for durable data and replies: `UTC` where there is none.
    public var zoneName: ZoneName { ZoneRegistry.shared.table.name(of: zone) ?? .utc }
}

extension CalendarUnit {
    /// The shortest that one is in most zones, in nanoseconds: the period that a limit has where another algorithm
    /// needs the price of a unit. The shorter, the more units a debt is of, so nothing is given back.
    var shortest: Int64 {
        let day: Int64 = 86_400_000_000_000
        switch self {
        case .day: return day - 3_600_000_000_000
        case .week: return 7 * day - 3_600_000_000_000
        case .month: return 28 * day - 3_600_000_000_000
        case .year: return 365 * day
        }
    }
}
