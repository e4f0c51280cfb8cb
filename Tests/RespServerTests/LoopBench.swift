// An event loop without its thread, and clients connected over socket pairs: the test runs each turn itself, so what
// a turn reads, buffers and answers is deterministic.

import Glibc
import LimiterEngine
import Synchronization
import System
import Testing
import Transport

@testable import RespServer

/// A server with one loop whose turns the test runs.
final class LoopBench {
    let server: Server
    var loop: EventLoop { server.loops[0] }

    /// - Parameter file: The configuration file the server was started with.
    /// - Parameter isLoading: The state is still being restored.
    init(
        file: String? = nil, isLoading: Bool = false, _ change: (inout Settings) -> Void = { _ in }
    ) throws {
        var settings = Settings()
        settings.ioThreads = 1
        settings.shards = 4
        change(&settings)
        server = try Server(settings: CurrentSettings(settings, file: file), log: try Log(path: "/dev/null"))
        if !isLoading { server.finishLoading() }
        // However slow the machine is, no work is deferred to the next turn unless a test asks for it.
        loop.turnLimit = .forever
    }

    /// One turn over the events that are ready, waiting at most this long for one.
    func turn(waiting milliseconds: Int32 = 0) {
        let ready = loop.poller.wait(milliseconds: milliseconds)
        loop.beginTurn()
        loop.runTurn(events: ready)
        loop.endTurn()
    }

    /// Runs turns until the condition holds, for effects that involve another thread.
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

    /// Runs code that may only run inside a turn.
    func within(_ body: (EventLoop) -> Void) {
        loop.beginTurn()
        loop.readClocks()
        loop.refreshSettings()
        loop.refreshState()
        body(loop)
        loop.endTurn()
    }

    /// The client end of a connection accepted by a listener of this kind.
    func connect(_ kind: Listener.Kind = .resp) -> TestPeer {
        var pair: [Int32] = [-1, -1]
        let result = socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_NONBLOCK.rawValue), 0, &pair)
        precondition(result == 0, "socketpair")
        loop.assigned.add(1, ordering: .relaxed)
        server.clientsNow.add(1, ordering: .relaxed)
        let id = server.lastClientID.add(1, ordering: .relaxed).newValue
        within { $0.adopt(ByteStream(pair[0]), id: id, kind: kind, isUnixSocket: false) }
        return TestPeer(pair[1], loop.connections.last!)
    }

    /// The replies to these bytes, sent at once.
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
    /// Whether `received` has seen the server close the connection.
    private(set) var isClosed = false

    init(_ descriptor: Int32, _ connection: Connection) {
        self.descriptor = descriptor
        self.connection = connection
    }

    deinit { close(descriptor) }

    /// Sends as many of the bytes as fit into the socket buffer and returns their number.
    @discardableResult
    func send(_ bytes: some Collection<UInt8>) -> Int {
        let flags = Int32(MSG_NOSIGNAL)
        return Array(bytes).withUnsafeBytes { max(0, Glibc.send(descriptor, $0.baseAddress, $0.count, flags)) }
    }

    @discardableResult
    func send(_ text: String) -> Int { send(Array(text.utf8)) }

    /// Half-closes the connection: it can still receive.
    func endOutput() { shutdown(descriptor, Int32(SHUT_WR)) }

    /// All bytes received so far.
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
