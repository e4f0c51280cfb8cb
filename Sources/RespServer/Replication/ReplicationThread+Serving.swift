// Replicas of this node: their sockets, what they say, and what they are sent.

import CLinux
import Glibc
import LimiterEngine
import Persistence
import RESP
import Replication
import Synchronization
import System

/// A replica's connection. Belongs to the replication thread.
final class ServedReplica {
    let fd: Int32
    let token: UInt64
    let line: LinkLine
    var link: PrimaryLink
    var input: [UInt8]
    /// Lines, and pieces of the snapshot.
    var output: [UInt8]
    var snapshot: SnapshotStream?
    var isWriting = false
    var isClosed = false

    init(_ handover: ReplicaHandover, token: UInt64, now: Int64) {
        fd = handover.fd
        self.token = token
        line = LinkLine(
            isToPrimary: false, id: handover.id, fd: handover.fd, peerAddress: handover.peerAddress,
            localAddress: SocketAddress.local(of: handover.fd), since: now / 1_000_000_000, idle: 0)
        input = handover.input
        output = handover.output
        link = PrimaryLink(now: now)
    }

    /// Where it is reached: as it announced, or where it comes from.
    var host: String {
        if let address = link.address { return address }
        let from = line.peerAddress
        if from.hasPrefix("[") { return String(from.dropFirst().prefix { $0 != "]" }) }
        return String(from.prefix { $0 != ":" })
    }

    func line(now: Int64) -> LinkLine {
        var line = line
        line.idle = link.lag(now: now) ?? 0
        return line
    }

    func state(now: Int64) -> ReplicaLine {
        let state =
            switch link.state {
            case .waitingForSnapshot: "wait_bgsave"
            case .sendingSnapshot: "send_bulk"
            default: link.isOnline ? "online" : "send_bulk"
            }
        return ReplicaLine(
            host: host, port: link.listeningPort, state: state, offset: max(0, link.acknowledged),
            lag: link.lag(now: now) ?? 0)
    }
}

extension ReplicationThread {
    /// Bytes of a replica's unfinished request at most.
    private static let inputMax = 64 * 1024
    /// Bytes sent to one replica before the others have a turn.
    private static let outputPerTurn = 4 << 20

    func serve(_ handover: ReplicaHandover) {
        let now = EngineClock.steady()
        let replica = ServedReplica(handover, token: nextToken, now: now)
        nextToken += 1
        served[replica.token] = replica
        server.replicasNow.add(1, ordering: .relaxed)
        watch(replica.fd, replica.token, reading: true, writing: false, isNew: true)
        for announcement in handover.announcements {
            run(replica.link.announced(announcement, end: server.durability.journal.offset, now: now), replica)
        }
        // Without a log changes were not kept, now or until some moment ago, so no offset stands for a state.
        if role.leads, server.durability.hasUncountedChanges {
            collect()
            var generator = SystemRandomNumberGenerator()
            let actions = role.journalingBegins(fresh: ReplicationID(using: &generator))
            server.durability.switchStreamOn(engine: server.engine)
            stream.beginBacklog(capacity: settings.replBacklogSizeBytes)
            run(actions.filter { $0 != .closeReplicaLinks })
            server.durability.beginCounting()
            // A log, or the next one, is of that history.
            server.durability.ask(.attach(history: role.identity.id.text, isNewState: false))
        }
        server.durability.switchStreamOn(engine: server.engine)
        stream.beginBacklog(capacity: settings.replBacklogSizeBytes)
        request(replica, handover.request)
        read(replica)
    }

    private func request(_ replica: ServedReplica, _ request: SyncRequest) {
        drain()
        let now = EngineClock.steady()
        let node = role.serving(linkIsUp: link.isUp, isLoading: server.isLoading)
        let actions = stream.withBacklog { replica.link.request(request, of: node, backlog: $0, now: now) }
        for action in actions {
            guard case .takeOver = action else {
                run([action], replica)
                continue
            }
            lead()
            let node = role.serving(linkIsUp: link.isUp, isLoading: server.isLoading)
            run(stream.withBacklog { replica.link.request(request, of: node, backlog: $0, now: now) }, replica)
        }
        guard replica.link.isReplica else { return }
        rememberRole()
        if replica.snapshot == nil {
            partialSyncs += 1
            server.log.notice(
                "replica goes on where it was", ["replica": "\(replica.host):\(replica.link.listeningPort)"])
        } else {
            fullSyncs += 1
            if request.position != nil { refusedPartialSyncs += 1 }
            server.log.notice("replica gets everything", ["replica": "\(replica.host):\(replica.link.listeningPort)"])
        }
    }

    func run(_ actions: [PrimaryLink.Action], _ replica: ServedReplica) {
        for action in actions {
            switch action {
            case .send(let line): replica.output += Array(line.utf8)
            case .beginSnapshot: beginSnapshot(replica)
            case .takeOver: break
            case .wantTime: keepAlive.want()
            case .cameOnline:
                server.log.notice("replica is online", ["replica": "\(replica.host):\(replica.link.listeningPort)"])
            case .close(let failure): close(replica, failure)
            }
        }
    }

    private func beginSnapshot(_ replica: ServedReplica) {
        if !keepAlive.isSuspended { collect() }
        let offset = server.durability.journal.offset
        replica.snapshot = SnapshotStream(
            journalOffset: offset, engine: server.engine, time: server.clock.now())
        let position = StreamPosition(id: role.identity.id, offset: offset)
        run(replica.link.snapshotBegan(at: position, now: EngineClock.steady()), replica)
    }

