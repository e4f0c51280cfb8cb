// The server's log: one line per event, to standard error or to a file, as text for people or as JSON for machines.
//
//     2026-11-21T03:37:32.123Z notice  server started  port=6379 io_threads=2
//     {"time":"2026-11-21T03:37:32.123Z","level":"notice","message":"server started","port":6379,"io_threads":2}
//
// Whatever a client sent may end up in a field, so control bytes are escaped in both forms: a line is always one line.
// Each line is one write(2) under a small lock; a failed write is counted and forgotten, since there is nowhere to
// report it and serving clients matters more. Where standard error is a pipe nobody reads, that write waits for the
// reader, and where its reader is gone it raises SIGPIPE: the process ignores that signal. Owns the file's descriptor.
// Rotates nothing: logrotate renames the file, then `reopen` opens the new one.

import CLinux
import Glibc
import Synchronization

/// The log. Safe from any thread. A call below the level costs one atomic load: neither the message nor the fields
/// are built.
final class Log: Sendable {
    /// How important a line is; the raw value orders them.
    enum Level: String, Sendable, CaseIterable, Comparable {
        case debug, verbose, notice, warning

        fileprivate var rank: UInt8 {
            switch self {
            case .debug: 0
            case .verbose: 1
            case .notice: 2
            case .warning: 3
            }
        }

        static func < (left: Level, right: Level) -> Bool { left.rank < right.rank }
    }

    enum Format: String, Sendable, CaseIterable {
        case text, json
    }

    /// Milliseconds since 1970-01-01 UTC.
    typealias WallClock = @Sendable () -> Int64

    private struct Output {
        var descriptor: CInt
        /// Empty: standard error, which is not ours to close.
        let path: String
    }

    private let output: Guarded<Output>
    private let levelRank: Atomic<UInt8>
    private let usesJSON: Atomic<Bool>
    private let failures = Atomic<Int>(0)
    private let wallClock: WallClock

    /// A log to standard error.
    init(level: Level = .notice, format: Format = .text, wallClock: @escaping WallClock = Log.systemClock) {
        output = Guarded(Output(descriptor: STDERR_FILENO, path: ""))
        levelRank = Atomic(level.rank)
        usesJSON = Atomic(format == .json)
        self.wallClock = wallClock
    }

    /// A log to the file at `path`, appended to and created with mode 0640; empty: standard error.
    /// Throws when the file cannot be opened.
    init(
        path: String, level: Level = .notice, format: Format = .text,
        wallClock: @escaping WallClock = Log.systemClock
    ) throws(LogFileError) {
        let descriptor = path.isEmpty ? STDERR_FILENO : try Log.open(path)
        output = Guarded(Output(descriptor: descriptor, path: path))
        levelRank = Atomic(level.rank)
        usesJSON = Atomic(format == .json)
        self.wallClock = wallClock
    }

    deinit {
        output.withLock { output in
            if !output.path.isEmpty { close(output.descriptor) }
        }
    }

    /// How many lines could not be written whole.
    var failedWrites: Int { failures.load(ordering: .relaxed) }

    /// The least important level that is written.
    var level: Level { Level.allCases[Int(levelRank.load(ordering: .relaxed))] }

    var format: Format { usesJSON.load(ordering: .relaxed) ? .json : .text }

    func setLevel(_ level: Level) { levelRank.store(level.rank, ordering: .relaxed) }

    func setFormat(_ format: Format) { usesJSON.store(format == .json, ordering: .relaxed) }

    /// Whether a line of this level would be written.
    func writes(_ level: Level) -> Bool { level.rank >= levelRank.load(ordering: .relaxed) }

    /// Opens the file anew under its path, for logrotate. Keeps the old one when that fails. Nothing to do for
    /// standard error.
    func reopen() throws(LogFileError) {
        let path = output.withLock { $0.path }
        guard !path.isEmpty else { return }
        let fresh = try Log.open(path)
        let old = output.withLock { output in
            let old = output.descriptor
            output.descriptor = fresh
            return old
        }
        close(old)
    }

    func debug(_ message: @autoclosure () -> String, _ fields: @autoclosure () -> LogFields = [:]) {
        log(.debug, message(), fields())
    }

    func verbose(_ message: @autoclosure () -> String, _ fields: @autoclosure () -> LogFields = [:]) {
        log(.verbose, message(), fields())
    }

    func notice(_ message: @autoclosure () -> String, _ fields: @autoclosure () -> LogFields = [:]) {
        log(.notice, message(), fields())
    }

    func warning(_ message: @autoclosure () -> String, _ fields: @autoclosure () -> LogFields = [:]) {
        log(.warning, message(), fields())
    }

    /// Writes one line if `level` is important enough. Allocates; not for the request path at the default level.
    func log(_ level: Level, _ message: @autoclosure () -> String, _ fields: @autoclosure () -> LogFields = [:]) {
        guard writes(level) else { return }
        let line = LogLine(timeMilliseconds: wallClock(), level: level, message: message(), fields: fields())
        write(line.bytes(format))
    }

    private func write(_ bytes: [UInt8]) {
        let written = output.withLock { output in
            while true {
                let written = bytes.withUnsafeBytes { Glibc.write(output.descriptor, $0.baseAddress, $0.count) }
                // Interrupted before the first byte: nothing was written, so this is still one line.
                if written >= 0 || errno != EINTR { return written }
            }
        }
        if written != bytes.count { failures.add(1, ordering: .relaxed) }
    }

    private static func open(_ path: String) throws(LogFileError) -> CInt {
        let descriptor = Glibc.open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0o640)
        guard descriptor >= 0 else { throw LogFileError(path: path, reason: String(cString: strerror(errno))) }
        return descriptor
    }

    /// The wall clock of this machine.
    static let systemClock: WallClock = {
        var now = timespec()
        clock_gettime(CLOCK_REALTIME, &now)
        return Int64(now.tv_sec) * 1000 + Int64(now.tv_nsec) / 1_000_000
    }
}

/// The log file cannot be opened.
struct LogFileError: Error, Equatable {
    var path: String
    var reason: String

    var text: String { "cannot open log file '\(path)': \(reason)" }
}
