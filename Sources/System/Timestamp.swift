// Instants as text: `2026-11-21T03:37:32.123Z`, in the log and in the output of the tools.

/// Writes instants.
public enum Timestamp {
    /// An instant in UTC, in milliseconds since 1970. Years are counted from March, so that the leap day is the last
    /// day of a year; valid for years 0…9999.
    public static func text(milliseconds: Int64) -> String {
        let dayMilliseconds: Int64 = 86_400_000
        let days = floorDivide(milliseconds, dayMilliseconds)
        let timeOfDay = Int(milliseconds - days * dayMilliseconds)
        // There are 719 468 days from 0000-03-01 to 1970-01-01, and 146 097 days in 400 years.
        let shifted = days + 719_468
        let era = floorDivide(shifted, 146_097)
        let dayOfEra = Int(shifted - era * 146_097)
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let monthFromMarch = (5 * dayOfYear + 2) / 153
        let day = dayOfYear - (153 * monthFromMarch + 2) / 5 + 1
        let month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9
        let year = yearOfEra + Int(era) * 400 + (month <= 2 ? 1 : 0)
        let date = "\(padded(year, 4))-\(padded(month, 2))-\(padded(day, 2))"
        let seconds = timeOfDay / 1000
        let time = "\(padded(seconds / 3600, 2)):\(padded(seconds / 60 % 60, 2)):\(padded(seconds % 60, 2))"
        return "\(date)T\(time).\(padded(timeOfDay % 1000, 3))Z"
    }

    private static func floorDivide(_ value: Int64, _ divisor: Int64) -> Int64 {
        value >= 0 ? value / divisor : -((divisor - 1 - value) / divisor)
    }

    private static func padded(_ value: Int, _ width: Int) -> String {
        let digits = String(value)
        return String(repeating: "0", count: max(0, width - digits.utf8.count)) + digits
    }
}
