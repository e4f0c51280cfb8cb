// What JournalDriver asks of the server: settings, tickets, the journal and its way to disk.

import LimiterEngine
import Persistence
import Replication
import System

extension JournalThread: JournalHost {
    var journalSettings: JournalDriver.Settings { server.currentSettings.value.journal }
    var engineTime: EngineTime { server.clock.now() }

    // MARK: What is wanted

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

    /// A name that no other history has, so that a start asks for everything. Files of an unowned state stay so.
    func historyWithoutLog(current: String, snapshot number: Int) -> String {
        if current == ReplicationID.unowned.text { return current }
        var generator = SystemRandomNumberGenerator()
        return ReplicationID(using: &generator).text
    }
}

extension Settings {
    /// What concerns the journal.
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
    /// The line for what the driver has noted.
    func write(_ note: JournalDriver.Note) {
        switch note {
        case .storageFailed(let error, let failsClosed):
            warning(
                "storage failed: "
                    + (failsClosed
                        ? "writes are refused until it works again" : "changes are kept in memory alone"),
                ["error": "\(error)", "fail_mode": failsClosed ? "closed" : "open"])
        case .storageWorks(let error):
            notice("storage works again", ["failed_because": "\(error?.description ?? "")"])
        case .backlogDropped:
            notice("too much waits for the disk; a snapshot will take its place when it works again")
        case .slowSync(let bytes):
            warning(
                "the disk is slow: a sync of the log takes longer than the two seconds that everysec allows",
                ["unsynced_bytes": .integer(bytes)])
        case .logSwitchedOn: notice("append-only log switched on; a snapshot of everything is taken first")
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
        case .lastSnapshotFailed(let error): warning("the last snapshot failed", ["error": "\(error)"])
        case .noLogAtEnd(let error):
            warning("the log could not be begun anew at the end", ["error": "\(error)"])
        case .cannotReadBack(let error):
            warning(
                "cannot read the state on disk back; clients are told LOADING until that works",
                ["error": "\(error)"])
        case .stateIsBack(let report, let keys, let took):
            notice(
                "the state on disk is back in memory",
                [
                    "records": .integer(report.records), "keys": .integer(keys),
                    "milliseconds": .integer(Int(took.millisecondsRoundedDown)),
                ])
        }
    }
}
