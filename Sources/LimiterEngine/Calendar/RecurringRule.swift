// The footer of a zone file: a POSIX TZ string, which is the rule for all times after the last transition, such as
// `CET-1CEST,M3.5.0,M10.5.0/3`.
//
// All of POSIX, and what version 3 of the file format adds: times of day from -167 to 167 hours. It is accepted in
// files of version 2 too, where it cannot mean anything else.

/// A recurring rule: an offset, or two and when they change each year.
struct RecurringRule: Equatable {
    /// A day of each year.
    enum Date: Equatable {
        /// `Jn`, 1 to 365: the 29th of February is not counted, and never meant.
        case julian(Int)
        /// `n`, 0 to 365: the 29th of February is counted.
        case ordinal(Int)
        /// `Mm.w.d`: the w-th weekday d (0 is Sunday) of month m; week 5 is the last.
        case weekday(month: Int, week: Int, day: Int)
    }

    /// An instant of each year, in the local time before it.
    struct Change: Equatable {
        var date: Date
        /// Seconds since midnight of the date; may be negative, or more than a day.
        var time: Int
    }

    /// Daylight saving time. It may be behind standard time, as Ireland's is.
    struct Daylight: Equatable {
        /// Seconds east of UTC.
        var offset: Int
        var start: Change
        var end: Change
    }

    /// Standard time: seconds east of UTC.
    var offset: Int
    var daylight: Daylight?

    /// The offsets from one second since the epoch to another: the first entry begins at `begin`.
    ///
    /// Daylight saving time is the union of each year's: so one that ends exactly as the next begins, which is how
    /// rules express permanent daylight saving time, has no gap. If a year's changes come in the other order, its
    /// daylight saving time begins in that year and ends in the next.
    func changes(from begin: Int, to end: Int) -> [(begin: Int, offset: Int)] {
        guard let daylight else { return [(begin, offset)] }
        var changes = [(begin: begin, offset: offset)]
        func add(_ second: Int, _ offset: Int) {
            guard second <= end else { return }
            if second > begin { changes.append((second, offset)) } else { changes[0].offset = offset }
        }
        let firstYear = CivilDate(days: floorQuotient(begin, secondsPerDay)).year - 2
        let lastYear = CivilDate(days: floorQuotient(end, secondsPerDay)).year + 1
        func startOfDaylight(_ year: Int) -> Int { daylight.start.second(in: year) - offset }
        func endOfDaylight(_ year: Int) -> Int { daylight.end.second(in: year) - daylight.offset }
        /// The daylight saving time that has begun and whose end is not final yet.
        var current: Range<Int>?
        for year in firstYear...lastYear {
            let start = startOfDaylight(year)
            let sameYear = endOfDaylight(year)
            let next = start..<(start < sameYear ? sameYear : max(start, endOfDaylight(year + 1)))
            if let known = current, next.lowerBound <= known.upperBound {
                current = known.lowerBound..<max(known.upperBound, next.upperBound)
                continue
            }
            if let known = current {
                add(known.lowerBound, daylight.offset)
                add(known.upperBound, offset)
            }
            current = next
        }
        if let current { add(current.lowerBound, daylight.offset) }
        return changes
    }
}

extension RecurringRule.Change {
    /// The local time of the change in a year, in seconds as in CalendarPeriod.
    func second(in year: Int) -> Int {
        let newYear = CivilDate(year: year, month: 1, day: 1).days
        let day: Int
        switch date {
        case .julian(let number): day = newYear + number - 1 + (number >= 60 && CivilDate.isLeap(year) ? 1 : 0)
        case .ordinal(let number): day = newYear + number
        case .weekday(let month, let week, let weekday):
            let first = CivilDate(year: year, month: month, day: 1).days
            // CivilDate's weekdays begin with Monday, those of the rule with Sunday.
            let sooner = floorRemainder(weekday - 1 - CivilDate.weekday(ofDay: first), 7) + (week - 1) * 7
            let isInMonth = sooner < CivilDate.length(ofMonth: month, in: year)
            day = first + (isInMonth ? sooner : sooner - 7)
        }
        return day * secondsPerDay + time
    }
}

