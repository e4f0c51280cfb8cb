// The destination of the log: standard error, or a file. Owns the file's descriptor.
//
// Opening never blocks: a FIFO that no process reads, or a device that is not ready, would keep the server from
// starting. Writing blocks as long as the output does; only the writer thread waits for it (LogWriter).

import Glibc
import System

/// The log file cannot be opened.
struct LogFileError: Error, Equatable {
    var path: String
    var reason: String

    var text: String { "cannot open log file '\(path)': \(reason)" }
}

/// An open output. Not thread-safe.
final class LogOutput {
    /// Empty for standard error, which must not be closed.
    let path: String
    private var descriptor: CInt
    /// The last line was written in part: the next one begins with a line feed.
    private var isTorn = false

    /// Standard error.
    init() {
        path = ""
        descriptor = STDERR_FILENO
    }

    /// The file at `path`, created with mode 0640 if it does not exist.
    init(path: String) throws(LogFileError) {
        self.path = path
        descriptor = try LogOutput.open(path)
    }

    deinit { if !path.isEmpty { close(descriptor) } }

    /// Writes a whole line, waiting as long as necessary. False if it could not be written: there is nowhere to report
    /// that, and serving clients matters more.
    func write(_ line: [UInt8]) -> Bool {
        let bytes = isTorn ? [0x0A] + line : line
        var done = 0
        while done < bytes.count {
            let count = bytes.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress! + done, $0.count - done) }
            if count > 0 {
                done += count
            } else if !(count < 0 && (errno == EINTR || errno == EAGAIN && waitForRoom())) {
                break
            }
        }
        if done > 0 { isTorn = done < bytes.count }
        return done == bytes.count
    }

    /// Standard error may be non-blocking: its flags are shared with other processes.
    private func waitForRoom() -> Bool {
        var polled = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
        return poll(&polled, 1, -1) > 0 || errno == EINTR
    }

    /// Reopens the file. Keeps the old one if that fails.
    func reopen() throws(LogFileError) {
        guard !path.isEmpty else { return }
        let fresh = try LogOutput.open(path)
        close(descriptor)
        descriptor = fresh
        isTorn = false
    }

    private static func open(_ path: String) throws(LogFileError) -> CInt {
        let flags = O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY
        let descriptor = Glibc.open(path, flags, 0o640)
        let code = errno
        var status = stat()
        guard descriptor >= 0 else {
            let isKnown = code == ENXIO && stat(path, &status) == 0
            switch isKnown ? status.st_mode & S_IFMT : 0 {
            case S_IFIFO: throw LogFileError(path: path, reason: "it is a FIFO that no process reads")
            case S_IFSOCK: throw LogFileError(path: path, reason: "it is a socket")
            default: throw LogFileError(path: path, reason: SystemError.text(code))
            }
        }
        if fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFBLK {
            close(descriptor)
            throw LogFileError(path: path, reason: "it is a block device")
        }
        return descriptor
    }
}

/// Standard error for the one message of a program that gives up.
enum StandardError {
    /// Whether it is the connection to the journal that systemd has named in the environment, by device and inode. The
    /// journal takes a line's priority from a prefix such as `<4>`: sd-daemon(3).
    static let isJournal: Bool = {
        var status = stat()
        guard let name = getenv("JOURNAL_STREAM").map({ String(cString: $0) }), fstat(STDERR_FILENO, &status) == 0
        else { return false }
        return name == "\(status.st_dev):\(status.st_ino)"
    }()

    /// Writes `text` if there is room for it within a second: a stalled reader must not keep a process from ending.
    static func write(_ text: String) {
        var polled = pollfd(fd: STDERR_FILENO, events: Int16(POLLOUT), revents: 0)
        guard poll(&polled, 1, 1000) > 0 else { return }
        var text = text
        text.withUTF8 { _ = Glibc.write(STDERR_FILENO, $0.baseAddress, $0.count) }
    }
}
