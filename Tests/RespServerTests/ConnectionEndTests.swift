// Connections that are closing, blocked on a command, or have replies held until fsync.

import Persistence
import Synchronization
import System
import Testing
import Transport

@testable import RespServer

@Suite struct ConnectionEndTests {
    private let bench: LoopBench

    init() throws { bench = try LoopBench() }

    // MARK: The end of the input

    @Test func aHalfClosedPeerGetsEveryReply() {
        let peer = bench.connect()
        peer.send(request("PING") + request("GET", "nothing") + request("ECHO", "a"))
        peer.endOutput()
        bench.turn()
        bench.turn()
        #expect(peer.received() == "+PONG\r\n$-1\r\n$1\r\na\r\n" && peer.isClosed)
        #expect(bench.loop.connections.isEmpty && bench.server.clientsNow.load(ordering: .relaxed) == 0)
        #expect(bench.loop.assigned.load(ordering: .relaxed) == 0)
    }

    @Test func anIncompleteRequestIsNotAnswered() {
        let peer = bench.connect()
        peer.send("*1\r\n$4\r\nPI")
        bench.turn()
        peer.endOutput()
        bench.turn()
        #expect(peer.received() == "" && peer.isClosed && bench.loop.connections.isEmpty)
    }

    /// With more replies than the socket buffer holds, the connection stays open until the peer has read them.
    @Test func unsentRepliesAreSentBeforeTheClose() {
        let peer = bench.connect()
        let word = String(repeating: "w", count: 500_000)
        var count = 0
        // The kernel decides how much a socket buffer holds.
        while !peer.connection.channel.hasOutput, count < 100 {
            var rest = Array(request("ECHO", word).utf8)[...]
            while !rest.isEmpty {
                rest = rest.dropFirst(peer.send(rest))
                bench.turn()
            }
            count += 1
        }
        peer.endOutput()
        // The number of bytes read per turn is bounded.
        for _ in 0..<100 where !peer.connection.flags.contains(.closeAfterReply) { bench.turn() }
        #expect(peer.connection.flags.isSuperset(of: [.closeAfterReply, .ending]) && !peer.connection.isReading)
        var received = 0
        for _ in 0..<1000 where !peer.isClosed {
            received += peer.receivedBytes().count
            bench.turn()
        }
        #expect(peer.isClosed && received == count * (word.utf8.count + 11))
    }

    @Test func aClosingConnectionWithoutProgressTimesOut() {
        let peer = bench.connect()
        bench.server.pause.begin(.all, until: .distantFuture, now: SteadyInstant.now())
        peer.send(request("PING"))
        peer.endOutput()
        bench.turn()
        bench.turn()
        #expect(peer.connection.flags.isSuperset(of: [.suspended, .inputEnded, .ending]))
        bench.within { loop in
            peer.connection.lastActiveAt = loop.steady - .seconds(59)
            loop.closeStalledEnds()
        }
        #expect(!peer.connection.flags.contains(.closed))
        bench.within { loop in
            peer.connection.lastActiveAt = loop.steady - .seconds(60)
            loop.closeStalledEnds()
        }
        #expect(peer.connection.flags.contains(.closed))
        bench.within { $0.closeStalledEnds() }
        #expect(bench.loop.ending.isEmpty && bench.loop.suspended.isEmpty)
    }

    /// Suspended requests of a half-closed peer are still answered when the pause ends.
    @Test func aSuspendedHalfClosedPeerIsAnswered() {
        let peer = bench.connect()
        bench.server.pause.begin(.all, until: .distantFuture, now: SteadyInstant.now())
        peer.send(request("ECHO", "a"))
        peer.endOutput()
        bench.turn()
        bench.turn()
        #expect(peer.connection.flags.contains(.inputEnded))
        bench.server.pause.end()
        bench.within { $0.resumeSuspended() }
        bench.turn()
        #expect(peer.received() == "$1\r\na\r\n" && peer.isClosed)
    }

    @Test func whichTimeoutsAreLong() {
        #expect(EventLoop.isLong(timeout: .forever) && EventLoop.isLong(timeout: .milliseconds(60_001)))
        #expect(!EventLoop.isLong(timeout: .milliseconds(1)) && !EventLoop.isLong(timeout: .seconds(60)))
    }

    // MARK: Blocking commands

    @Test func aBlockedConnectionIsReadAndAnsweredLater() {
        let peer = bench.connect()
        bench.within { $0.block(peer.connection) }
        bench.within { $0.block(peer.connection) }
        #expect(bench.server.clientsBlocked.load(ordering: .relaxed) == 1, "counted once")
        peer.send(request("ECHO", "after"))
        bench.turn()
        #expect(peer.received() == "" && peer.connection.channel.input?.count == 25)
        bench.within { $0.unblock(peer.connection, Array(":7\r\n".utf8)) }
        #expect(peer.received() == ":7\r\n$5\r\nafter\r\n" && bench.server.clientsBlocked.load(ordering: .relaxed) == 0)
        // A reply to a connection that is not blocked is dropped.
        bench.within { $0.unblock(peer.connection, Array(":8\r\n".utf8)) }
        #expect(peer.received() == "")
    }

    @Test func repliesStayOffForABlockedCommand() {
        let peer = bench.connect()
        bench.within { loop in
            peer.connection.resp.flags.insert(.replyOff)
            loop.block(peer.connection)
            loop.unblock(peer.connection, Array(":7\r\n".utf8))
        }
        #expect(peer.received() == "" && !peer.connection.flags.contains(.blocked))
    }

