// The log and the snapshots of a simulated node through one life: the real directory on simulated files, and in front
// of it what the server's journal thread does, function by function under the same names.
//
// Owns: what is kept for whom (a log, replicas, nobody), the parts on their way to disk, the circuit breaker, when to
// collect and sync. SimulatedStorage+Snapshots takes snapshots, SimulatedStorage+Failure has what happens when the disk
// fails, when the log is switched on or off, and when the history changes.

import Glibc
import LimiterEngine
import Persistence
import Testing

@testable import Replication

/// What a node is configured to do about its disk.
struct StorageSettings {
    enum Policy: CaseIterable {
        case always, everysec, no
    }

    var logs = true
    var appendfsync = Policy.everysec
    /// `fail-mode closed`: writes are refused while the disk fails.
    var isClosedOnFailure = true
}

/// The disk's side of a node's life.
final class SimulatedStorage {
    static let path = "data"

    unowned let node: SimulatedNode
    let files: SimulatedFiles
    var log: LogDirectory
    let engine: Engine
    let journal: Journal
    var settings: StorageSettings { node.settings }

    // What changes are kept for.
    private var wantsLog = false
    private(set) var wantsStream = false
    private var isPrimary = true
    private(set) var isJournaling = false
    private(set) var isLogging = false
    /// Changes were made that no journal has, since the history began.
    var hasUncountedChanges = false

    // The stream.
    private(set) var backlog: Backlog?
    private var parts: [Journal.Part] = []
    private(set) var wantsDisk = false

    // The journal thread.
    enum Request {
        case snapshot(SimulatedSnapshot.Kind)
        case attach(history: String, isNewState: Bool)
        case restore(number: Int, horizon: EngineTime)
    }

    var requests: [Request] = []
    var breaker = CircuitBreaker()
    var unwritten: Journal.Part?
    var hasGap = false
    var isDetached = false
    /// What is on disk is of the state in memory: false from the end of a full sync until that is saved.
    var filesAreCurrent = true
    var history: String
    /// A new name that the disk of a node without a log did not take, and the one that the files must have for it.
    var unsavedName: (old: String?, new: String)?
    /// What is to be read back from disk, when that is tried, and the one of them that is still wanted.
    var restore: (number: Int, horizon: EngineTime)?
    var restoreTries = CircuitBreaker()
    var wantedRestore = 0
    var run: SimulatedSnapshot?
    var overtaken: [SimulatedSnapshot] = []
    var scheduled: SimulatedSnapshot.Kind?
    /// A sync under way on another thread, or one that this thread waits for.
    private var syncJob: (job: LogDirectory.SyncJob, isWaitedFor: Bool)?
    private var lastSync: Int64 = 0
    private var hasChanges = false
    /// Where the journal ended when it was collected last, and up to where of that the disk has it.
    private var collected: StreamPosition?

    init(_ node: SimulatedNode, files: SimulatedFiles, report: RecoveryReport, engine: Engine, journal: Journal) {
        self.node = node
        self.files = files
        self.engine = engine
        self.journal = journal
        log = LogDirectory(files: files, path: SimulatedStorage.path, recovered: report)
        log.removeLeftovers()
        history = log.manifest.history
    }

