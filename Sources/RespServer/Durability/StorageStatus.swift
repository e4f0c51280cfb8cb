// What is known of the disk, for INFO and for the refusal of writes: written by the journal thread, read by all.

import Persistence
import System

/// The storage section of INFO, in the units it shows.
struct StorageStatus: Sendable {
    // MARK: Log

    var isLogging = false
    var lastWriteSucceeded = true
    /// Why not, in the kernel's words.
    var error = ""
    var breaker = CircuitBreaker.State.closed
    /// Storage failures since the start.
    var failures = 0
    var logBytes = 0
    var snapshotBytes = 0
    /// Bytes of log and snapshot when the last rewrite ended, or at the start.
    var baseBytes = 0
    /// Bytes encoded or appended and not yet on disk.
    var unsyncedBytes = 0
    var journalOffset: Int64 = 0
    var syncedOffset: Int64 = 0
    /// Up to here a start would find the journal; -1 where that cannot be said: without a log, and while the files wait
    /// for a snapshot.
    var recoverableOffset: Int64 = -1
    /// What is on disk is of the state in memory, and not of one that a full sync has replaced there.
    var filesAreCurrent = true
    /// How long the sync that is running has taken, or the last one did.
    var lastSyncTook = Nanoseconds.zero
    var isSyncing = false
    var syncs = 0
    /// Syncs under `everysec` that were due and had to wait for the one before.
    var delayedSyncs = 0
    var collections = 0

    // MARK: Snapshots

    var isSnapshotRunning = false
    var snapshotIsRewrite = false
    /// Asked for, and not yet known to the journal thread.
    var requestedSnapshot: SnapshotKind?
    var isRewriteScheduled = false
    var snapshotKeys = 0
    var snapshotExpectedKeys = 0
    var snapshotStartedAt = SteadyInstant.boot
    var lastSnapshotSucceeded = true
    /// Why the last snapshot failed.
    var snapshotError = ""
    var lastRewriteSucceeded = true
    var lastSnapshotSeconds: Int64 = -1
    var lastRewriteSeconds: Int64 = -1
    var snapshots = 0
    var rewrites = 0
    /// Unix seconds.
    var lastSaveTime: Int64 = 0
    /// Changes the engine had counted when the last snapshot was begun.
    var changesAtLastSave: UInt64 = 0

    /// Whether a snapshot runs, or is about to.
    var isSnapshotUnderWay: Bool { isSnapshotRunning || requestedSnapshot != nil }
    /// Whether that is one that replaces the log.
    var isRewriteUnderWay: Bool { isSnapshotRunning ? snapshotIsRewrite : requestedSnapshot == .rewrite }

    // MARK: Start

    /// Records put back at the start.
    var recoveredRecords = 0
    var recoveryTook = Nanoseconds.zero
    /// Bytes of a torn tail cut at the start.
    var cutBytes = 0
    /// When the state on disk began to be read back, on the wall clock and on the steady one; nil while
    /// it is not.
    var restoreBegan: (unixSeconds: Int64, steady: SteadyInstant)?
}

extension StorageStatus {
    /// Takes over what the journal's driver knows.
    mutating func follow(
        _ driver: JournalDriver, isLogging wanted: Bool, bytesWaiting: Int, snapshotKeys: Int
    ) {
        let log = driver.log
        isLogging = wanted
        breaker = driver.breaker.state
        lastWriteSucceeded = breaker == .closed
        error = driver.failure?.reason ?? ""
        failures = driver.failures
        snapshotBytes = log.snapshotBytes
        logBytes = log.bytes - log.snapshotBytes
        baseBytes = driver.baseBytes
        journalOffset = log.appended
        syncedOffset = log.synced
        recoverableOffset = driver.recoverableOffset
        filesAreCurrent = driver.filesAreCurrent
        unsyncedBytes = Int(log.appended - log.synced) + bytesWaiting
        lastSyncTook = driver.lastSyncTook
        isSyncing = driver.isSyncing
        syncs = driver.syncs
        delayedSyncs = driver.delayedSyncs
        collections = driver.collections
        if restoreBegan?.steady != driver.restoreRequestedAt {
            restoreBegan = driver.restoreRequestedAt.map { (CalendarSecond.now().unixSeconds, $0) }
        }
        followSnapshots(driver, keys: snapshotKeys)
    }

    private mutating func followSnapshots(_ driver: JournalDriver, keys: Int) {
        isSnapshotRunning = driver.run != nil
        snapshotIsRewrite = driver.run.map { $0.kind != .save } ?? false
        isRewriteScheduled = driver.scheduled != nil
        snapshotKeys = keys
        snapshotExpectedKeys = driver.run?.expectedKeys ?? 0
        snapshotStartedAt = driver.run?.startedAt ?? .boot
        changesAtLastSave = driver.changesAtLastSave
        let outcomes = driver.outcomes
        lastSnapshotSucceeded = outcomes.lastSaveSucceeded
        lastRewriteSucceeded = outcomes.lastRewriteSucceeded
        snapshotError = outcomes.error
        lastSnapshotSeconds = outcomes.lastSaveTook?.secondsRoundedDown ?? -1
        lastRewriteSeconds = outcomes.lastRewriteTook?.secondsRoundedDown ?? -1
        snapshots = outcomes.saves
        rewrites = outcomes.rewrites
    }
}
