// What a simulated node does when its disk fails, when its log is switched on or off, and when its history changes.

import LimiterEngine
import Persistence

@testable import Replication

extension SimulatedStorage {
    // MARK: Failure

    func fail(_ error: StorageError) {
        breaker.failed(now: now)
        node.tell("\(error)")
        node.simulation.coverage.failures += 1
        // A repair under way is worth nothing any more.
        if let run, run.kind == .repair {
            overtaken.append(run)
            self.run = nil
        }
    }

    func tryAgain() {
        // A state that is being replaced is none to begin a log with.
        guard !isDetached, breaker.tries(now: now) else { return }
        guard isLogging else { return saveName() }
        if log.isDamaged || !log.isPublished || hasGap {
            beginAnew()
        } else if collectAndAppend(), syncHere() {
            recovered()
        }
    }

    func recovered() {
        breaker.succeeded()
        node.tell("believes in its disk")
        node.simulation.coverage.repairs += 1
    }

    /// Begins a log behind a gap: a new segment, and a snapshot without which nobody could read it.
    func beginAnew() {
        node.tell("begins its log anew")
        if isJournaling { node.collectJournal() }
        let offset = beginDisk()
        unwritten = nil
        overtakeRun()
        do throws(StorageError) {
            try log.roll(at: offset, time: node.engineTime, continues: false)
            try startSnapshot(.repair)
        } catch {
            fail(error)
        }
    }

    // MARK: Another history

    func detach() {
        if isWorking, log.isPublished, !log.isDamaged { collectAndAppend() }
        isDetached = true
        hasUncountedChanges = false
        closeLog()
        overtakeRun()
    }

    func attach(history: String, isNewState: Bool) {
        node.tell("attaches \(history.prefix(6)), breaker \(breaker.state)")
        self.history = history
        if isNewState { filesAreCurrent = false }
        unsavedName = nil
        isDetached = false
        guard isLogging else { return }
        hasGap = true
        if breaker.state != .open { beginAnew() }
    }

    func rename(from old: String?, to new: String) {
        let known = old ?? log.manifest.history
        node.tell("renames \(known.prefix(6)) to \(new.prefix(6)), on disk \(log.manifest.history.prefix(6))")
        history = new
        unsavedName = (old, new)
        saveName()
    }

    private func saveName() {
        do throws(StorageError) {
            if let (old, new) = unsavedName { try log.rename(history: old ?? log.manifest.history, to: new) }
        } catch {
            if isLogging {
                unsavedName = nil
                hasGap = true
            }
            return fail(error)
        }
        unsavedName = nil
        if breaker.state == .halfOpen { recovered() }
    }

    // MARK: appendonly at run time

    func followSwitch() {
        guard !isDetached else { return }
        if isLogging, !log.isOpen, breaker.state == .closed {
            hasGap = true
            beginAnew()
        } else if hasLogToEnd {
            endLog()
        }
    }

    private func endLog() {
        node.tell("ends its log")
        if log.isOpen, breaker.state == .closed { collectAndAppend() }
        closeLog()
        logEnded()
        breaker.succeeded()
        guard let overtaken = overtakeRun() else { return }
        begin(overtaken.kind == .repair ? .rewrite : overtaken.kind)
    }

    private func closeLog() {
        do throws(StorageError) { try log.close() } catch {}
        endDisk()
        unwritten = nil
    }

    @discardableResult
    private func overtakeRun() -> SimulatedSnapshot? {
        guard let run else { return nil }
        overtaken.append(run)
        self.run = nil
        return run
    }

    // MARK: The end

    /// The process ends as it should.
    func stop(savesSnapshot: Bool) {
        followSwitch()
        guard !isDetached else { return }
        var isSafe = true
        if isLogging, log.isDamaged || !log.isPublished || hasGap {
            isSafe = saveAnew()
        } else {
            if log.isOpen { isSafe = collectAndAppend() && syncHere() }
            if isSafe, savesSnapshot { isSafe = saveAtEnd() }
        }
        guard isSafe, log.isOpen || savesSnapshot else { return }
        // What a good end has left out is behind what the log has.
        if log.isOpen { node.collect() }
        do throws(StorageError) { try log.close() } catch { return }
        // That the end is a good one is an answer, too.
        if node.isWhole { node.answered = node.position }
    }

    /// What is on disk is of another history, or nothing that could be appended to would be read: all of it once more.
    private func saveAnew() -> Bool {
        if isJournaling { node.collectJournal() }
        let offset = beginDisk()
        unwritten = nil
        do throws(StorageError) {
            try log.roll(at: offset, time: node.engineTime, continues: false)
        } catch {
            return false
        }
        return saveAtEnd()
    }

    private func saveAtEnd() -> Bool {
        do throws(StorageError) {
            let number = try log.reserveSnapshot()
            let writer = try SnapshotWriter(
                files: files, directory: log.path, number: number, journalOffset: log.appended, engine: engine,
                time: node.engineTime)
            let last = SimulatedSnapshot(kind: .save, number: number, origin: node.position, writer: writer)
            while last.result == nil { last.step(time: node.engineTime) }
            let snapshot = try last.result!.get()
            if log.isOpen, !collectAndAppend() { return false }
            try log.adopt(snapshot, history: history(for: last))
            return true
        } catch {
            return false
        }
    }
}
