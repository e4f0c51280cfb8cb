// A simulated node's connections: to its primary, and from its replicas. Until PSYNC a replica is an ordinary client,
// and its commands are answered here as the server's loops would; after that the driver handles the link.

import Persistence
import TestSupport

@testable import Replication

/// A replica's connection on the node that serves it.
final class SimulatedReplicaClient {
    let connection: SimulatedConnection
    var input: [UInt8] = []
    var announcements: [ReplicaAnnouncement] = []
    /// Has sent PSYNC.
    var isKnown = false
    var isClosed = false

    init(connection: SimulatedConnection) { self.connection = connection }

    var id: LinkID { LinkID(connection.id) }
}

extension SimulatedNode {
    // MARK: To the primary

    func connect(to address: PeerAddress) {
        attempt += 1
        simulation.connect(self, toPort: address.port)
    }

    func connectionMade(_ connection: SimulatedConnection) {
        upstream = connection
        event { driver.upstreamConnected() }
    }

    func connectionFailed() { event { driver.upstreamFailed() } }

    func sendUpstream(_ bytes: [UInt8]) {
        if let upstream { simulation.send(bytes, over: upstream, from: .client) }
    }

    func disconnect() {
        attempt += 1
        if let upstream { simulation.close(upstream, by: .client, isNoticed: !simulation.random.once(in: 4)) }
        upstream = nil
    }

    // MARK: From replicas

    func accepted(_ connection: SimulatedConnection) {
        let client = SimulatedReplicaClient(connection: connection)
        clients[client.id] = client
    }

    func close(_ replica: ServedReplica, after bytes: [UInt8]) {
        guard let client = clients.removeValue(forKey: replica.id) else { return fail("closes a link a second time") }
        client.isClosed = true
        let close = { [simulation] in
            simulation.close(client.connection, by: .server, isNoticed: !simulation.random.once(in: 4))
        }
        guard !bytes.isEmpty else { return close() }
        simulation.send(bytes, over: client.connection, from: .server)
        simulation.after(100_000_000) { close() }
    }

    // MARK: Network events

    func lost(_ connection: SimulatedConnection) {
        if connection === upstream {
            upstream = nil
            event { driver.upstreamFailed() }
        }
        guard let client = clients[LinkID(connection.id)] else { return }
        if client.isKnown { event { driver.lost(client.id) } }
        clients[client.id] = nil
    }

    func received(_ bytes: [UInt8], over connection: SimulatedConnection) {
        if connection === upstream {
            let handedOver = failover.state == .inProgress ? position : nil
            event { bytes.withUnsafeBytes { driver.upstreamReceived($0) } }
            if let handedOver, failover.state == .none, role.isReplica {
                simulation.coverage.takeovers += 1
                if !isFailoverForced { simulation.checkHandover(of: handedOver, from: self, to: connection.server) }
            }
        } else if let client = clients[LinkID(connection.id)] {
            client.input += bytes
            parse(client)
        }
    }

    private func parse(_ client: SimulatedReplicaClient) {
        while !client.isClosed, let words = SimulatedNode.takeCommand(&client.input) {
            guard !client.isKnown else {
                event { words.isEmpty ? driver.heard(from: client.id) : driver.said(words, by: client.id) }
                continue
            }
            switch words.first {
            case nil: break
            case "PING": reply("+PONG\r\n", client)
            case "AUTH": reply("+OK\r\n", client)
            case "REPLCONF": configure(client, Array(words.dropFirst()))
            case "PSYNC": serve(client, SyncRequest(arguments: Array(words.dropFirst()))!)
            case let name?: fail("is sent \(name)")
            }
        }
    }

    private func configure(_ client: SimulatedReplicaClient, _ arguments: [String]) {
        do throws(ReplicaAnnouncementError) {
            client.announcements += try ReplicaAnnouncement.parse(arguments)
            reply("+OK\r\n", client)
        } catch {
            reply("-\(error.text)\r\n", client)
        }
    }

    private func serve(_ client: SimulatedReplicaClient, _ request: SyncRequest) {
        client.isKnown = true
        tell("is asked for \(request) by \(client.connection.client.number)")
        event {
            driver.serve(
                ReplicaConnection(
                    id: client.id, peerHost: "node", announcements: client.announcements, request: request))
        }
    }

    private func reply(_ line: String, _ client: SimulatedReplicaClient) {
        simulation.send(Array(line.utf8), over: client.connection, from: .server)
    }

    // MARK: Output

    func canSend(over connection: SimulatedConnection) {
        if let client = clients[LinkID(connection.id)], !isInEvent { send(to: client) }
    }

    func sendAll() {
        guard isUp else { return }
        for client in clients.values.sorted(by: { $0.id < $1.id }) { send(to: client) }
    }

    /// Sends as much as the connection accepts.
    private func send(to client: SimulatedReplicaClient) {
        // Sending may trigger a collection, which triggers sending.
        guard client.isKnown, !client.isClosed, !isSending else { return }
        isSending = true
        isInEvent = true
        defer {
            isInEvent = false
            isSending = false
        }
        _ = driver.send(to: client.id, limit: Int.max) { bytes in
            let connection = client.connection
            let room = connection.window - connection.toClient.inFlight
            guard room > 0, connection.isOpen else { return 0 }
            let part = Array(bytes.prefix(room))
            simulation.send(part, over: connection, from: .server)
            writeInsideSnapshot(client)
            return part.count
        }
    }

    /// Gives clients a chance to write before, between and after the pieces of a snapshot.
    private func writeInsideSnapshot(_ client: SimulatedReplicaClient) {
        guard driver.served[client.id]?.link.state == .sendingSnapshot, !role.isReplica, simulation.random.once(in: 3)
        else { return }
        simulation.write(to: self)
    }

    /// Removes a command in array form from the front of `input`; returns an empty command for an empty line.
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
