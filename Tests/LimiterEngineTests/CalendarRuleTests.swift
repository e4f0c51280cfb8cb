// The footer of zone files: POSIX TZ strings in all their forms, and the errors for invalid ones.

import Testing

@testable import LimiterEngine

@Suite struct CalendarRuleTests {
    private func rule(_ text: String) throws(ZoneRuleError) -> RecurringRule {
        try RecurringRule(Array(text.utf8)[...])
    }

    private func offset(_ text: String, at second: Int64) throws -> Int {
        let rules = try ZoneRules(file: ZoneFileBuilder(footer: text).bytes)
        return rules.offset(at: EngineTime(nanoseconds: second))
    }

    /// The instants between two UTC dates at which the offset changes, with the new offsets.
    private func changes(_ text: String, in years: ClosedRange<Int>) throws -> [(Int64, Int)] {
        let begin = Int(nanoseconds(years.lowerBound, 1, 1) / 1_000_000_000)
        let end = Int(nanoseconds(years.upperBound + 1, 1, 1) / 1_000_000_000)
        return try rule(text).changes(from: begin, to: end).dropFirst().filter { $0.begin < end }
            .map { (Int64($0.begin) * 1_000_000_000, $0.offset) }
    }

    private func expect(_ text: String, in years: ClosedRange<Int>, _ expected: [(Int64, Int)]) throws {
        let found = try changes(text, in: years)
        #expect(found.map(\.0) == expected.map(\.0), "\(text)")
        #expect(found.map(\.1) == expected.map(\.1), "\(text)")
    }

