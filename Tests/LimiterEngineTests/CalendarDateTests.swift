// Dates and day numbers.

import Testing

@testable import LimiterEngine

@Suite struct CalendarDateTests {
    @Test func everyDayFollowsTheOneBeforeIt() {
        // From 1600 to 2400, computed only from the lengths of months.
        var date = CivilDate(year: 1600, month: 1, day: 1)
        var number = -135_140
        var wrong = 0
        while date.year < 2400 {
            if date.days != number || CivilDate(days: number) != date { wrong += 1 }
            number += 1
            date.day += 1
            if date.day > CivilDate.length(ofMonth: date.month, in: date.year) {
                (date.month, date.day) = (date.month + 1, 1)
            }
            if date.month > 12 { (date.year, date.month) = (date.year + 1, 1) }
        }
        #expect(wrong == 0)
        #expect(number == 157_054)
    }

    @Test(
        "known days",
        arguments: [
            (0, 1970, 1, 1, 3), (-1, 1969, 12, 31, 2), (11_016, 2000, 2, 29, 1), (47_540, 2100, 2, 28, 6),
            (47_541, 2100, 3, 1, 0), (106_751, 2262, 4, 11, 4), (-719_468, 0, 3, 1, 2), (-719_469, 0, 2, 29, 1),
            (-719_834, -1, 3, 1, 0),
        ] as [(Int, Int, Int, Int, Int)])
    func knownDays(days: Int, year: Int, month: Int, day: Int, weekday: Int) {
        let date = CivilDate(year: year, month: month, day: day)
        #expect(date.days == days)
        #expect(CivilDate(days: days) == date)
        #expect(CivilDate.weekday(ofDay: days) == weekday)
    }
}
