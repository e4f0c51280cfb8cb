// Connections between simulated nodes. Bytes are ordered within a direction, split anywhere, delayed, and lost with
// their connection at any byte. Both ends, one end or neither may notice a lost connection.

import System
import TestSupport

@testable import Replication

/// A connection between two nodes: one byte stream in each direction.
final class SimulatedConnection {
    enum End {
        case client, server
        var other: End { self == .client ? .server : .client }
    }

    /// A class, so that adding or removing a piece does not copy the others.
    final class Direction {
        var pieces: [(bytes: [UInt8], number: Int)] = []
        var first = 0
        var inFlight = 0
        var lastArrival = SteadyInstant.boot
    }

    let id: Int
    let client: SimulatedNode
    let server: SimulatedNode
    /// Which run of each process the connection belongs to.
    let clientLife: Int
    let serverLife: Int
    /// Maximum number of bytes in flight from the server.
    let window: Int
    let toServer = Direction()
    let toClient = Direction()
    var isOpen = true
    /// The client's count of full syncs begun and power losses when the connection was made.
    let clientLosses: Int

    init(id: Int, client: SimulatedNode, server: SimulatedNode, window: Int) {
        self.id = id
        self.client = client
        self.server = server
        clientLife = client.life
        serverLife = server.life
        clientLosses = client.losses
        self.window = window
    }

    func node(at end: End) -> SimulatedNode { end == .client ? client : server }
    func isAlive(at end: End) -> Bool {
        end == .client ? client.isUp && client.life == clientLife : server.isUp && server.life == serverLife
    }
}

extension Simulation {
    func connect(_ client: SimulatedNode, toPort port: Int) {
        let life = client.life
        let attempt = client.attempt
        let delay = random.between(.microseconds(100), .milliseconds(8))
        guard let server = nodes.first(where: { $0.address.port == port }) else { return }
        after(delay) { [self] in
            guard client.isUp, client.life == life, client.attempt == attempt else { return }
            guard server.isUp, isReachable(client, server) else {
                // The client notices a refused connection, but not a lost packet.
                if random.once(in: 2) { client.connectionFailed() }
                return
            }
            nextConnection += 1
            let connection = SimulatedConnection(
                id: nextConnection, client: client, server: server, window: Int(random.between(60, 4000)))
            connections.append(connection)
            server.accepted(connection)
            client.connectionMade(connection)
        }
    }

    func isReachable(_ one: SimulatedNode, _ other: SimulatedNode) -> Bool {
        partitions.isEmpty || !partitions.contains(Simulation.pair(one, other))
    }

    static func pair(_ one: SimulatedNode, _ other: SimulatedNode) -> Int {
        one.number < other.number ? 10 * one.number + other.number : 10 * other.number + one.number
    }

    func send(_ bytes: [UInt8], over connection: SimulatedConnection, from end: SimulatedConnection.End) {
        guard connection.isOpen, !bytes.isEmpty else { return }
        var rest = bytes[...]
        while !rest.isEmpty {
            let length = random.once(in: 3) ? Int(random.between(1, Int64(rest.count))) : rest.count
            let piece = Array(rest.prefix(length))
            rest = rest.dropFirst(length)
            let delay: Nanoseconds =
                random.once(in: 20) ? random.between(0, 60_000_000) : random.between(50_000, 5_000_000)
            let direction = end == .client ? connection.toServer : connection.toClient
            nextPiece += 1
            direction.pieces.append((piece, nextPiece))
            direction.inFlight += piece.count
            direction.lastArrival = max(direction.lastArrival, now + delay)
            let arrival = direction.lastArrival
            at(arrival) { [self] in deliver(over: connection, to: end.other) }
        }
    }

    private func deliver(over connection: SimulatedConnection, to end: SimulatedConnection.End) {
        guard connection.isOpen else { return }
        guard isReachable(connection.client, connection.server) else {
            after(30_000_000) { [self] in deliver(over: connection, to: end) }
            return
        }
        let direction = end == .server ? connection.toServer : connection.toClient
        guard direction.first < direction.pieces.count else { return }
        let (piece, number) = direction.pieces[direction.first]
        direction.pieces[direction.first].bytes = []
        direction.first += 1
        direction.inFlight -= piece.count
        if connection.isAlive(at: end) {
            let node = connection.node(at: end)
            if number < node.lastPiece { coverage.reordered += 1 }
            node.lastPiece = max(node.lastPiece, number)
            node.received(piece, over: connection)
        }
        if end == .client, connection.isOpen, connection.isAlive(at: .server) {
            connection.server.canSend(over: connection)
        }
    }

    /// One end closes the connection, or the network loses it.
    func close(_ connection: SimulatedConnection, by end: SimulatedConnection.End?, isNoticed: Bool) {
        guard connection.isOpen else { return }
        connection.isOpen = false
        connections.removeAll { $0 === connection }
        for other in [SimulatedConnection.End.client, .server] where other != end {
            guard isNoticed || random.once(in: 2) else { continue }
            after(random.between(0, 20_000_000)) {
                if connection.isAlive(at: other) { connection.node(at: other).lost(connection) }
            }
        }
    }
}
