// The environment of a simulated node's journal driver for one process run. The driver is the server's, on simulated
// files. This file does what the server's Durability and JournalStream do with threads: why changes are journaled,
// the parts on their way to disk, tickets.
//
// Makes no decisions about the disk: SimulatedStorage+Host carries out the driver's, in simulated time.

import LimiterEngine
import Persistence
import System
import TestSupport

@testable import Replication

/// A node's persistence settings.
struct StorageSettings {
    typealias Policy = JournalDriver.Settings.Sync

    var logs = true
    var appendfsync = Policy.everysec
    /// `fail-mode closed`: writes are refused while the disk fails.
    var isClosedOnFailure = true
}

/// The storage side of one process run.
final class SimulatedStorage {
    static let path = "data"

    unowned let node: SimulatedNode
    let files: SimulatedFileSystem
    let engine: Engine
    let journal: Journal
    private(set) var driver: JournalDriver!
    var settings: StorageSettings { node.settings }

    // Reasons to journal changes.
    private var wantsLog = false
    private(set) var wantsStream = false
    private var isPrimary = true
    private(set) var isJournaling = false
    private(set) var isLogging = false
    /// Since the history began, changes were made that no journal contains.
    var hasUncountedChanges = false

    // The stream.
    private(set) var backlog: Backlog?
    var parts = PartsForDisk()
    var hasChanges = false

    // Tickets: the last collection begun, the last one that a reply waits for, and where collections ended.
    var begun = 0
    var requested = 0
    var durable = 0
    var waiting = 0
    var ends: [Int: StreamPosition] = [:]
    var health = StorageHealth.fine

    // The journal thread.
    enum Request {
        case snapshot(SnapshotKind)
        case attach(history: String, isNewState: Bool)
        case restore(number: Int, horizon: EngineTime)
    }

    var requests: [Request] = []
    /// The number of the restore still wanted; 0 for none.
    var wantedRestore = 0
    /// What the thread is waiting for, if anything.
    var wait: Wait?
    /// Results of syncs run by the sync thread, and when each began.
    var syncResults: [(job: LogDirectory.SyncJob, result: Result<Void, StorageError>, began: SteadyInstant)] = []
    var runs: [SimulatedSnapshot] = []
    /// Whether everything is on disk; set when the thread ends.
    var isSafe: Bool?
    /// A log that has grown past its threshold is replaced by a snapshot.
    let grows: Bool

    init(_ node: SimulatedNode, files: SimulatedFileSystem, report: RecoveryReport, engine: Engine, journal: Journal) {
        self.node = node
        self.files = files
        self.engine = engine
        self.journal = journal
        let log = LogDirectory(files: files, path: SimulatedStorage.path, recovered: report)
        log.removeLeftovers()
        var pace = JournalDriver.Pace()
        // Runs are short, so intervals are short too.
        pace.syncInterval = .milliseconds(100)
        if node.simulation.random.once(in: 2) { pace.unwrittenMax = 300 }
        grows = node.simulation.random.once(in: 2)
        driver = JournalDriver(host: self, engine: engine, files: files, log: log, pace: pace, now: node.steady)
    }

    var log: LogDirectory { driver.log }
    var breaker: CircuitBreaker { driver.breaker }
    var hasGap: Bool { driver.hasGap }
    var isDetached: Bool { driver.isDetached }
    var filesAreCurrent: Bool { driver.filesAreCurrent }
    /// The end of the journal as recovery would find it; -1 if unknown.
    var synced: Int64 { driver.recoverableOffset }
    var refusesWrites: Bool { health == .refusing }
    var now: SteadyInstant { node.steady }

    // MARK: Reasons to journal

    func switchLogging(_ enabled: Bool) {
        if enabled {
            wantsLog = true
            follow()
        }
        isLogging = enabled
        node.tell("appendonly \(enabled)")
    }

    var hasLogToEnd: Bool { !isLogging && wantsLog }

    func logEnded() {
        wantsLog = isLogging
        follow()
    }

    func switchStreamOn() {
        wantsStream = true
        follow()
    }

    func set(isPrimary: Bool) {
        // A demoted node takes its unjournaled changes along.
        if self.isPrimary, !isPrimary, hasUncountedChanges { node.noteBeginning() }
        self.isPrimary = isPrimary
        follow()
    }

    private func follow() {
        let keeps = isPrimary && (wantsLog || wantsStream)
        if isPrimary, !keeps { hasUncountedChanges = true }
        guard keeps != isJournaling else { return }
        isJournaling = keeps
        node.loops.checkStripesAreFree(for: "switching the journal")
        engine.setJournaling(keeps)
        if keeps { node.journalingBegan() }
    }

    /// Begins a segment after the restored files, if the disk works at that moment.
    func begin(at offset: Int64) {
        do throws(StorageError) {
            try log.roll(at: offset, time: node.engineTime, continues: true)
        } catch {
            return
        }
        switchLogging(true)
        _ = beginDisk()
    }

