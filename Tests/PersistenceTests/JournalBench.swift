// A test bench for the journal driver: a real engine and journal, files in memory, and all other events from a table.
// The driver's actions are recorded as text.

import Glibc
import LimiterEngine
import System
import TestSupport
import Testing

@testable import Persistence

/// A host that makes no decisions.
final class JournalBench: JournalHost {
    /// A row of a table: the time in milliseconds, the event, and the driver's expected actions.
    typealias Row = (at: Int64, step: String, actions: String)

    let files = SimulatedFileSystem()
    let session: KeyspaceSession
    let journal: Journal
    private(set) var driver: JournalDriver!
    private(set) var actions: [String] = []
    private var parts = PartsForDisk()
    private var begun = 0
    private var requested = 0
    private var durable = 0
    private var keys = 0
    private var wantsLog = true
    private var wantedRestore = 0

    private var waitedSync: LogDirectory.SyncJob?
    private var otherSync: LogDirectory.SyncJob?
    /// Snapshots being written, the oldest first.
    private var snapshots: [(number: Int, writer: SnapshotWriter)] = []
    private var restore: Int?

    var journalSettings: JournalDriver.Settings
    var isLogging: Bool
    var waitingReplies = 0
    var hasUncollectedChanges = false
    var isAbandoningStuckLocks = false
    let engineTime = EngineTime.seconds(1_000_000)

    init(_ settings: JournalDriver.Settings = JournalDriver.Settings(), logs: Bool = true) throws {
        files.failureCodes = [EIO]
        let log: LogDirectory
        (session, journal, log) = try PromiseCheck.start(files, now: engineTime)
        journalSettings = settings
        isLogging = logs
        wantsLog = logs
        if logs {
            try log.roll(at: 0, time: engineTime, continues: true)
            parts.begin()
        }
        var pace = JournalDriver.Pace()
        pace.unwrittenMax = 1000
        driver = JournalDriver(host: self, engine: session.engine, files: files, log: log, pace: pace, now: 0)
    }

    // MARK: Tables

    /// Applies the rows in order.
    func run(_ rows: [Row], _ location: SourceLocation = #_sourceLocation) {
        for (index, row) in rows.enumerated() {
            actions = []
            step(row.step, at: .boot + .milliseconds(row.at))
            let done = actions.joined(separator: ", ")
            #expect(done == row.actions, "row \(index): \(row.step) at \(row.at)", sourceLocation: location)
        }
    }

    private func step(_ text: String, at now: SteadyInstant) {
        let words = text.split(separator: " ").map(String.init)
        let number = words.dropFirst().first.flatMap { Int($0) } ?? 1
        switch words[0] {
        case "change": for _ in 0..<number { change() }
        case "tickets": for _ in 0..<number { takeTicket() }
        case "fails": files.failing = Set(SystemCall.allCases.filter { words.contains("\($0)") })
        case "works": files.failing = []
        case "set": set(words[1])
        case "unwanted": wantedRestore = 0
        case "off", "on": switchLogging(words[0] == "on")
        case "turn": feed(.turn, now)
        case "synced": endSync(&waitedSync, isWaitedFor: true, took: .milliseconds(number), now)
        case "syncedElsewhere": endSync(&otherSync, isWaitedFor: false, took: .milliseconds(number), now)
        case "written": endSnapshot(now)
        case "save": feed(.snapshotRequested(.save), now)
        case "rewrite": feed(.snapshotRequested(.rewrite), now)
        case "detach": feed(.detach, now)
        case "attach": feed(.attach(history: words[1], isNewState: true), now)
        case "rename": feed(.rename(from: nil, to: words[1]), now)
        case "restore":
            wantedRestore = number
            feed(.restore(number: number, horizon: EngineTime(nanoseconds: 0)), now)
        case "readBack": endRestore(now)
        case "resume": feed(.resume, now)
        case "stop": feed(.stop(savesSnapshot: words.count > 1), now)
        default: Issue.record("unknown step \(text)")
        }
    }

    private func feed(_ event: JournalDriver.Event, _ now: SteadyInstant) {
        driver.handle(event, now: now)
        driver.worked(until: now)
    }

    private func set(_ word: String) {
        switch word {
        case "always": journalSettings.sync = .always
        case "everysec": journalSettings.sync = .everysec
        case "no": journalSettings.sync = .no
        case "closed": journalSettings.failsClosed = true
        case "open": journalSettings.failsClosed = false
        case "save": journalSettings.save = SaveRules(rules: [SaveRules.Rule(seconds: 10, changes: 3)])
        case "growth":
            journalSettings.rewritePercentage = 100
            journalSettings.rewriteMinBytes = 300
        default: Issue.record("unknown setting \(word)")
        }
    }

