// A server's journal driver on a simulated disk: clients, time, and completions of syncs and snapshots are random;
// the decisions are the driver's own.
//
// It promises what the driver promises: under `always`, every published ticket; in every mode, the offset up to which
// recovery would find the journal.

import Glibc
import LimiterEngine
import System
import TestSupport

@testable import Persistence

final class DriverSimulation: ServerSimulation, JournalHost {
    /// How often each event of interest occurred.
    struct Coverage {
        var publications = 0
        var failures = 0
        var repairs = 0
        var snapshots = 0
        var gatherings = 0
        var delayedSyncs = 0
        var dropped = 0
        var switches = 0
        var safeEnds = 0
        var unsafeEnds = 0

        mutating func add(_ other: Coverage) {
            publications += other.publications
            failures += other.failures
            repairs += other.repairs
            snapshots += other.snapshots
            gatherings += other.gatherings
            delayedSyncs += other.delayedSyncs
            dropped += other.dropped
            switches += other.switches
            safeEnds += other.safeEnds
            unsafeEnds += other.unsafeEnds
        }

        /// Whether every event occurred often enough for this number of runs.
        func isEnough(runs: Int) -> Bool {
            [publications, failures, snapshots, gatherings].allSatisfy { $0 > runs }
                && [repairs, delayedSyncs, switches, safeEnds].allSatisfy { $0 > runs / 10 }
                && [dropped, unsafeEnds].allSatisfy { $0 > runs / 50 }
        }
    }

    private(set) var coverage = Coverage()
    private(set) var driver: JournalDriver!
    private var steady = SteadyInstant.boot
    private var settings: JournalDriver.Settings

    private var parts = PartsForDisk()
    private(set) var isLogging = false
    private var wantsLog = false
    private(set) var hasUncollectedChanges = false
    private(set) var waitingReplies = 0
    private var begun = 0
    private var requested = 0
    private var durable = 0
    /// The end offset of each collection.
    private var ends: [Int: Int64] = [:]

    private var waitedSync: LogDirectory.SyncJob?
    private var otherSync: (job: LogDirectory.SyncJob, began: SteadyInstant, result: Result<Void, StorageError>?)?
    private var runs: [(number: Int, writer: SnapshotWriter, isCancelled: Bool)] = []
    private var isSafe: Bool?

    required init(
        files: SimulatedFileSystem, engine: Engine, report: RecoveryReport, promise: Promise, mode: Mode,
        wall: EngineTime, random: SeededGenerator
    ) {
        settings = JournalDriver.Settings(sync: mode == .always ? .always : .everysec)
        super.init(
            files: files, engine: engine, report: report, promise: promise, mode: mode, wall: wall, random: random)
        if self.random.below(2) == 0 {
            settings.rewritePercentage = 50
            settings.rewriteMinBytes = 500
        }
        if self.random.below(4) == 0 { settings.save.rules = [SaveRules.Rule(seconds: 5, changes: 3)] }
        var pace = JournalDriver.Pace()
        pace.syncInterval = 100_000_000
        pace.unwrittenMax = self.random.below(2) == 0 ? 200 : 1 << 20
        driver = JournalDriver(
            host: self, engine: session.engine, files: files, log: log, pace: pace, now: steady)
    }

    // MARK: Running

    override func start() -> Bool {
        log.removeLeftovers()
        do throws(StorageError) {
            try log.roll(at: journal.offset, time: now, continues: true)
            _ = beginDisk()
        } catch {}
        switchLogging(true)
        note()
        return log.isOpen
    }

    override func step() {
        promise.latest = max(promise.latest, now)
        switch random.below(24) {
        case 0..<8: changes()
        case 8..<13: turn(after: .milliseconds(random.below(30)))
        case 13, 14: endOtherSync()
        case 15: pass()
        case 16: if random.below(3) == 0 { removeAll() }
        case 17:
            // Without a log no offset identifies a snapshot's state, so there is nothing to compare it with.
            if driver.log.isOpen { feed(.snapshotRequested(random.below(2) == 0 ? .save : .rewrite)) }
        case 18: if random.below(3) == 0 { switchOffAndOn() }
        default: continueSnapshot()
        }
        // A waiting reply wakes the thread.
        if hasOpenTicket, random.below(2) == 0 { turn(after: 0) }
    }

    override func pass() {
        super.pass()
        steady += .milliseconds(random.below(8000))
    }

    private func turn(after length: Nanoseconds) {
        steady += length
        // A failed disk is retried while events still occur.
        if driver.breaker.state == .open, random.below(3) == 0 { steady = max(steady, driver.breaker.nextTry) }
        feed(.turn)
        let pause = driver.pause(now: steady)
        guard hasOpenTicket, pause > 0, pause <= 1_000_000 else { return }
        coverage.gatherings += 1
        steady += pause
        feed(.turn)
    }

    private func changes() {
        for _ in 0...random.below(3) { change() }
        hasUncollectedChanges = true
        guard mode == .always, isLogging else { return }
        requested = begun + 1
        waitingReplies += 1
    }

    /// While the log is off, nothing is promised about changes, so no snapshot is taken.
    private func switchOffAndOn() {
        guard runs.isEmpty, settings.save.rules.isEmpty else { return }
        coverage.switches += 1
        switchLogging(false)
        if random.below(3) > 0 { turn(after: 0) }
        for _ in 0..<random.below(3) { changes() }
        if random.below(2) == 0 { turn(after: 20_000_000) }
        switchLogging(true)
        turn(after: 0)
    }

