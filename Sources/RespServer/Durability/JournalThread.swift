// The journal thread: collects what changed, writes it to the log, has it synced, and says what is safe.
//
//   doorbell or time ─▶ requests ─▶ results of sync and snapshot ─▶ collect, append, sync ─▶ tickets ─▶ loops
//
// Owns: the files, through LogDirectory; the circuit breaker; when to collect, sync and take a snapshot. Nobody ever
// waits for this thread but a reply that is held, and the server's end.
//
// Other files continue this type: +Storage (failure and repair), +Snapshots, +Restore (back to the state on disk).

import LimiterEngine
import Persistence
import Synchronization
import System

final class JournalThread {
    /// Nanoseconds from one collection to the next while nobody waits for one: what a killed process may lose of its
    /// changes, and how long changes of one key have to become one record. At least the first; as many times what the
    /// last collection took as the second says, so that this thread never takes more than that part of a core; and
    /// never more than the third.
    private static let collectionPause: Int64 = 10_000_000
    private static let restFactor: Int64 = 24
    private static let collectionPauseMax: Int64 = 100_000_000
    /// `everysec`.
    private static let syncInterval: Int64 = 1_000_000_000
    /// A sync that takes longer than this is worth a line in the log.
    private static let slowSync: Int64 = 2_000_000_000
    /// Bytes that wait for a disk that failed, at most, beside what is added while the thread looks away. What a retry
    /// writes then begins with a snapshot.
    private static let unwrittenMax = 64 << 20
    /// The longest wait; settings and rules of time are looked at then.
    private static let idlePause: Int64 = 100_000_000

    unowned let server: Server
    let durability: Durability
    var log: LogDirectory
    let files: any FileSystem
    private lazy var syncThread = SyncThread(done: durability.doorbell)
    var settings: Settings

    var breaker = CircuitBreaker()
    /// What the kernel said last when something failed.
    var failure: StorageError?
    /// Changes taken from the journal whose append failed: they come first when it works again.
    var unwritten: Journal.Part?
    /// The last collection begun.
    private var collection = 0
    private var lastCollection: Int64 = 0
    private var collectionInterval = JournalThread.collectionPause
    private var lastSync: Int64 = 0
    private var syncStartedAt: Int64?
    private var lastSyncTook: Int64 = 0
    /// Since when replies are being gathered for the next sync.
    private var gatheringSince: Int64?
    /// Replies that the last collection serves.
    private var group = 0
    private var hasComplainedOfSync = false
    var syncs = 0
    private var delayedSyncs = 0
    private var collections = 0
    /// A collection left changes out: nothing is promised from here on, and the process is about to end.
    var hasLeftChangesOut = false

    var run: SnapshotRun?
    /// Cancelled ones, until their threads have seen it.
    var overtaken: [SnapshotRun] = []
    var scheduled: SnapshotKind?
    var waiters: [Connection] = []
    /// Log and snapshot when the last rewrite ended, or at the start.
    var baseBytes = 0
    /// When to take a snapshot by itself again after some have failed.
    var snapshotTries = CircuitBreaker()
    /// When the last one ended, or this thread began; steady time.
    var lastSave = EngineClock.steady()
    var changesAtLastSave: UInt64

    /// Something happened that is not in the log: only a snapshot makes it whole.
    var hasGap = false
    /// The state is being replaced by another node's.
    var isDetached = false
    /// What is on disk is of the state in memory: false from the end of a full sync until that is saved.
    var filesAreCurrent = true
    /// The name of the journal's history.
    var history: String
    /// A new name that the disk of a node without a log did not take, and the one that the files must have for it; nil
    /// for whatever they are called.
    var unsavedName: (old: String?, new: String)?
    /// What is to be read back from disk, and when that is tried again after it has failed.
    var restore: Restore?
    var restoreTries = CircuitBreaker()

    init(server: Server, files: any FileSystem, log: LogDirectory) {
        self.server = server
        self.files = files
        self.log = log
        durability = server.durability
        settings = server.currentSettings.value
        baseBytes = log.bytes
        // What was put back is on disk.
        changesAtLastSave = KeyspaceSession(engine: server.engine).statistics().changes
        history = log.manifest.history
        publishStatus()
    }

    // MARK: Running

    /// Works until asked to stop. Returns whether everything is on disk.
    func work() -> Bool {
        while true {
            let seen = durability.doorbell.count
            let now = EngineClock.steady()
            settings = server.currentSettings.value
            followSwitch(now: now)
            for request in durability.takeRequests() {
                switch request {
                case .snapshot(let kind, let waiter): take(kind, waiter: waiter, now: now)
                case .detach(let answer):
                    detach(now: now)
                    // Whoever waits says nothing of the disk any more.
                    publishStatus()
                    answer.done()
                case .attach(let history, let isNewState): attach(history: history, isNewState: isNewState, now: now)
                case .rename(let old, let new, let answer):
                    rename(from: old, to: new, now: now)
                    publishStatus()
                    answer.done()
                case .restore(let number, let horizon): begin(Restore(number: number, horizon: horizon))
                case .stopRestoring(let answer):
                    endRestore()
                    answer.done()
                case .resume(let answer):
                    resume(now: now)
                    publishStatus()
                    answer.done()
                case .stop(let savesSnapshot): return stop(savesSnapshot: savesSnapshot)
                }
            }
            considerRestore(now: now)
            takeSyncResult(now: now)
            takeSnapshotResult(now: now)
            logWhatChanged(now: now)
            considerSnapshot(now: now)
            publishStatus()
            durability.doorbell.wait(since: seen, nanoseconds: pause(now: EngineClock.steady()))
        }
    }

