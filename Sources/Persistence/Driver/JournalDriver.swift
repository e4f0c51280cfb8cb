// The journal's policy: when to collect changes, append, sync and take a snapshot; which replies may be sent; what a
// disk failure means and how the log is made complete again.
//
//   events ─▶ handle ─▶ calls to LogDirectory, which block, and actions, which the host performs
//
// Owns: the files, through LogDirectory; the circuit breaker; tickets. Has no thread, clock or lock: times are
// parameters, and a host provides the engine side. The server's journal thread drives it, and so does the simulation.
//
// Syncs, snapshots and recoveries are actions, and their completions are events. While a completion is awaited
// (`isWaiting`), the driver must be given no other event.
//
// Continued in: +Log (collections, syncs, tickets), +Snapshots, +Failure (disk failure and recovery from it), +History
// (full syncs, new names, the log switched on and off), +End.

package import LimiterEngine
package import System

/// Decides what the journal thread does. Not thread-safe.
package final class JournalDriver {
    unowned let host: any JournalHost
    let engine: Engine
    let files: any FileSystem
    let pace: Pace
    /// The files.
    package internal(set) var log: LogDirectory
    var settings: Settings

    // MARK: Failure

    /// Whether the disk is considered usable.
    package internal(set) var breaker: CircuitBreaker
    /// The last failure, until the disk works again.
    package internal(set) var failure: StorageError?
    /// Failures since the start.
    package internal(set) var failures = 0
    /// The health last reported to the host.
    package internal(set) var health = StorageHealth.fine
    /// A part whose append failed: appended first when the disk works again.
    var unwritten: Journal.Part?
    /// Some change is not in the log: only a snapshot makes it complete.
    package internal(set) var hasGap = false
    /// A collection omitted changes: no further guarantees, and the process is about to end.
    var hasLeftChangesOut = false

    // MARK: Collections and syncs

    /// The last collection begun.
    var collection = 0
    var lastCollection = SteadyInstant.boot
    /// The event that made the last collection, until `worked` reports how long it took.
    var collectedAt: SteadyInstant?
    var collectionInterval: Nanoseconds
    /// Number of replies that the last collection serves.
    var group = 0
    /// How many replies the next sync is expected to serve.
    var expectedGroup = 1
    /// When gathering of replies for the next sync began.
    var gatheringSince: SteadyInstant?
    var lastSync = SteadyInstant.boot
    /// When the sync on the other thread was begun.
    var syncStartedAt: SteadyInstant?
    var delaysInARow = 0
    var hasNotedSlowSync = false
    /// How long the last sync took.
    package internal(set) var lastSyncTook = Nanoseconds.zero
    /// Syncs that succeeded.
    package internal(set) var syncs = 0
    /// `everysec` syncs that were due and had to wait for the previous one.
    package internal(set) var delayedSyncs = 0
    /// Collections made.
    package internal(set) var collections = 0

    // MARK: Snapshots

    /// A snapshot in progress.
    package struct Run: Sendable {
        /// Why it is taken.
        package let kind: SnapshotKind
        /// The number in its name.
        package let number: Int
        /// When it was begun.
        package let startedAt: SteadyInstant
        /// The engine's change count at that time.
        package let changes: UInt64
        /// Approximate number of keys it will contain.
        package let expectedKeys: Int
    }

    /// The snapshot in progress.
    package internal(set) var run: Run?
    /// The snapshot that is written, but not adopted yet: it is not done before that.
    package internal(set) var adopting: Run?
    /// Numbers of cancelled snapshots whose writing has not ended yet.
    var overtaken: Set<Int> = []
    /// The snapshot to take after the one in progress.
    package internal(set) var scheduled: SnapshotKind?
    /// When to start an automatic snapshot after failures.
    var snapshotTries: CircuitBreaker
    /// When the last one was adopted, or when the driver started.
    var lastSave: SteadyInstant
    /// The engine's change count when the last one was begun.
    package internal(set) var changesAtLastSave: UInt64
    /// Bytes of log and snapshot when the last one was adopted, or at the start.
    package internal(set) var baseBytes: Int
    /// Outcomes of snapshots so far.
    package internal(set) var outcomes = SnapshotOutcomes()

    // MARK: History

    /// The state is being replaced by another node's.
    package internal(set) var isDetached = false
    /// The files hold the state in memory: false from the end of a full sync until that state is saved.
    package internal(set) var filesAreCurrent = true
    /// The name of the journal's history.
    var history: String
    /// A new name that a node without a log could not persist, and the name the files must have for it to apply; nil
    /// for any.
    var unsavedName: (old: String?, new: String)?
    /// The state to read back from disk, when that was requested, and when the last try was made.
    var restore: (number: Int, horizon: EngineTime, requestedAt: SteadyInstant, triedAt: SteadyInstant)?
    var restoreTries: CircuitBreaker

    /// A sync or a recovery is awaited: its completion must be the next event.
    package internal(set) var isWaiting = false

    /// A driver for a directory that has been recovered into `engine`. Its segment may already be open.
    package init(
        host: any JournalHost, engine: Engine, files: any FileSystem, log: LogDirectory, pace: Pace = Pace(),
        now: SteadyInstant
    ) {
        self.host = host
        self.engine = engine
        self.files = files
        self.log = log
        self.pace = pace
        breaker = CircuitBreaker(firstPause: pace.firstRetry, longestPause: pace.longestRetry)
        snapshotTries = breaker
        restoreTries = breaker
        settings = host.journalSettings
        collectionInterval = pace.collectionPause
        baseBytes = log.bytes
        lastSave = now
        // The recovered state is on disk.
        changesAtLastSave = KeyspaceSession(engine: engine).statistics().changes
        history = log.manifest.history
    }

    // MARK: Events

    /// Handles an event that happened at `now`.
    package func handle(_ event: Event, now: SteadyInstant) {
        assert(!isWaiting || event.isEndOfWait, "an event other than the awaited completion")
        settings = host.journalSettings
        if !isWaiting { followSwitch(now: now) }
        switch event {
        case .turn: turn(now: now)
        case .snapshotRequested(let kind): requestSnapshot(kind, now: now)
        case .detach: detach(now: now)
        case .attach(let history, let isNewState): attach(history: history, isNewState: isNewState, now: now)
        case .rename(let old, let new): rename(from: old, to: new, now: now)
        case .restore(let number, let horizon): beginRestore(number: number, horizon: horizon, now: now)
        case .stopRestoring: restore = nil
        case .resume: resume(now: now)
        case .stop(let savesSnapshot): stop(savesSnapshot: savesSnapshot, now: now)
        case .synced(let job, let result, let isWaitedFor, let took):
            syncEnded(job, result, isWaitedFor: isWaitedFor, took: took, now: now)
        case .snapshotEnded(let number, let result): snapshotEnded(number, result, now: now)
        case .readBack(let number, let result): readBackEnded(number, result, now: now)
        }
    }

    private func turn(now: SteadyInstant) {
        considerRestore(now: now)
        guard !isWaiting else { return }
        logWhatChanged(now: now)
        // A snapshot may be due as well, but what was collected comes first.
        guard !isWaiting else { return }
        considerSnapshot(now: now)
    }

    /// The event before this call ended at `now`: its duration determines the time until the next collection.
    package func worked(until now: SteadyInstant) {
        guard let began = collectedAt else { return }
        collectedAt = nil
        lastCollection = began
        collectionInterval = min(max(pace.collectionPause, (now - began) * pace.restFactor), pace.collectionPauseMax)
    }

    /// How long the host may sleep if nothing happens.
    package func pause(now: SteadyInstant) -> Nanoseconds {
        if hasTicketToServe {
            return gatheringSince.map { max(.zero, $0 + gatheringPause - now) } ?? .zero
        }
        guard host.hasUncollectedChanges else { return pace.idlePause }
        return min(pace.idlePause, lastCollection + collectionInterval - now)
    }

    // MARK: Status

    /// Bytes of journal waiting to be written, including uncollected changes.
    package var bytesWaiting: Int { (unwritten?.bytes.count ?? 0) + host.bytesForDisk }

    /// Offset up to which a restart would recover the journal; -1 when unknown: without a log, and while the files wait
    /// for a snapshot.
    package var recoverableOffset: Int64 {
        host.isLogging && log.isPublished && !isDetached && !hasGap ? log.synced : -1
    }

    /// Whether a sync is running on another thread.
    package var isSyncing: Bool { syncStartedAt != nil }

    /// When the pending restore was requested; nil when there is none.
    package var restoreRequestedAt: SteadyInstant? { restore?.requestedAt }
}

extension JournalDriver {
    /// Outcomes of snapshots so far.
    package struct SnapshotOutcomes: Sendable {
        /// Whether the last SAVE, BGSAVE or `save` rule succeeded.
        package internal(set) var lastSaveSucceeded = true
        /// Whether the last log rewrite succeeded.
        package internal(set) var lastRewriteSucceeded = true
        /// Why the last one failed: the kernel's message.
        package internal(set) var error = ""
        /// How long the last one took; nil before the first.
        package internal(set) var lastSaveTook: Nanoseconds?
        /// As `lastSaveTook`.
        package internal(set) var lastRewriteTook: Nanoseconds?
        /// How many succeeded.
        package internal(set) var saves = 0
        /// As `saves`.
        package internal(set) var rewrites = 0
    }
}

extension JournalDriver.Event {
    /// Whether this is the completion that a waiting driver awaits.
    fileprivate var isEndOfWait: Bool {
        switch self {
        case .synced(_, _, let isWaitedFor, _): isWaitedFor
        case .readBack: true
        default: false
        }
    }
}
