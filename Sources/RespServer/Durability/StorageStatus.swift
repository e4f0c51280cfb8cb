// The state of storage, for INFO and for refusing writes: written by the journal thread, read by any.

import Persistence
import System

/// The storage section of INFO, in the units it shows.
struct StorageStatus: Sendable {
    // MARK: Log

    /// Whether a log is wanted.
    var isLogging = false
    var lastWriteSucceeded = true
    /// The kernel's error text for the failure.
    var error = ""
    var breaker = CircuitBreaker.State.closed
    /// Storage failures since startup.
    var failures = 0
    var logBytes = 0
    var snapshotBytes = 0
    /// Bytes of log and snapshot when the last rewrite ended, or at startup.
    var baseBytes = 0
    /// Bytes encoded or appended, but not yet on disk.
    var unsyncedBytes = 0
    var journalOffset: Int64 = 0
    var syncedOffset: Int64 = 0
    /// The offset up to which a restart would recover the journal; -1 if unknown: without a log, and while the files
    /// wait for a snapshot.
    var recoverableOffset: Int64 = -1
    /// The files belong to the state in memory, and not to a state that a full sync has replaced there.
    var filesAreCurrent = true
    /// Duration of the sync in progress, or else of the last one.
    var lastSyncTook = Nanoseconds.zero
    var isSyncing = false
    var syncs = 0
    /// Syncs under `everysec` that were due and had to wait for the previous one.
    var delayedSyncs = 0
    var collections = 0

    // MARK: Snapshots

    var isSnapshotRunning = false
    var snapshotIsRewrite = false
    /// Requested, but not yet seen by the journal thread.
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
    /// The engine's count of changes when the last snapshot began.
    var changesAtLastSave: UInt64 = 0

    /// Whether a snapshot is running, or about to start.
    var isSnapshotUnderWay: Bool { isSnapshotRunning || requestedSnapshot != nil }
    /// Whether that snapshot replaces the log.
    var isRewriteUnderWay: Bool { isSnapshotRunning ? snapshotIsRewrite : requestedSnapshot == .rewrite }

    // MARK: Start

    /// Records restored at startup.
    var recoveredRecords = 0
    var recoveryTook = Nanoseconds.zero
    /// Bytes of a torn tail truncated at startup.
    var cutBytes = 0
    /// When the restore of the state on disk began, on the wall clock and on the steady one; nil while none is in
    /// progress.
    var restoreBegan: (unixSeconds: Int64, steady: SteadyInstant)?
}

extension StorageStatus {
    /// Copies the state of the journal's driver.
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
        let run = driver.run ?? driver.adopting
        isSnapshotRunning = run != nil
        snapshotIsRewrite = run.map { $0.kind != .save } ?? false
        isRewriteScheduled = driver.scheduled != nil
        snapshotKeys = keys
        snapshotExpectedKeys = run?.expectedKeys ?? 0
        snapshotStartedAt = run?.startedAt ?? .boot
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