    private func pause(now: Int64) -> Int64 {
        if hasTicketToServe {
            return gatheringSince.map { max(0, $0 + gatheringPause - now) } ?? 0
        }
        guard durability.hasUncollectedChanges else { return JournalThread.idlePause }
        return min(JournalThread.idlePause, lastCollection + collectionInterval - now)
    }

    /// Whether appending makes sense at the moment.
    var isWorking: Bool { log.isOpen && !isDetached && breaker.state != .open }

    /// Whether a reply waits for a collection. One that waits for the segment to be published gets nothing from that.
    private var hasTicketToServe: Bool { durability.hasOpenTicket && isWorking && log.isPublished }

    // MARK: Log

    private func logWhatChanged(now: Int64) {
        if breaker.state == .open {
            // A state that is being replaced is none to begin a log with.
            if isDetached { followHealth() } else { tryAgain(now: now) }
            guard breaker.state == .open else { return }
        }
        guard isWorking else { return logNothing(now: now) }
        if hasTicketToServe ? !isGathering(now: now) : isDue(now: now) { collectAndAppend(now: now) }
        guard breaker.state != .open, log.appended > log.synced else { return }
        switch settings.appendfsync {
        case .always: syncHere(now: now)
        case .everysec: syncElsewhere(now: now)
        case .no: break
        }
    }

    /// While there is no log, or the disk is left alone. Changes are collected all the same: replicas wait for them, a
    /// key that has changed and is gone uses memory until then, and so does what is recorded in the journal directly.
    /// What then waits for the disk must not grow for ever either.
    private func logNothing(now: Int64) {
        if isDue(now: now) || durability.hasOpenTicket && !durability.isLogging { collectOnly(now: now) }
        if breaker.state == .open { giveUpUnwritten(beyond: JournalThread.unwrittenMax) }
    }

    private func isDue(now: Int64) -> Bool {
        durability.hasUncollectedChanges && now - lastCollection >= collectionInterval
    }

    /// Whether it is worth waiting a little for more replies to share the next sync. Those that the last sync released
    /// are on their way to clients who will be back in a moment; a sync begun for the first of them alone would make
    /// all others wait for the one after it.
    private func isGathering(now: Int64) -> Bool {
        guard settings.appendfsync == .always, durability.waitingReplies < durability.groupTarget else { return false }
        let since = gatheringSince ?? now
        gatheringSince = since
        return now - since < gatheringPause
    }

    /// At most this part of a sync is spent on gathering, and never more than a millisecond.
    private var gatheringPause: Int64 { min(lastSyncTook / 2, 1_000_000) }

    /// Takes everything that changed to the log's file, behind what a failure left unwritten. False when that failed.
    @discardableResult
    func collectAndAppend(now: Int64) -> Bool {
        defer { rest(since: now) }
        collect()
        while let part = unwritten ?? durability.stream.nextForDisk() {
            unwritten = part
            do throws(StorageError) {
                try log.append(part)
            } catch {
                fail(error, now: now)
                return false
            }
            unwritten = nil
            durability.stream.recycle(part.bytes)
        }
        // Read now, not at the beginning: whoever took a ticket because of a new setting took it before the collection.
        settings = server.currentSettings.value
        if settings.appendfsync != .always || log.synced == log.appended { publishDurable() }
        return true
    }

    /// Has everything that changed on its way to the readers of the journal.
    private func collect() {
        gatheringSince = nil
        group = durability.waitingReplies
        collection = durability.beginCollection()
        if durability.isJournaling, !durability.journal.collect(time: server.clock.now()) { hasLeftChangesOut = true }
        collections += 1
        if durability.stream.drain(), durability.stream.hasBacklog { server.replication.wake() }
    }

    /// As `collectAndAppend`, where nothing can be appended: the log's part waits.
    private func collectOnly(now: Int64) {
        collect()
        if !durability.isLogging, !hasLeftChangesOut { durability.publish(durable: collection) }
        rest(since: now)
    }

    /// A collection that began at `now` has ended: the next one is due when this has cost little enough.
    private func rest(since now: Int64) {
        lastCollection = now
        let took = EngineClock.steady() - now
        collectionInterval = min(
            max(JournalThread.collectionPause, took * JournalThread.restFactor), JournalThread.collectionPauseMax)
    }

    /// Every ticket up to the last collection is good, if a start would read what was written.
    private func publishDurable() {
        guard log.isPublished, !log.isDamaged, !hasLeftChangesOut else { return }
        durability.expectGroup(of: group + durability.waitingReplies)
        let before = durability.durableTicket
        durability.publish(durable: collection)
        for loop in server.loops where loop.awaitedTicket.load(ordering: .sequentiallyConsistent) > before {
            loop.mailbox.post(.durable)
        }
    }

