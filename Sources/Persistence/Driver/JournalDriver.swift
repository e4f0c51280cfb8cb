// The policy of the journal: when to collect what changed, append it, sync it and take a snapshot; which replies may go
// out; what a failing disk means and how the log becomes whole again.
//
//   events ─▶ handle ─▶ calls of LogDirectory, which block, and actions, which the host carries out
//
// Owns: the files, through LogDirectory; the circuit breaker; tickets. Has no thread, no clock and no lock: times are
// parameters, and a host provides the engine's side. The server's journal thread pumps it, and so does the simulation.
//
// A sync, a snapshot and a recovery are actions, and their ends are events. While one is waited for (`isWaiting`), the
// driver must be given nothing but its end.
//
// Other files continue this type: +Log (collections, syncs, tickets), +Snapshots, +Failure (the disk fails and works
// again), +History (full syncs, new names, the log switched on and off), +End.

public import LimiterEngine
public import System

/// Decides what the journal thread does. Not thread-safe.
public final class JournalDriver {
    unowned let host: any JournalHost
    let engine: Engine
    let files: any FileSystem
    let pace: Pace
    /// The files.
    public internal(set) var log: LogDirectory
    var settings: Settings

    // MARK: Failure

    /// Whether the disk is believed in.
    public internal(set) var breaker: CircuitBreaker
    /// The last failure, until the disk works again.
    public internal(set) var failure: StorageError?
    /// Failures since the start.
    public internal(set) var failures = 0
    /// What the host was told last.
    public internal(set) var health = StorageHealth.fine
    /// A part whose append failed: the first to be appended when the disk works again.
    var unwritten: Journal.Part?
    /// Something happened that is not in the log: only a snapshot makes it whole.
    public internal(set) var hasGap = false
    /// A collection left changes out: nothing more is promised, and the process is about to end.
    var hasLeftChangesOut = false

    // MARK: Collections and syncs

    /// The last collection begun.
    var collection = 0
    var lastCollection = SteadyInstant.boot
    /// The event in which the last collection was made, until `worked` reports how long that took.
    var collectedAt: SteadyInstant?
    var collectionInterval: Nanoseconds
    /// Replies that the last collection serves.
    var group = 0
    /// How many replies the next sync is expected to serve.
    var expectedGroup = 1
    /// Since when replies are being gathered for the next sync.
    var gatheringSince: SteadyInstant?
    var lastSync = SteadyInstant.boot
    /// When the sync on another thread was begun.
    var syncStartedAt: SteadyInstant?
    var delaysInARow = 0
    var hasNotedSlowSync = false
    /// How long the last sync took.
    public internal(set) var lastSyncTook = Nanoseconds.zero
    /// Syncs that succeeded.
    public internal(set) var syncs = 0
    /// Syncs of `everysec` that were due and had to wait for the one before.
    public internal(set) var delayedSyncs = 0
    /// Collections made.
    public internal(set) var collections = 0

    // MARK: Snapshots

    /// A snapshot that is being written.
    public struct Run: Sendable {
        /// Why it is taken.
        public let kind: SnapshotKind
        /// The number in its name.
        public let number: Int
        /// When it was begun.
        public let startedAt: SteadyInstant
        /// Changes that the engine had counted by then.
        public let changes: UInt64
        /// About as many keys as it will have.
        public let expectedKeys: Int
    }

    /// The snapshot under way.
    public internal(set) var run: Run?
    /// Numbers of cancelled ones whose writing has not ended yet.
    var overtaken: Set<Int> = []
    /// The snapshot to be taken after the one under way.
    public internal(set) var scheduled: SnapshotKind?
    /// When to take one unasked after some have failed.
    var snapshotTries: CircuitBreaker
    /// When the last one was adopted, or the driver began.
    var lastSave: SteadyInstant
    /// Changes that the engine had counted when the last one was begun.
    public internal(set) var changesAtLastSave: UInt64
    /// Bytes of log and snapshot when the last one was adopted, or at the start.
    public internal(set) var baseBytes: Int
    /// What has become of snapshots so far.
    public internal(set) var outcomes = SnapshotOutcomes()

