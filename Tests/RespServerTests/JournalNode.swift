// A server without clients: its engine, its journal thread on a directory of its own, and a disk that fails on demand.

import CLinux
import Glibc
import LimiterEngine
import Persistence
import System
import TestSupport
import Testing

@testable import RespServer

/// One life of a journal thread. `stop` ends it.
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

    /// Nothing runs before `start`.
    init(_ change: (inout Settings) -> Void = { _ in }) throws {
        var settings = Settings()
        settings.shards = 4
        settings.ioThreads = 1
        settings.autoAofRewritePercentage = 0
        settings.save = SaveRules("")!
        change(&settings)
        server = try Server(settings: CurrentSettings(settings), log: try Log(path: "/dev/null"))
    }

    /// As a start of the server does: recovers, begins a log if there is to be one, and has the thread run.
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
        eventually("it begins") { self.hasBegun.withLock { $0 } }
    }

    /// Looks at the thread for half a second. Returns whether it used less than a fifth of a processor meanwhile, which
    /// a thread that never waits does not, and one that has nothing to do does however busy the machine is.
    func rests() -> Bool {
        let (began, used) = (SteadyInstant.now(), processorTime)
        // A length of time to look at, not one to wait for something.
        usleep(500_000)
        return (processorTime - used) * 5 < SteadyInstant.now() - began
    }

    /// How much of a processor the thread has used so far; it must not have ended.
    private var processorTime: Nanoseconds {
        var clock = clockid_t()
        var time = timespec()
        pthread_getcpuclockid(thread.withLock { $0! }, &clock)
        clock_gettime(clock, &time)
        return .seconds(time.tv_sec) + Nanoseconds(Int64(time.tv_nsec))
    }

    /// Has everything on disk. Returns whether it is.
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

    /// Names of the files.
    var names: [String] { ((try? RealFileSystem().list(directory)) ?? []).sorted() }

    func names(_ prefix: String) -> [String] { names.filter { $0.hasPrefix(prefix) } }

    /// Makes and removes keys as clients would.
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

    /// Bytes that the engine counts against `maxmemory`.
    var memory: Int { KeyspaceSession(engine: server.engine).statistics().memory }

    /// Asks again and again; an issue when it does not come true. The deadline is one that no right server on a busy
    /// machine misses: a disk that failed is tried again after a second at most.
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
