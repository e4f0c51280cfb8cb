// An event loop without its thread, and clients of it over socket pairs: a test runs each turn itself, so what a turn
// reads, keeps and answers is decided by nothing else.

import Glibc
import LimiterEngine
import Synchronization
import System
import Testing
import Transport

@testable import RespServer

/// A server of one loop whose turns are run by hand.
final class LoopBench {
    let server: Server
    var loop: EventLoop { server.loops[0] }

    /// - Parameter file: The configuration file that it was started with.
    init(file: String? = nil, _ change: (inout Settings) -> Void = { _ in }) throws {
        var settings = Settings()
        settings.ioThreads = 1
        settings.shards = 4
        change(&settings)
        server = try Server(settings: CurrentSettings(settings, file: file), log: try Log(path: "/dev/null"))
        server.finishLoading()
        // However busy the machine is, nothing is put off to the next turn unless a test says so.
        loop.turnLimit = .forever
    }

    /// One turn, with what is ready now; waits as long for something to be.
    func turn(waiting milliseconds: Int32 = 0) {
        let ready = loop.poller.wait(milliseconds: milliseconds)
        loop.beginTurn()
        loop.runTurn(events: ready)
        loop.endTurn()
    }

    /// Turns until it is so: for what another thread has a part in.
    func turns(until what: Comment, _ condition: () -> Bool) {
        let deadline = SteadyInstant.now() + .seconds(60)
        while !condition() {
            guard SteadyInstant.now() < deadline else {
                Issue.record(what)
                return
            }
            turn(waiting: 100)
        }
    }

    /// Does something that only a turn may.
    func within(_ body: (EventLoop) -> Void) {
        loop.beginTurn()
        loop.readClocks()
        loop.refreshSettings()
        loop.refreshState()
        body(loop)
        loop.endTurn()
    }

    /// The client of a connection that was accepted by a listener of RESP.
    func connect() -> TestPeer {
        var pair: [Int32] = [-1, -1]
        let result = socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_NONBLOCK.rawValue), 0, &pair)
        precondition(result == 0, "socketpair")
        loop.assigned.add(1, ordering: .relaxed)
        server.clientsNow.add(1, ordering: .relaxed)
        let id = server.lastClientID.add(1, ordering: .relaxed).newValue
        within { $0.adopt(ByteStream(pair[0]), id: id, kind: .resp, isUnixSocket: false) }
        return TestPeer(pair[1], loop.connections.last!)
    }

    /// What a client is answered to all of these bytes, sent at once.
    func answer(_ text: String, to peer: TestPeer? = nil) -> String {
        let peer = peer ?? connect()
        peer.send(text)
        turn()
        return peer.received()
    }
}

/// A client's end of a socket pair.
final class TestPeer {
    let descriptor: Int32
    /// The server's end.
    let connection: Connection
    /// The server has closed the connection, as far as `received` has seen.
    private(set) var isClosed = false

    init(_ descriptor: Int32, _ connection: Connection) {
        self.descriptor = descriptor
        self.connection = connection
    }

    deinit { close(descriptor) }

    /// Sends as many of the bytes as there is room for, and returns their number.
    @discardableResult
    func send(_ bytes: some Collection<UInt8>) -> Int {
        let flags = Int32(MSG_NOSIGNAL)
        return Array(bytes).withUnsafeBytes { max(0, Glibc.send(descriptor, $0.baseAddress, $0.count, flags)) }
    }

    @discardableResult
    func send(_ text: String) -> Int { send(Array(text.utf8)) }

    /// Ends its output; it still listens.
    func endOutput() { shutdown(descriptor, Int32(SHUT_WR)) }

    /// All that has been sent to it until now.
    func receivedBytes() -> [UInt8] {
        var all: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65536)
        while true {
            let count = read(descriptor, &buffer, buffer.count)
            if count == 0 || count < 0 && errno == ECONNRESET { isClosed = true }
            guard count > 0 else { return all }
            all += buffer[..<count]
        }
    }

    func received() -> String { String(decoding: receivedBytes(), as: UTF8.self) }
}

/// A request as an array of bulk strings.
func request(_ words: String...) -> String {
    "*\(words.count)\r\n" + words.map { "$\($0.utf8.count)\r\n\($0)\r\n" }.joined()
}
