// The node's side of the connections that replicas make to it.

import LimiterEngine
import Persistence
import Testing

@testable import Replication

extension SimulatedNode {
    func serve(_ replica: Served) {
        while replica.link.state != .closed, let words = SimulatedNode.takeCommand(&replica.input) {
            replica.link.heard(now: steady)
            guard let name = words.first else { continue }
            switch name {
            case "PING": send("+PONG\r\n", replica)
            case "AUTH": send("+OK\r\n", replica)
            case "REPLCONF": configure(replica, Array(words.dropFirst()))
            case "PSYNC": request(replica, SyncRequest(arguments: Array(words.dropFirst()))!)
            default: Issue.record("seed \(simulation.seed): unknown command \(name)")
            }
        }
    }

    private func configure(_ replica: Served, _ arguments: [String]) {
        let announcements: [ReplicaAnnouncement]
        do throws(ReplicaAnnouncementError) {
            announcements = try ReplicaAnnouncement.parse(arguments)
        } catch {
            return send("-\(error.text)\r\n", replica)
        }
        var isAnswered = false
        for announcement in announcements {
            run(replica.link.announced(announcement, end: journal.offset, now: steady), replica)
            guard case .acknowledged = announcement else {
                isAnswered = true
                continue
            }
            guard replica.link.isOnline else { continue }
            let id = LinkID(replica.connection.id)
            finish(
                acknowledgements.acknowledged(
                    id, offset: replica.link.acknowledged, synced: replica.link.synced, now: steady))
            runFailover(failover.tick(candidates: candidates, now: steady))
        }
        if isAnswered { send("+OK\r\n", replica) }
    }

    private func request(_ replica: Served, _ request: SyncRequest) {
        if !replica.isKnown { beginServing(replica) }
        storage.drain()
        let serving = role.serving(linkIsUp: link.isUp, isLoading: false)
        for action in replica.link.request(request, of: serving, backlog: storage.backlog, now: steady) {
            guard case .takeOver = action else {
                run([action], replica)
                continue
            }
            promote()
            let serving = role.serving(linkIsUp: link.isUp, isLoading: false)
            run(replica.link.request(request, of: serving, backlog: storage.backlog, now: steady), replica)
        }
        if replica.link.isReplica { rememberRole() }
        tell("is asked for \(request) by \(replica.connection.client.number): \(replica.link.state)")
    }

    /// A connection has turned out to be a replica's.
    private func beginServing(_ replica: Served) {
        replica.isKnown = true
        // Without a log changes were not kept, now or until some moment ago, so no offset stands for a state.
        if role.leads, storage.hasUncountedChanges {
            collect()
            storage.hasUncountedChanges = false
            let origin = position
            let actions = role.journalingBegins(fresh: simulation.freshID())
            simulation.truth.contains(role.identity.id, all: origin)
            noteBeginning()
            storage.switchStreamOn()
            storage.beginBacklog()
            run(actions.filter { $0 != .closeReplicaLinks })
            storage.requests.append(.attach(history: role.identity.id.text, isNewState: false))
            simulation.coverage.lateJournals += 1
        }
        storage.switchStreamOn()
        storage.beginBacklog()
    }

    func run(_ actions: [PrimaryLink.Action], _ replica: Served) {
        for action in actions {
            switch action {
            case .send(let line): send(line, replica)
            case .beginSnapshot:
                // The snapshot may begin at once or be made to wait.
                simulation.after(simulation.random.once(in: 3) ? simulation.random.between(1, 300_000_000) : 0) {
                    [self] in beginSnapshot(replica)
                }
            case .takeOver: Issue.record("a wish to take over twice")
            case .wantTime:
                simulation.coverage.partialSyncs += replica.snapshot == nil ? 1 : 0
                keepAlive.want()
            case .cameOnline: break
            case .close(.refused):
                // The line goes out first.
                simulation.after(100_000_000) { [self] in
                    served.removeAll { $0 === replica }
                    simulation.close(replica.connection, by: .server, isNoticed: !simulation.random.once(in: 4))
                }
            case .close:
                acknowledgements.removed(LinkID(replica.connection.id))
                served.removeAll { $0 === replica }
                simulation.close(replica.connection, by: .server, isNoticed: !simulation.random.once(in: 4))
            }
        }
    }

