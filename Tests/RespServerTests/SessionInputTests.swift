// How a RESP session consumes its input: requests split into any number of pieces, long requests, and protocol
// errors.

import RESP
import Synchronization
import System
import Testing
import Transport

@testable import RespServer

@Suite struct SessionInputTests {
    private let bench: LoopBench

    init() throws { bench = try LoopBench() }

    private static let pipeline =
        request("PING") + "\r\n" + "ECHO inline\r\n" + request("GET", "nothing") + "*0\r\n"
        + request("ECHO", "a\r\nb") + request("CL.THROTTLE", "k", "1", "1", "1", "0") + "PING \"x y\"\r\n"
    private static let answers =
        "+PONG\r\n$6\r\ninline\r\n$-1\r\n$4\r\na\r\nb\r\n*5\r\n:0\r\n:2\r\n:2\r\n:-1\r\n:0\r\n$3\r\nx y\r\n"

    @Test func aPipelineIsAnsweredInOrder() { #expect(bench.answer(Self.pipeline) == Self.answers) }

    /// Wherever a read ends, the next one continues.
    @Test func inputMayBeSplitAnywhere() {
        let bytes = Array(Self.pipeline.utf8)
        for cut in 1..<bytes.count {
            let peer = bench.connect()
            peer.send(bytes[..<cut])
            bench.turn()
            let first = peer.received()
            peer.send(bytes[cut...])
            bench.turn()
            #expect(first + peer.received() == Self.answers, "cut at \(cut)")
            #expect(peer.connection.channel.input == nil && peer.connection.resp.pendingArguments.isEmpty)
        }
    }

    @Test func inputMayArriveByteByByte() {
        let peer = bench.connect()
        var answers = ""
        for byte in Self.pipeline.utf8 {
            peer.send([byte])
            bench.turn()
            answers += peer.received()
        }
        #expect(answers == Self.answers)
    }

    /// Connections with incomplete requests do not see each other's arguments.
    @Test func parserStateIsPerConnection() {
        let words = ["first", "second", "third"]
        let peers = words.map { _ in bench.connect() }
        let requests = words.map { Array(request("ECHO", $0).utf8) }
        for step in 0..<requests.map(\.count).max()! {
            for (peer, bytes) in zip(peers, requests) where step < bytes.count { peer.send([bytes[step]]) }
            bench.turn()
        }
        for (peer, word) in zip(peers, words) { #expect(peer.received() == "$\(word.utf8.count)\r\n\(word)\r\n") }
    }

    /// A request that spans many reads is buffered as a whole; its memory is released once it has been answered.
    @Test func aLongRequest() {
        let peer = bench.connect()
        let usual = bench.loop.clientMemory.load(ordering: .relaxed)
        let word = String((0..<700_000).map { Character(Unicode.Scalar(UInt8(97 + $0 % 26))) })
        var rest = Array((request("ECHO", word) + request("PING")).utf8)[...]
        var most = 0
        var answer: [UInt8] = []
        let expected = "$\(word.utf8.count)\r\n\(word)\r\n+PONG\r\n"
        for _ in 0..<10_000 where answer.count < expected.utf8.count {
            rest = rest.dropFirst(rest.isEmpty ? 0 : peer.send(rest))
            bench.turn()
            most = max(most, bench.loop.clientMemory.load(ordering: .relaxed))
            answer += peer.receivedBytes()
        }
        #expect(String(decoding: answer, as: UTF8.self) == expected)
        #expect(most > usual + 700_000, "buffered input is counted")
        bench.turn()
        #expect(bench.loop.clientMemory.load(ordering: .relaxed) == usual)
    }

    @Test func aRequestOverTheLimitClosesTheConnection() throws {
        let bench = try LoopBench { $0.clientQueryBufferLimitBytes = 10_000 }
        let peer = bench.connect()
        peer.send("*2\r\n$4\r\nECHO\r\n$20000\r\n" + String(repeating: "x", count: 9_000))
        bench.turn()
        bench.turn()
        #expect(!peer.connection.flags.contains(.closed))
        // The limit applies from the second read on, where input is buffered as a whole.
        peer.send(String(repeating: "x", count: 2_000))
        bench.turn()
        #expect(peer.received() == "" && peer.isClosed && peer.connection.flags.contains(.closed))
        #expect(bench.loop.connections.isEmpty && bench.loop.clientMemory.load(ordering: .relaxed) == 0)
    }

    // MARK: Errors

    /// Requests before the error are answered, the error is reported, and input after it is ignored.
    @Test func aProtocolErrorClosesTheConnectionAfterEarlierReplies() {
        let cases = [
            ("*x\r\n", "invalid multibulk length"), ("*1\r\n+4\r\n", "expected '$', got '+'"),
            ("*1\r\n$-1\r\n", "invalid bulk length"), ("*1\r\n$4\r\nPINGxx", "expected CRLF after bulk"),
            ("ECHO \"open\r\n", "unbalanced quotes in request"),
        ]
        for (bad, problem) in cases {
            let peer = bench.connect()
            let count = bench.loop.counters.value(.protocolErrors)
            peer.send(request("PING") + request("GET", "nothing") + bad + request("PING"))
            bench.turn()
            #expect(peer.received() == "+PONG\r\n$-1\r\n-ERR Protocol error: \(problem)\r\n", "\(bad)")
            #expect(peer.isClosed && peer.connection.flags.contains(.closed), "\(bad)")
            #expect(bench.loop.counters.value(.protocolErrors) == count + 1)
        }
    }

    @Test func protocolErrorsAreSilentWhileRepliesAreOff() {
        let peer = bench.connect()
        #expect(bench.answer(request("CLIENT", "REPLY", "OFF") + "*x\r\n", to: peer) == "" && peer.isClosed)
    }

    /// Requests of unauthenticated clients have low limits, which end with the request after a successful AUTH.
    @Test func unauthenticatedRequestsAreLimited() throws {
        let bench = try LoopBench { $0.requirepass = "secret" }
        let many = request("ECHO", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10")
        let peer = bench.connect()
        #expect(bench.answer(many, to: peer).hasPrefix("-ERR Protocol error: unauthenticated") && peer.isClosed)
        let known = bench.connect()
        let answer = bench.answer(request("PING") + request("AUTH", "secret") + many, to: known)
        #expect(answer.hasPrefix("-NOAUTH Authentication required.\r\n+OK\r\n-ERR wrong number of arguments"))
        #expect(!known.isClosed)
    }

    // MARK: Suspended input

    /// A suspended command is run again from its first byte, and the input after it follows.
    @Test func suspendedInputIsKeptAndRunLater() {
        let other = bench.connect()
        let peer = bench.connect()
        bench.server.pause.begin(.all, until: .distantFuture, now: SteadyInstant.now())
        #expect(bench.answer(request("ECHO", "a") + request("ECHO", "b"), to: peer) == "")
        #expect(peer.connection.flags.contains(.suspended) && !peer.connection.isReading)
        #expect(bench.answer(request("CLIENT", "UNPAUSE"), to: other) == "+OK\r\n")
        bench.turn()
        #expect(peer.received() == "$1\r\na\r\n$1\r\nb\r\n" && !peer.connection.flags.contains(.suspended))
    }

    /// A turn that has run too long defers commands, in order for each connection; batched calls still run.
    @Test func aTurnOverItsTimeLimitDefersCommands() {
        let peer = bench.connect()
        bench.loop.turnLimit = -.milliseconds(1)
        let requests = request("GET", "nothing") + request("ECHO", "a") + request("ECHO", "b")
        #expect(bench.answer(requests, to: peer) == "$-1\r\n")
        #expect(peer.connection.flags.contains(.deferred))
        bench.loop.turnLimit = .forever
        bench.turn()
        #expect(peer.received() == "$1\r\na\r\n$1\r\nb\r\n" && bench.loop.deferred.isEmpty)
    }

    // MARK: Reply modes

    @Test func repliesAreSkippedAndTurnedOff() {
        let skip = request("CLIENT", "REPLY", "SKIP") + request("ECHO", "a") + request("ECHO", "b")
        #expect(bench.answer(skip) == "$1\r\nb\r\n")
        // Calls are not batched while replies are off or skipped.
        let batched = request("CLIENT", "REPLY", "SKIP") + request("GET", "nothing") + request("GET", "nothing")
        #expect(bench.answer(batched) == "$-1\r\n")
        let off =
            request("CLIENT", "REPLY", "OFF") + request("ECHO", "a") + request("CLIENT", "REPLY", "ON")
            + request("ECHO", "b")
        #expect(bench.answer(off) == "+OK\r\n$1\r\nb\r\n")
    }

    @Test func theProtocolVersionIsPerSession() {
        let (new, old) = (bench.connect(), bench.connect())
        #expect(bench.answer(request("HELLO", "3"), to: new).hasPrefix("%7\r\n"))
        #expect(new.connection.isFastPathEligible)
        // In one wave, each client gets its own protocol version.
        for peer in [new, old, new, old] { peer.send(request("GET", "nothing")) }
        bench.turn()
        #expect(new.received() == "_\r\n_\r\n" && old.received() == "$-1\r\n$-1\r\n")
    }
}