    private func complain(_ text: Comment) { Issue.record(text) }

    // MARK: Steps

    private func change() {
        keys += 1
        session.throttle("key \(keys)", burst: 9, count: 1, period: 1000, now: engineTime)
        hasUncollectedChanges = true
    }

    private func takeTicket() {
        change()
        requested = begun + 1
        waitingReplies += 1
    }

    private func switchLogging(_ enabled: Bool) {
        if enabled { wantsLog = true }
        isLogging = enabled
    }

    private func endSync(_ job: inout LogDirectory.SyncJob?, isWaitedFor: Bool, took: Nanoseconds, _ now: SteadyInstant)
    {
        guard let ended = job else { return complain("no sync runs") }
        job = nil
        feed(.synced(ended, ended.run(), isWaitedFor: isWaitedFor, took: took), now)
    }

    private func endSnapshot(_ now: SteadyInstant) {
        guard !snapshots.isEmpty else { return complain("no snapshot is written") }
        let (number, writer) = snapshots.removeFirst()
        let result: Result<FinishedSnapshot, StorageError>
        do throws(StorageError) {
            while try writer.step(time: engineTime) {}
            result = .success(try writer.finish(time: engineTime))
        } catch {
            result = .failure(error)
        }
        feed(.snapshotEnded(number: number, result), now)
    }

    private func endRestore(_ now: SteadyInstant) {
        guard let number = restore else { return complain("nothing is read back") }
        restore = nil
        session.engine.removeState()
        let isWanted = wantedRestore == number
        let recovery = Recovery(
            files: files, path: simulatedDirectory, engine: session.engine, horizon: EngineTime(nanoseconds: 0),
            isWanted: { isWanted })
        do throws(RecoveryError) {
            let report = try recovery.run(history: simulatedHistory, cutsTornTail: true)
            feed(.readBack(number: number, .success(report)), now)
        } catch {
            feed(.readBack(number: number, .failure(error)), now)
        }
    }

    // MARK: Host

    var hasOpenTicket: Bool { requested > durable }
    var hasLogToEnd: Bool { !isLogging && wantsLog }
    func isWanted(restore number: Int) -> Bool { wantedRestore == number }

    func collect() -> JournalDriver.Collection {
        begun += 1
        waitingReplies = 0
        hasUncollectedChanges = false
        encodeChanges()
        drain()
        actions.append("collect \(begun)")
        return JournalDriver.Collection(number: begun)
    }

    func encodeChanges() { journal.collect(time: engineTime) }

    private func drain() {
        parts.append(journal.take(replacement: ByteBuffer(capacity: 64)))
    }

    func nextForDisk() -> Journal.Part? { parts.next() }
    func recycle(_ buffer: ByteBuffer) { actions.append("append") }

    func beginDisk() -> Int64 {
        drain()
        parts.begin()
        return journal.offset
    }

    func endDisk() { parts.end() }

    var bytesForDisk: Int { parts.bytes }
    func historyWithoutLog(current: String, snapshot number: Int) -> String { String(repeating: "f", count: 40) }

    func perform(_ action: JournalDriver.Action) {
        switch action {
        case .sync(let job, isWaitedFor: true):
            waitedSync = job
            actions.append("sync here")
        case .sync(let job, isWaitedFor: false):
            otherSync = job
            actions.append("sync elsewhere")
        case .publish(let ticket, _):
            durable = ticket
            actions.append("publish \(ticket)")
        case .health(let health): actions.append("\(health)")
        case .logEnded:
            wantsLog = false
            actions.append("log ended")
        case .writeSnapshot(let number, let writer):
            snapshots.append((number, writer))
            actions.append("write snapshot")
        case .cancelSnapshot: actions.append("cancel snapshot")
        case .snapshotRequestTaken: actions.append("taken")
        case .answerSnapshotWaiters(let answer): actions.append("answer \(JournalBench.name(answer))")
        case .snapshotAdopted: actions.append("adopted")
        case .readBack(let number, _):
            restore = number
            actions.append("read back")
        case .restored: actions.append("restored")
        case .syncTook, .note: break
        case .end(let isSafe): actions.append(isSafe ? "end safe" : "end unsafe")
        }
    }

    /// The name of a case.
    private static func name<Value>(_ value: Value) -> String { String("\(value)".prefix { $0 != "(" }) }
}
