// A channel over a scripted stream: every order of short writes, full buffers and failures.

import Glibc
import System
import TestSupport
import Testing

@testable import Transport

/// A stream layer that follows a script.
///
/// `@unchecked Sendable`: used by one test on one thread.
private final class ScriptedLayer: StreamLayer, @unchecked Sendable {
    var reads: [ReadResult] = []
    var writes: [WriteResult] = []
    var wants: PollEvents = []
    /// The bytes accepted, in order.
    private(set) var taken: [UInt8] = []
    private(set) var calls = 0

    func read(into buffer: UnsafeMutableRawBufferPointer, from socket: Int32) -> ReadResult {
        reads.isEmpty ? .wouldBlock : reads.removeFirst()
    }

    func write(_ bytes: UnsafeRawBufferPointer, to socket: Int32) -> WriteResult {
        calls += 1
        let result = writes.isEmpty ? .wouldBlock : writes.removeFirst()
        guard case .bytes(let count) = result else { return result }
        let fitting = min(count, bytes.count)
        taken += bytes[..<fitting]
        return .bytes(fitting)
    }
}

/// A channel behind a reference, since the test macros cannot capture non-copyable values.
private final class TestChannel {
    private var channel: Channel

    init(_ stream: ByteStream) { channel = Channel(stream) }

    var hasOutput: Bool { channel.hasOutput }
    var memory: Int { channel.memory }
    var interest: PollEvents { channel.interest }
    func send(_ bytes: [UInt8]) -> SendResult { bytes.withUnsafeBufferPointer { channel.send($0) } }
    func send(piece: [UInt8]) -> SendResult { channel.send(piece: piece) }
    func flush() -> SendResult { channel.flush() }
    func discard() { channel.discard() }
    func register(with poller: borrowing Poller, _ wanted: PollEvents) throws {
        try channel.register(with: poller, wanted, token: 9)
    }
    func poll(with poller: borrowing Poller, _ wanted: PollEvents) { channel.poll(with: poller, wanted, token: 9) }
}

@Suite struct ChannelTests {
    @Test func bytesThatFitAreNotBuffered() {
        let layer = ScriptedLayer()
        let channel = TestChannel(ByteStream(-1, layer: layer))
        layer.writes = [.bytes(3)]
        #expect(channel.send([1, 2, 3]) == SendResult(sent: 3, waiting: 0, hasFailed: false))
        #expect(!channel.hasOutput && channel.memory == 0)
        #expect(channel.send([]) == SendResult(sent: 0, waiting: 0, hasFailed: false))
        #expect(layer.calls == 1, "no call without bytes to send")
    }

    @Test func bytesThatDoNotFitWaitInOrder() {
        let layer = ScriptedLayer()
        let channel = TestChannel(ByteStream(-1, layer: layer))
        layer.writes = [.bytes(1)]
        #expect(channel.send([1, 2, 3]) == SendResult(sent: 1, waiting: 2, hasFailed: false))
        #expect(channel.send(piece: [4]) == SendResult(sent: 0, waiting: 3, hasFailed: false))
        #expect(channel.send([5]) == SendResult(sent: 0, waiting: 4, hasFailed: false))
        #expect(layer.calls == 1, "no call before the stream is writable")
        #expect(channel.memory > 0)
        layer.writes = [.bytes(2), .wouldBlock]
        #expect(channel.flush() == SendResult(sent: 2, waiting: 2, hasFailed: false))
        layer.writes = [.bytes(100), .bytes(100), .bytes(100)]
        #expect(channel.flush() == SendResult(sent: 2, waiting: 0, hasFailed: false))
        #expect(layer.taken == [1, 2, 3, 4, 5])
        #expect(!channel.hasOutput && channel.memory == 0)
    }

    @Test func aClosedPeerIsReportedAtOnceAndNothingIsBuffered() {
        let layer = ScriptedLayer()
        let channel = TestChannel(ByteStream(-1, layer: layer))
        layer.writes = [.failed(EPIPE)]
        #expect(channel.send([1]) == SendResult(sent: 0, waiting: 0, hasFailed: true))
        #expect(!channel.hasOutput)
        layer.writes = [.wouldBlock, .bytes(1), .failed(ECONNRESET)]
        #expect(channel.send([1, 2]).waiting == 2)
        #expect(channel.flush() == SendResult(sent: 1, waiting: 1, hasFailed: true))
        channel.discard()
        #expect(channel.memory == 0)
    }

