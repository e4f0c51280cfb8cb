// How much memory connections make the server keep, and closing those that use most (`maxmemory-clients`).
//
// Counted where something kept grows or goes, never per request: a connection whose requests come whole and whose
// replies leave at once changes nothing here. Each loop has the sum of its own connections; readers add the loops up. A
// loop looks at the limit at the end of a turn in which its sum has grown, and only then.
//
// Invariant: a connection's `countedMemory` is its `memory` whenever no turn of its loop is under way (debug builds
// check it in CLIENT LIST), and a loop's `clientMemory` is the sum of those of its connections.

import Glibc
import Synchronization
import System
import Transport

extension Connection {
    /// The object and its session, its place in the loop's list, and what the C library keeps about them.
    private static let ownMemory = 320
    /// One object that is kept for a while, and the head of an array in it.
    static let objectMemory = 96

    /// Bytes that this connection makes the server keep. O(1).
    var memory: Int {
        var sum = Connection.ownMemory
        sum += channel.memory + session.memory
        if let held { sum += held.memory + Connection.objectMemory }
        return sum
    }

    /// Whether the connection may be closed to save memory. A replica's, until it is handed over, may not.
    fileprivate var isEvictable: Bool {
        flags.isDisjoint(with: [.noEvict, .handedOver, .closed, .closeSoon]) && session.isEvictable
    }
}

extension EventLoop {
    /// Brings what is counted of a connection up to date. Call where something that it keeps has grown or gone. O(1).
    func countMemory(of connection: Connection) {
        assert(connection.loop === self)
        let memory = connection.flags.contains(.closed) ? 0 : connection.memory
        let change = memory - connection.countedMemory
        guard change != 0 else { return }
        connection.countedMemory = memory
        clientMemory.store(clientMemory.load(ordering: .relaxed) + change, ordering: .relaxed)
        if change > 0 { hasMoreClientMemory = true }
    }

    /// From one closing of clients to the next: it stops all loops and looks at every connection.
    private static let evictionInterval = Nanoseconds.milliseconds(10)

    /// Closes clients if they use more memory than they may. The end of a turn, with nothing held but the turn.
    func evictClients() {
        guard hasMoreClientMemory else { return }
        let limit = settings.clientMemoryLimit
        guard limit < Int.max, server.clientMemory > limit else {
            hasMoreClientMemory = false
            return
        }
        // Else the next turn looks again, a tenth of a second from now at the latest.
        guard server.mayEvictClients(at: steady, interval: EventLoop.evictionInterval) else { return }
        hasMoreClientMemory = false
        let evicted = stoppingAllLoops { markClientsToEvict(limit: limit) }
        for index in Set(evicted.map(\.connection.loop.index)) { server.loops[index].mailbox.post(.closeMarked) }
        for (connection, address, bytes) in evicted {
            counters.add(.evictedClients, 1)
            server.warn(
                .eviction, "closing client: clients use more memory than maxmemory-clients", address: address,
                id: connection.id, bytes: bytes)
        }
    }

    /// Marks the connections that use most, until the others are within the limit.
    ///
    /// - Precondition: All loops are stopped.
    private func markClientsToEvict(limit: Int) -> [(connection: Connection, address: String, bytes: Int)] {
        precondition(hasStoppedAllLoops)
        let all = server.loops.flatMap(\.connections)
        // What is about to be closed anyway is as good as gone.
        var excess = server.clientMemory - limit
        for connection in all where connection.flags.contains(.closeSoon) { excess -= connection.countedMemory }
        guard excess > 0 else { return [] }
        var evicted: [(connection: Connection, address: String, bytes: Int)] = []
        for connection in all.filter(\.isEvictable).sorted(by: { $0.countedMemory > $1.countedMemory }) {
            guard excess > 0 else { break }
            excess -= connection.countedMemory
            evicted.append((connection, connection.peerAddress, connection.countedMemory))
            // The peer learns it at once; the loop closes it when it can.
            connection.channel.stream.shutdown()
            connection.flags.insert(.closeSoon)
        }
        return evicted
    }
}

extension Server {
    /// Bytes that all connections make the server keep, replicas' not among them. O(loops).
    var clientMemory: Int { loops.reduce(0) { $0 + $1.clientMemory.load(ordering: .relaxed) } }

    /// Whether enough time has passed since clients were last closed to save memory; if so, they are closed now.
    fileprivate func mayEvictClients(at steady: SteadyInstant, interval: Nanoseconds) -> Bool {
        let last = lastClientEviction.load(ordering: .relaxed)
        guard steady - last >= interval else { return false }
        return lastClientEviction.compareExchange(expected: last, desired: steady, ordering: .relaxed).exchanged
    }
}

/// `maxmemory-clients`.
enum ClientMemoryLimit: Sendable, Equatable {
    /// 0: no limit.
    case bytes(Int)
    /// Of `maxmemory`, 0…100. No limit while that has none.
    case percent(Int)
}

extension Settings {
    /// As Redis: with less no client could say anything at all.
    private static let clientMemoryLimitMin = 128 << 10

    /// Bytes that all clients together may make the server keep; `Int.max` without a limit.
    var clientMemoryLimit: Int {
        switch maxmemoryClients {
        case .bytes(0), .percent(0): Int.max
        case .bytes(let bytes): max(bytes, Settings.clientMemoryLimitMin)
        case .percent(let percent):
            maxmemoryBytes == 0
                ? Int.max : max(Int(Double(maxmemoryBytes) * Double(percent) / 100), Settings.clientMemoryLimitMin)
        }
    }
}