    private func beginSnapshot(_ replica: Served) {
        guard isUp, replica.link.state == .waitingForSnapshot, served.contains(where: { $0 === replica }) else {
            return
        }
        guard role.serving(linkIsUp: link.isUp, isLoading: false).readiness == .ready else {
            return run(replica.link.snapshotFailed(), replica)
        }
        if !keepAlive.isSuspended { collect() }
        replica.snapshot = SnapshotStream(journalOffset: journal.offset, engine: engine, time: engineTime)
        run(replica.link.snapshotBegan(at: position, now: steady), replica)
        canSend(replica)
    }

    private func send(_ line: String, _ replica: Served) {
        replica.output += Array(line.utf8)
        canSend(replica)
    }

    func canSend(over connection: SimulatedConnection) {
        if let replica = served.first(where: { $0.connection === connection }) { canSend(replica) }
    }

    /// Sends as much as the connection takes.
    func canSend(_ replica: Served) {
        // What is sent may be a reason to collect, which is a reason to send.
        guard !replica.isSending else { return }
        replica.isSending = true
        defer { replica.isSending = false }
        while replica.connection.isOpen {
            let room = replica.connection.window - replica.connection.toClient.inFlight
            guard room > 0 else { return }
            if !replica.output.isEmpty {
                let part = Array(replica.output.prefix(room))
                replica.output.removeFirst(part.count)
                simulation.send(part, over: replica.connection, from: .server)
                continue
            }
            guard let backlog = storage.backlog else { return }
            switch replica.link.output(from: backlog) {
            case .nothing: return
            case .journal(let bytes):
                let part = Array(bytes.prefix(room))
                replica.link.sent(part.count)
                simulation.send(part, over: replica.connection, from: .server)
            case .snapshot: sendSnapshot(replica)
            }
        }
    }

    private func sendSnapshot(_ replica: Served) {
        let stream = replica.snapshot!
        if !stream.hasSeenAllKeys {
            replica.output += Array(stream.next(time: engineTime).bytes)
            // Time for changes between the walk and its end.
            if stream.hasSeenAllKeys, !role.isReplica, simulation.random.once(in: 2) { simulation.write(to: self) }
            return
        }
        if keepAlive.isSuspended { storage.drain() } else { collect() }
        replica.output += Array(stream.finish(wholeAt: journal.offset, time: engineTime).bytes)
        run(replica.link.snapshotEnded(wholeAt: journal.offset, now: steady), replica)
    }

    // MARK: WAIT

    func wait(count: Int, isSynced: Bool) {
        guard isPrimary, takesWrites, !isPaused else { return }
        collect()
        simulation.nextTicket += 1
        let ticket = simulation.nextTicket
        waits[ticket] = Wait(position: position, count: count, isSynced: isSynced)
        keepAlive.want()
        let answer = acknowledgements.wait(
            ticket: ticket, offset: journal.offset, count: count, deadline: steady + 200_000_000,
            demandsSync: isSynced)
        if let answer { finish([answer]) }
    }

    func finish(_ answers: [Acknowledgements.Answer]) {
        for answer in answers {
            guard let wait = waits.removeValue(forKey: answer.ticket) else {
                Issue.record("seed \(simulation.seed): a wait was answered twice")
                continue
            }
            simulation.answered(answer, wait, at: self)
        }
    }

    /// A command in array form from the front of `input`; an empty one for an empty line.
    static func takeCommand(_ input: inout [UInt8]) -> [String]? {
        guard !input.isEmpty else { return nil }
        var position = 0
        let words = input.withUnsafeBufferPointer { bytes -> [String]? in
            func line() -> UnsafeBufferPointer<UInt8>? {
                let start = position
                var end = start
                while end < bytes.count, bytes[end] != UInt8(ascii: "\n") { end += 1 }
                guard end < bytes.count else { return nil }
                position = end + 1
                if end > start, bytes[end - 1] == UInt8(ascii: "\r") { end -= 1 }
                return UnsafeBufferPointer(rebasing: bytes[start..<end])
            }
            guard let first = line() else { return nil }
            guard first.first == UInt8(ascii: "*") else { return [] }
            let count = Int(String(decoding: first.dropFirst(), as: UTF8.self))!
            var words: [String] = []
            for _ in 0..<count {
                guard line() != nil, let word = line() else { return nil }
                words.append(String(decoding: word, as: UTF8.self))
            }
            return words
        }
        if words != nil { input.removeFirst(position) }
        return words
    }
}
