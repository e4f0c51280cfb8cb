// Days, weeks, months and years of the calendar in local time, and where each begins. No zone: ZoneRules converts a
// local time to an instant.
//
// A local time is the number of seconds since 1970-01-01 00:00 that a wall clock would show, as if there were no zones.
// CivilDate can convert it to a date, and it may jump where a zone's offset changes.

/// The four lengths of a calendar window. The raw values are stable: durable data may hold them.
public enum CalendarUnit: UInt8, CaseIterable, Sendable {
    /// From a local hour to the same hour of the next day.
    case day = 0
    /// Seven days.
    case week = 1
    /// From a day of one month to that day of the next.
    case month = 2
    /// From the first day of a month to the same day of the next year.
    case year = 3

    /// The starts that this unit can have.
    public var starts: ClosedRange<Int> {
        switch self {
        case .day: 0...23
        case .week: 1...7
        case .month: 1...31
        case .year: 1...12
        }
    }

    /// Its name in commands.
    public var name: String {
        switch self {
        case .day: "day"
        case .week: "week"
        case .month: "month"
        case .year: "year"
        }
    }
}

/// A unit of the calendar and where it starts.
///
/// - A day starts at a local hour, 0 to 23; midnight unless set otherwise.
/// - A week starts at local midnight of an ISO weekday: 1 is Monday, the default, and 7 is Sunday.
/// - A month starts at local midnight of a day, 1 to 31, by default the 1st. In a month that is shorter, a start of 29,
///   30 or 31 means its last day: with START 31 the windows begin on 31 January, 28 or 29 February, 31 March, 30 April.
/// - A year starts at local midnight of the 1st of a month, 1 to 12; of January unless set otherwise.
public struct CalendarPeriod: Hashable, Sendable {
    /// The length of a window.
    public let unit: CalendarUnit
    /// Where it starts: one of `unit.starts`.
    private let startByte: UInt8

    /// Where it starts: see the type. One of `unit.starts`.
    public var start: Int { Int(startByte) }

    /// A period; nil when `start` is not one of the unit's starts. The defaults are midnight, Monday, the 1st, January.
    public init?(_ unit: CalendarUnit, start: Int? = nil) {
        let start = start ?? unit.starts.lowerBound
        guard unit.starts.contains(start) else { return nil }
        self.unit = unit
        startByte = UInt8(start)
    }

    /// The last boundary at or before a local time, and the first after it, both as local times in seconds.
    func boundaries(around local: Int) -> (begin: Int, end: Int) {
        let day = floorQuotient(local, secondsPerDay)
        switch unit {
        case .day:
            let shift = start * 3600
            let begin = floorQuotient(local - shift, secondsPerDay) * secondsPerDay + shift
            return (begin, begin + secondsPerDay)
        case .week:
            let begin = day - floorRemainder(CivilDate.weekday(ofDay: day) - (start - 1), 7)
            return (begin * secondsPerDay, (begin + 7) * secondsPerDay)
        case .month:
            let date = CivilDate(days: day)
            let month = date.year * 12 + date.month - 1
            let isBegun = date.day >= min(start, CivilDate.length(ofMonth: date.month, in: date.year))
            let begin = isBegun ? month : month - 1
            return (startOfMonth(begin), startOfMonth(begin + 1))
        case .year:
            let date = CivilDate(days: day)
            let begin = date.month >= start ? date.year : date.year - 1
            return (startOfYear(begin), startOfYear(begin + 1))
        }
    }

    /// The local time at which a month's window begins. Months are numbered from January of the year 0.
    private func startOfMonth(_ number: Int) -> Int {
        let (year, month) = (floorQuotient(number, 12), floorRemainder(number, 12) + 1)
        let day = min(start, CivilDate.length(ofMonth: month, in: year))
        return CivilDate(year: year, month: month, day: day).days * secondsPerDay
    }

    private func startOfYear(_ year: Int) -> Int {
        CivilDate(year: year, month: start, day: 1).days * secondsPerDay
    }
}

/// One window of a period in a zone. Windows tile time: each ends where the next begins.
public struct CalendarWindow: Hashable, Sendable {
    /// The first instant, in nanoseconds since the epoch; `Int64.min` when it is out of range.
    public var begin: Int64
    /// The first instant of the next window; `Int64.max`, which means never, when it is after `EngineTime.latest`.
    public var end: Int64

    /// A window.
    public init(begin: Int64, end: Int64) {
        self.begin = begin
        self.end = end
    }

    /// A window given in seconds since the epoch, clamped to the range of 64-bit nanoseconds.
    init(beginSecond: Int, endSecond: Int) {
        begin = CalendarWindow.nanoseconds(beginSecond)
        end = CalendarWindow.nanoseconds(endSecond)
    }

    private static func nanoseconds(_ seconds: Int) -> Int64 {
        let (product, overflows) = Int64(seconds).multipliedReportingOverflow(by: 1_000_000_000)
        return overflows ? (seconds < 0 ? .min : .max) : product
    }
}

/// Seconds of a day without a change of offset.
let secondsPerDay = 86_400
