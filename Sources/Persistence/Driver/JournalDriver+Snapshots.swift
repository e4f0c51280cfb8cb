// When snapshots are taken, and what happens after one.

import Glibc
import LimiterEngine
import System

extension JournalDriver {
    /// A client requested a snapshot.
    func requestSnapshot(_ kind: SnapshotKind, now: SteadyInstant) {
        guard !isDetached else {
            host.perform(.snapshotRequestTaken)
            return refuseSnapshots()
        }
        guard run == nil else {
            // The one in progress began before this request, so it may lack what the client has just written.
            scheduled = kind
            return host.perform(.snapshotRequestTaken)
        }
        begin(kind, now: now)
        if run != nil { host.perform(.snapshotRequestTaken) }
    }

    /// Memory holds part of another node's state: a snapshot of it must not replace what is on disk.
    func refuseSnapshots() {
        scheduled = nil
        host.perform(.answerSnapshotWaiters(.stateIsBeingReplaced))
    }

    func begin(_ kind: SnapshotKind, now: SteadyInstant) {
        do throws(StorageError) {
            if log.isOpen, breaker.state == .closed {
                guard collectAndAppend(now: now) else { throw failure! }
                try log.rollForSnapshot(time: host.engineTime)
            } else if log.isOpen {
                throw failure!
            }
            try startSnapshot(kind, now: now)
        } catch {
            // The segment could not be completed: nothing after it can be trusted.
            if log.isOpen, log.isDamaged, breaker.state == .closed { fail(error, now: now) }
            snapshotFailed(kind, error, number: nil, now: now)
        }
    }

    func startSnapshot(_ kind: SnapshotKind, now: SteadyInstant) throws(StorageError) {
        let number = try log.reserveSnapshot()
        let changes = KeyspaceSession(engine: engine).statistics().changes
        let writer = try snapshotWriter(number)
        run = Run(
            kind: kind, number: number, startedAt: now, changes: changes, expectedKeys: writer.expectedKeys)
        host.perform(.note(.snapshotStarted(number: number, keys: writer.expectedKeys)))
        host.perform(.writeSnapshot(number: number, writer))
    }

    func snapshotWriter(_ number: Int) throws(StorageError) -> SnapshotWriter {
        do throws(StorageError) {
            return try SnapshotWriter(
                files: files, directory: log.path, number: number, journalOffset: log.appended, engine: engine,
                time: host.engineTime)
        } catch {
            log.abandon(snapshot: number)
            throw error
        }
    }

    /// Cancels the snapshot in progress.
    @discardableResult
    func overtakeRun() -> Run? {
        guard let run else { return nil }
        host.perform(.cancelSnapshot(number: run.number))
        overtaken.insert(run.number)
        self.run = nil
        return run
    }

    func snapshotEnded(_ number: Int, _ result: Result<FinishedSnapshot, StorageError>, now: SteadyInstant) {
        if overtaken.remove(number) != nil { return log.abandon(snapshot: number) }
        guard let run, run.number == number else { return }
        self.run = nil
        switch result {
        case .failure(let error): snapshotFailed(run.kind, error, number: number, now: now)
        case .success(let snapshot): adopt(snapshot, of: run, now: now)
        }
        if let next = scheduled {
            scheduled = nil
            begin(next, now: now)
        }
    }

    /// Everything the snapshot may contain has to be in the log and synced before the snapshot replaces the older
    /// files.
    private func adopt(_ snapshot: FinishedSnapshot, of run: Run, now: SteadyInstant) {
        adopting = run
        if log.isOpen, breaker.state == .open || !collectAndAppend(now: now) {
            return snapshotFailed(run.kind, failure!, number: run.number, now: now)
        }
        do throws(StorageError) {
            try log.adopt(snapshot, history: history(forSnapshot: run.number))
        } catch {
            // A snapshot from before a gap is useless, but that is not a disk failure.
            if log.isOpen, error.code != ESTALE { fail(error, now: now) }
            return snapshotFailed(run.kind, error, number: run.number, now: now)
        }
        note(snapshot, of: run, now: now)
        host.perform(.answerSnapshotWaiters(.finished))
        if run.kind == .repair, breaker.state == .halfOpen { recovered() }
        followHealth()
        // `adopt` synced everything appended, which releases tickets that waited for the segment to be published.
        guard log.isOpen else { return }
        syncs += 1
        lastSync = now
        publishDurable()
    }

    private func note(_ snapshot: FinishedSnapshot, of run: Run, now: SteadyInstant) {
        adopting = nil
        filesAreCurrent = true
        // A save already in progress when logging was switched on began before the gap did.
        if run.kind == .repair { hasGap = false }
        snapshotTries.succeeded()
        // A segment that began before the snapshot is needed only from the snapshot on: the rest counts as growth and
        // is removed with the next snapshot.
        let first = log.manifest.logs.first?.offset ?? snapshot.journalOffset
        baseBytes = log.bytes - Int(snapshot.journalOffset - first)
        changesAtLastSave = run.changes
        lastSave = now
        let took = now - run.startedAt
        outcomes.lastSaveSucceeded = true
        outcomes.lastRewriteSucceeded = true
        if run.kind == .save {
            outcomes.saves += 1
            outcomes.lastSaveTook = took
        } else {
            outcomes.rewrites += 1
            outcomes.lastRewriteTook = took
        }
        host.perform(.note(.snapshotFinished(snapshot, took: took)))
        host.perform(.snapshotAdopted)
    }

    private func snapshotFailed(_ kind: SnapshotKind, _ error: StorageError, number: Int?, now: SteadyInstant) {
        adopting = nil
        if let number { log.abandon(snapshot: number) }
        if kind == .save { outcomes.lastSaveSucceeded = false } else { outcomes.lastRewriteSucceeded = false }
        outcomes.error = error.reason
        snapshotTries.failed(now: now)
        host.perform(.snapshotRequestTaken)
        host.perform(.note(.snapshotFailed(error)))
        host.perform(.answerSnapshotWaiters(.failed(error)))
        if kind == .repair, breaker.state != .open {
            fail(error, now: now)
        } else {
            followHealth()
        }
    }

    /// Starts a snapshot when the log has grown past the configured limit, or a `save` rule is met.
    func considerSnapshot(now: SteadyInstant) {
        guard run == nil, !isDetached, breaker.state == .closed else { return }
        guard snapshotTries.state == .closed || now >= snapshotTries.nextTry else { return }
        let percentage = settings.rewritePercentage
        if log.isOpen, percentage > 0, log.bytes >= settings.rewriteMinBytes,
            (log.bytes - baseBytes) * 100 / max(1, baseBytes) >= percentage
        {
            host.perform(.note(.logHasGrown(bytes: log.bytes, base: baseBytes)))
            return begin(.rewrite, now: now)
        }
        // Where writes are refused because the last snapshot failed, no rule will be met: nothing changes any more.
        if snapshotsFail { return begin(.save, now: now) }
        guard !settings.save.rules.isEmpty else { return }
        let changes = KeyspaceSession(engine: engine).statistics().changes &- changesAtLastSave
        if settings.save.isDue(after: now - lastSave, changes: changes) {
            begin(.save, now: now)
        }
    }

    /// The history of the files after a snapshot; nil to keep their current one. Without a log the snapshot's keys are
    /// from different points in time, and no offset identifies their state.
    func history(forSnapshot number: Int) -> String? {
        guard log.isOpen else { return host.historyWithoutLog(current: history, snapshot: number) }
        return log.isPublished ? nil : history
    }
}
