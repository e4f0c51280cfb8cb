// The journal driver's vocabulary: its events, its decisions and its reports.

package import LimiterEngine
package import System

/// What the disk's condition means for commands.
package enum StorageHealth: Int, Sendable {
    /// No failure is known.
    case fine
    /// The disk failed, and `fail-mode` is open: decisions continue in memory.
    case memoryOnly
    /// The disk failed, and `fail-mode` is closed: writes are refused.
    case refusing
}

/// Why a snapshot is taken.
package enum SnapshotKind: Sendable {
    /// SAVE, BGSAVE or a `save` rule.
    case save
    /// BGREWRITEAOF, or growth of the log.
    case rewrite
    /// Required as proof of what is on disk: after a failed sync, or when logging is switched on.
    case repair
}

extension JournalDriver {
    /// The configuration that concerns the driver.
    package struct Settings: Sendable {
        /// When appended bytes are synced.
        package enum Sync: Sendable, CaseIterable {
            /// Before a change is answered.
            case always
            /// Every `Pace.syncInterval`, on another thread.
            case everysec
            /// Left to the kernel.
            case no
        }

        /// `appendfsync`.
        package var sync: Sync
        /// `fail-mode closed`: writes are refused while the disk fails.
        package var failsClosed: Bool
        /// `auto-aof-rewrite-percentage`; 0 for never.
        package var rewritePercentage: Int
        /// `auto-aof-rewrite-min-size`, in bytes.
        package var rewriteMinBytes: Int
        /// `save`.
        package var save: SaveRules

        /// The defaults: no automatic snapshots.
        package init(
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

    /// The driver's timing and limits.
    package struct Pace: Sendable {
        /// Time between collections while no reply waits for one: a killed process may lose this much of its changes,
        /// and changes to one key within it become one record.
        package var collectionPause = Nanoseconds.milliseconds(10)
        /// The pause is at least this many times the duration of the last collection, which bounds the share of a core
        /// that collecting uses.
        package var restFactor: Int64 = 24
        /// The pause is never longer than this.
        package var collectionPauseMax = Nanoseconds.milliseconds(100)
        /// `everysec`.
        package var syncInterval = Nanoseconds.seconds(1)
        /// A sync that takes longer than this is logged.
        package var slowSync = Nanoseconds.seconds(2)
        /// Upper bound on how long replies are gathered for one sync.
        package var gatheringMax = Nanoseconds.milliseconds(1)
        /// Upper bound on bytes buffered while the disk fails, not counting what is added during one pause.
        package var unwrittenMax = 64 << 20
        /// Time from a disk failure to the first retry; doubled each time a retry fails.
        package var firstRetry = Nanoseconds.seconds(1)
        /// Upper bound on the time between retries.
        package var longestRetry = Nanoseconds.seconds(30)
        /// The longest pause: settings and time-based rules are checked at least this often.
        package var idlePause = Nanoseconds.milliseconds(100)

        /// The server's defaults.
        package init() {}
    }

    /// A collection that has begun.
    package struct Collection: Sendable {
        /// Tickets up to this number are durable once it is on disk.
        package var number: Int
        /// False when changes were omitted, because a command that never ends holds their locks.
        package var isComplete: Bool

        /// Collection `number`.
        package init(number: Int, isComplete: Bool = true) {
            self.number = number
            self.isComplete = isComplete
        }
    }

    // MARK: Events

    /// Events delivered to the driver.
    package enum Event {
        /// The host was woken, or the pause is over.
        case turn
        /// A snapshot was requested; the host keeps its waiters until `answerSnapshotWaiters`.
        case snapshotRequested(SnapshotKind)
        /// A full sync is about to replace the state: nothing is written until `attach` or `resume`.
        case detach
        /// The state is complete and belongs to this history: new files are started.
        case attach(history: String, isNewState: Bool)
        /// The journal has another name from here on. The files are its beginning if they have the first name; nil for
        /// any name.
        case rename(from: String?, to: String)
        /// The state on disk must replace the one in memory, which is part of another node's.
        case restore(number: Int, horizon: EngineTime)
        /// A requested restore is no longer wanted.
        case stopRestoring
        /// The journal continues where the restored files end, and so does the log.
        case resume
        /// The process is ending: everything has to be brought to disk.
        case stop(savesSnapshot: Bool)

        /// The sync that `Action.sync` began has ended.
        case synced(LogDirectory.SyncJob, Result<Void, StorageError>, isWaitedFor: Bool, took: Nanoseconds)
        /// The snapshot of this number has ended.
        case snapshotEnded(number: Int, Result<FinishedSnapshot, StorageError>)
        /// The state on disk has been read, or could not be read.
        case readBack(number: Int, Result<RecoveryReport, RecoveryError>)
    }

    // MARK: Actions

    /// The driver's decisions.
    package enum Action {
        /// Run this sync and deliver `Event.synced`. If it is awaited, no other event may be delivered before that;
        /// otherwise it runs on another thread.
        case sync(LogDirectory.SyncJob, isWaitedFor: Bool)
        /// Every collection up to this one is on disk, so the replies waiting for it are sent. `expecting`: how many
        /// replies will probably wait for the next one, and are worth waking the driver for.
        case publish(ticket: Int, expecting: Int)
        /// Treat replies and writes according to this health from here on.
        case health(StorageHealth)
        /// The log has ended: nothing more is buffered for it, and no reply waits for it.
        case logEnded

        /// Run the writer through all its steps, then deliver `Event.snapshotEnded`.
        case writeSnapshot(number: Int, SnapshotWriter)
        /// Stop writing this snapshot early. `Event.snapshotEnded` is delivered all the same.
        case cancelSnapshot(number: Int)
        /// The driver has registered the snapshot request: it runs, is scheduled, or was refused.
        case snapshotRequestTaken
        /// Answer every client waiting for a snapshot.
        case answerSnapshotWaiters(SnapshotAnswer)
        /// The files are those of a new snapshot.
        case snapshotAdopted

        /// Empty the engine, run a recovery into it, and deliver `Event.readBack` before any other event. States that
        /// expire by `horizon` are omitted.
        case readBack(number: Int, horizon: EngineTime)
        /// The state on disk is back in memory. `Event.resume` follows once the journal is positioned at its end.
        case restored(number: Int, RecoveryReport)

        /// Reports how long a sync took.
        case syncTook(Nanoseconds)
        /// A line for the server log.
        case note(Note)
        /// The driver has ended. `isSafe`: everything is on disk.
        case end(isSafe: Bool)
    }

    /// The answer to a client that waited for a snapshot.
    package enum SnapshotAnswer: Sendable {
        /// The snapshot is on disk.
        case finished
        /// The snapshot failed, for this reason.
        case failed(StorageError)
        /// A full sync is replacing the state.
        case stateIsBeingReplaced
    }

    /// Events worth a line in the server log.
    package enum Note: Sendable {
        /// The disk failed.
        case storageFailed(StorageError, failsClosed: Bool)
        /// The disk works again.
        case storageWorks(failedBecause: StorageError?)
        /// The write backlog exceeded `Pace.unwrittenMax` and was dropped.
        case backlogDropped
        /// A sync of `everysec` takes longer than `Pace.slowSync`.
        case slowSync(unsyncedBytes: Int)
        /// The log was switched on at run time.
        case logSwitchedOn
        /// The log was switched off at run time.
        case logSwitchedOff
        /// The log has grown past the configured limit.
        case logHasGrown(bytes: Int, base: Int)
        /// A snapshot has begun.
        case snapshotStarted(number: Int, keys: Int)
        /// A snapshot has replaced the files before it.
        case snapshotFinished(FinishedSnapshot, took: Nanoseconds)
        /// A snapshot failed.
        case snapshotFailed(StorageError)
        /// The snapshot at shutdown has replaced the files before it.
        case lastSnapshotFinished(FinishedSnapshot)
        /// The snapshot at shutdown failed.
        case lastSnapshotFailed(StorageError)
        /// A new log could not be started at shutdown.
        case noLogAtEnd(StorageError)
        /// The state on disk could not be read; it will be retried.
        case cannotReadBack(RecoveryError)
        /// The state on disk is back in memory. `took`: since the try began.
        case stateIsBack(RecoveryReport, keys: Int, took: Nanoseconds)
    }
}
