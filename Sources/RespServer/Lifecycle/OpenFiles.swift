// The limit of open files, raised to what maxclients needs.

import CLinux
import Glibc

enum OpenFiles {
    /// Descriptors the server needs beside its clients'.
    private static let reserve = 64

    /// Raises the soft limit as far as the hard one allows, and says so when that is not enough.
    static func raise(toServe clients: Int, log: Log) {
        var limit = rlimit()
        guard clinux_open_files_limit(&limit) == 0 else { return }
        let wanted = rlim_t(clients + reserve)
        guard limit.rlim_cur < wanted else { return }
        let hard = limit.rlim_max
        limit.rlim_cur = min(wanted, hard)
        // A privileged process may raise the hard limit as well.
        if hard < wanted {
            var both = rlimit(rlim_cur: wanted, rlim_max: wanted)
            if clinux_set_open_files_limit(&both) == 0 { return }
        }
        if clinux_set_open_files_limit(&limit) != 0 || limit.rlim_cur < wanted {
            log.warning(
                "the limit of open files is below maxclients; raise it with ulimit -n",
                ["limit": "\(limit.rlim_cur)", "wanted": "\(wanted)"])
        }
    }
}
