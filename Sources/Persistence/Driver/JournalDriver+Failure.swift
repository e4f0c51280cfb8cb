// When the disk fails: what is still promised, and how the log becomes whole again.
//
// A failed append leaves a torn end and loses nothing: it is repeated. A failed sync may have lost anything since the
// last good one, and the kernel will not report it twice, so the log is begun anew with a snapshot of everything.

import System

extension JournalDriver {
    /// The disk failed: from here on writes are refused, or done in memory alone, by `fail-mode`.
    func fail(_ error: StorageError, now: SteadyInstant) {
        let isNews = breaker.state == .closed
        breaker.failed(now: now)
        failure = error
        failures += 1
        // A repair under way cannot be adopted any more.
        if let run, run.kind == .repair { host.perform(.cancelSnapshot(number: run.number)) }
        if isNews { host.perform(.note(.storageFailed(error, failsClosed: settings.failsClosed))) }
        followHealth()
    }

    /// No start would find what was appended: only a snapshot proves what is on disk.
    var needsSnapshot: Bool { log.isDamaged || !log.isPublished || hasGap }

    /// Tries the disk again when it is time.
    func tryAgain(now: SteadyInstant) {
        followHealth()
        guard breaker.tries(now: now) else { return }
        guard host.isLogging else { return saveName(now: now) }
        if needsSnapshot {
            beginAnew(now: now)
        } else if collectAndAppend(now: now) {
            syncHere(now: now)
        }
    }

    /// The disk is believed in again.
    func recovered() {
        breaker.succeeded()
        host.perform(.note(.storageWorks(failedBecause: failure)))
        failure = nil
        followHealth()
    }

    /// Keeps nothing more for the disk when too much waits for it: the next try begins the log anew.
    func dropUnwritten(beyond bytes: Int) {
        guard bytesWaiting > bytes else { return }
        host.endDisk()
        unwritten = nil
        hasGap = true
        host.perform(.note(.backlogDropped))
    }

    /// Begins a log after a gap: a new segment, and a snapshot without which no start could read it.
    func beginAnew(now: SteadyInstant) {
        // What is encoded now is in the engine, and so in the snapshot.
        host.encodeChanges()
        let offset = host.beginDisk()
        unwritten = nil
        overtakeRun()
        do throws(StorageError) {
            try log.roll(at: offset, time: host.engineTime, continues: false)
            try startSnapshot(.repair, now: now)
        } catch {
            fail(error, now: now)
        }
    }

    /// Tells the host what becomes of replies and writes, if that has changed.
    func followHealth() {
        let isFailing = breaker.state != .closed && host.isLogging || snapshotsFail
        let now: StorageHealth = !isFailing ? .fine : settings.failsClosed ? .refusing : .memoryOnly
        guard now != health else { return }
        health = now
        host.perform(.health(now))
    }

    /// There are only snapshots, and the last one failed.
    var snapshotsFail: Bool {
        !host.isLogging && !settings.save.rules.isEmpty && !outcomes.lastSaveSucceeded
    }
}
