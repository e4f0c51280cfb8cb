// The vocabulary of the journal's driver: what happens to it, what it decides, and what it reports.

public import LimiterEngine
public import System

/// What the state of the disk means for commands.
public enum StorageHealth: Int, Sendable {
    /// It works, as far as is known.
    case fine
    /// It failed, and `fail-mode` is open: decisions continue in memory.
    case memoryOnly
    /// It failed, and `fail-mode` is closed: writes are refused.
    case refusing
}

/// Why a snapshot is taken.
public enum SnapshotKind: Sendable {
    /// SAVE, BGSAVE, the rules of `save`.
    case save
    /// BGREWRITEAOF, growth of the log.
    case rewrite
    /// Nothing else proves what is on disk: after a failed sync, or when logging is switched on.
    case repair
}

extension JournalDriver {
    /// The part of the configuration that concerns the driver.
    public struct Settings: Sendable {
        /// When appended bytes are synced.
        public enum Sync: Sendable, CaseIterable {
            /// Before a change is answered.
            case always
            /// Every `Pace.syncInterval`, on another thread.
            case everysec
            /// Left to the kernel.
            case no
        }

        /// `appendfsync`.
        public var sync: Sync
        /// `fail-mode closed`: writes are refused while the disk fails.
        public var failsClosed: Bool
        /// `auto-aof-rewrite-percentage`; 0 for never.
        public var rewritePercentage: Int
        /// `auto-aof-rewrite-min-size`, in bytes.
        public var rewriteMinBytes: Int
        /// `save`.
        public var save: SaveRules

        /// The defaults: no automatic snapshots.
        public init(
            sync: Sync = .everysec, failsClosed: Bool = true, rewritePercentage: Int = 0, rewriteMinBytes: Int = 0,
            save: SaveRules = SaveRules()
        ) {
            self.sync = sync
            self.failsClosed = failsClosed
            self.rewritePercentage = rewritePercentage
            self.rewriteMinBytes = rewriteMinBytes
            self.save = save
        }
    }

    /// How fast the driver works.
    public struct Pace: Sendable {
        /// From one collection to the next while no reply waits for one: what a killed process may lose of its changes,
        /// and how long changes of one key have to become one record.
        public var collectionPause = Nanoseconds.milliseconds(10)
        /// The pause is at least this many times what the last collection took, so that collecting never uses more than
        /// that part of a core.
        public var restFactor: Int64 = 24
        /// The pause is never longer than this.
        public var collectionPauseMax = Nanoseconds.milliseconds(100)
        /// `everysec`.
        public var syncInterval = Nanoseconds.seconds(1)
        /// A sync that takes longer than this is worth a line in the log.
        public var slowSync = Nanoseconds.seconds(2)
        /// Upper bound on how long replies are gathered for one sync.
        public var gatheringMax = Nanoseconds.milliseconds(1)
        /// Upper bound on bytes buffered while the disk fails, not counting what is added during one pause.
        public var unwrittenMax = 64 << 20
        /// From a failure of the disk to the first try; doubled each time that fails, too.
        public var firstRetry = Nanoseconds.seconds(1)
        /// Between tries of a disk that fails, at most.
        public var longestRetry = Nanoseconds.seconds(30)
        /// The longest pause; settings and rules of time are looked at after it.
        public var idlePause = Nanoseconds.milliseconds(100)

        /// The server's pace.
        public init() {}
    }

    /// A collection that has begun.
    public struct Collection: Sendable {
        /// Tickets up to this number are good when it is on disk.
        public var number: Int
        /// False when changes were left out, because a command that never ends holds their locks.
        public var isComplete: Bool

        /// Collection `number`.
        public init(number: Int, isComplete: Bool = true) {
            self.number = number
            self.isComplete = isComplete
        }
    }

    // MARK: Events

    /// What happens to the driver.
    public enum Event {
        /// The host was woken, or the pause is over.
        case turn
        /// A snapshot was requested; its waiters are kept by the host until `answerSnapshotWaiters`.
        case snapshotRequested(SnapshotKind)
        /// A full sync is about to replace the state: nothing is written until `attach` or `resume`.
        case detach
        /// The state is whole, and of this history: the files are begun anew.
        case attach(history: String, isNewState: Bool)
        /// The journal has another name from here on. What is on disk is its beginning, if it has the first name; nil
        /// for any name.
        case rename(from: String?, to: String)
        /// The state on disk is to replace the one in memory, which is a part of another node's.
        case restore(number: Int, horizon: EngineTime)
        /// No state is to be read back any more.
        case stopRestoring
        /// The journal continues where the restored files end, and so does the log.
        case resume
        /// The process ends: everything has to be on disk.
        case stop(savesSnapshot: Bool)

