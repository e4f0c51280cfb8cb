// Accounts the memory that connections use, and closes the largest clients when it exceeds `maxmemory-clients`.
//
// Accounting happens where retained memory grows or shrinks, never per request: a connection whose requests arrive
// whole and whose replies are sent at once changes nothing here. Each loop keeps the sum for its own connections;
// readers add the loops up. A loop checks the limit at the end of a turn in which its sum has grown, and only then.
//
// Invariant: outside its loop's turn, a connection's `countedMemory` equals its `memory` (debug builds check this in
// CLIENT LIST), and a loop's `clientMemory` is the sum over its connections.

import Glibc
import Synchronization
import System
import Transport

extension Connection {
    /// The object and its session, its slot in the loop's list, and the allocator's overhead for them.
    private static let ownMemory = 320
    /// Overhead of one object that exists temporarily, and of an array header in it.
    static let objectMemory = 96

    /// Bytes of memory that this connection uses. O(1).
    var memory: Int {
        var sum = Connection.ownMemory
        sum += channel.memory + session.memory
        if let held { sum += held.memory + Connection.objectMemory }
        return sum
    }

    /// Whether the connection may be closed to free memory. A replica's connection must not be, until it is handed
    /// over.
    fileprivate var isEvictable: Bool {
        flags.isDisjoint(with: [.noEvict, .handedOver, .closed, .closeSoon]) && session.isEvictable
    }
}

extension EventLoop {
    /// Brings the accounted memory of a connection up to date. Call where memory it retains has grown or shrunk. O(1).
    func countMemory(of connection: Connection) {
        assert(connection.loop === self)
        let memory = connection.flags.contains(.closed) ? 0 : connection.memory
        let change = memory - connection.countedMemory
        guard change != 0 else { return }
        connection.countedMemory = memory
        clientMemory.store(clientMemory.load(ordering: .relaxed) + change, ordering: .relaxed)
        if change > 0 { hasMoreClientMemory = true }
    }

    /// Minimum interval between evictions: each one stops all loops and looks at every connection.
    private static let evictionInterval = Nanoseconds.milliseconds(10)

    /// Closes clients if they use more memory than the limit. Call at the end of a turn, holding only the turn lock.
    func evictClients() {
        guard hasMoreClientMemory else { return }
        let limit = settings.clientMemoryLimit
        guard limit < Int.max, server.clientMemory > limit else {
            hasMoreClientMemory = false
            return
        }
        // Otherwise the next turn checks again, a tenth of a second from now at the latest.
        guard server.claimEviction(at: steady, interval: EventLoop.evictionInterval) else { return }
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

    /// Marks the connections that use the most memory, until the rest are within the limit.
    ///
    /// - Precondition: All loops are stopped.
    private func markClientsToEvict(limit: Int) -> [(connection: Connection, address: String, bytes: Int)] {
        precondition(hasStoppedAllLoops)
        let all = server.loops.flatMap(\.connections)
        // Connections about to be closed anyway count as freed.
        var excess = server.clientMemory - limit
        for connection in all where connection.flags.contains(.closeSoon) { excess -= connection.countedMemory }
        guard excess > 0 else { return [] }
        var evicted: [(connection: Connection, address: String, bytes: Int)] = []
        for connection in all.filter(\.isEvictable).sorted(by: { $0.countedMemory > $1.countedMemory }) {
            guard excess > 0 else { break }
            excess -= connection.countedMemory
            evicted.append((connection, connection.peerAddress, connection.countedMemory))
            // The peer sees the shutdown immediately; the loop closes the connection when it can.
            connection.channel.stream.shutdown()
            connection.flags.insert(.closeSoon)
        }
        return evicted
    }
}

extension Server {
    /// Bytes of memory that all client connections use, replicas' excluded. O(loops).
    var clientMemory: Int { loops.reduce(0) { $0 + $1.clientMemory.load(ordering: .relaxed) } }

    /// Whether enough time has passed since the last eviction. If so, records that one begins at `steady`.
    fileprivate func claimEviction(at steady: SteadyInstant, interval: Nanoseconds) -> Bool {
        let last = lastClientEviction.load(ordering: .relaxed)
        guard steady - last >= interval else { return false }
        return lastClientEviction.compareExchange(expected: last, desired: steady, ordering: .relaxed).exchanged
    }
}

/// `maxmemory-clients`.
enum ClientMemoryLimit: Sendable, Equatable {
    /// 0: no limit.
    case bytes(Int)
    /// A percentage of `maxmemory`, 0…100. No limit while `maxmemory` is 0.
    case percent(Int)
}

extension Settings {
    /// As in Redis: below this no client could send a command at all.
    private static let clientMemoryLimitMin = 128 << 10

    /// Bytes that all clients together may use; `Int.max` without a limit.
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