    /// For any script, the bytes accepted are always a prefix of the bytes sent, and the totals agree.
    @Test func anyScript() {
        var random = SeededGenerator(for: "channel scripts")
        for _ in 0..<300 {
            let layer = ScriptedLayer()
            let channel = TestChannel(ByteStream(-1, layer: layer))
            var sent: [UInt8] = []
            var taken = 0
            for _ in 0..<40 {
                layer.writes = (0..<random.below(4)).map { _ in
                    random.below(3) == 0 ? .wouldBlock : .bytes(1 + random.below(50))
                }
                let result: SendResult
                switch random.below(3) {
                case 0:
                    let bytes = (0..<random.below(60)).map { _ in UInt8(random.below(256)) }
                    sent += bytes
                    result = channel.send(bytes)
                case 1:
                    let bytes = (0..<random.below(60)).map { _ in UInt8(random.below(256)) }
                    sent += bytes
                    result = channel.send(piece: bytes)
                default: result = channel.flush()
                }
                taken += result.sent
                #expect(!result.hasFailed && result.waiting == sent.count - taken)
                #expect(channel.hasOutput == (result.waiting > 0))
            }
            layer.writes = Array(repeating: .bytes(1000), count: 100)
            taken += channel.flush().sent
            #expect(taken == sent.count && layer.taken == sent)
        }
    }

    @Test func thePollerIsUpdatedOnlyOnChanges() throws {
        var ends: [Int32] = [0, 0]
        try #require(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue), 0, &ends) == 0)
        let poller = try Poller(capacity: 4)
        let layer = ScriptedLayer()
        let channel = TestChannel(ByteStream(ends[0], layer: layer))
        defer { for end in ends { close(end) } }
        try channel.register(with: poller, .readable)
        #expect(channel.interest == .readable && poller.wait(milliseconds: 0) == 0)
        // A layer that must write before it can continue reading is polled for writability.
        layer.wants = .writable
        channel.poll(with: poller, .readable)
        #expect(channel.interest == [.readable, .writable])
        #expect(poller.wait(milliseconds: 0) == 1 && poller.event(0) == (9, .writable))
        layer.wants = []
        channel.poll(with: poller, .readable)
        #expect(poller.wait(milliseconds: 0) == 0)
    }

    // MARK: The kernel's own stream

    @Test func aPlainStreamWritesToTheSocket() throws {
        var ends: [Int32] = [0, 0]
        try #require(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue), 0, &ends) == 0)
        let (left, right) = (ByteStream(ends[0]), ByteStream(ends[1]))
        var memory = [UInt8](repeating: 0, count: 8)
        func read() -> ReadResult { memory.withUnsafeMutableBytes { right.read(into: $0) } }
        #expect(read() == .wouldBlock)
        #expect([UInt8]([1, 2, 3]).withUnsafeBytes(left.write) == .bytes(3))
        #expect(read() == .bytes(3) && memory[..<3] == [1, 2, 3])
        // Until the socket buffer is full.
        let chunk = [UInt8](repeating: 7, count: 1 << 16)
        var written = 0
        while case .bytes(let count) = chunk.withUnsafeBytes(left.write) { written += count }
        #expect(chunk.withUnsafeBytes(left.write) == .wouldBlock && written > 0)
        left.shutdown()
        var received = 0
        while case .bytes(let count) = read() { received += count }
        #expect(received == written && read() == .end)
        #expect(chunk.withUnsafeBytes(right.write) == .failed(EPIPE))
        left.close()
        right.close()
    }

    @Test func aBufferGrowsWithReceivedData() {
        let buffer = InputBuffer()
        var expected: [UInt8] = []
        for size in [1, 300, 0, 5_000] {
            buffer.reserve(size)
            #expect(buffer.free.count >= size)
            for position in 0..<size { buffer.free[position] = UInt8(truncatingIfNeeded: position) }
            buffer.received(size)
            expected += (0..<size).map { UInt8(truncatingIfNeeded: $0) }
            #expect(buffer.bytes == expected)
        }
        buffer.consume(301)
        #expect(buffer.bytes == Array(expected[301...]) && buffer.memory >= buffer.count)
    }
}
