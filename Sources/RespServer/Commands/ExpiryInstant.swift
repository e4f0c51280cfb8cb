// Converts expiry times between clients and the engine.
//
// A duration is relative to engine time. An absolute time refers to the wall clock and is converted to engine time by
// the skew between the two, which is read only here: EXPIREAT a minute ahead is a minute ahead, whatever clock the
// engine uses. The stored value is engine time, so it is not affected by steps of the wall clock, on replicas or after
// a restart.
//
// Redis counts milliseconds in 64 bits, and refuses values that do not fit. This server does the same, with the same
// error text; values that fit but are after the year 2262 expire in 2262.

import LimiterEngine
import System

extension CommandContext {
    private static let millisecond: Int64 = 1_000_000

    /// Converts a client's expiry to engine time.
    ///
    /// - Parameters:
    ///   - amount: In units of `milliseconds`; negative for the past.
    ///   - isRelative: Relative to now, otherwise to 1970.
    /// - Returns: Nil if Redis would reject it as invalid.
    func expiry(_ amount: Int64, milliseconds: Int64, isRelative: Bool) -> EngineTime? {
        let (length, overflows) = amount.multipliedReportingOverflow(by: milliseconds)
        guard !overflows else { return nil }
        guard isRelative else {
            return CommandContext.instant(milliseconds: length) + server.clock.skewForClients()
        }
        let wall = WallInstant.now().millisecondsRoundedDown
        guard !length.addingReportingOverflow(wall).overflow || length < 0 else { return nil }
        return now.advanced(by: CommandContext.instant(milliseconds: length).nanoseconds)
    }

    /// Converts engine time to what a client sees: units of `milliseconds` since 1970, rounded up.
    func shown(_ expiry: EngineTime, milliseconds: Int64) -> Int64 {
        let skew = server.clock.skewForClients()
        let instant = expiry + -skew
        return ceilingUnits(max(0, instant.nanoseconds), unit: milliseconds * CommandContext.millisecond)
    }

    /// Milliseconds as an instant, saturating.
    private static func instant(milliseconds: Int64) -> EngineTime {
        let (nanoseconds, overflows) = milliseconds.multipliedReportingOverflow(by: millisecond)
        guard !overflows else { return milliseconds < 0 ? EngineTime(nanoseconds: Int64.min) : .latest }
        return min(EngineTime(nanoseconds: nanoseconds), .latest)
    }

    /// Redis's error for an invalid expiry.
    static func invalidExpiry(command: String) -> String { "ERR invalid expire time in '\(command)' command" }
}