    // MARK: What changes are kept for

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
        // What no journal has it takes along.
        if self.isPrimary, !isPrimary, hasUncountedChanges { node.noteBeginning() }
        self.isPrimary = isPrimary
        follow()
    }

    private func follow() {
        let keeps = isPrimary && (wantsLog || wantsStream)
        if isPrimary, !keeps { hasUncountedChanges = true }
        guard keeps != isJournaling else { return }
        isJournaling = keeps
        engine.setJournaling(keeps)
        if keeps { node.journalingBegan() }
    }

    /// The node's own disk worked once: a segment behind what was restored.
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
        let part = take()
        if wantsDisk { parts.append(part) }
        hasChanges = true
        node.streamed()
        return true
    }

    private func take() -> Journal.Part {
        let part = journal.take(replacement: ByteBuffer(capacity: 256))
        withExtendedLifetime(part.bytes) { bytes in
            backlog?.append(bytes.bytes, at: part.offset)
            node.taken(bytes.bytes)
        }
        return part
    }

    func beginDisk() -> Int64 {
        parts = []
        wantsDisk = true
        return end()
    }

    func endDisk() {
        parts = []
        wantsDisk = false
    }

    /// Drains without a part for the disk.
    private func end() -> Int64 {
        let part = take()
        node.streamed()
        return part.end
    }

    func beginBacklog() {
        guard backlog == nil else { return }
        if wantsDisk { drain() }
        let offset = wantsDisk ? journal.offset : end()
        backlog = Backlog(capacity: node.simulation.backlogSize, offset: offset, blockSize: 256)
    }

    func restartBacklog() {
        drain()
        if let backlog { backlog.restart(at: backlog.end) }
    }

    func restart(at offset: Int64, time: EngineTime) {
        if wantsDisk { node.fail("the journal goes on elsewhere while the log wants it") }
        drain()
        journal.restart(at: offset, time: time)
        backlog?.restart(at: offset)
    }

    // MARK: The journal thread

    /// Up to where a start would find the journal; -1 where that cannot be said.
    var synced: Int64 {
        isLogging && log.isPublished && !isDetached && !hasGap ? log.synced : -1
    }

    var refusesWrites: Bool { settings.isClosedOnFailure && breaker.state != .closed && isLogging }
    var isWorking: Bool { log.isOpen && !isDetached && breaker.state != .open }
    var now: Int64 { node.steady }

    func noteChanges() { if isJournaling { hasChanges = true } }

    /// One turn of the thread, unless it waits for a sync.
    func turn() {
        if let syncJob, syncJob.isWaitedFor { return }
        takeRequests()
        considerRestore()
        run?.step(time: node.engineTime)
        takeSnapshotResult()
        logWhatChanged()
    }

    private func takeRequests() {
        followSwitch()
        let taken = requests
        requests = []
        for request in taken {
            switch request {
            case .snapshot(let kind): take(kind)
            case .attach(let history, let isNewState): attach(history: history, isNewState: isNewState)
            case .restore(let number, let horizon):
                restore = (number, horizon)
                restoreTries.succeeded()
            }
        }
    }

    /// Something the node waits for: it comes behind everything asked for before.
    func perform(_ request: () -> Void) {
        takeRequests()
        request()
    }

    private func logWhatChanged() {
        if breaker.state == .open { return tryAgain() }
        guard log.isOpen, !isDetached else {
            if hasChanges { collect() }
            return
        }
        if hasChanges { collectAndAppend() }
        guard breaker.state != .open, log.appended > log.synced, syncJob == nil else { return }
        switch settings.appendfsync {
        case .always: startSync(isWaitedFor: true)
        case .everysec:
            guard now - lastSync >= 100_000_000 else { return }
            startSync(isWaitedFor: false)
        case .no: break
        }
    }

    func collect() {
        hasChanges = false
        if isJournaling { node.collectJournal() }
        drain()
        collected = node.position
    }

    /// False when the disk failed.
    @discardableResult
    func collectAndAppend() -> Bool {
        collect()
        while let part = unwritten ?? (parts.isEmpty ? nil : parts.removeFirst()) {
            unwritten = part
            guard part.offset == log.appended else {
                node.fail("a part of the journal at \(part.offset) for a log that ends at \(log.appended)")
                unwritten = nil
                return false
            }
            do throws(StorageError) {
                try log.append(part)
            } catch {
                fail(error)
                return false
            }
            unwritten = nil
        }
        if log.synced == log.appended { publishDurable() }
        return true
    }

    /// What was answered to clients under `always`, they are promised.
    private func publishDurable() {
        guard log.isPublished, !log.isDamaged, settings.appendfsync == .always, !hasGap, let collected,
            collected.offset <= log.synced, collected.id == node.role.identity.id, !node.role.isReplica
        else { return }
        node.answered = collected
    }

    @discardableResult
    func syncHere() -> Bool {
        do throws(StorageError) {
            try log.sync()
        } catch {
            fail(error)
            return false
        }
        lastSync = now
        publishDurable()
        return true
    }

    private func startSync(isWaitedFor: Bool) {
        guard let job = log.beginSync() else { return }
        lastSync = now
        syncJob = (job, isWaitedFor)
        let simulation = node.simulation
        let isSlow = simulation.random.once(in: 20)
        if isSlow { simulation.coverage.slowSyncs += 1 }
        let took =
            isSlow
            ? simulation.random.between(100_000_000, 1_500_000_000) : simulation.random.between(0, 5_000_000)
        simulation.after(took) { [weak self] in
            guard let self, self.node.isUp, self.node.storage === self else { return }
            self.takeSyncResult()
        }
    }

    private func takeSyncResult() {
        let (job, _) = syncJob!
        syncJob = nil
        do throws(StorageError) {
            try log.finishSync(job, job.run())
            publishDurable()
        } catch {
            fail(error)
        }
    }
}
