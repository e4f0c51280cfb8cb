// The host of a simulated node's journal driver, which carries out its decisions: syncs and recoveries complete in
// simulated time; snapshots are written one piece per turn.

import Glibc
import LimiterEngine
import Persistence
import System
import TestSupport

@testable import Replication

/// A snapshot in progress.
final class SimulatedSnapshot {
    let number: Int
    /// The snapshot contains everything up to here.
    let origin: StreamPosition
    private let writer: SnapshotWriter
    private var hasAllKeys = false
    var isCancelled = false
    private(set) var result: Result<FinishedSnapshot, StorageError>?

    init(number: Int, origin: StreamPosition, writer: SnapshotWriter) {
        self.number = number
        self.origin = origin
        self.writer = writer
    }

    func step(time: EngineTime) {
        guard result == nil else { return }
        do throws(StorageError) {
            if !hasAllKeys {
                hasAllKeys = !(try writer.step(time: time))
                if isCancelled { throw StorageError("snapshot", Manifest.snapshotName(number), code: ECANCELED) }
            } else {
                result = .success(try writer.finish(time: time))
            }
        } catch {
            result = .failure(error)
        }
    }
}

extension SimulatedStorage {
    /// What the journal thread is waiting for.
    enum Wait {
        case sync(LogDirectory.SyncJob, began: SteadyInstant)
        case readBack(number: Int, horizon: EngineTime)
    }
}

extension SimulatedStorage: JournalHost {
    var journalSettings: JournalDriver.Settings {
        JournalDriver.Settings(
            sync: settings.appendfsync, failsClosed: settings.isClosedOnFailure, rewritePercentage: grows ? 100 : 0,
            rewriteMinBytes: 4000)
    }
    var engineTime: EngineTime { node.engineTime }
    var hasUncollectedChanges: Bool { hasChanges }
    var hasOpenTicket: Bool { requested > durable }
    var waitingReplies: Int { waiting }
    var isAbandoningStuckLocks: Bool { false }
    func isWanted(restore number: Int) -> Bool { wantedRestore == number }

    // MARK: The journal

    func collect() -> JournalDriver.Collection {
        begun += 1
        waiting = 0
        if isJournaling { node.collectJournal() }
        drain()
        hasChanges = false
        ends[begun] = node.position
        return JournalDriver.Collection(number: begun)
    }

    func encodeChanges() { if isJournaling { node.collectJournal() } }

    func nextForDisk() -> Journal.Part? {
        guard let part = parts.next() else { return nil }
        guard part.offset == log.appended else {
            node.fail("a part of the journal at \(part.offset) for a log that ends at \(log.appended)")
            return nil
        }
        return part
    }

    func recycle(_ buffer: ByteBuffer) {}

    var bytesForDisk: Int { parts.areWanted ? parts.bytes + journal.pendingBytes : 0 }

    func historyWithoutLog(current: String, snapshot number: Int) -> String {
        if current == ReplicationID.unowned.text { return current }
        let id = node.simulation.freshID()
        let origin = runs.first { $0.number == number }?.origin ?? node.position
        node.simulation.truth.contains(id, all: origin)
        return id.text
    }

    // MARK: Decisions

    func perform(_ action: JournalDriver.Action) {
        switch action {
        case .sync(let job, let isWaitedFor): begin(job, isWaitedFor: isWaitedFor)
        case .publish(let ticket, _): publish(ticket)
        case .health(let health): self.health = health
        case .logEnded: logEnded()
        case .writeSnapshot(let number, let writer):
            runs.append(SimulatedSnapshot(number: number, origin: node.position, writer: writer))
        case .cancelSnapshot(let number): for run in runs where run.number == number { run.isCancelled = true }
        case .snapshotAdopted:
            node.tell("adopted a snapshot as \(log.manifest.history.prefix(6))")
            node.simulation.coverage.snapshots += 1
            if node.simulation.random.once(in: 4) { checkFiles() }
        case .readBack(let number, let horizon): wait = .readBack(number: number, horizon: horizon)
        case .restored(let number, let report): reportRestored(number, report)
        case .note(let note): handle(note)
        case .end(let isSafe): self.isSafe = isSafe
        case .snapshotRequestTaken, .answerSnapshotWaiters, .syncTook: break
        }
    }