// MARK: Parsing

extension RecurringRule {
    /// Parses a POSIX TZ string.
    init(_ text: ArraySlice<UInt8>) throws(ZoneRuleError) {
        var reader = RuleReader(text)
        try reader.skipAbbreviation()
        offset = -(try reader.clock(hoursMax: 24, else: .offset))
        guard !reader.isAtEnd else { return }
        try reader.skipAbbreviation()
        var daylightOffset = offset + 3600
        if !reader.isNext(",") { daylightOffset = -(try reader.clock(hoursMax: 24, else: .offset)) }
        let start = try reader.change()
        let end = try reader.change()
        guard reader.isAtEnd else { throw reader.error(.end) }
        daylight = Daylight(offset: daylightOffset, start: start, end: end)
    }
}

private struct RuleReader {
    private let text: ArraySlice<UInt8>
    private var position: Int

    init(_ text: ArraySlice<UInt8>) {
        self.text = text
        position = text.startIndex
    }

    var isAtEnd: Bool { position == text.endIndex }

    func error(_ expected: ZoneRuleError.Expected) -> ZoneRuleError {
        ZoneRuleError(expected: expected, position: position - text.startIndex)
    }

    func isNext(_ character: UnicodeScalar) -> Bool { !isAtEnd && text[position] == UInt8(ascii: character) }

    mutating func skip(_ character: UnicodeScalar) -> Bool {
        guard isNext(character) else { return false }
        position += 1
        return true
    }

    mutating func skipAbbreviation() throws(ZoneRuleError) {
        let isQuoted = skip("<")
        let begin = position
        while !isAtEnd, RuleReader.isAbbreviation(text[position], isQuoted: isQuoted) { position += 1 }
        guard position - begin >= 3, !isQuoted || skip(">") else { throw error(.abbreviation) }
    }

    private static func isAbbreviation(_ byte: UInt8, isQuoted: Bool) -> Bool {
        switch byte {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"): true
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "+"), UInt8(ascii: "-"): isQuoted
        default: false
        }
    }

    /// `[+-]h[:mm[:ss]]` in seconds.
    mutating func clock(hoursMax: Int, else expected: ZoneRuleError.Expected) throws(ZoneRuleError) -> Int {
        let isNegative = skip("-")
        if !isNegative { _ = skip("+") }
        guard let hours = number(0...hoursMax) else { throw error(expected) }
        var seconds = hours * 3600
        if skip(":") {
            guard let minutes = number(0...59) else { throw error(expected) }
            seconds += minutes * 60
            if skip(":") {
                guard let rest = number(0...59) else { throw error(expected) }
                seconds += rest
            }
        }
        return isNegative ? -seconds : seconds
    }

    /// `,date[/time]`
    mutating func change() throws(ZoneRuleError) -> RecurringRule.Change {
        guard skip(",") else { throw error(.comma) }
        let date: RecurringRule.Date
        if skip("J") {
            guard let day = number(1...365) else { throw error(.date) }
            date = .julian(day)
        } else if skip("M") {
            guard let month = number(1...12), skip("."), let week = number(1...5), skip("."),
                let day = number(0...6)
            else { throw error(.date) }
            date = .weekday(month: month, week: week, day: day)
        } else {
            guard let day = number(0...365) else { throw error(.date) }
            date = .ordinal(day)
        }
        // Two hours after midnight unless the rule specifies another time.
        let time = skip("/") ? try clock(hoursMax: 167, else: .time) : 7200
        return RecurringRule.Change(date: date, time: time)
    }

    /// One to three digits whose number is in a range; otherwise nil, with the position reset to where they begin.
    private mutating func number(_ range: ClosedRange<Int>) -> Int? {
        let begin = position
        var number = 0
        while !isAtEnd, position - begin < 4, (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(text[position]) {
            number = number * 10 + Int(text[position] - UInt8(ascii: "0"))
            position += 1
        }
        guard (1...3).contains(position - begin), range.contains(number) else {
            position = begin
            return nil
        }
        return number
    }
}