    /// Has everything appended on disk before it returns. False when that failed.
    @discardableResult
    func syncHere(now: Int64) -> Bool {
        let began = EngineClock.steady()
        do throws(StorageError) {
            try log.sync()
        } catch {
            fail(error, now: now)
            return false
        }
        syncs += 1
        lastSync = now
        noteSync(nanoseconds: EngineClock.steady() - began)
        // What a client sees in INFO behind its reply includes its change.
        publishStatus()
        publishDurable()
        return true
    }

    private func syncElsewhere(now: Int64) {
        if let started = syncStartedAt {
            if now - lastSync >= JournalThread.syncInterval * Int64(delayedInRow + 2) {
                delayedInRow += 1
                delayedSyncs += 1
            }
            if now - started > JournalThread.slowSync, !hasComplainedOfSync {
                hasComplainedOfSync = true
                server.log.warning(
                    "the disk is slow: a sync of the log takes longer than the two seconds that everysec allows",
                    ["unsynced_bytes": .integer(Int(log.appended - log.synced))])
            }
            return
        }
        guard now - lastSync >= JournalThread.syncInterval, let job = log.beginSync() else { return }
        syncStartedAt = now
        lastSync = now
        syncThread.start(job)
    }

    private var delayedInRow = 0

    private func takeSyncResult(now: Int64) {
        guard let (job, result) = syncThread.takeResult() else { return }
        let took = now - (syncStartedAt ?? now)
        syncStartedAt = nil
        delayedInRow = 0
        hasComplainedOfSync = false
        do throws(StorageError) {
            try log.finishSync(job, result)
            syncs += 1
            noteSync(nanoseconds: took)
        } catch {
            fail(error, now: now)
        }
    }

    private func noteSync(nanoseconds: Int64) {
        lastSyncTook = nanoseconds
        durability.update { $0.syncMicroseconds = nanoseconds / 1000 }
        server.latencyEvents.add(
            "aof-fsync-always", milliseconds: nanoseconds / 1_000_000, unixSeconds: EngineClock.unixSeconds())
    }

    // MARK: End

    /// Has everything on disk. Held replies have been answered by then.
    private func stop(savesSnapshot: Bool) -> Bool {
        defer { syncThread.end() }
        let now = EngineClock.steady()
        followSwitch(now: now)
        run?.cancel()
        var isSafe = true
        if isDetached {
            // What is on disk is an older state, whole; what is in memory is not.
            publishStatus()
            return true
        }
        // A command that never ends may hold stripes, and a snapshot needs each of them.
        let isStuck = durability.journal.isAbandoningStuckLocks
        if durability.isLogging, log.isDamaged || !log.isPublished || hasGap {
            // The files are of another history, or end somewhere else, or there is no log to append to; and the name
            // they have is not that of a snapshot of now.
            isSafe = !isStuck && saveAnew(now: now)
        } else {
            if log.isOpen { isSafe = collectAndAppend(now: now) && syncHere(now: now) }
            // Behind a log that failed a snapshot must not stand: the log's records would be replayed over it.
            if isSafe, savesSnapshot { isSafe = !isStuck && saveAtEnd(now: now) }
        }
        if log.isOpen, isSafe {
            do throws(StorageError) { try log.close() } catch { isSafe = false }
        }
        publishStatus()
        return isSafe && !hasLeftChangesOut
    }

    // MARK: Status

    /// Bytes of journal that are to be written and are not, those included that nobody has collected yet.
    var bytesWaiting: Int { (unwritten?.bytes.count ?? 0) + durability.stream.bytesForDisk }

    func publishStatus() {
        let waiting = bytesWaiting
        durability.update { status in
            status.isLogging = durability.isLogging
            status.lastWriteSucceeded = breaker.state == .closed
            status.error = failure?.reason ?? ""
            status.breaker = breaker.state
            status.snapshotBytes = log.snapshotBytes
            status.logBytes = log.bytes - log.snapshotBytes
            status.baseBytes = baseBytes
            status.journalOffset = log.appended
            status.syncedOffset = log.synced
            let isRecoverable = durability.isLogging && log.isPublished && !isDetached && !hasGap
            status.recoverableOffset = isRecoverable ? log.synced : -1
            status.filesAreCurrent = filesAreCurrent
            status.unsyncedBytes = Int(log.appended - log.synced) + waiting
            status.isSyncing = syncStartedAt != nil
            status.syncs = syncs
            status.delayedSyncs = delayedSyncs
            status.collections = collections
            status.isSnapshotRunning = run != nil
            status.snapshotIsRewrite = run.map { $0.kind != .save } ?? false
            status.isRewriteScheduled = scheduled != nil
            status.snapshotKeys = run?.keys ?? 0
            status.snapshotExpectedKeys = run?.expectedKeys ?? 0
            status.snapshotStartedAt = run?.startedAt ?? 0
            status.changesAtLastSave = changesAtLastSave
        }
    }
}
