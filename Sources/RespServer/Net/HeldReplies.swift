// Replies that wait until the change they confirm is on disk.
//
// A connection has this object only while it waits. All output after a held reply waits with it, so replies leave in
// the order of their requests.

import Glibc
import Persistence
import Synchronization
import System
import Transport

/// Bytes in order, and the tickets that their parts wait for.
final class HeldReplies {
    private var bytes: [UInt8] = []
    /// End offset of each part, relative to the first byte ever held, and the ticket it waits for; both ascend.
    private var parts: [(end: Int, ticket: Int)] = []
    private var released = 0

    /// Number of bytes waiting.
    var count: Int { bytes.count }

    /// Bytes of memory held.
    var memory: Int { bytes.capacity + parts.capacity * MemoryLayout<(end: Int, ticket: Int)>.stride }

    /// Adds a part that waits for `ticket`; 0 for one that only has to stay after the others.
    func append(_ more: UnsafeBufferPointer<UInt8>, ticket: Int) {
        bytes.append(contentsOf: more)
        let end = released + bytes.count
        let wanted = max(ticket, parts.last?.ticket ?? 0)
        if let last = parts.last, last.ticket == wanted {
            parts[parts.count - 1].end = end
        } else {
            parts.append((end, wanted))
        }
    }

    /// Removes and returns the bytes that no longer wait once the collections up to `ticket` are on disk.
    func take(upTo ticket: Int) -> [UInt8] {
        guard let last = parts.lastIndex(where: { $0.ticket <= ticket }) else { return [] }
        let count = parts[last].end - released
        let taken = Array(bytes[..<count])
        bytes.removeFirst(count)
        parts.removeFirst(last + 1)
        released += count
        return taken
    }
}

extension EventLoop {
    /// Whether replies to changes wait until the changes are on disk.
    var holdsReplies: Bool {
        settings.appendfsync == .always && server.durability.isLogging && server.durability.health != .memoryOnly
    }

    /// Keeps the replies to changes made just now until the changes are on disk.
    func hold(_ connection: Connection, _ bytes: Slice<UnsafeBufferPointer<UInt8>>) {
        guard !connection.flags.contains(.closed) else { return }
        let ticket = server.durability.takeTicket()
        awaitedTicket.store(ticket, ordering: .sequentiallyConsistent)
        if connection.held == nil {
            connection.held = HeldReplies()
            holding.append(connection)
        }
        connection.held!.append(UnsafeBufferPointer(rebasing: bytes), ticket: ticket)
        checkOutputLimit(connection)
    }

    /// Keeps bytes that must not overtake the held replies.
    func keepBehindHeld(_ connection: Connection, _ bytes: UnsafeBufferPointer<UInt8>) {
        connection.held!.append(bytes, ticket: 0)
        checkOutputLimit(connection)
    }

    /// Sends the replies whose changes have reached the disk. If the disk has failed, the replies waiting for it are
    /// not sent: their clients must believe neither that nothing has happened nor that the change is safe, so they are
    /// disconnected.
    func releaseHeld() {
        guard !holding.isEmpty else { return }
        let hasFailed = server.durability.health == .refusing
        let ticket = holdsReplies ? server.durability.durableTicket : Int.max
        let waiting = holding
        holding.removeAll(keepingCapacity: true)
        for connection in waiting {
            guard let held = connection.held, !connection.flags.contains(.closed) else { continue }
            let ready = held.take(upTo: ticket)
            let isEmpty = held.count == 0
            if isEmpty { connection.held = nil }
            if !ready.isEmpty {
                let rest = connection.held
                connection.held = nil
                ready.withUnsafeBufferPointer { send(connection, $0[...]) }
                connection.lastActiveAt = steady
                connection.held = connection.flags.contains(.closed) ? nil : rest
            }
            countMemory(of: connection)
            guard !isEmpty else {
                endAfterReply(connection)
                continue
            }
            if hasFailed {
                close(connection)
            } else {
                holding.append(connection)
            }
        }
    }

    // MARK: Blocking commands

    /// Keeps a connection's further requests until `unblock` brings the reply to this one. The connection is still
    /// read: the end of its input comes after them.
    func block(_ connection: Connection) {
        guard connection.flags.insert(.blocked).inserted else { return }
        server.clientsBlocked.add(1, ordering: .relaxed)
    }

    /// The reply that a connection waits for may come late or never. It is abandoned once the peer has ended its input:
    /// a peer that has left looks the same.
    func noteLongWait(of connection: Connection) {
        guard connection.flags.contains(.blocked), !connection.flags.contains(.closed) else { return }
        connection.flags.insert(.waitsLong)
        if connection.flags.contains(.inputEnded) { endInput(connection) }
    }

    /// Marks the connection as no longer waiting.
    func endBlocking(_ connection: Connection) {
        guard connection.flags.remove(.blocked) != nil else { return }
        connection.flags.remove([.waitsLong, .inputEnded])
        server.clientsBlocked.subtract(1, ordering: .relaxed)
    }

    /// Sends the reply to the command that a connection waits for, and continues with its input.
    ///
    /// - Parameter hasChanged: The command has changed data, so the reply may have to wait for the disk.
    func unblock(_ connection: Connection, _ reply: [UInt8], hasChanged: Bool = false) {
        reply.withUnsafeBufferPointer { bytes in
            unblock(connection) {
                if hasChanged, holdsReplies { hold(connection, bytes[...]) } else { send(connection, bytes[...]) }
            }
        }
    }

    /// As above, with a reply that is sent in parts.
    func unblock(_ connection: Connection, sending: () -> Void) {
        guard connection.flags.contains(.blocked), !connection.flags.contains(.closed) else { return }
        endBlocking(connection)
        connection.lastActiveAt = steady
        if connection.session.sendsReplies { sending() }
        endAfterReply(connection)
        guard connection.flags.isDisjoint(with: [.closed, .closeAfterReply]) else { return }
        updateInterest(connection)
        if let pending = connection.channel.input { processPending(connection, pending) }
        finishWave()
    }
}
