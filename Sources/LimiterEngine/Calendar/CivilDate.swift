// Dates of the proleptic Gregorian calendar as day numbers, and back. No time of day, no zone, no clock.
//
// The arithmetic counts years from March, so that the leap day is the last day of its year, and in eras of 400 years,
// after which the calendar repeats. Exact for every year that 32 bits hold.

/// A date of the proleptic Gregorian calendar.
public struct CivilDate: Hashable, Sendable {
    /// The year; 0 is the year before 1.
    public var year: Int
    /// 1 to 12.
    public var month: Int
    /// 1 to 31.
    public var day: Int

    /// The date with these numbers, which are not validated.
    public init(year: Int, month: Int, day: Int) {
        self.year = year
        self.month = month
        self.day = day
    }

    /// The date `days` days after 1970-01-01.
    public init(days: Int) {
        // Day 0 of an era is the 1st of March of a year divisible by 400.
        let shifted = days + 719_468
        let era = floorQuotient(shifted, 146_097)
        let dayOfEra = shifted - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let monthFromMarch = (5 * dayOfYear + 2) / 153
        day = dayOfYear - (153 * monthFromMarch + 2) / 5 + 1
        month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9
        year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
    }

    /// Days since 1970-01-01; negative before it.
    public var days: Int {
        let marchYear = month <= 2 ? year - 1 : year
        let era = floorQuotient(marchYear, 400)
        let yearOfEra = marchYear - era * 400
        let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
        let dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
        return era * 146_097 + dayOfEra - 719_468
    }

    /// Whether the year has a 29th of February.
    public static func isLeap(_ year: Int) -> Bool { year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) }

    /// Days in a month of 1 to 12.
    public static func length(ofMonth month: Int, in year: Int) -> Int {
        switch month {
        case 2: isLeap(year) ? 29 : 28
        case 4, 6, 9, 11: 30
        default: 31
        }
    }

    /// The weekday of the day `days` days after 1970-01-01, which was a Thursday: 0 is Monday, 6 is Sunday.
    static func weekday(ofDay days: Int) -> Int { floorRemainder(days + 3, 7) }
}

/// `value / divisor`, rounded down even below zero. `divisor` is above 0.
@inline(__always)
func floorQuotient(_ value: Int, _ divisor: Int) -> Int {
    let quotient = value / divisor
    return value - quotient * divisor < 0 ? quotient - 1 : quotient
}

/// The remainder of `floorQuotient`: 0 or more.
@inline(__always)
func floorRemainder(_ value: Int, _ divisor: Int) -> Int { value - floorQuotient(value, divisor) * divisor }
