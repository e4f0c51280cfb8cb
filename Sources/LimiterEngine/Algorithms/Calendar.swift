// Calendar windows: a quota per day, week, month or year in a time zone.
//
//   state   0 end of the window   8 units spent in it
//
// As a fixed window, but the calendar and the zone's rules determine where a window ends (`ZoneRegistry`): a day of 23
// or 25 hours and a month of 28 to 31 days are one window each. The end is computed when a window opens and stored in
// the state. So an open window ends as announced whatever limit or zone is used with it later, even if the zone's
// rules change or this machine lacks the zone; only the next window needs them. Memory: 16 bytes a key, whatever the
// limit.

/// The witness of calendar windows. Their layout is a fixed window's.
enum Calendar: LimiterWitness {
    static var kind: StateKind { .calendar }
    static var name: StaticString { "calendar" }
    static var summary: StaticString { "a quota per day, week, month or year of a time zone" }
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
        // The last instant means never: a window that long would never expire.
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
    /// A limit of `units` per calendar window.
    ///
    /// - Parameters:
    ///   - units: 0 or more.
    ///   - period: A day, week, month or year, and where it starts.
    ///   - zone: The calendar's time zone. Its rules need not be known; without them no window can open.
    /// - Throws: `LimitError.negative(.limit)`.
    public init(units: Int64, per period: CalendarPeriod, zone: ZoneNumber) throws(LimitError) {
        try self.init(calendar: period, zone: zone, units: units, period: period.unit.shortest)
    }
}

extension Limit {
    /// The zone's name, for durable data and replies: `UTC` where there is none.
    public var zoneName: ZoneName { ZoneRegistry.shared.table.name(of: zone) ?? .utc }
}

extension CalendarUnit {
    /// The shortest such window in most zones, in nanoseconds: used as the period where another algorithm needs a price
    /// per unit. A shorter period makes a debt worth more units, so nothing is given back.
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
