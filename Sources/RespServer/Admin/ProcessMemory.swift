// Memory and CPU use of this process as reported by the kernel.

import CLinux
import Glibc

enum ProcessMemory {
    /// Resident set size in bytes; 0 if /proc is not available.
    static func resident() -> Int {
        guard let file = fopen("/proc/self/statm", "r") else { return 0 }
        defer { fclose(file) }
        var line = [CChar](repeating: 0, count: 128)
        guard fgets(&line, Int32(line.count), file) != nil else { return 0 }
        let fields = String(decoding: line.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
            .split(separator: " ")
        return fields.count > 1 ? (Int(fields[1]) ?? 0) * Int(sysconf(Int32(_SC_PAGESIZE))) : 0
    }

    /// Seconds of system and user CPU time used so far.
    static func cpu(children: Bool = false) -> (system: Double, user: Double) {
        var usage = rusage()
        guard clinux_usage(&usage, children ? 1 : 0) == 0 else { return (0, 0) }
        func seconds(_ time: timeval) -> Double { Double(time.tv_sec) + Double(time.tv_usec) / 1e6 }
        return (seconds(usage.ru_stime), seconds(usage.ru_utime))
    }
}