    private func switchLogging(_ enabled: Bool) {
        if enabled { wantsLog = true }
        isLogging = enabled
    }

    override func heal() throws(BrokenPromise) {
        changes()
        for _ in 0..<300 where !files.isStopped {
            steady = max(steady + 50_000_000, driver.breaker.state == .open ? driver.breaker.nextTry : 0)
            feed(.turn)
            endOtherSync()
            continueSnapshot()
            let isWell = driver.breaker.state == .closed && runs.isEmpty && !hasOpenTicket
            if isWell, driver.recoverableOffset == journal.offset, !hasUncollectedChanges { return end() }
        }
        guard !files.isStopped else { return }
        throw BrokenPromise(
            description: "the disk works, and \(driver.recoverableOffset) of \(journal.offset) is on it, "
                + "breaker \(driver.breaker.state)")
    }

    private func end() {
        // Some ends meet a disk that has just failed, with changes that are not on it.
        let fails = random.below(8) == 0
        if fails {
            changes()
            files.failing = Set(SystemCall.allCases)
            files.failureOdds = 1
        }
        feed(.stop(savesSnapshot: random.below(2) == 0))
        if fails { files.failing = [] }
        guard !files.isStopped, isSafe == true, isLogging else {
            coverage.unsafeEnds += 1
            return
        }
        coverage.safeEnds += 1
        promise.guaranteed = max(promise.guaranteed, journal.offset)
    }

    // MARK: Events

    private func feed(_ event: JournalDriver.Event) {
        let failures = driver.failures
        let delays = driver.delayedSyncs
        driver.handle(event, now: steady)
        driver.worked(until: steady)
        note()
        while let job = waitedSync {
            waitedSync = nil
            // Clients continue while the disk is busy.
            for _ in 0..<random.below(3) { changes() }
            let took = Nanoseconds.microseconds(random.below(4) * 700)
            steady += took
            driver.handle(.synced(job, job.run(), isWaitedFor: true, took: took), now: steady)
            driver.worked(until: steady)
            note()
        }
        coverage.failures += driver.failures - failures
        coverage.delayedSyncs += driver.delayedSyncs - delays
    }

    private func endOtherSync() {
        guard let (job, began, result) = otherSync else { return }
        guard let result else {
            otherSync!.result = job.run()
            return
        }
        otherSync = nil
        feed(.synced(job, result, isWaitedFor: false, took: steady - began))
    }

    private func continueSnapshot() {
        guard let run = runs.first else { return }
        let ended: Result<FinishedSnapshot, StorageError>
        do throws(StorageError) {
            guard try !run.writer.step(time: now) else { return }
            if run.isCancelled { throw StorageError("snapshot", "", code: ECANCELED) }
            if random.below(2) == 0 { changes() }
            ended = .success(try run.writer.finish(time: now))
        } catch {
            ended = .failure(error)
        }
        runs.removeFirst()
        feed(.snapshotEnded(number: run.number, ended))
    }

    /// The recoverable offset is a promise in every mode: it is sent to replicas and WAITAOF.
    private func note() {
        guard !files.isStopped else { return }
        promise.guaranteed = max(promise.guaranteed, driver.recoverableOffset)
    }

    // MARK: Host

    var journalSettings: JournalDriver.Settings { settings }
    var engineTime: EngineTime { now }
    var hasLogToEnd: Bool { !isLogging && wantsLog }
    var hasOpenTicket: Bool { requested > durable }
    var isAbandoningStuckLocks: Bool { false }
    func isWanted(restore number: Int) -> Bool { false }

    func collect() -> JournalDriver.Collection {
        begun += 1
        waitingReplies = 0
        hasUncollectedChanges = false
        encode()
        drain()
        ends[begun] = journal.offset
        return JournalDriver.Collection(number: begun)
    }

    func encodeChanges() { encode() }

    private func drain() {
        parts.append(journal.take(replacement: ByteBuffer(capacity: 64)))
    }

    func nextForDisk() -> Journal.Part? { parts.next() }
    func recycle(_ buffer: ByteBuffer) {}

    func beginDisk() -> Int64 {
        drain()
        parts.begin()
        return journal.offset
    }

    func endDisk() { parts.end() }

    var bytesForDisk: Int { parts.areWanted ? parts.bytes + journal.pendingBytes : 0 }
    func historyWithoutLog(current: String, snapshot number: Int) -> String { current }

    func perform(_ action: JournalDriver.Action) {
        switch action {
        case .sync(let job, isWaitedFor: true): waitedSync = job
        case .sync(let job, isWaitedFor: false): otherSync = (job, steady, nil)
        case .publish(let ticket, _): publish(ticket)
        case .logEnded: wantsLog = false
        case .writeSnapshot(let number, let writer): runs.append((number, writer, false))
        case .cancelSnapshot(let number):
            for index in runs.indices where runs[index].number == number { runs[index].isCancelled = true }
        case .snapshotAdopted: coverage.snapshots += 1
        case .note(.storageWorks): coverage.repairs += 1
        case .note(.backlogDropped): coverage.dropped += 1
        case .end(let isSafe): self.isSafe = isSafe
        default: break
        }
    }

    private func publish(_ ticket: Int) {
        coverage.publications += 1
        durable = ticket
        guard mode == .always, isLogging, !files.isStopped, let end = ends[ticket] else { return }
        promise.guaranteed = max(promise.guaranteed, end)
    }
}
