// Replicas of this node: what they send, and what they are sent.

import LimiterEngine
import Persistence

extension NodeDriver {
    // MARK: Events

    /// A connection has identified itself as a replica's.
    package func serve(_ connection: ReplicaConnection) {
        let now = environment.steady
        let replica = ServedReplica(connection, now: now)
        served[replica.id] = replica
        for announcement in connection.announcements {
            run(replica.link.announced(announcement, end: journal.offset, now: now), replica)
        }
        // Without a log, changes were not journaled until now or until recently, so no offset identifies a state.
        if role.leads, environment.hasUncountedChanges { beginHistoryForReplicas() }
        environment.switchStreamOn()
        environment.beginBacklog()
        request(replica, connection.request)
    }

    /// A replica has sent a command after its PSYNC. It gets no answer: an answer would land in the middle of the
    /// stream, and a peer that never reads could make the node buffer any number of them.
    package func said(_ words: [String], by id: LinkID) {
        guard let replica = served[id] else { return }
        replica.link.heard(now: environment.steady)
        do throws(ReplicaAnnouncementError) {
            guard words.first?.lowercased() == "replconf" else {
                return run(replica.link.spokeOutOfTurn(), replica)
            }
            announced(try ReplicaAnnouncement.parse(Array(words.dropFirst())), replica)
        } catch {
            run(replica.link.spokeOutOfTurn(), replica)
        }
    }

    /// A replica has sent an empty line.
    package func heard(from id: LinkID) { served[id]?.link.heard(now: environment.steady) }

    /// A replica's connection has ended, or its input is unreadable.
    package func lost(_ id: LinkID) {
        if let replica = served[id] { run(replica.link.connectionLost(), replica) }
    }

    /// A replica's connection is writable: passes it the next bytes while it accepts any, up to `limit`. Returns
    /// whether there are more.
    ///
    /// - Parameter transmit: Sends a prefix of these bytes and returns its length; 0 when the socket is full.
    package func send(to id: LinkID, limit: Int, _ transmit: (UnsafeRawBufferPointer) -> Int) -> Bool {
        guard let replica = served[id] else { return false }
        var left = limit
        while left > 0, replica.link.state != .closed {
            let sent: Int
            if !replica.output.isEmpty {
                sent = max(0, replica.output.withUnsafeBytes(transmit))
                replica.output.removeFirst(sent)
            } else if replica.link.state == .sendingSnapshot {
                sendSnapshotChunk(replica)
                continue
            } else {
                sent = max(0, sendJournal(replica, transmit))
            }
            guard sent > 0 else { break }
            left -= sent
        }
        return replica.link.state != .closed && hasOutput(replica)
    }

    // MARK: Requests

    /// Changes were made that are in no journal: the history from which replicas continue begins here.
    private func beginHistoryForReplicas() {
        environment.collect()
        let actions = role.journalingBegins(fresh: environment.freshID())
        environment.switchStreamOn()
        environment.beginBacklog()
        run(actions.filter { $0 != .closeReplicaLinks })
        environment.beginCounting()
        // The log, or the next one, belongs to that history.
        environment.attach(history: role.identity.id.text, isNewState: false)
    }

    private func request(_ replica: ServedReplica, _ request: SyncRequest) {
        environment.drain()
        for action in answers(to: request, replica) {
            guard case .takeOver = action else {
                run([action], replica)
                continue
            }
            lead()
            run(answers(to: request, replica), replica)
        }
        guard replica.link.isReplica else { return }
        rememberRole()
        guard replica.receivedSnapshot else {
            partialSyncs += 1
            return environment.note(.partialSync(replica.address))
        }
        fullSyncs += 1
        if request.position != nil { refusedPartialSyncs += 1 }
        environment.note(.fullSync(replica.address))
    }

    private func answers(to request: SyncRequest, _ replica: ServedReplica) -> [DownstreamLink.Action] {
        let node = role.serving(linkIsUp: link.isUp, isLoading: environment.isLoading, end: journal.offset)
        let now = environment.steady
        return environment.withBacklog { replica.link.request(request, of: node, backlog: $0, now: now) }
    }

    func run(_ actions: [DownstreamLink.Action], _ replica: ServedReplica) {
        for action in actions {
            switch action {
            case .send(let line): replica.output += Array(line.utf8)
            case .beginSnapshot: beginSnapshot(replica)
            case .takeOver: break
            case .wantTime: keepAlive.want()
            case .cameOnline: environment.note(.replicaOnline(replica.address))
            case .close(let failure): close(replica, failure)
            }
        }
    }

    private func close(_ replica: ServedReplica, _ failure: DownstreamLink.Failure) {
        guard served.removeValue(forKey: replica.id) != nil else { return }
        acknowledgements.removed(replica.id)
        // The error line. Its socket has room for a line unless the replica does not read.
        environment.close(replica, after: failure == .refused ? replica.output : [])
        environment.note(.replicaGone(replica.address, failure))
    }

    private func announced(_ announcements: [ReplicaAnnouncement], _ replica: ServedReplica) {
        let now = environment.steady
        for announcement in announcements {
            run(replica.link.announced(announcement, end: journal.offset, now: now), replica)
            guard case .acknowledged = announcement, replica.link.isOnline else { continue }
            finish(
                acknowledgements.acknowledged(
                    replica.id, offset: replica.link.acknowledged, synced: replica.link.synced, now: now))
            considerReplicas(now: now)
            run(failover.tick(candidates: candidates, now: now))
        }
    }

    // MARK: Output

    private func beginSnapshot(_ replica: ServedReplica) {
        if !keepAlive.isSuspended { environment.collect() }
        replica.snapshot = SnapshotStream(journalOffset: journal.offset, engine: engine, time: engineTime)
        run(replica.link.snapshotBegan(at: position, now: environment.steady), replica)
    }

    private func sendSnapshotChunk(_ replica: ServedReplica) {
        let snapshot = replica.snapshot!
        guard snapshot.hasSeenAllKeys else {
            replica.output += snapshot.next(time: engineTime).bytes
            return
        }
        if keepAlive.isSuspended { environment.drain() } else { environment.collect() }
        let end = journal.offset
        replica.output += snapshot.finish(wholeAt: end, time: engineTime).bytes
        run(replica.link.snapshotEnded(wholeAt: end, now: environment.steady), replica)
    }

    private func sendJournal(_ replica: ServedReplica, _ transmit: (UnsafeRawBufferPointer) -> Int) -> Int {
        let sent = environment.withBacklog { backlog -> Int in
            guard let backlog, case .journal(let bytes) = replica.link.output(from: backlog) else { return 0 }
            return transmit(bytes)
        }
        if sent > 0 { replica.link.sent(sent) }
        return sent
    }

    private func hasOutput(_ replica: ServedReplica) -> Bool {
        if !replica.output.isEmpty || replica.link.state == .sendingSnapshot { return true }
        return environment.withBacklog { backlog in
            guard let backlog, case .journal = replica.link.output(from: backlog) else { return false }
            return true
        }
    }
}