        /// A sync has ended that `Action.sync` began; it `took` so long.
        case synced(LogDirectory.SyncJob, Result<Void, StorageError>, isWaitedFor: Bool, took: Nanoseconds)
        /// The snapshot of this number has ended.
        case snapshotEnded(number: Int, Result<FinishedSnapshot, StorageError>)
        /// The state on disk has been read, or could not be.
        case readBack(number: Int, Result<RecoveryReport, RecoveryError>)
    }

    // MARK: Actions

    /// What the driver has decided.
    public enum Action {
        /// Run this sync and deliver `Event.synced`. Where it is waited for, no other event may be delivered before
        /// that; else it runs on another thread.
        case sync(LogDirectory.SyncJob, isWaitedFor: Bool)
        /// Every collection up to this one is on disk, so replies that wait for it go out. `expecting`: how many
        /// replies will probably wait for the next one, and are worth waking the driver for.
        case publish(ticket: Int, expecting: Int)
        /// Replies and writes are to be treated by this health from here on.
        case health(StorageHealth)
        /// The log has ended: nothing more is kept for it, and no reply waits for it.
        case logEnded

        /// Take the writer through all its steps, then deliver `Event.snapshotEnded`.
        case writeSnapshot(number: Int, SnapshotWriter)
        /// End the writing of this snapshot early. `Event.snapshotEnded` is delivered all the same.
        case cancelSnapshot(number: Int)
        /// The snapshot that was requested is known to the driver: it runs, is scheduled, or was refused.
        case snapshotRequestTaken
        /// Answer every client that waits for a snapshot.
        case answerSnapshotWaiters(SnapshotAnswer)
        /// The files are those of a new snapshot.
        case snapshotAdopted

        /// Empty the engine, run a recovery into it, and deliver `Event.readBack` before any other event. States that
        /// expire by `horizon` are left out.
        case readBack(number: Int, horizon: EngineTime)
        /// The state on disk is back in memory. `Event.resume` follows when the journal is at its end.
        case restored(number: Int, RecoveryReport)

        /// A sync took so long.
        case syncTook(Nanoseconds)
        /// A line for the log of the server.
        case note(Note)
        /// The driver has ended. `isSafe`: everything is on disk.
        case end(isSafe: Bool)
    }

    /// The answer to a client that waited for a snapshot.
    public enum SnapshotAnswer: Sendable {
        /// It is on disk.
        case finished
        /// It is not, and why.
        case failed(StorageError)
        /// A full sync replaces the state.
        case stateIsBeingReplaced
    }

    /// What is worth a line in the log of the server.
    public enum Note: Sendable {
        /// The disk failed.
        case storageFailed(StorageError, failsClosed: Bool)
        /// The disk works again.
        case storageWorks(failedBecause: StorageError?)
        /// More than `Pace.unwrittenMax` waited for the disk, and was dropped.
        case backlogDropped
        /// A sync of `everysec` takes longer than `Pace.slowSync`.
        case slowSync(unsyncedBytes: Int)
        /// The log was switched on at run time.
        case logSwitchedOn
        /// The log was switched off at run time.
        case logSwitchedOff
        /// The log has grown by the settings.
        case logHasGrown(bytes: Int, base: Int)
        /// A snapshot has begun.
        case snapshotStarted(number: Int, keys: Int)
        /// A snapshot has replaced the files before it.
        case snapshotFinished(FinishedSnapshot, took: Nanoseconds)
        /// A snapshot came to nothing.
        case snapshotFailed(StorageError)
        /// The snapshot at the end of the process has replaced the files before it.
        case lastSnapshotFinished(FinishedSnapshot)
        /// The snapshot at the end of the process came to nothing.
        case lastSnapshotFailed(StorageError)
        /// The log could not be begun anew at the end of the process.
        case noLogAtEnd(StorageError)
        /// The state on disk could not be read, and will be tried again.
        case cannotReadBack(RecoveryError)
        /// The state on disk is back in memory. `took`: since the try began.
        case stateIsBack(RecoveryReport, keys: Int, took: Nanoseconds)
    }
}
