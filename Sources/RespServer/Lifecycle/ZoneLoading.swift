// Loads the machine's time zone database: at startup, and again on SIGHUP and RL.RULE RELOAD.
//
// All zones are read at once, so a command finds a zone in memory or not at all: no event loop ever waits for a file.
// Owns when that happens and its log lines. Blocks on the disk: runs before the loops start, and later on the files
// thread.

import LimiterEngine
import System

enum ZoneLoading {
    /// Loads, or reloads, all zones of a database directory, and those that durable data refers to.
    static func load(_ directory: String, log: Log) {
        let database = ZoneDirectory(directory)
        var names: [ZoneName] = []
        do throws(ZoneDirectory.Failure) {
            // Other files in the directory, such as an index of the zones, fail to parse and are skipped.
            names = try database.names().compactMap { try? ZoneName($0) }
        } catch {
            log.warning(
                "cannot list the time zone database: no zones are added", ["error": "\(error)"])
        }
        let failures = ZoneRegistry.shared.load(names) { (name) throws(ZoneDirectory.Failure) in
            try database.read(name.text)
        }
        if names.count >= ZoneDirectory.namesMax {
            log.warning(
                "the time zone database has too many entries: some zones are missing",
                ["directory": "\(directory)", "max": .integer(ZoneDirectory.namesMax)])
        }
        warnOfMissing(log)
        log.log(
            .verbose, "time zones loaded",
            ["zones": .integer(ZoneRegistry.shared.table.names.count), "skipped": .integer(failures.count)])
    }

    /// Logs a warning for each zone that stored state names and this machine lacks. Calls that would open a window in
    /// such a zone are refused until it is available. Also called once recovery has read the names.
    static func warnOfMissing(_ log: Log) {
        let table = ZoneRegistry.shared.table
        for name in table.names {
            guard let zone = table.number(of: name), let failure = table.failure(of: zone) else { continue }
            log.warning("a time zone in use is unavailable", ["error": "\(failure)"])
        }
    }
}
