// When snapshots are taken, and what follows one.

import Glibc
import LimiterEngine
import Persistence
import Replication
import System

extension JournalThread {
    /// A client asked for one.
    func take(_ kind: SnapshotKind, waiter: Connection?, now: Int64) {
        if let waiter { waiters.append(waiter) }
        guard !isDetached else {
            requestIsTaken()
            return refuseForReplacement()
        }
        guard run == nil else {
            // One that began before this request may miss what the client has just done.
            scheduled = kind
            return requestIsTaken()
        }
        begin(kind, now: now)
        if run != nil { requestIsTaken() }
    }

    /// What was asked for is known to this thread from here on. Said before anybody is answered: who asks again then
    /// must not be told that the first one is still to come.
    private func requestIsTaken() {
        publishStatus()
        durability.update { $0.requestedSnapshot = nil }
    }

    /// What is in memory is a part of another node's state: no snapshot of it may take the place of what is on disk.
    func refuseForReplacement() {
        scheduled = nil
        answerWaiters("-LOADING the state is being replaced by the primary's\r\n")
    }

    func begin(_ kind: SnapshotKind, now: Int64) {
        do throws(StorageError) {
            if log.isOpen, breaker.state == .closed {
                guard collectAndAppend(now: now) else { throw failure! }
                try log.rollForSnapshot(time: server.clock.now())
            } else if log.isOpen {
                throw failure!
            }
            try startSnapshot(kind, now: now)
        } catch {
            // The segment could not be completed: nothing after it can be believed.
            if log.isOpen, log.isDamaged, breaker.state == .closed { fail(error, now: now) }
            ended(kind, failure: error, number: nil)
        }
    }

    func startSnapshot(_ kind: SnapshotKind, now: Int64) throws(StorageError) {
        let number = try log.reserveSnapshot()
        let changes = KeyspaceSession(engine: server.engine).statistics().changes
        let writer = try snapshotWriter(number)
        let run = SnapshotRun(kind: kind, number: number, startedAt: now, changes: changes, writer: writer)
        server.log.notice("snapshot started", ["number": .integer(number), "keys": .integer(writer.expectedKeys)])
        run.start(clock: server.clock, done: durability.doorbell)
        self.run = run
    }

    private func snapshotWriter(_ number: Int) throws(StorageError) -> SnapshotWriter {
        do throws(StorageError) {
            return try SnapshotWriter(
                files: files, directory: log.path, number: number, journalOffset: log.appended, engine: server.engine,
                time: server.clock.now())
        } catch {
            log.abandon(snapshot: number)
            throw error
        }
    }

    func takeSnapshotResult(now: Int64) {
        for old in overtaken where old.result != nil { log.abandon(snapshot: old.number) }
        overtaken.removeAll { $0.result != nil }
        // Whoever waited for one that was under way when the state began to be replaced.
        guard !isDetached else { return refuseForReplacement() }
        guard let run, let result = run.result else { return }
        self.run = nil
        switch result {
        case .failure(let error): ended(run.kind, failure: error, number: run.number)
        case .success(let snapshot): adopt(snapshot, of: run, now: now)
        }
        if let next = scheduled {
            scheduled = nil
            begin(next, now: now)
        }
    }

    /// Everything the snapshot may hold has to be in the log, and on disk, before it replaces what was there.
    private func adopt(_ snapshot: FinishedSnapshot, of run: SnapshotRun, now: Int64) {
        if log.isOpen, breaker.state == .open || !collectAndAppend(now: now) {
            return ended(run.kind, failure: failure!, number: run.number)
        }
        do throws(StorageError) {
            try log.adopt(snapshot, history: historyForSnapshot)
        } catch {
            // A snapshot from before a gap is of no use, which is nobody's failure.
            if log.isOpen, error.code != ESTALE { fail(error, now: now) }
            return ended(run.kind, failure: error, number: run.number)
        }
        filesAreCurrent = true
        // A save that was under way when logging was switched on began before the gap did.
        if run.kind == .repair { hasGap = false }
        snapshotTries.succeeded()
        // A segment that begins in front of the snapshot is of use from there on alone: the rest is growth, and goes
        // with the next snapshot.
        let first = log.manifest.logs.first?.offset ?? snapshot.journalOffset
        baseBytes = log.bytes - Int(snapshot.journalOffset - first)
        changesAtLastSave = run.changes
        lastSave = now
        let seconds = (EngineClock.steady() - run.startedAt) / 1_000_000_000
        durability.update { status in
            status.lastSaveTime = EngineClock.unixSeconds()
            status.lastSnapshotSucceeded = true
            status.lastRewriteSucceeded = true
            if run.kind == .save {
                status.snapshots += 1
                status.lastSnapshotSeconds = seconds
            } else {
                status.rewrites += 1
                status.lastRewriteSeconds = seconds
            }
        }
        server.log.notice(
            "snapshot finished",
            [
                "number": .integer(snapshot.number), "keys": .integer(snapshot.keys),
                "bytes": .integer(snapshot.bytes), "seconds": .integer(Int(seconds)),
            ])
        publishStatus()
        answerWaiters("+OK\r\n")
        if run.kind == .repair, breaker.state == .halfOpen { recovered() }
        followHealth()
        // Tickets that waited for the segment to be published.
        if log.isOpen { syncHere(now: now) }
    }

