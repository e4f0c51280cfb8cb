// The server's log: one line per event, to standard error or to a file, as text for people or as JSON for machines.
//
//     2026-11-21T03:37:32.123Z notice  server started  port=6379 io_threads=2
//     {"time":"2026-11-21T03:37:32.123Z","level":"notice","message":"server started","port":6379,"io_threads":2}
//
// A client can put its own bytes into a field, so control bytes are escaped in both forms: a line is always one line.
// In the journal of systemd, text lines begin with their priority, which the journal removes, for `journalctl -p`. No
// caller waits for the output: lines go to a bounded queue, and a thread writes them (LogWriter). Rotates nothing:
// logrotate renames the file, then `reopen` opens the new one.

import CLinux
import Glibc
import Synchronization
import System

/// The log. Safe from any thread. A call below the level costs one atomic load: neither the message nor the fields
/// are built.
final class Log: Sendable {
    /// Importance of a line, in ascending order.
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

        /// The prefix of a line that gives it a priority in the journal of systemd: those of syslog(3).
        var journalPrefix: String {
            switch self {
            case .debug: "<7>"
            case .verbose: "<6>"
            case .notice: "<5>"
            case .warning: "<4>"
            }
        }

        static func < (left: Level, right: Level) -> Bool { left.rank < right.rank }
    }

    enum Format: String, Sendable, CaseIterable {
        case text, json
    }

    /// Milliseconds since 1970-01-01 UTC.
    typealias WallClock = @Sendable () -> Int64

    private let writer: LogWriter
    private let levelRank: Atomic<UInt8>
    private let usesJSON: Atomic<Bool>
    private let wallClock: WallClock
    /// Whether the output is the journal of systemd.
    private let isJournal: Bool

    /// A log to standard error.
    init(level: Level = .notice, format: Format = .text, wallClock: @escaping WallClock = Log.systemClock) {
        writer = LogWriter(LogOutput())
        isJournal = StandardError.isJournal
        levelRank = Atomic(level.rank)
        usesJSON = Atomic(format == .json)
        self.wallClock = wallClock
    }

    /// A log to the file at `path`, appended to and created with mode 0640; empty: standard error.
    /// Throws when the file cannot be opened.
    init(
        path: String, level: Level = .notice, format: Format = .text, queueBytesMax: Int = LogWriter.queueBytesMax,
        wallClock: @escaping WallClock = Log.systemClock
    ) throws(LogFileError) {
        isJournal = path.isEmpty && StandardError.isJournal
        writer = LogWriter(path.isEmpty ? LogOutput() : try LogOutput(path: path), queueBytesMax: queueBytesMax)
        levelRank = Atomic(level.rank)
        usesJSON = Atomic(format == .json)
        self.wallClock = wallClock
    }

    /// Starts the writer thread. Until then every line is written by its caller, which may block on the output.
    func start() {
        writer.start { [self] in droppedNote($0) }
    }

    /// Waits until every line logged so far is written, for `limit` at most.
    func flush(atMost limit: Nanoseconds) { writer.flush(atMost: limit) }

    /// Number of lines waiting to be written.
    var queuedLines: Int { writer.unwritten }

    /// Number of lines dropped because the output was too slow.
    var droppedLines: Int { writer.dropped.load(ordering: .relaxed) }

    /// Number of lines that could not be written completely.
    var failedWrites: Int { writer.failures.load(ordering: .relaxed) }

    /// Sets `droppedLines` and `failedWrites` to 0.
    func resetStatistics() {
        writer.dropped.store(0, ordering: .relaxed)
        writer.failures.store(0, ordering: .relaxed)
    }

    /// The least important level that is written.
    var level: Level { Level.allCases[Int(levelRank.load(ordering: .relaxed))] }

    var format: Format { usesJSON.load(ordering: .relaxed) ? .json : .text }

    func setLevel(_ level: Level) { levelRank.store(level.rank, ordering: .relaxed) }

    func setFormat(_ format: Format) { usesJSON.store(format == .json, ordering: .relaxed) }

    /// Whether a line of this level would be written.
    func writes(_ level: Level) -> Bool { level.rank >= levelRank.load(ordering: .relaxed) }

    /// Reopens the file under its path, for logrotate; keeps the old one if that fails. Logs the outcome. Lines logged
    /// before this call go to the old file. Does nothing for standard error.
    func reopen() {
        writer.reopen { [self] failure in
            if let failure {
                return line(.warning, "cannot reopen the log file", ["error": "\(failure.text)"])
            }
            return writes(.notice) ? line(.notice, "log file reopened") : nil
        }
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
        writer.add(line(level, message(), fields()))
    }

    private func line(_ level: Level, _ message: String, _ fields: LogFields = [:]) -> [UInt8] {
        let format = format
        let line = LogLine(timeMilliseconds: wallClock(), level: level, message: message, fields: fields).bytes(format)
        return isJournal && format == .text ? Array(level.journalPrefix.utf8) + line : line
    }

    private func droppedNote(_ lines: Int) -> [UInt8] {
        line(.warning, "log lines dropped: the log output is too slow", ["lines": .integer(lines)])
    }

    /// The wall clock of this machine.
    static let systemClock: WallClock = {
        let now = CalendarSecond.now()
        return now.unixSeconds * 1000 + now.nanosecond / 1_000_000
    }
}
