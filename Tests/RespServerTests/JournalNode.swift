// A server without clients: an engine, a journal thread with its own directory, and a disk that fails on demand.

import CLinux
import Glibc
import LimiterEngine
import Persistence
import System
import TestSupport
import Testing

@testable import RespServer

/// One run of a journal thread; `stop` ends it.
final class JournalNode: Sendable {
    let server: Server
    let files = FailingFiles()
    private let temporary = TemporaryDirectory("journal")
    private let outcome = Locked<Bool?>(nil)
    private let hasBegun = Locked(false)
    private let thread = Locked<pthread_t?>(nil)

    var durability: Durability { server.durability }
    var status: StorageStatus { durability.status }
    var directory: String { temporary.path }

    /// Creates the node; its thread runs only after `start`.
    init(_ change: (inout Settings) -> Void = { _ in }) throws {
        var settings = Settings()
        settings.shards = 4
        settings.ioThreads = 1
        settings.autoAofRewritePercentage = 0
        settings.save = SaveRules("")!
        change(&settings)
        server = try Server(settings: CurrentSettings(settings), log: try Log(path: "/dev/null"))
    }

    /// Follows the server's start: recovers, begins a log if one is configured, and starts the thread.
    func start() {
        let started = Thread.start(name: "journal") { [self] in
            do {
                let report = try Recovery(
                    files: files, path: directory, engine: server.engine, horizon: server.clock.now()
                ).run(history: server.runID, cutsTornTail: true)
                let log = LogDirectory(files: files, path: directory, recovered: report)
                durability.journal.start(at: report.end)
                if server.currentSettings.value.appendonly {
                    let isBegun = (try? log.roll(at: report.end, time: server.clock.now(), continues: true)) != nil
                    durability.switchLogging(true, engine: server.engine)
                    if isBegun { _ = durability.stream.beginDisk() }
                }
                var pace = JournalDriver.Pace()
                pace.firstRetry = .milliseconds(100)
                pace.longestRetry = .seconds(1)
                let journalThread = JournalThread(server: server, files: files, log: log, pace: pace)
                hasBegun.withLock { $0 = true }
                let isSafe = journalThread.work()
                outcome.withLock { $0 = isSafe }
            } catch {
                Issue.record("the journal thread did not start: \(error)")
                outcome.withLock { $0 = false }
            }
        }
        thread.withLock { $0 = started }
        eventually("the thread begins") { self.hasBegun.withLock { $0 } }
    }

    /// Observes the thread for half a second. Returns whether it used less than a fifth of a CPU: a thread in a busy
    /// loop uses more, while an idle thread stays below however busy the machine is.
    func rests() -> Bool {
        let (began, used) = (SteadyInstant.now(), processorTime)
        // The length of the observation, not a wait for an event.
        usleep(500_000)
        return (processorTime - used) * 5 < SteadyInstant.now() - began
    }

    /// CPU time the thread has used so far. The thread must not have ended.
    private var processorTime: Nanoseconds {
        var clock = clockid_t()
        var time = timespec()
        pthread_getcpuclockid(thread.withLock { $0! }, &clock)
        clock_gettime(clock, &time)
        return .seconds(time.tv_sec) + Nanoseconds(Int64(time.tv_nsec))
    }

    /// Stops the thread after it has written everything to disk; returns whether it succeeded.
    func stop() -> Bool? {
        durability.ask(.stop(savesSnapshot: false))
        eventually("the thread ends") { self.outcome.withLock { $0 != nil } }
        pthread_join(thread.withLock { $0! }, nil)
        return outcome.withLock { $0 }
    }

    func set(_ change: (inout Settings) -> Void) {
        server.currentSettings.change("test", change)
        durability.doorbell.ring()
    }

    /// The names of the files in the directory, sorted.
    var names: [String] { ((try? RealFileSystem().list(directory)) ?? []).sorted() }

    func names(_ prefix: String) -> [String] { names.filter { $0.hasPrefix(prefix) } }

    /// Creates and deletes keys as clients would.
    func churn(_ numbers: Range<Int>, padding: Int = 100) {
        let keyspace = KeyspaceSession(engine: server.engine)
        let pad = String(repeating: "k", count: padding)
        for number in numbers {
            Array("\(pad)-\(number)".utf8).withUnsafeBytes { key in
                _ = try? keyspace.add(1, toCounter: key, now: server.clock.now())
                durability.noteChanges()
                _ = keyspace.remove(key, now: server.clock.now())
            }
        }
        durability.noteChanges()
    }

    func add(_ name: String) {
        Array(name.utf8).withUnsafeBytes { key in
            _ = try? KeyspaceSession(engine: server.engine).add(1, toCounter: key, now: server.clock.now())
        }
        durability.noteChanges()
    }

    /// Bytes counted against `maxmemory`.
    var memory: Int { KeyspaceSession(engine: server.engine).statistics().memory }

    /// Polls the condition and records an issue if it stays false. A correct server meets the deadline even on a busy
    /// machine: after a disk failure it retries within a second.
    func eventually(_ what: Comment, seconds: Int64 = 120, _ condition: () -> Bool) {
        let deadline = SteadyInstant.now() + .seconds(seconds)
        while !condition() {
            guard SteadyInstant.now() < deadline else {
                Issue.record(what)
                return
            }
            usleep(2000)
        }
    }
}
