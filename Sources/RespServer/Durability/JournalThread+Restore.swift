// Back to the state on disk: what a node does that is promoted inside a full sync. Its old state is gone from memory,
// the new one is not whole, and the files, detached when the full sync began, still hold the old one.
//
//   restore ─▶ empty the engine ─▶ recovery, as at a start ─▶ the replication thread puts journal and history in place
//                  ▲                   │ failed                                              │
//                  └─── after a pause ─┘                                          resume ◀───┘
//
// The thread does nothing else meanwhile: nothing is journaled and clients are told LOADING. A restore that is not
// wanted any more (another REPLICAOF, the end of the process) ends within a batch.

import LimiterEngine
import Persistence

extension JournalThread {
    /// A state to be read back.
    struct Restore {
        let number: Int
        /// States expired by then are left out.
        let horizon: EngineTime
    }

    func begin(_ wanted: Restore) {
        restore = wanted
        restoreTries.succeeded()
        let now = EngineClock.steady()
        durability.update { $0.restoreBegan = (EngineClock.unixSeconds(), now) }
    }

    func endRestore() {
        restore = nil
        durability.update { $0.restoreBegan = nil }
    }

    /// Reads the state back if one is wanted and it is time for a try.
    func considerRestore(now: Int64) {
        guard let restore else { return }
        guard restoreTries.state == .closed || restoreTries.tries(now: now) else { return }
        let durability = durability
        let isWanted = { @Sendable in durability.isWanted(restore: restore.number) }
        guard isWanted() else { return endRestore() }
        let began = EngineClock.steady()
        do throws(RecoveryError) {
            let report = try recover(restore, isWanted)
            take(report, nanoseconds: EngineClock.steady() - began)
            endRestore()
            server.replication.ask(.restored(number: restore.number, report))
        } catch {
            guard isWanted() else { return endRestore() }
            restoreTries.failed(now: EngineClock.steady())
            server.log.warning(
                "cannot read the state on disk back; clients are told LOADING until that works", ["error": "\(error)"])
        }
    }

    private func recover(
        _ restore: Restore, _ isWanted: @escaping @Sendable () -> Bool
    ) throws(RecoveryError) -> RecoveryReport {
        server.engine.removeState()
        server.recoveryProgress.reset()
        let recovery = Recovery(
            files: files, path: log.path, engine: server.engine, horizon: restore.horizon,
            workers: Storage.workers(shards: settings.shards), progress: server.recoveryProgress,
            concurrently: Storage.concurrently, isWanted: isWanted)
        return try recovery.run(history: server.runID, cutsTornTail: settings.aofLoadTruncated)
    }

    /// The files are what the recovery says they are. Nothing is written to them until `resume`.
    private func take(_ report: RecoveryReport, nanoseconds: Int64) {
        log = LogDirectory(files: files, path: log.path, recovered: report)
        log.removeLeftovers()
        history = log.manifest.history
        filesAreCurrent = true
        baseBytes = log.bytes
        let statistics = KeyspaceSession(engine: server.engine).statistics()
        changesAtLastSave = statistics.changes
        Storage.note(report.cut, server.log)
        server.log.notice(
            "the state on disk is back in memory",
            [
                "records": .integer(report.records), "keys": .integer(statistics.keys),
                "milliseconds": .integer(Int(nanoseconds / 1_000_000)),
            ])
    }

    /// The journal continues where the files end.
    func resume(now: Int64) {
        isDetached = false
        hasGap = false
        guard durability.isLogging else { return followHealth() }
        do throws(StorageError) {
            // A disk that is believed to fail has to prove with a snapshot that it works again.
            if breaker.state != .closed { throw failure! }
            try log.roll(at: log.appended, time: server.clock.now(), continues: true)
            let end = durability.stream.beginDisk()
            precondition(end == log.appended, "a journal that does not continue the files")
        } catch {
            hasGap = true
            if breaker.state == .closed { fail(error, now: now) }
        }
        followHealth()
    }
}