    // MARK: History

    /// The state is being replaced by another node's.
    public internal(set) var isDetached = false
    /// What is on disk is of the state in memory: false from the end of a full sync until that is saved.
    public internal(set) var filesAreCurrent = true
    /// The name of the journal's history.
    var history: String
    /// A new name that the disk of a node without a log did not take, and the one that the files must have for it; nil
    /// for any.
    var unsavedName: (old: String?, new: String)?
    /// The state to be read back from disk, when that was requested, and when it was tried last.
    var restore: (number: Int, horizon: EngineTime, requestedAt: SteadyInstant, triedAt: SteadyInstant)?
    var restoreTries: CircuitBreaker

    /// A sync or a recovery is waited for: its end must be the next event.
    public internal(set) var isWaiting = false

    /// The driver of a directory that has been recovered into `engine`. Its segment may be open already.
    public init(
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
        // What was put back is on disk.
        changesAtLastSave = KeyspaceSession(engine: engine).statistics().changes
        history = log.manifest.history
    }

    // MARK: Events

    /// Lets something happen, at `now`.
    public func handle(_ event: Event, now: SteadyInstant) {
        assert(!isWaiting || event.isEndOfWait, "an event in the middle of what is waited for")
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
        // A snapshot may be due, too, but what was collected comes first.
        guard !isWaiting else { return }
        considerSnapshot(now: now)
    }

    /// The event before this call ended at `now`: work that it did sets the time until the next collection.
    public func worked(until now: SteadyInstant) {
        guard let began = collectedAt else { return }
        collectedAt = nil
        lastCollection = began
        collectionInterval = min(max(pace.collectionPause, (now - began) * pace.restFactor), pace.collectionPauseMax)
    }

    /// How long the host may sleep, unless something happens.
    public func pause(now: SteadyInstant) -> Nanoseconds {
        if hasTicketToServe {
            return gatheringSince.map { max(.zero, $0 + gatheringPause - now) } ?? .zero
        }
        guard host.hasUncollectedChanges else { return pace.idlePause }
        return min(pace.idlePause, lastCollection + collectionInterval - now)
    }

    // MARK: What is known

    /// Bytes of journal that are to be written and are not, including those that have not been collected.
    public var bytesWaiting: Int { (unwritten?.bytes.count ?? 0) + host.bytesForDisk }

    /// Up to where a start would find the journal; -1 where that is not known: without a log, and while the files wait
    /// for a snapshot.
    public var recoverableOffset: Int64 {
        host.isLogging && log.isPublished && !isDetached && !hasGap ? log.synced : -1
    }

    /// Whether a sync runs on another thread.
    public var isSyncing: Bool { syncStartedAt != nil }

    /// When the state to be read back was requested; nil when none is.
    public var restoreRequestedAt: SteadyInstant? { restore?.requestedAt }
}

extension JournalDriver {
    /// What has become of snapshots so far.
    public struct SnapshotOutcomes: Sendable {
        /// Whether the last one of SAVE, BGSAVE or a rule succeeded.
        public internal(set) var lastSaveSucceeded = true
        /// Whether the last one that replaces the log succeeded.
        public internal(set) var lastRewriteSucceeded = true
        /// Why the last one failed, in the kernel's words.
        public internal(set) var error = ""
        /// How long the last ones took; nil before the first.
        public internal(set) var lastSaveTook: Nanoseconds?
        /// As `lastSaveTook`.
        public internal(set) var lastRewriteTook: Nanoseconds?
        /// How many succeeded.
        public internal(set) var saves = 0
        /// As `saves`.
        public internal(set) var rewrites = 0
    }
}

extension JournalDriver.Event {
    /// Whether this is what a waiting driver waits for.
    fileprivate var isEndOfWait: Bool {
        switch self {
        case .synced(_, _, let isWaitedFor, _): isWaitedFor
        case .readBack: true
        default: false
        }
    }
}
