// The end of the process: everything is brought to disk, here and now.

import System

extension JournalDriver {
    /// Brings everything to disk. Replies that were held have been answered by then.
    func stop(savesSnapshot: Bool, now: SteadyInstant) {
        if let run { host.perform(.cancelSnapshot(number: run.number)) }
        // What is on disk is an older state, whole; what is in memory is not.
        guard !isDetached else { return host.perform(.end(isSafe: true)) }
        var isSafe = true
        // A command that never ends may hold stripes, and a snapshot needs each of them.
        let isStuck = host.isAbandoningStuckLocks
        if host.isLogging, needsSnapshot {
            // The files are of another history, or end somewhere else, or there is no log to append to; and the name
            // they have is not that of a snapshot of now.
            isSafe = !isStuck && saveAnew(now: now)
        } else {
            if log.isOpen { isSafe = collectAndAppend(now: now) && syncAtEnd(now: now) }
            // A snapshot must not precede a log that failed: the log's records would be replayed over it.
            if isSafe, savesSnapshot { isSafe = !isStuck && saveAtEnd(now: now) }
        }
        if log.isOpen, isSafe {
            do throws(StorageError) { try log.close() } catch { isSafe = false }
        }
        host.perform(.end(isSafe: isSafe && !hasLeftChangesOut))
    }

    /// As `saveAtEnd`, where the log has to be begun anew for it. False when it failed.
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

    /// A last snapshot, written at once. False when it failed.
    private func saveAtEnd(now: SteadyInstant) -> Bool {
        do throws(StorageError) {
            let number = try log.reserveSnapshot()
            let writer = try snapshotWriter(number)
            do throws(StorageError) {
                while try writer.step(time: host.engineTime) {}
                let snapshot = try writer.finish(time: host.engineTime)
                // A replica's stream may have continued meanwhile, and what it brought be in the snapshot.
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
