// Limits of any algorithm, for tests that cover all of them.

package import LimiterEngine

extension Limit {
    /// A limit with these numbers. Calendar windows have no period in nanoseconds, so a period of up to a day becomes
    /// a UTC day, and a longer one a week, month or year.
    package static func sample(
        _ algorithm: Algorithm, units: Int64, period: Int64, burst: Int64? = nil, offset: Int64 = 0
    ) throws(LimitError) -> Limit {
        guard algorithm == .calendar else {
            return try Limit(algorithm, units: units, period: period, burst: burst, offset: offset)
        }
        let day: Int64 = 86_400_000_000_000
        let unit: CalendarUnit =
            period <= day ? .day : period <= 7 * day ? .week : period <= 31 * day ? .month : .year
        return try Limit(units: units, per: CalendarPeriod(unit)!, zone: .utc)
    }
}
