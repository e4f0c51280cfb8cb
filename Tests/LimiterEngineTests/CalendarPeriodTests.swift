// Windows in zones without transitions: the start of each unit, leap years, and the limits of representable time.

import Testing

@testable import LimiterEngine

/// A UTC date as nanoseconds since the epoch.
func nanoseconds(
    _ year: Int, _ month: Int, _ day: Int, _ hour: Int = 0, _ minute: Int = 0, _ second: Int = 0
) -> Int64 {
    let days = CivilDate(year: year, month: month, day: day).days
    return Int64(((days * 24 + hour) * 60 + minute) * 60 + second) * 1_000_000_000
}

@Suite struct CalendarPeriodTests {
    private let registry = ZoneRegistry()

    private func window(
        _ unit: CalendarUnit, _ start: Int? = nil, at time: Int64, zone: String = "UTC"
    ) throws -> CalendarWindow {
        let period = try #require(CalendarPeriod(unit, start: start))
        let zone = try #require(registry.table.number(of: try ZoneName(zone)))
        return try #require(registry.window(containing: EngineTime(nanoseconds: time), period, zone: zone))
    }

    @Test func aStartMustExistInItsUnit() {
        for (unit, starts) in [(.day, 0...23), (.week, 1...7), (.month, 1...31), (.year, 1...12)]
            as [(CalendarUnit, ClosedRange<Int>)]
        {
            for start in -1...300 {
                #expect((CalendarPeriod(unit, start: start)?.start == start) == starts.contains(start))
            }
            #expect(CalendarPeriod(unit)?.start == starts.lowerBound)
        }
    }

    @Test func unitsStartAtTheRightInstant() throws {
        let time = nanoseconds(2024, 2, 29, 12, 30)
        #expect(try window(.day, at: time) == .init(begin: nanoseconds(2024, 2, 29), end: nanoseconds(2024, 3, 1)))
        #expect(
            try window(.day, 13, at: time)
                == .init(begin: nanoseconds(2024, 2, 28, 13), end: nanoseconds(2024, 2, 29, 13)))
        // A Thursday.
        #expect(try window(.week, at: time) == .init(begin: nanoseconds(2024, 2, 26), end: nanoseconds(2024, 3, 4)))
        #expect(try window(.week, 4, at: time) == .init(begin: nanoseconds(2024, 2, 29), end: nanoseconds(2024, 3, 7)))
        #expect(try window(.week, 5, at: time) == .init(begin: nanoseconds(2024, 2, 23), end: nanoseconds(2024, 3, 1)))
        #expect(try window(.week, 7, at: time) == .init(begin: nanoseconds(2024, 2, 25), end: nanoseconds(2024, 3, 3)))
        #expect(try window(.month, at: time) == .init(begin: nanoseconds(2024, 2, 1), end: nanoseconds(2024, 3, 1)))
        #expect(try window(.year, at: time) == .init(begin: nanoseconds(2024, 1, 1), end: nanoseconds(2025, 1, 1)))
        #expect(try window(.year, 3, at: time) == .init(begin: nanoseconds(2023, 3, 1), end: nanoseconds(2024, 3, 1)))
        #expect(try window(.year, 2, at: time) == .init(begin: nanoseconds(2024, 2, 1), end: nanoseconds(2025, 2, 1)))
    }

    @Test("a start day that a month lacks is its last day", arguments: [29, 30, 31])
    func shortMonths(start: Int) throws {
        for year in [1970, 1972, 2000, 2023, 2024, 2100, 2200, 2261] {
            var begins: [Int64] = []
            for month in 1...12 {
                let length = CivilDate.length(ofMonth: month, in: year)
                begins.append(nanoseconds(year, month, min(start, length)))
            }
            for (begin, end) in zip(begins, begins.dropFirst()) {
                #expect(try window(.month, start, at: begin) == .init(begin: begin, end: end))
                #expect(try window(.month, start, at: end - 1) == .init(begin: begin, end: end))
            }
        }
    }

    @Test func fixedOffsetsShiftTheWindow() throws {
        let hour: Int64 = 3_600_000_000_000
        let offsets = [("+02:00", 2 * hour), ("-0530", -5 * hour - hour / 2), ("+2359", 24 * hour - hour / 60)]
        for (zone, offset) in offsets {
            let time = nanoseconds(2024, 7, 1) - offset
            let month = try window(.month, at: time, zone: zone)
            #expect(month == .init(begin: time, end: nanoseconds(2024, 8, 1) - offset))
            #expect(try window(.month, at: time - 1, zone: zone).end == time)
        }
    }

    @Test("windows are clamped to 64 bits", arguments: CalendarUnit.allCases)
    func ends(unit: CalendarUnit) throws {
        for zone in ["UTC", "+2359", "-2359"] {
            let last = try window(unit, at: EngineTime.latest.nanoseconds, zone: zone)
            #expect(last.begin <= EngineTime.latest.nanoseconds && last.end == .max)
            #expect(try window(unit, at: .max, zone: zone) == last)
            #expect(try window(unit, at: last.begin, zone: zone) == last)
            #expect(try window(unit, at: last.begin - 1, zone: zone).end == last.begin)
            let first = try window(unit, at: .min, zone: zone)
            #expect(first.begin == .min && first.end > .min)
            #expect(try window(unit, at: first.end, zone: zone).begin == first.end)
        }
    }
}