    private func handle(_ note: JournalDriver.Note) {
        node.tell(String("\(note)".prefix(100)))
        switch note {
        case .storageWorks: node.simulation.coverage.repairs += 1
        case .logHasGrown: node.simulation.coverage.grownLogs += 1
        case .backlogDropped: node.simulation.coverage.droppedBacklogs += 1
        case .cannotReadBack: node.simulation.coverage.failedRestores += 1
        default: break
        }
    }

    /// Releases held replies: under `always`, clients have now been promised everything up to the end of the
    /// collection.
    private func publish(_ ticket: Int) {
        durable = ticket
        let end = ends[ticket]
        ends = ends.filter { $0.key > ticket }
        // Until its gate is open, a new primary has promised nothing in its own history, which is not recorded yet.
        guard let end, settings.appendfsync == .always, isLogging, health != .memoryOnly,
            end.id == node.role.identity.id, !node.role.isReplica, !node.gates.isReplica
        else { return }
        node.answered = end
        if node.simulation.random.once(in: 20) { checkFiles() }
    }

    /// Checks that after a power loss now, recovery would find a valid state of its history with everything clients
    /// were promised.
    private func checkFiles() {
        let (simulation, truth) = (node.simulation, node.simulation.truth)
        let engine = Engine(shards: 1, seed: simulation.hashSeed)
        let recovery = Recovery(
            files: SimulatedFileSystem(image: files.image.atWorst), path: SimulatedStorage.path, engine: engine,
            horizon: EngineTime(nanoseconds: 0))
        do throws(RecoveryError) {
            let report = try recovery.run(history: node.runID, cutsTornTail: true)
            guard let id = ReplicationID(report.manifest.history) else { return node.fail("has files with no history") }
            let position = StreamPosition(id: id, offset: report.end)
            simulation.coverage.checkedFiles += 1
            if let answered = node.answered, !truth.contains(position, answered) {
                node.fail("promised \(answered), but has \(position) on disk")
            }
            let expected = truth.states(at: position)
            guard !expected.isEmpty else { return }
            let time = max(node.engineTime.nanoseconds, truth.beginning(at: position) ?? 0)
            let found = StreamReader(engine).state()
            guard !expected.contains(where: { $0.digest(at: time) == found.digest(at: time) }) else { return }
            node.fail("has on disk at \(position) \(truth.difference(found, expected[0], at: time))")
        } catch {
            node.fail("could not restart now: \(error)")
        }
    }

    // MARK: Syncs

    private func begin(_ job: LogDirectory.SyncJob, isWaitedFor: Bool) {
        let (simulation, began) = (node.simulation, now)
        let isSlow = simulation.random.once(in: 20)
        if isSlow { simulation.coverage.slowSyncs += 1 }
        let took: Nanoseconds =
            isSlow
            ? simulation.random.between(100_000_000, 1_500_000_000) : simulation.random.between(0, 5_000_000)
        if isWaitedFor { wait = .sync(job, began: began) }
        simulation.after(took) { [weak self] in
            guard let self, self.node.isUp, self.node.storage === self else { return }
            guard isWaitedFor else { return self.syncResults.append((job, job.run(), began)) }
            if case .sync(_, began: began)? = self.wait { self.endWait() }
        }
    }

    /// Ends whatever the thread is waiting for.
    func endWait() {
        while let next = wait {
            wait = nil
            switch next {
            case .sync(let job, let began):
                feed(.synced(job, job.run(), isWaitedFor: true, took: now - began))
            case .readBack(let number, let horizon): feed(.readBack(number: number, readBack(number, horizon)))
            }
        }
    }

    // MARK: Restores

    private func readBack(_ number: Int, _ horizon: EngineTime) -> Result<RecoveryReport, RecoveryError> {
        engine.removeState()
        let isWanted = wantedRestore == number
        let recovery = Recovery(
            files: files, path: SimulatedStorage.path, engine: engine, horizon: horizon, isWanted: { isWanted })
        do throws(RecoveryError) {
            return .success(try recovery.run(history: node.runID, cutsTornTail: true))
        } catch {
            return .failure(error)
        }
    }

    private func reportRestored(_ number: Int, _ report: RecoveryReport) {
        let (life, simulation) = (node.life, node.simulation)
        simulation.after(simulation.random.once(in: 2) ? 0 : simulation.random.between(0, 50_000_000)) { [node] in
            guard node.isUp, node.life == life else { return }
            node.restored(number, report)
        }
    }
}
