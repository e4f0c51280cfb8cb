// The limit of open files: raised to what maxclients needs; if it cannot be, determines how many clients fit.
//
// Every client uses a descriptor. If clients could use all of them, snapshots, the next segment of the append-only log,
// the role file and the link to a primary could not be opened any more, so some are reserved.

import CLinux
import Glibc
import Synchronization

/// How many clients the limit of open files allows. Thread-safe.
final class OpenFiles: Sendable {
    /// Descriptors reserved for files, the link to a primary, name servers, and a connection that is being rejected.
    private static let forFilesAndLinks = 64

    /// Descriptors unavailable to clients: those open when this object was created, and those the server opens for
    /// itself.
    let reserved: Int
    private let clients = Atomic<Int>(0)

    /// How many clients fit.
    var clientsMax: Int { clients.load(ordering: .relaxed) }

    /// - Parameter settings: Determines the number of loops and listeners.
    convenience init(_ settings: Settings) {
        // A loop has an epoll and an eventfd.
        let own = 2 * Server.loopCount(settings) + settings.bind.count + (settings.unixsocket.isEmpty ? 0 : 1)
        self.init(reserved: OpenFiles.open() + own + OpenFiles.forFilesAndLinks)
    }

    init(reserved: Int) {
        self.reserved = reserved
        clients.store(OpenFiles.limit() - reserved, ordering: .relaxed)
    }

    /// Raises the limit for `maxclients` clients as far as possible, and warns if fewer fit. Returns why the server
    /// cannot serve any client; nil if it can.
    func prepare(maxclients: Int, log: Log) -> String? {
        raise(toServe: maxclients)
        let fits = clientsMax
        guard fits < maxclients else { return nil }
        let limit = fits + reserved
        guard fits > 0 else {
            return "the limit of open files is \(limit), of which the server needs \(reserved) for itself and one for "
                + "each client; raise it (ulimit -n) to \(reserved + 1) or more, to \(reserved + maxclients) for "
                + "all of maxclients"
        }
        log.warning(
            "the limit of open files is too low for maxclients; lowering maxclients (raise the limit with ulimit -n)",
            [
                "requested": .integer(maxclients), "maxclients": .integer(fits), "open_files": .integer(limit),
                "reserved": .integer(reserved), "needed": .integer(reserved + maxclients),
            ])
        return nil
    }

    /// Raises the soft limit up to the hard limit, and the hard limit too if the process may.
    func raise(toServe maxclients: Int) {
        var limit = rlimit()
        guard clinux_open_files_limit(&limit) == 0 else { return }
        let wanted = rlim_t(maxclients + reserved)
        if limit.rlim_cur < wanted {
            let hard = limit.rlim_max
            // A privileged process may raise the hard limit as well.
            var both = rlimit(rlim_cur: wanted, rlim_max: max(wanted, hard))
            if clinux_set_open_files_limit(&both) != 0 {
                limit.rlim_cur = min(wanted, hard)
                _ = clinux_set_open_files_limit(&limit)
            }
        }
        clients.store(OpenFiles.limit() - reserved, ordering: .relaxed)
    }

    /// The soft limit; a number larger than ever needed if there is none.
    static func limit() -> Int {
        var limit = rlimit()
        guard clinux_open_files_limit(&limit) == 0 else { return 1024 }
        return Int(clamping: limit.rlim_cur)
    }

    /// Number of open descriptors, including inherited ones.
    static func open() -> Int {
        guard let directory = opendir("/proc/self/fd") else { return 8 }
        defer { closedir(directory) }
        var count = 0
        while let entry = readdir(directory) {
            // Not "." and "..".
            if entry.pointee.d_name.0 != CChar(UInt8(ascii: ".")) { count += 1 }
        }
        // The directory itself was one of them.
        return count - 1
    }
}

extension ConfigChange {
    /// Refuses a `maxclients` that the limit of open files does not allow, after trying to raise it.
    func check(_ openFiles: OpenFiles) throws(ConfigSetError) {
        guard names.contains("maxclients") else { return }
        openFiles.raise(toServe: settings.maxclients)
        guard settings.maxclients > openFiles.clientsMax else { return }
        throw .failed(
            "maxclients",
            "The operating system is not able to handle the specified number of clients, try with "
                + "\(openFiles.clientsMax)")
    }
}
