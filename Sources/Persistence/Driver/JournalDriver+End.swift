// Shutdown: brings everything to disk synchronously.

import System

extension JournalDriver {
    /// Brings everything to disk. Held replies have already been answered.
    func stop(savesSnapshot: Bool, now: SteadyInstant) {
        if let run { host.perform(.cancelSnapshot(number: run.number)) }
        // The disk holds an older state, but a complete one; memory holds an incomplete one.
        guard !isDetached else { return host.perform(.end(isSafe: true)) }
        var isSafe = true
        // A command that never ends may hold stripes, and a snapshot needs every stripe.
        let isStuck = host.isAbandoningStuckLocks
        if host.isLogging, needsSnapshot {
            // The files belong to another history, end at another offset, or have no log to append to, and their
            // history's name does not apply to a snapshot taken now.
            isSafe = !isStuck && saveAnew(now: now)
        } else {
            if log.isOpen { isSafe = collectAndAppend(now: now) && syncAtEnd(now: now) }
            // A snapshot must not precede a failed log: the log's records would be replayed over it.
            if isSafe, savesSnapshot { isSafe = !isStuck && saveAtEnd(now: now) }
        }
        if log.isOpen, isSafe {
            do throws(StorageError) { try log.close() } catch { isSafe = false }
        }
        host.perform(.end(isSafe: isSafe && !hasLeftChangesOut))
    }

    /// As `saveAtEnd`, where that requires a new log. False when it failed.
    private func saveAnew(now: SteadyInstant) -> Bool {
        host.encodeChanges()
        let offset = host.beginDisk()
        unwritten = nil
        do throws(StorageError) {
            try log.roll(at: offset, time: host.engineTime, continues: false)
        } catch {
            host.perform(.note(.noLogAtEnd(error)))
            return false
        }
        return saveAtEnd(now: now)
    }

    /// Writes a last snapshot synchronously. False when it failed.
    private func saveAtEnd(now: SteadyInstant) -> Bool {
        do throws(StorageError) {
            let number = try log.reserveSnapshot()
            let writer = try snapshotWriter(number)
            do throws(StorageError) {
                while try writer.step(time: host.engineTime) {}
                let snapshot = try writer.finish(time: host.engineTime)
                // A replica's stream may have continued in the meantime, and the snapshot may contain what it
                // delivered.
                if log.isOpen, !collectAndAppend(now: now) { throw failure! }
                try log.adopt(snapshot, history: history(forSnapshot: number))
                host.perform(.note(.lastSnapshotFinished(snapshot)))
            } catch {
                log.abandon(snapshot: number)
                throw error
            }
            return true
        } catch {
            host.perform(.note(.lastSnapshotFailed(error)))
            return false
        }
    }
}