    private func ended(_ kind: SnapshotKind, failure error: StorageError, number: Int?) {
        if let number { log.abandon(snapshot: number) }
        durability.update { status in
            if kind == .save { status.lastSnapshotSucceeded = false } else { status.lastRewriteSucceeded = false }
            status.snapshotError = error.reason
        }
        snapshotTries.failed(now: EngineClock.steady())
        requestIsTaken()
        server.log.warning("snapshot failed", ["error": "\(error)"])
        answerWaiters("-ERR \(error)\r\n")
        if kind == .repair, breaker.state != .open {
            fail(error, now: EngineClock.steady())
        } else {
            followHealth()
        }
    }

    private func answerWaiters(_ reply: String) {
        for waiter in waiters { waiter.loop.mailbox.post(.unblock(waiter, Array(reply.utf8))) }
        waiters = []
    }

    /// Starts a snapshot when the log has grown by the settings, or a rule of `save` is met.
    func considerSnapshot(now: Int64) {
        guard run == nil, !isDetached, breaker.state == .closed else { return }
        guard snapshotTries.state == .closed || now >= snapshotTries.nextTry else { return }
        let percentage = settings.autoAofRewritePercentage
        if log.isOpen, percentage > 0, log.bytes >= settings.autoAofRewriteMinSizeBytes,
            (log.bytes - baseBytes) * 100 / max(1, baseBytes) >= percentage
        {
            server.log.notice(
                "the log has grown; taking a snapshot to replace it",
                ["bytes": .integer(log.bytes), "base": .integer(baseBytes)])
            return begin(.rewrite, now: now)
        }
        // Where writes are refused because the last one failed, no rule will be met: nothing changes any more.
        if snapshotsFail { return begin(.save, now: now) }
        guard !settings.save.rules.isEmpty else { return }
        let changes = KeyspaceSession(engine: server.engine).statistics().changes &- changesAtLastSave
        if settings.save.isDue(seconds: (now - lastSave) / 1_000_000_000, changes: changes) {
            begin(.save, now: now)
        }
    }

    /// What the files are called that a snapshot makes; nil for as before. Without a log its keys are of different
    /// moments, and no offset stands for what they make: so it gets a name that nobody else has, and a start asks for
    /// everything. What is nobody's stays so.
    private var historyForSnapshot: String? {
        guard log.isOpen else {
            if history == ReplicationID.nobodys.text { return history }
            var generator = SystemRandomNumberGenerator()
            return ReplicationID(using: &generator).text
        }
        return log.isPublished ? nil : history
    }

    /// As `saveAtEnd`, where the log has to be begun anew for it. False when it failed.
    func saveAnew(now: Int64) -> Bool {
        if durability.isJournaling { durability.journal.collect(time: server.clock.now()) }
        let offset = durability.stream.beginDisk()
        unwritten = nil
        do throws(StorageError) {
            try log.roll(at: offset, time: server.clock.now(), continues: false)
        } catch {
            server.log.warning("the log could not be begun anew at the end", ["error": "\(error)"])
            return false
        }
        return saveAtEnd(now: now)
    }

    /// A last snapshot, here and now. False when it failed.
    func saveAtEnd(now: Int64) -> Bool {
        do throws(StorageError) {
            let number = try log.reserveSnapshot()
            let writer = try snapshotWriter(number)
            let last = SnapshotRun(kind: .save, number: number, startedAt: now, changes: 0, writer: writer)
            last.finish(clock: server.clock)
            do throws(StorageError) {
                let snapshot = try last.result!.get()
                // A replica's stream may have gone on meanwhile, and what it brought be in the snapshot.
                if log.isOpen, !collectAndAppend(now: now) { throw failure! }
                try log.adopt(snapshot, history: historyForSnapshot)
            } catch {
                log.abandon(snapshot: number)
                throw error
            }
            server.log.notice("snapshot finished", ["number": .integer(number), "keys": .integer(last.keys)])
            return true
        } catch {
            server.log.warning("the last snapshot failed", ["error": "\(error)"])
            return false
        }
    }
}
