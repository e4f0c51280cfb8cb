// The kernel's figures for another process: processor time and resident memory.

import Glibc

/// A process given by its id, read through /proc.
struct ServerProcess {
    let pid: Int

    init(pid: Int) throws(Failure) {
        self.pid = pid
        guard !threadIds().isEmpty else { throw Failure("there is no process \(pid)") }
    }

    /// Processor time of all live threads, user and system, in nanoseconds. Taken from the scheduler's own accounting:
    /// the separate user and system times have a resolution of 10 ms.
    func cpuNanoseconds() throws(Failure) -> UInt64 {
        let threads = threadIds()
        guard !threads.isEmpty else { throw Failure("process \(pid) has ended") }
        var total: UInt64 = 0
        for thread in threads {
            guard let text = readText("/proc/\(pid)/task/\(thread)/schedstat"),
                let field = text.split(separator: " ").first, let value = UInt64(field)
            else { throw Failure("the kernel shows no schedstat for process \(pid)") }
            total += value
        }
        return total
    }

    /// Bytes resident in memory.
    func residentBytes() throws(Failure) -> Int {
        guard let text = readText("/proc/\(pid)/statm"),
            let pages = Int(text.split(separator: " ").dropFirst().first ?? "")
        else { throw Failure("process \(pid) has ended") }
        return pages * Int(sysconf(Int32(_SC_PAGESIZE)))
    }

    /// Number of threads.
    var threadCount: Int { threadIds().count }

    private func threadIds() -> [String] {
        guard let directory = opendir("/proc/\(pid)/task") else { return [] }
        defer { closedir(directory) }
        var ids: [String] = []
        while let entry = readdir(directory) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if Int(name) != nil { ids.append(name) }
        }
        return ids
    }
}

/// The text of a small file; nil when it cannot be read.
func readText(_ path: String) -> String? {
    let fd = open(path, O_RDONLY)
    guard fd >= 0 else { return nil }
    defer { close(fd) }
    var text: [UInt8] = []
    var piece = [UInt8](repeating: 0, count: 4096)
    while true {
        let count = read(fd, &piece, piece.count)
        guard count > 0 else { return count == 0 ? String(decoding: text, as: UTF8.self) : nil }
        text += piece[..<count]
    }
}
