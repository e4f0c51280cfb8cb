// The buffers of a loop's wave of reads: when they are full, and what survives from one wave to the next.

import Glibc
import System
import Testing
import Transport

@testable import RespServer

@Suite struct LoopBuffersTests {
    private let server: Server
    private let connection: Connection
    private let buffers = LoopBuffers()

    init() throws {
        var settings = Settings()
        settings.ioThreads = 1
        server = try Server(settings: CurrentSettings(settings), log: Log(level: .warning))
        connection = Connection(ByteStream(-1), id: 1, loop: server.loops[0], kind: .resp, flags: [], at: .boot)
    }

    @Test func isFullOfRequests() {
        buffers.handled = LoopBuffers.requestsMax - 1
        #expect(!buffers.isFull)
        buffers.handled += 1
        #expect(buffers.isFull)
    }

    /// The minimum read size always remains free, so a read is never given an empty buffer.
    @Test func isFullOfInput() {
        buffers.inputUsed = LoopBuffers.inputCapacity - LoopBuffers.readMin
        #expect(!buffers.isFull)
        buffers.inputUsed += 1
        #expect(buffers.isFull)
    }

    @Test func isFullOfConnections() {
        for _ in 0..<LoopBuffers.servedMax - 1 { buffers.begin(connection, replyStart: 0) }
        #expect(!buffers.isFull)
        buffers.begin(connection, replyStart: 0)
        #expect(buffers.isFull && buffers.served.count == LoopBuffers.servedMax)
    }

    @Test func connectionsBeginWithoutChanges() {
        buffers.begin(connection, replyStart: 0)
        buffers.changes[0] = true
        buffers.begin(connection, replyStart: 17)
        #expect(buffers.servedCount == 2 && buffers.replyEnds[1] == 17 && buffers.changes[0] && !buffers.changes[1])
        buffers.forgetServed()
        buffers.begin(connection, replyStart: 5)
        #expect(buffers.servedCount == 1 && buffers.served.count == 1)
        #expect(buffers.replyEnds[0] == 5 && !buffers.changes[0], "left over from the previous connection")
    }

    /// Replies may be flushed in the middle of a wave; its input stays in place until the next wave.
    @Test func inputAndRequestsAreKeptUntilTheNextWave() {
        buffers.handled = 3
        buffers.inputUsed = 100
        buffers.begin(connection, replyStart: 0)
        buffers.forgetServed()
        #expect(buffers.handled == 3 && buffers.inputUsed == 100 && buffers.servedCount == 0 && buffers.served.isEmpty)
        buffers.begin()
        #expect(buffers.handled == 0 && buffers.inputUsed == 0)
    }
}
