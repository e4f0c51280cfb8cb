// When the disk fails, and when logging is switched on or off: what is still promised, and how the log becomes whole
// again.
//
// A failed append leaves a torn end and nothing lost: it is tried again. A failed sync may have lost anything since the
// last good one, and the kernel will not say it twice, so the log is begun anew with a snapshot of everything.

import LimiterEngine
import Persistence
import System

extension JournalThread {
    // MARK: Failure

    /// Notes that the disk failed: from here on writes are refused, or done in memory alone, by `fail-mode`.
    func fail(_ error: StorageError, now: Int64) {
        let isNews = breaker.state == .closed
        breaker.failed(now: now)
        failure = error
        // A repair under way is worth nothing any more.
        if let run, run.kind == .repair { run.cancel() }
        durability.update { $0.failures += 1 }
        if isNews {
            server.log.warning(
                "storage failed: "
                    + (settings.failMode == .closed
                        ? "writes are refused until it works again" : "changes are kept in memory alone"),
                ["error": "\(error)", "fail_mode": "\(settings.failMode.rawValue)"])
        }
        followHealth()
    }

    /// Tries the disk again when it is time.
    func tryAgain(now: Int64) {
        followHealth()
        guard breaker.tries(now: now) else { return }
        guard durability.isLogging else { return saveName(now: now) }
        if log.isDamaged || !log.isPublished || hasGap {
            beginAnew(now: now)
        } else if collectAndAppend(now: now), syncHere(now: now) {
            recovered()
        }
    }

    /// Storage is believed in again.
    func recovered() {
        breaker.succeeded()
        server.log.notice("storage works again", ["failed_because": "\(failure?.description ?? "")"])
        failure = nil
        followHealth()
    }

    /// Keeps nothing more for the disk when too much waits for it: the next try begins the log anew.
    func giveUpUnwritten(beyond bytes: Int) {
        guard bytesWaiting > bytes else { return }
        durability.stream.endDisk()
        unwritten = nil
        hasGap = true
        server.log.notice("too much waits for the disk; a snapshot will take its place when it works again")
    }

    /// Begins a log behind a gap: a new segment, and a snapshot without which nobody could read it.
    func beginAnew(now: Int64) {
        // Whatever was collected is in the engine, and so in the snapshot.
        if durability.isJournaling { durability.journal.collect(time: server.clock.now()) }
        let offset = durability.stream.beginDisk()
        if durability.stream.hasBacklog { server.replication.wake() }
        unwritten = nil
        overtakeRun()
        do throws(StorageError) {
            try log.roll(at: offset, time: server.clock.now(), continues: false)
            try startSnapshot(.repair, now: now)
        } catch {
            fail(error, now: now)
        }
    }

    /// Tells the loops what becomes of replies and writes, if that is different now.
    func followHealth() {
        let isFailing = breaker.state != .closed && durability.isLogging || snapshotsFail
        let health: StorageHealth = !isFailing ? .fine : settings.failMode == .closed ? .refusing : .memoryOnly
        guard durability.set(health: health) else { return }
        publishStatus()
        for loop in server.loops { loop.mailbox.post(.durable) }
    }

    /// Snapshots are all there is, and the last one failed.
    var snapshotsFail: Bool {
        !durability.isLogging && !settings.save.rules.isEmpty && !durability.status.lastSnapshotSucceeded
    }

    // MARK: Another history

    /// The state is about to be replaced: what is on disk stays the state on disk until `attach`, and is what a node
    /// goes back to that is promoted before that. So it gets all there is. Its log has ended: whatever comes of the new
    /// state, nothing of that belongs after it, or under its name.
    func detach(now: Int64) {
        if isWorking, log.isPublished, !log.isDamaged { collectAndAppend(now: now) }
        isDetached = true
        closeLog()
        overtakeRun()
        refuseForReplacement()
    }

    /// The state is whole again, in this history.
    func attach(history: String, isNewState: Bool, now: Int64) {
        self.history = history
        if isNewState { filesAreCurrent = false }
        unsavedName = nil
        isDetached = false
        guard durability.isLogging else { return }
        hasGap = true
        if breaker.state != .open { beginAnew(now: now) }
        followHealth()
    }

    /// The journal on disk is the beginning of another history as well.
    func rename(from old: String?, to new: String, now: Int64) {
        history = new
        unsavedName = (old, new)
        saveName(now: now)
    }

    /// Has the name on disk. Where it cannot be, a log is begun anew under that name when the disk works again. Without
    /// a log there is nothing to begin: the name is tried again.
    private func saveName(now: Int64) {
        do throws(StorageError) {
            if let (old, new) = unsavedName { try log.rename(history: old ?? log.manifest.history, to: new) }
        } catch {
            if durability.isLogging {
                unsavedName = nil
                hasGap = true
            }
            return fail(error, now: now)
        }
        unsavedName = nil
        if breaker.state == .halfOpen { recovered() }
    }

    // MARK: appendonly at run time

    /// Has the files follow when logging was switched on or off. Off and on again between two looks is nothing: the
    /// changes in between have been kept.
    func followSwitch(now: Int64) {
        guard !isDetached else { return }
        if durability.isLogging, !log.isOpen, breaker.state == .closed {
            server.log.notice("append-only log switched on; a snapshot of everything is taken first")
            hasGap = true
            beginAnew(now: now)
        } else if durability.hasLogToEnd {
            endLog(now: now)
        }
        followHealth()
    }

    private func endLog(now: Int64) {
        if log.isOpen, breaker.state == .closed { collectAndAppend(now: now) }
        closeLog()
        durability.logEnded(engine: server.engine)
        breaker.succeeded()
        failure = nil
        server.log.notice("append-only log switched off")
        // Replies that waited for it.
        for loop in server.loops { loop.mailbox.post(.durable) }
        // A snapshot that began before the log ended has less than the log, whose place it would take.
        guard let overtaken = overtakeRun() else { return }
        begin(overtaken.kind == .repair ? .rewrite : overtaken.kind, now: now)
    }

    /// Nothing more is appended to the log. That its end could not be brought to disk says nothing to somebody who
    /// wants no log, or another one.
    private func closeLog() {
        do throws(StorageError) { try log.close() } catch {}
        durability.stream.endDisk()
        unwritten = nil
    }

    /// Has the snapshot under way come to nothing.
    @discardableResult
    private func overtakeRun() -> SnapshotRun? {
        guard let run else { return nil }
        run.cancel()
        overtaken.append(run)
        self.run = nil
        return run
    }
}
