// Collections, appends, syncs, and the replies waiting for them.

import System

extension JournalDriver {
    /// Whether appending can succeed at the moment.
    var isWorking: Bool { log.isOpen && !isDetached && breaker.state != .open }

    /// Whether a reply waits for a collection. A reply that waits for the segment to be published gains nothing from
    /// one.
    var hasTicketToServe: Bool { host.hasOpenTicket && isWorking && log.isPublished }

    func logWhatChanged(now: SteadyInstant) {
        if breaker.state == .open {
            // A state that is being replaced must not start a log.
            if isDetached { followHealth() } else { tryAgain(now: now) }
            guard breaker.state == .open, !isWaiting else { return }
        }
        guard isWorking else { return logNothing(now: now) }
        if hasTicketToServe ? !isGathering(now: now) : isDue(now: now) { collectAndAppend(now: now) }
        guard breaker.state != .open, log.appended > log.synced else { return }
        switch settings.sync {
        case .always: syncHere(now: now)
        case .everysec: syncElsewhere(now: now)
        case .no: break
        }
    }

    /// For the time without a log, or while the circuit breaker is open. Changes are collected all the same: replicas
    /// wait for them, a changed key that no longer exists uses memory until it is collected, and so do records written
    /// directly to the journal. The write backlog is bounded meanwhile.
    private func logNothing(now: SteadyInstant) {
        if isDue(now: now) || host.hasOpenTicket && !host.isLogging { collectOnly(now: now) }
        if breaker.state == .open { dropUnwritten(beyond: pace.unwrittenMax) }
    }

    private func isDue(now: SteadyInstant) -> Bool {
        host.hasUncollectedChanges && now - lastCollection >= collectionInterval
    }

    // MARK: Group commit

    /// Whether to wait briefly for more replies to share the next sync. The replies that the last sync released are on
    /// their way to clients that will soon send again; a sync begun for the first of them alone would make all others
    /// wait for the one after it.
    private func isGathering(now: SteadyInstant) -> Bool {
        guard settings.sync == .always, host.waitingReplies < expectedGroup else { return false }
        let since = gatheringSince ?? now
        gatheringSince = since
        return now - since < gatheringPause
    }

    /// Gathering takes at most half as long as a sync.
    var gatheringPause: Nanoseconds { min(lastSyncTook / 2, pace.gatheringMax) }

    // MARK: Collections

    /// Appends everything that changed to the log, after anything a failure left unwritten. False when that failed.
    @discardableResult
    func collectAndAppend(now: SteadyInstant) -> Bool {
        collect(now: now)
        while let part = unwritten ?? host.nextForDisk() {
            unwritten = part
            do throws(StorageError) {
                try log.append(part)
            } catch {
                fail(error, now: now)
                return false
            }
            unwritten = nil
            host.recycle(part.bytes)
        }
        // Read here rather than at the beginning: a ticket issued because of a new setting predates the collection.
        settings = host.journalSettings
        if settings.sync != .always || log.synced == log.appended { publishDurable() }
        return true
    }

    private func collect(now: SteadyInstant) {
        gatheringSince = nil
        group = host.waitingReplies
        let begun = host.collect()
        collection = begun.number
        if !begun.isComplete { hasLeftChangesOut = true }
        collections += 1
        collectedAt = now
    }

    /// As `collectAndAppend`, while nothing can be appended: the part for the log is buffered.
    private func collectOnly(now: SteadyInstant) {
        collect(now: now)
        if !host.isLogging, !hasLeftChangesOut { host.perform(.publish(ticket: collection, expecting: expectedGroup)) }
    }

    /// Releases every ticket up to the last collection, if a restart would read what was written.
    func publishDurable() {
        guard log.isPublished, !log.isDamaged, !hasLeftChangesOut else { return }
        expectedGroup = max(1, group + host.waitingReplies)
        host.perform(.publish(ticket: collection, expecting: expectedGroup))
    }

    // MARK: Syncs

    /// Syncs everything appended, blocking the driver.
    func syncHere(now: SteadyInstant) {
        guard let job = log.beginSync() else { return syncedHere(now: now) }
        isWaiting = true
        host.perform(.sync(job, isWaitedFor: true))
    }

    private func syncElsewhere(now: SteadyInstant) {
        if let started = syncStartedAt {
            if now - lastSync >= pace.syncInterval * Int64(delaysInARow + 2) {
                delaysInARow += 1
                delayedSyncs += 1
            }
            if now - started > pace.slowSync, !hasNotedSlowSync {
                hasNotedSlowSync = true
                host.perform(.note(.slowSync(unsyncedBytes: Int(log.appended - log.synced))))
            }
            return
        }
        guard now - lastSync >= pace.syncInterval, let job = log.beginSync() else { return }
        syncStartedAt = now
        lastSync = now
        host.perform(.sync(job, isWaitedFor: false))
    }

    func syncEnded(
        _ job: LogDirectory.SyncJob, _ result: Result<Void, StorageError>, isWaitedFor: Bool, took: Nanoseconds,
        now: SteadyInstant
    ) {
        if isWaitedFor {
            isWaiting = false
        } else {
            syncStartedAt = nil
            delaysInARow = 0
            hasNotedSlowSync = false
        }
        do throws(StorageError) {
            try log.finishSync(job, result)
        } catch {
            return fail(error, now: now)
        }
        syncs += 1
        lastSyncTook = took
        host.perform(.syncTook(took))
        guard isWaitedFor else { return }
        syncedHere(now: now)
        considerSnapshot(now: now)
    }

    /// Everything appended has been synced.
    private func syncedHere(now: SteadyInstant) {
        lastSync = now
        publishDurable()
        if breaker.state == .halfOpen, !needsSnapshot { recovered() }
    }

    /// As `syncHere`, synchronously. False when it failed.
    func syncAtEnd(now: SteadyInstant) -> Bool {
        do throws(StorageError) {
            try log.sync()
        } catch {
            fail(error, now: now)
            return false
        }
        syncs += 1
        publishDurable()
        return true
    }
}
