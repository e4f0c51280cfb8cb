// Disk failure: which guarantees remain, and how the log is made complete again.
//
// A failed append leaves a torn tail and loses nothing: it is retried. A failed sync may have lost anything since the
// last successful one, and the kernel does not report it twice, so a new log is started with a full snapshot.

import System

extension JournalDriver {
    /// Handles a disk failure: from now on writes are refused or kept in memory only, depending on `fail-mode`.
    func fail(_ error: StorageError, now: SteadyInstant) {
        let isNews = breaker.state == .closed
        breaker.failed(now: now)
        failure = error
        failures += 1
        // A repair snapshot in progress can no longer be adopted.
        if let run, run.kind == .repair { host.perform(.cancelSnapshot(number: run.number)) }
        if isNews { host.perform(.note(.storageFailed(error, failsClosed: settings.failsClosed))) }
        followHealth()
    }

    /// True when a restart would not read what was appended: only a snapshot proves what is on disk.
    var needsSnapshot: Bool { log.isDamaged || !log.isPublished || hasGap }

    /// Retries the disk when the retry is due.
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

    /// Closes the circuit breaker: the disk works again.
    func recovered() {
        breaker.succeeded()
        host.perform(.note(.storageWorks(failedBecause: failure)))
        failure = nil
        followHealth()
    }

    /// Drops the write backlog when it exceeds the limit: the next retry starts a new log.
    func dropUnwritten(beyond bytes: Int) {
        guard bytesWaiting > bytes else { return }
        host.endDisk()
        unwritten = nil
        hasGap = true
        host.perform(.note(.backlogDropped))
    }

    /// Starts a new log after a gap: a new segment, plus the snapshot without which a restart could not read it.
    func beginAnew(now: SteadyInstant) {
        // What is encoded now is already in the engine, and therefore in the snapshot.
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

    /// Tells the host how to treat replies and writes, if that has changed.
    func followHealth() {
        let isFailing = breaker.state != .closed && host.isLogging || snapshotsFail
        let now: StorageHealth = !isFailing ? .fine : settings.failsClosed ? .refusing : .memoryOnly
        guard now != health else { return }
        health = now
        host.perform(.health(now))
    }

    /// Only snapshots are configured, and the last one failed.
    var snapshotsFail: Bool {
        !host.isLogging && !settings.save.rules.isEmpty && !outcomes.lastSaveSucceeded
    }
}
