// The server as JournalDriver's host: settings, tickets, the journal and its path to disk.

import LimiterEngine
import Persistence
import Replication
import System

extension JournalThread: JournalHost {
    var journalSettings: JournalDriver.Settings { server.currentSettings.value.journal }
    var engineTime: EngineTime { server.clock.now() }

    // MARK: Demand

    var isLogging: Bool { durability.isLogging }
    var hasLogToEnd: Bool { durability.hasLogToEnd }
    var hasUncollectedChanges: Bool { durability.hasUncollectedChanges }
    var hasOpenTicket: Bool { durability.hasOpenTicket }
    var waitingReplies: Int { durability.waitingReplies }
    func isWanted(restore number: Int) -> Bool { durability.isWanted(restore: number) }

    // MARK: The journal

    func collect() -> JournalDriver.Collection {
        var collection = JournalDriver.Collection(number: durability.beginCollection())
        if durability.isJournaling { collection.isComplete = durability.journal.collect(time: engineTime) }
        if durability.stream.drain(), durability.stream.hasBacklog { server.replication.wake() }
        return collection
    }

    func encodeChanges() { if durability.isJournaling { durability.journal.collect(time: engineTime) } }

    func nextForDisk() -> Journal.Part? { durability.stream.nextForDisk() }
    func recycle(_ buffer: ByteBuffer) { durability.stream.recycle(buffer) }

    func beginDisk() -> Int64 {
        let offset = durability.stream.beginDisk()
        if durability.stream.hasBacklog { server.replication.wake() }
        return offset
    }

    func endDisk() { durability.stream.endDisk() }
    var bytesForDisk: Int { durability.stream.bytesForDisk }
    var isAbandoningStuckLocks: Bool { durability.journal.isAbandoningStuckLocks }

    // MARK: Names

    /// A history that no node has, so that the next start requests a full sync. Files of an unowned state remain
    /// unowned.
    func historyWithoutLog(current: String, snapshot number: Int) -> String {
        if current == ReplicationID.unowned.text { return current }
        var generator = SystemRandomNumberGenerator()
        return ReplicationID(using: &generator).text
    }
}

extension Settings {
    /// The settings that concern the journal.
    fileprivate var journal: JournalDriver.Settings {
        let sync: JournalDriver.Settings.Sync =
            switch appendfsync {
            case .always: .always
            case .everysec: .everysec
            case .no: .no
            }
        return JournalDriver.Settings(
            sync: sync, failsClosed: failMode == .closed, rewritePercentage: autoAofRewritePercentage,
            rewriteMinBytes: autoAofRewriteMinSizeBytes, save: save)
    }
}

extension Log {
    /// Logs a note of the driver.
    func write(_ note: JournalDriver.Note) {
        switch note {
        case .storageFailed(let error, let failsClosed):
            warning(
                "storage failed: "
                    + (failsClosed
                        ? "writes are refused until it recovers" : "changes are kept in memory only"),
                ["error": "\(error)", "fail_mode": failsClosed ? "closed" : "open"])
        case .storageWorks(let error):
            notice("storage recovered", ["failed_because": "\(error?.description ?? "")"])
        case .backlogDropped:
            notice("write backlog dropped; a snapshot will replace it once storage recovers")
        case .slowSync(let bytes):
            warning(
                "the disk is slow: a sync of the log takes longer than the two seconds that everysec allows",
                ["unsynced_bytes": .integer(bytes)])
        case .logSwitchedOn: notice("append-only log switched on; taking a full snapshot first")
        case .logSwitchedOff: notice("append-only log switched off")
        case .logHasGrown(let bytes, let base):
            notice(
                "the log has grown; taking a snapshot to replace it",
                ["bytes": .integer(bytes), "base": .integer(base)])
        case .snapshotStarted(let number, let keys):
            notice("snapshot started", ["number": .integer(number), "keys": .integer(keys)])
        case .snapshotFinished(let snapshot, let took):
            notice(
                "snapshot finished",
                [
                    "number": .integer(snapshot.number), "keys": .integer(snapshot.keys),
                    "bytes": .integer(snapshot.bytes), "seconds": .integer(Int(took.secondsRoundedDown)),
                ])
        case .lastSnapshotFinished(let snapshot):
            notice("snapshot finished", ["number": .integer(snapshot.number), "keys": .integer(snapshot.keys)])
        case .snapshotFailed(let error): warning("snapshot failed", ["error": "\(error)"])
        case .lastSnapshotFailed(let error): warning("the final snapshot failed", ["error": "\(error)"])
        case .noLogAtEnd(let error):
            warning("cannot start a new log at shutdown", ["error": "\(error)"])
        case .cannotReadBack(let error):
            warning(
                "cannot restore the state on disk; clients get LOADING until that succeeds",
                ["error": "\(error)"])
        case .stateIsBack(let report, let keys, let took):
            notice(
                "state on disk restored to memory",
                [
                    "records": .integer(report.records), "keys": .integer(keys),
                    "milliseconds": .integer(Int(took.millisecondsRoundedDown)),
                ])
        }
    }
}
