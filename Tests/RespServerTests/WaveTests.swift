// A wave: when it has to end before more is read, and what it keeps of the one before.

import Glibc
import Testing
import Transport

@testable import RespServer

@Suite struct WaveTests {
    private let server: Server
    private let connection: Connection
    private let wave = Wave()

    init() throws {
        var settings = Settings()
        settings.ioThreads = 1
        server = try Server(settings: CurrentSettings(settings), log: Log(level: .warning))
        connection = Connection(ByteStream(-1), id: 1, loop: server.loops[0], flags: [], at: 0)
    }

    @Test func isFullOfRequests() {
        wave.handled = Wave.requestsMax - 1
        #expect(!wave.isFull)
        wave.handled += 1
        #expect(wave.isFull)
    }

    /// There is always room for the least that is read, so a read of what is left never is one of nothing.
    @Test func isFullOfInput() {
        wave.inputUsed = Wave.inputCapacity - Wave.readMin
        #expect(!wave.isFull)
        wave.inputUsed += 1
        #expect(wave.isFull)
    }

    @Test func isFullOfConnections() {
        for _ in 0..<Wave.servedMax - 1 { wave.begin(connection, replyStart: 0) }
        #expect(!wave.isFull)
        wave.begin(connection, replyStart: 0)
        #expect(wave.isFull && wave.served.count == Wave.servedMax)
    }

    @Test func connectionsBeginWithoutChanges() {
        wave.begin(connection, replyStart: 0)
        wave.changes[0] = true
        wave.begin(connection, replyStart: 17)
        #expect(wave.servedCount == 2 && wave.replyEnds[1] == 17 && wave.changes[0] && !wave.changes[1])
        wave.forgetServed()
        wave.begin(connection, replyStart: 5)
        #expect(wave.servedCount == 1 && wave.served.count == 1)
        #expect(wave.replyEnds[0] == 5 && !wave.changes[0], "it has what another had before")
    }

    /// Replies may be written in the middle of a wave; its input stays where it is until the next one.
    @Test func inputAndRequestsCountUntilTheNextWave() {
        wave.handled = 3
        wave.inputUsed = 100
        wave.begin(connection, replyStart: 0)
        wave.forgetServed()
        #expect(wave.handled == 3 && wave.inputUsed == 100 && wave.servedCount == 0 && wave.served.isEmpty)
        wave.begin()
        #expect(wave.handled == 0 && wave.inputUsed == 0)
    }
}
