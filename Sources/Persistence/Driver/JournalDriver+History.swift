// Changes of state and of history: full syncs, rolling one back, promotions, and switching the log on and off.
//
//   detach ─▶ (another node's state arrives) ─▶ attach ─▶ a new log is started
//      │
//      └─▶ restore ─▶ the state on disk is read back ─▶ resume ─▶ the log continues
//             ▲            │ failed
//             └─ a pause ──┘

import LimiterEngine
import System

extension JournalDriver {
    // MARK: Full syncs

    /// The state is about to be replaced. The files keep the old state until `attach`; a node promoted before then
    /// returns to it. So the log is written out and closed: whatever becomes of the new state, none of it belongs after
    /// the old one or under its name.
    func detach(now: SteadyInstant) {
        if isWorking, log.isPublished, !log.isDamaged { collectAndAppend(now: now) }
        isDetached = true
        closeLog()
        overtakeRun()
        refuseSnapshots()
    }

    /// The state is complete again and belongs to this history.
    func attach(history: String, isNewState: Bool, now: SteadyInstant) {
        self.history = history
        if isNewState { filesAreCurrent = false }
        unsavedName = nil
        isDetached = false
        guard host.isLogging else { return }
        hasGap = true
        if breaker.state != .open { beginAnew(now: now) }
        followHealth()
    }

    // MARK: Names

    /// The journal on disk is also the beginning of another history.
    func rename(from old: String?, to new: String, now: SteadyInstant) {
        history = new
        unsavedName = (old, new)
        saveName(now: now)
    }

    /// Persists the name. If that fails, a new log is started under that name once the disk works again. Without a log
    /// there is nothing to start: only the name is retried.
    func saveName(now: SteadyInstant) {
        do throws(StorageError) {
            if let (old, new) = unsavedName { try log.rename(history: old ?? log.manifest.history, to: new) }
        } catch {
            if host.isLogging {
                unsavedName = nil
                hasGap = true
            }
            return fail(error, now: now)
        }
        unsavedName = nil
        if breaker.state == .halfOpen { recovered() }
    }

    // MARK: Restoring the state on disk

    /// The old state is no longer in memory, the new one is incomplete, and the files, detached since the full sync
    /// began, still hold the old one. Nothing is journaled until `resume`.
    func beginRestore(number: Int, horizon: EngineTime, now: SteadyInstant) {
        restore = (number, horizon, requestedAt: now, triedAt: now)
        restoreTries.succeeded()
    }

    /// Reads the state back if a restore was requested and a try is due.
    func considerRestore(now: SteadyInstant) {
        guard let restore else { return }
        guard restoreTries.state == .closed || restoreTries.tries(now: now) else { return }
        guard host.isWanted(restore: restore.number) else { return self.restore = nil }
        isWaiting = true
        self.restore!.triedAt = now
        host.perform(.readBack(number: restore.number, horizon: restore.horizon))
    }

    func readBackEnded(_ number: Int, _ result: Result<RecoveryReport, RecoveryError>, now: SteadyInstant) {
        isWaiting = false
        switch result {
        case .success(let report):
            adopt(report, took: restore.map { now - $0.triedAt } ?? .zero)
            restore = nil
            host.perform(.restored(number: number, report))
        case .failure(let error):
            guard host.isWanted(restore: number) else { return restore = nil }
            restoreTries.failed(now: now)
            host.perform(.note(.cannotReadBack(error)))
        }
    }

    /// The files are the ones the recovery found. Nothing is written to them until `resume`.
    private func adopt(_ report: RecoveryReport, took: Nanoseconds) {
        log = LogDirectory(files: files, path: log.path, recovered: report)
        log.removeLeftovers()
        history = log.manifest.history
        filesAreCurrent = true
        baseBytes = log.bytes
        let statistics = KeyspaceSession(engine: engine).statistics()
        changesAtLastSave = statistics.changes
        host.perform(.note(.stateIsBack(report, keys: statistics.keys, took: took)))
    }

    /// The journal continues where the files end.
    func resume(now: SteadyInstant) {
        isDetached = false
        hasGap = false
        guard host.isLogging else { return followHealth() }
        do throws(StorageError) {
            // A disk whose circuit breaker is open has to prove with a snapshot that it works again.
            if breaker.state != .closed { throw failure! }
            try log.roll(at: log.appended, time: host.engineTime, continues: true)
            let end = host.beginDisk()
            precondition(end == log.appended, "the journal does not continue the files")
        } catch {
            hasGap = true
            if breaker.state == .closed { fail(error, now: now) }
        }
        followHealth()
    }

    // MARK: appendonly at run time

    /// Brings the files in line after logging was switched on or off. Off and on again between two events is a no-op:
    /// the changes in between were kept.
    func followSwitch(now: SteadyInstant) {
        guard !isDetached else { return }
        if host.isLogging, !log.isOpen, breaker.state == .closed {
            host.perform(.note(.logSwitchedOn))
            hasGap = true
            beginAnew(now: now)
        } else if host.hasLogToEnd {
            endLog(now: now)
        }
        followHealth()
    }

    private func endLog(now: SteadyInstant) {
        if log.isOpen, breaker.state == .closed { collectAndAppend(now: now) }
        closeLog()
        breaker.succeeded()
        failure = nil
        host.perform(.note(.logSwitchedOff))
        host.perform(.logEnded)
        // A snapshot that began before the log ended holds less than the log it would replace.
        guard let overtaken = overtakeRun() else { return }
        begin(overtaken.kind == .repair ? .rewrite : overtaken.kind, now: now)
    }

    /// Appends nothing more to the log. A failure to sync its end does not matter to a node that wants no log, or a
    /// different one.
    private func closeLog() {
        do throws(StorageError) { try log.close() } catch {}
        host.endDisk()
        unwritten = nil
    }
}
