// The link to the primary: passes what it receives to engine, journal and clock.

import LimiterEngine
import Persistence

extension NodeDriver {
    // MARK: Events

    /// The requested connection is established.
    package func upstreamConnected() {
        link.connected(now: environment.steady) { perform($0) }
    }

    /// The connection failed or has ended.
    package func upstreamFailed() {
        link.failed(now: environment.steady) { perform($0) }
    }

    /// Bytes from the primary, split arbitrarily.
    package func upstreamReceived(_ bytes: UnsafeRawBufferPointer) {
        link.received(bytes, now: environment.steady, synced: environment.syncedOffset) { perform($0) }
        finishTakeover()
    }

    // MARK: Actions

    func perform(_ action: UpstreamLink.Action) {
        switch action {
        case .connect: if let upstreamAddress { environment.connect(to: upstreamAddress) }
        case .send(let bytes): environment.sendUpstream(bytes)
        case .disconnect(let failure):
            environment.disconnect()
            if let failure, let upstreamAddress { environment.note(.linkDown(upstreamAddress, failure)) }
        case .tookOver(let result):
            if case .failure(let error) = result { environment.note(.takeoverRefused(error.text)) }
            tookOver.append((try? result.get()) != nil)
        case .follow(let id): run(role.follows(id, end: journal.offset))
        case .beginSnapshot(let id, let header): beginSnapshot(id, header)
        case .snapshotBatch(let batch, let bytes):
            apply(bytes, horizon: snapshotHeader!.time)
            clock.heard(batch.time, at: environment.steady)
        case .endSnapshot(let keys):
            applier.endSnapshot()
            role.snapshotEnded()
            environment.note(.snapshotReceived(keys: keys))
        case .batch(let batch, let bytes):
            apply(bytes, horizon: batch.time)
            journal.append(batch, bytes)
            clock.heard(batch.time, at: environment.steady)
            environment.show(clock)
            environment.drain()
        case .becameWhole: becameWhole()
        case .online:
            rememberRole()
            environment.note(.linkUp(upstreamAddress, offset: journal.offset))
        }
    }

    private func apply(_ bytes: UnsafeRawBufferPointer, horizon: EngineTime) {
        do throws(RecordError) {
            try applier.apply(bytes, horizon: horizon)
        } catch {
            // The link has validated every record before passing the batch on, including those of policies and rules;
            // and a valid record is applicable to any state.
            preconditionFailure("an invalid record in a valid batch: \(error.reason)")
        }
    }

    private func beginSnapshot(_ id: ReplicationID, _ header: FileHeader) {
        environment.note(.fullSyncBegan(offset: header.journalOffset))
        // Readers get LOADING, and the disk keeps the old state, until the new one is consistent.
        gates.isReceiving = true
        environment.detach()
        environment.beginCounting()
        run(role.snapshotBegan(id))
        clock.replaced(at: header.time, environment.steady, filesAreCurrent: environment.filesAreCurrent)
        environment.show(clock)
        environment.waitForReaders()
        applier.beginSnapshot()
        snapshotHeader = header
        environment.restartJournal(at: header.journalOffset, time: header.time)
    }

    private func becameWhole() {
        role.becameWhole()
        clock.becameWhole()
        var open = gates
        open.lacksState = false
        open.isReceiving = false
        gates = open
        environment.attach(history: role.identity.id.text, isNewState: true)
    }

    // MARK: Handover

    /// Acts on the answer to a takeover request.
    func finishTakeover() {
        while !tookOver.isEmpty {
            run(failover.answered(tookOver: tookOver.removeFirst()))
            guard role.isReplica else { continue }
            // From here on it follows like any replica, also after a restart.
            saveRole()
            environment.closeClients(except: failoverAsker)
        }
    }
}