    // MARK: The stream

    @discardableResult
    func drain() -> Bool {
        guard journal.pendingBytes > 0 else { return false }
        let part = drainPart()
        parts.append(part)
        hasChanges = true
        node.streamed()
        return true
    }

    private func drainPart() -> Journal.Part {
        let part = journal.take(replacement: ByteBuffer(capacity: 256))
        withExtendedLifetime(part.bytes) { bytes in
            backlog?.append(bytes.bytes, at: part.offset)
            node.taken(bytes.bytes)
        }
        return part
    }

    func beginDisk() -> Int64 {
        parts.begin()
        return end()
    }

    func endDisk() { parts.end() }

    /// Drains without producing a part for the disk.
    private func end() -> Int64 {
        let part = drainPart()
        node.streamed()
        return part.end
    }

    func beginBacklog() {
        guard backlog == nil else { return }
        if parts.areWanted { drain() }
        let offset = parts.areWanted ? journal.offset : end()
        backlog = Backlog(capacity: node.simulation.backlogSize, offset: offset, blockSize: 256)
    }

    func restartBacklog() {
        drain()
        if let backlog { backlog.restart(at: backlog.end) }
    }

    func restart(at offset: Int64, time: EngineTime) {
        if parts.areWanted { node.fail("the journal restarts at another offset while the log uses it") }
        drain()
        journal.restart(at: offset, time: time)
        backlog?.restart(at: offset)
    }

    // MARK: The journal thread

    /// Clients have changed something; replies to them are held as in the server.
    func noteChanges() {
        guard isJournaling else { return }
        hasChanges = true
        guard settings.appendfsync == .always, isLogging, health != .memoryOnly else { return }
        requested = begun + 1
        waiting += 1
    }

    /// Runs one turn of the thread, unless it waits for the disk.
    func turn() {
        if case .sync? = wait { return }
        if case .readBack? = wait {
            // Recovery is sometimes slow.
            guard !node.simulation.random.once(in: 3) else { return }
            endWait()
        }
        drainRequests()
        while !syncResults.isEmpty {
            let (job, result, began) = syncResults.removeFirst()
            feed(.synced(job, result, isWaitedFor: false, took: now - began))
        }
        for run in runs {
            run.step(time: node.engineTime)
            // Possibly nothing has been collected since the last keys were written.
            if node.simulation.random.once(in: 2) { run.step(time: node.engineTime) }
            guard let result = run.result else { continue }
            feed(.snapshotEnded(number: run.number, result))
            runs.removeAll { $0 === run }
        }
        feed(.turn)
        scheduleEarlyTurn()
    }

    /// Schedules an extra turn before the next regular one, while replies gather for a shared sync.
    private func scheduleEarlyTurn() {
        let pause = driver.pause(now: now)
        guard wait == nil, pause > .zero, pause <= .milliseconds(1) else { return }
        node.simulation.coverage.gatherings += 1
        node.simulation.after(pause) { [weak self] in
            guard let self, self.node.isUp, self.node.storage === self, self.wait == nil else { return }
            self.feed(.turn)
        }
    }

    private func drainRequests() {
        let taken = requests
        requests = []
        for request in taken {
            switch request {
            case .snapshot(let kind): feed(.snapshotRequested(kind))
            case .attach(let history, let isNewState): feed(.attach(history: history, isNewState: isNewState))
            case .restore(let number, let horizon): feed(.restore(number: number, horizon: horizon))
            }
        }
    }

    func feed(_ event: JournalDriver.Event) {
        if case .turn = event {} else { node.tell(String("\(event)".prefix(70))) }
        let failures = driver.failures
        driver.handle(event, now: now)
        driver.worked(until: now)
        node.simulation.coverage.failures += driver.failures - failures
    }

    // MARK: Requests of the node

    /// Runs a request synchronously, after everything requested before it and after whatever the thread waits for.
    func perform(_ request: () -> Void) {
        endWait()
        drainRequests()
        endWait()
        request()
    }

    func detach() {
        hasUncountedChanges = false
        feed(.detach)
    }

    func rename(from old: String?, to new: String) { feed(.rename(from: old, to: new)) }

    func stopRestoring() { feed(.stopRestoring) }

    func resume() {
        if isLogging, breaker.state == .closed, journal.offset != log.appended {
            node.fail("has a journal that is not contiguous with its files")
        }
        feed(.resume)
    }

    /// Shuts the process down cleanly.
    func stop(savesSnapshot: Bool) {
        feed(.stop(savesSnapshot: savesSnapshot))
        guard !isDetached, isSafe == true, isLogging || savesSnapshot else { return }
        // Changes that a clean shutdown left out come after the end of the log.
        if isLogging { node.collect() }
        // A clean shutdown promises durability too.
        if node.isWhole { node.answered = node.position }
    }
}