    @Test(
        "one offset",
        arguments: [
            ("UTC0", 0), ("CET-1", 3600), ("EST5", -18_000), ("EST+5", -18_000), ("<+0545>-5:45", 20_700),
            ("<-03>3", -10_800), ("LMT0:44:30", -2670), ("ABCDEFGHIJ-24", 86_400), ("<A+1>24:00:00", -86_400),
            ("AAA24:59:59", -89_999),
        ])
    func oneOffset(text: String, offset: Int) throws {
        #expect(try rule(text) == RecurringRule(offset: offset, daylight: nil))
        for second: Int64 in [.min, 0, .max] { #expect(try self.offset(text, at: second) == offset) }
    }

    @Test func weekdaysOfMonths() throws {
        try expect(
            "CET-1CEST,M3.5.0,M10.5.0/3", in: 2023...2024,
            [
                (nanoseconds(2023, 3, 26, 1), 7200), (nanoseconds(2023, 10, 29, 1), 3600),
                (nanoseconds(2024, 3, 31, 1), 7200), (nanoseconds(2024, 10, 27, 1), 3600),
            ])
        try expect(
            "EST5EDT,M3.2.0,M11.1.0", in: 2026...2026,
            [(nanoseconds(2026, 3, 8, 7), -14_400), (nanoseconds(2026, 11, 1, 6), -18_000)])
        // A month that begins with the weekday, and a month without a fifth one.
        try expect(
            "AAA0BBB,M2.1.4,M2.5.5", in: 2024...2024,
            [(nanoseconds(2024, 2, 1, 2), 3600), (nanoseconds(2024, 2, 23, 1), 0)])
    }

    @Test func southernDaylightTimeSpansTheNewYear() throws {
        let text = "AEST-10AEDT,M10.1.0,M4.1.0/3"
        try expect(
            text, in: 2024...2024,
            [(nanoseconds(2024, 4, 6, 16), 36_000), (nanoseconds(2024, 10, 5, 16), 39_600)])
        let newYear = Int(nanoseconds(2024, 1, 1) / 1_000_000_000)
        #expect(try rule(text).changes(from: newYear, to: newYear + 1)[0].offset == 39_600)
    }

    @Test func daylightTimeMayBeBehindStandardTime() throws {
        try expect(
            "IST-1GMT0,M10.5.0,M3.5.0/1", in: 2024...2024,
            [(nanoseconds(2024, 3, 31, 1), 3600), (nanoseconds(2024, 10, 27, 1), 0)])
    }

    @Test func julianDaysLeaveOutTheLeapDayAndOrdinalDaysCountIt() throws {
        for (text, day2023, day2024) in [
            ("AAA0BBB-1,J60/0,J365/0", (3, 1), (3, 1)), ("AAA0BBB-1,59/0,J365/0", (3, 1), (2, 29)),
            ("AAA0BBB-1,J59/0,J365/0", (2, 28), (2, 28)), ("AAA0BBB-1,0/0,J365/0", (1, 1), (1, 1)),
        ] {
            for (year, day) in [(2023, day2023), (2024, day2024)] {
                let begins = try changes(text, in: year - 1...year + 1).filter { $0.1 == 3600 }.map(\.0)
                #expect(begins.contains(nanoseconds(year, day.0, day.1)), "\(text) in \(year)")
            }
        }
        // Day 365 is 31 December in a leap year, and 1 January of the next year otherwise.
        #expect(try changes("AAA0BBB-1,100,365/1", in: 2024...2024).last?.0 == nanoseconds(2024, 12, 31))
        #expect(try changes("AAA0BBB-1,100,365/1", in: 2023...2024).contains { $0 == (nanoseconds(2024, 1, 1), 0) })
    }

    @Test func timesMayBeNegativeOrLongerThanADay() throws {
        // Nuuk: Saturday 22:00 before the last Sunday. Gaza-like: Thursday of the week after.
        try expect(
            "<-02>2<-01>,M3.5.0/-1,M10.5.0/0", in: 2024...2024,
            [(nanoseconds(2024, 3, 31, 1), -3600), (nanoseconds(2024, 10, 27, 1), -7200)])
        try expect(
            "IST-2IDT,M3.4.4/26,M10.5.0", in: 2024...2024,
            [(nanoseconds(2024, 3, 29), 10_800), (nanoseconds(2024, 10, 26, 23), 7200)])
        try expect(
            "AAA0BBB,J100/-167,J200/167:59:59", in: 2024...2024,
            [(nanoseconds(2024, 4, 3, 1), 3600), (nanoseconds(2024, 7, 25, 22, 59, 59), 0)])
    }

    @Test(
        "daylight time all year",
        arguments: ["EST5EDT,0/0,J365/25", "EST5EDT,J1/0,J365/25", "EST5EDT,0/0,J365/48", "XXX5EDT4,0/-100,J365/167"])
    func allYear(text: String) throws {
        #expect(try changes(text, in: 1980...2200).isEmpty)
        for year in [1970, 2023, 2024, 2025, 2262] {
            for second: Int64 in [-1, 0, 1] {
                #expect(try offset(text, at: nanoseconds(year, 1, 1, 5) + second * 1_000_000_000) == -14_400)
            }
        }
    }

    @Test(
        "errors name the problem and its position",
        arguments: [
            ("AB5", .abbreviation, 2), ("", .abbreviation, 0), ("<AB>5", .abbreviation, 3), ("<ABC5", .abbreviation, 5),
            ("CET", .offset, 3), ("CET-25", .offset, 4), ("CET-1:60", .offset, 6), ("CET-24:00:60", .offset, 10),
            ("CET-1:", .offset, 6), ("CET-1CE", .abbreviation, 7), ("CET-1CEST", .offset, 9),
            ("CET-1CEST,", .date, 10), ("CET-1CEST,M3.5.0", .comma, 16), ("CET-1CEST-2", .comma, 11),
            ("CET-1CEST,M0.5.0,J5", .date, 11), ("CET-1CEST,M3.6.0,J5", .date, 13), ("CET-1CEST,M3.5.7,J5", .date, 15),
            ("CET-1CEST,J0,J5", .date, 11), ("CET-1CEST,J366,J5", .date, 11), ("CET-1CEST,366,J5", .date, 10),
            ("CET-1CEST,J1/168,J5", .time, 13), ("CET-1CEST,J1/,J5", .time, 13), ("CET-1CEST,J1,J5x", .end, 15),
            ("CET-1CEST,J1,J5/0001", .time, 16), ("CET99999999999999999999", .offset, 3),
        ] as [(String, ZoneRuleError.Expected, Int)])
    func badRules(text: String, expected: ZoneRuleError.Expected, position: Int) {
        #expect(throws: ZoneRuleError(expected: expected, position: position)) { try self.rule(text) }
    }
}
