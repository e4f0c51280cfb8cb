// When a key is to expire: what clients say of it, and what they are shown.
//
// A duration counts from engine time. An instant is one of the wall clock, and becomes engine time by the skew between
// the two, which is read here and nowhere else: EXPIREAT a minute ahead is a minute ahead, whatever clock the engine
// goes by. What is stored is engine time: it stays what it is when the wall clock is stepped, on replicas and after a
// start.
//
// Redis counts milliseconds in 64 bits, and refuses what does not fit there. So does this, in the same words; what fits
// there and lies after the year 2262 expires in 2262.

import LimiterEngine
import System

extension CommandContext {
    private static let millisecond: Int64 = 1_000_000

    /// The instant of engine time that a client means.
    ///
    /// - Parameters:
    ///   - amount: Of units of `milliseconds`; below zero for what has passed.
    ///   - isRelative: It counts from now, and not from 1970.
    /// - Returns: Nil where Redis calls it invalid.
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

    /// What a client is shown of an instant of engine time: so many units of `milliseconds` since 1970, rounded up.
    func shown(_ expiry: EngineTime, milliseconds: Int64) -> Int64 {
        let skew = server.clock.skewForClients()
        let instant = expiry + -skew
        return ceilingUnits(max(0, instant.nanoseconds), unit: milliseconds * CommandContext.millisecond)
    }

    /// Nanoseconds as an instant, saturated.
    private static func instant(milliseconds: Int64) -> EngineTime {
        let (nanoseconds, overflows) = milliseconds.multipliedReportingOverflow(by: millisecond)
        guard !overflows else { return milliseconds < 0 ? EngineTime(nanoseconds: Int64.min) : .latest }
        return min(EngineTime(nanoseconds: nanoseconds), .latest)
    }

    /// The words for an expiry that Redis calls invalid.
    static func invalidExpiry(command: String) -> String { "ERR invalid expire time in '\(command)' command" }
}