    private func close(_ replica: ServedReplica, _ failure: PrimaryLink.Failure) {
        guard !replica.isClosed else { return }
        // What it was told. Its socket has room for a line, or it does not read.
        if failure == .refused, !replica.output.isEmpty { _ = replica.output.withUnsafeBytes { transmit($0, replica) } }
        replica.isClosed = true
        served[replica.token] = nil
        acknowledgements.removed(LinkID(replica.token))
        Glibc.close(replica.fd)
        server.replicasNow.subtract(1, ordering: .relaxed)
        server.connectionClosed()
        server.log.notice(
            "replica is gone",
            ["replica": "\(replica.host):\(replica.link.listeningPort)", "because": "\(failure.words)"])
    }

    // MARK: Input

    func ready(_ replica: ServedReplica, events: UInt32) {
        if events & UInt32(clinux_epoll_in | clinux_epoll_hangup | clinux_epoll_error) != 0 {
            let count = Glibc.read(replica.fd, readBuffer.baseAddress, readBuffer.count)
            if count < 0, errno == EAGAIN || errno == EINTR { return send(replica) }
            guard count > 0 else { return run(replica.link.connectionLost(), replica) }
            replica.input += readBuffer[..<count]
            read(replica)
        }
        send(replica)
    }

    /// Goes through what a replica has said.
    private func read(_ replica: ServedReplica) {
        let arguments = ArgumentList()
        let limits = RequestLimits(bulkLengthMax: 4096, argumentsMax: 64)
        var used = 0
        let input = replica.input
        input.withUnsafeBufferPointer { bytes in
            guard let base = bytes.baseAddress else { return }
            while used < bytes.count, !replica.isClosed {
                var parser = RequestParser()
                let outcome = parser.parse(
                    base + used, count: bytes.count - used, into: arguments, limits: limits, authenticated: true)
                switch outcome {
                case .request:
                    said((0..<arguments.count).map { arguments[$0].string }, replica)
                    used += parser.consumed
                case .nothing:
                    replica.link.heard(now: EngineClock.steady())
                    used += parser.consumed
                case .incomplete: return
                case .failure:
                    run(replica.link.connectionLost(), replica)
                    return
                }
                arguments.removeAll()
            }
        }
        guard !replica.isClosed else { return }
        replica.input.removeFirst(used)
        if replica.input.count > ReplicationThread.inputMax { run(replica.link.connectionLost(), replica) }
    }

    /// What a link says behind its PSYNC. Nothing of it is answered: an answer would stand in the middle of the stream,
    /// and a peer that never reads its answers could have any number of them kept.
    private func said(_ words: [String], _ replica: ServedReplica) {
        let now = EngineClock.steady()
        replica.link.heard(now: now)
        do throws(ReplicaAnnouncementError) {
            guard words[0].lowercased() == "replconf" else { return run(replica.link.spokeOutOfTurn(), replica) }
            announced(try ReplicaAnnouncement.parse(Array(words.dropFirst())), replica)
        } catch {
            run(replica.link.spokeOutOfTurn(), replica)
        }
    }

    private func announced(_ announcements: [ReplicaAnnouncement], _ replica: ServedReplica) {
        let now = EngineClock.steady()
        for announcement in announcements {
            run(replica.link.announced(announcement, end: server.durability.journal.offset, now: now), replica)
            guard case .acknowledged = announcement, replica.link.isOnline else { continue }
            finish(
                acknowledgements.acknowledged(
                    LinkID(replica.token), offset: replica.link.acknowledged, synced: replica.link.synced, now: now))
            considerReplicas(now: now)
            run(failover.tick(candidates: candidates, now: now))
        }
    }

    // MARK: Output

    /// Sends as much as the replica's socket takes.
    func send(_ replica: ServedReplica) {
        var left = ReplicationThread.outputPerTurn
        while !replica.isClosed, left > 0 {
            if !replica.output.isEmpty {
                let sent = replica.output.withUnsafeBytes { transmit($0, replica) }
                guard sent > 0 else { break }
                replica.output.removeFirst(sent)
                left -= sent
                continue
            }
            var sent = 0
            var needsSnapshot = false
            stream.withBacklog { backlog in
                guard let backlog else { return }
                switch replica.link.output(from: backlog) {
                case .nothing: break
                case .snapshot: needsSnapshot = true
                case .journal(let bytes): sent = transmit(bytes, replica)
                }
            }
            if needsSnapshot {
                takeSnapshotPiece(replica)
            } else {
                guard sent > 0 else { break }
                replica.link.sent(sent)
                left -= sent
            }
        }
        guard !replica.isClosed else { return }
        let hasMore = !replica.output.isEmpty || replica.link.state == .sendingSnapshot || hasJournal(replica)
        guard hasMore != replica.isWriting else { return }
        replica.isWriting = hasMore
        watch(replica.fd, replica.token, reading: true, writing: hasMore, isNew: false)
    }

    private func hasJournal(_ replica: ServedReplica) -> Bool {
        stream.withBacklog { backlog in
            guard let backlog, case .journal = replica.link.output(from: backlog) else { return false }
            return true
        }
    }

    private func takeSnapshotPiece(_ replica: ServedReplica) {
        let stream = replica.snapshot!
        if !stream.hasSeenAllKeys {
            replica.output += stream.next(time: server.clock.now()).bytes
            return
        }
        if !keepAlive.isSuspended { collect() } else { drain() }
        let end = server.durability.journal.offset
        replica.output += stream.finish(wholeAt: end, time: server.clock.now()).bytes
        run(replica.link.snapshotEnded(wholeAt: end, now: EngineClock.steady()), replica)
    }

    private func transmit(_ bytes: UnsafeRawBufferPointer, _ replica: ServedReplica) -> Int {
        let sent = Glibc.send(replica.fd, bytes.baseAddress, bytes.count, Int32(MSG_NOSIGNAL))
        if sent < 0, errno != EAGAIN, errno != EINTR { return -1 }
        return sent
    }
}
