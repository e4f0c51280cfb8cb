// Reading the machine's time zone database: at the start, and again on SIGHUP and RL.RULE RELOAD.
//
// All zones are read at once, so a command finds the zone it names in memory or there is none: no event loop ever waits
// for a file. Owns when that happens and the lines of the log. Waits for a disk: runs before the loops start, and then
// on the files thread.

import LimiterEngine
import System

enum ZoneLoading {
    /// Reads all zones of a directory of the database, and those that durable data names, again or for the first time.
    static func load(_ directory: String, log: Log) {
        let database = ZoneDirectory(directory)
        var names: [ZoneName] = []
        do throws(ZoneDirectory.Failure) {
            // What is there beside zones, such as an index of them, is left out when it turns out to be none.
            names = try database.names().compactMap { try? ZoneName($0) }
        } catch {
            log.warning(
                "no time zone database: ALGO calendar knows fixed offsets only", ["error": "\(error)"])
        }
        let failures = ZoneRegistry.shared.load(names) { (name) throws(ZoneDirectory.Failure) in
            try database.read(name.text)
        }
        let table = ZoneRegistry.shared.table
        for name in table.names {
            guard let zone = table.number(of: name), let failure = table.failure(of: zone) else { continue }
            // Stored state names it. Calls that would open a window of it are refused until it is there.
            log.warning("a time zone in use is not known", ["error": "\(failure)"])
        }
        log.log(
            .verbose, "time zones read", ["zones": .integer(table.names.count), "skipped": .integer(failures.count)])
    }
}