    /// On a half-closed connection, a reply that is due soon is awaited; one that may never come is not.
    @Test func aHalfClosedBlockedPeerIsAnsweredIfTheReplyIsDueSoon() {
        let (soon, never, late) = (bench.connect(), bench.connect(), bench.connect())
        bench.within { loop in
            for peer in [soon, never, late] { loop.block(peer.connection) }
            loop.noteLongWait(of: never.connection)
        }
        for peer in [soon, never, late] { peer.endOutput() }
        bench.turn()
        #expect(never.received() == "" && never.isClosed && !late.isClosed)
        // The end of input may also come first.
        bench.within { $0.noteLongWait(of: late.connection) }
        bench.turn()
        #expect(late.received() == "" && late.isClosed)
        #expect(soon.connection.flags.isSuperset(of: [.blocked, .inputEnded]) && !soon.connection.isReading)
        #expect(bench.server.clientsBlocked.load(ordering: .relaxed) == 1)
        bench.within { $0.unblock(soon.connection, Array(":7\r\n".utf8)) }
        bench.turn()
        #expect(soon.received() == ":7\r\n" && soon.isClosed && bench.loop.connections.isEmpty)
    }

    @Test func closingABlockedConnectionUnblocksIt() {
        let peer = bench.connect()
        bench.within { loop in
            loop.block(peer.connection)
            loop.close(peer.connection)
            loop.unblock(peer.connection, Array(":7\r\n".utf8))
        }
        #expect(peer.received() == "" && peer.isClosed && bench.server.clientsBlocked.load(ordering: .relaxed) == 0)
    }

    /// The last reply of a closing connection is the one it is blocked on.
    @Test func theReplyIsSentBeforeTheClose() {
        let peer = bench.connect()
        bench.within { loop in
            loop.block(peer.connection)
            peer.connection.flags.insert(.closeAfterReply)
            loop.endAfterReply(peer.connection)
        }
        #expect(!peer.connection.flags.contains(.closed))
        bench.within { $0.unblock(peer.connection, Array(":7\r\n".utf8)) }
        #expect(peer.received() == ":7\r\n" && peer.isClosed)
    }

    // MARK: Held replies

    /// A server that holds replies to changes until fsync, without a journal thread to release them.
    private static func holding() throws -> LoopBench {
        try LoopBench {
            $0.appendonly = true
            $0.appendfsync = .always
        }
    }

    @Test func repliesToChangesAndAllLaterRepliesAreHeld() throws {
        let bench = try Self.holding()
        let durability = bench.server.durability
        let peer = bench.connect()
        #expect(bench.answer(request("GET", "k"), to: peer) == "$-1\r\n")
        #expect(bench.answer(request("INCR", "k"), to: peer) == "")
        // Changes nothing, but is held too, to keep the order of replies.
        #expect(bench.answer(request("PING"), to: peer) == "")
        let ticket = durability.beginCollection()
        #expect(bench.answer(request("INCR", "k"), to: peer) == "")
        #expect(peer.connection.held?.count == 15 && bench.loop.holding.count == 1)
        durability.publish(durable: ticket)
        bench.within { $0.releaseHeld() }
        #expect(peer.received() == ":1\r\n+PONG\r\n" && peer.connection.held?.count == 4)
        durability.publish(durable: durability.beginCollection())
        bench.within { $0.releaseHeld() }
        #expect(peer.received() == ":2\r\n" && peer.connection.held == nil && bench.loop.holding.isEmpty)
    }

    /// A denied call has changed nothing, so its reply is not held; neither are other clients' replies.
    @Test func onlyRepliesToChangesAreHeld() throws {
        let bench = try Self.holding()
        let (writer, reader) = (bench.connect(), bench.connect())
        writer.send(request("INCR", "k"))
        reader.send(request("GET", "nothing"))
        bench.turn()
        #expect(writer.received() == "" && reader.received() == "$-1\r\n")
    }

    @Test func aFailedDiskClosesConnectionsWithHeldReplies() throws {
        let bench = try Self.holding()
        let (waiting, other) = (bench.connect(), bench.connect())
        #expect(bench.answer(request("INCR", "k"), to: waiting) == "")
        bench.server.durability.set(isFailing: true)
        bench.within { $0.releaseHeld() }
        #expect(waiting.received() == "" && waiting.isClosed && !other.connection.flags.contains(.closed))
        #expect(bench.loop.holding.isEmpty)
    }

    /// Without a log there is no fsync to wait for.
    @Test func repliesAreReleasedWhenTheLogIsSwitchedOff() throws {
        let bench = try Self.holding()
        let peer = bench.connect()
        #expect(bench.answer(request("INCR", "k"), to: peer) == "")
        bench.server.durability.switchLogging(false, engine: bench.server.engine)
        bench.within { $0.releaseHeld() }
        #expect(peer.received() == ":1\r\n")
    }

    @Test func aHalfClosedPeerGetsTheHeldReply() throws {
        let bench = try Self.holding()
        let peer = bench.connect()
        peer.send(request("INCR", "k"))
        peer.endOutput()
        bench.turn()
        bench.turn()
        #expect(!peer.connection.flags.contains(.closed))
        bench.server.durability.publish(durable: bench.server.durability.beginCollection())
        bench.within { $0.releaseHeld() }
        #expect(peer.received() == ":1\r\n" && peer.isClosed)
    }
}
