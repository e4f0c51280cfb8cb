// One connection's stream with its buffered input and output, and the events it is polled for.
//
// Ten thousand idle connections must cost next to nothing, so both buffers are nil while they are empty. Knows no
// protocol, no loop and no limit: it reports what has happened, and its owner decides what that means.

public import System

/// The result of sending bytes.
public struct SendResult: Equatable, Sendable {
    /// Bytes that the stream has accepted.
    public var sent: Int
    /// Bytes that wait for room, including earlier ones.
    public var waiting: Int
    /// The peer is gone; nothing more can be sent.
    public var hasFailed: Bool
}

/// A connection's stream, buffers and interest. Not thread-safe: the owner's thread.
public struct Channel: ~Copyable {
    /// The stream. Closed by the owner.
    public let stream: ByteStream
    /// The events the stream is polled for.
    public private(set) var interest: PollEvents
    /// Input not yet consumed.
    public var input: InputBuffer?
    /// Output that the stream has no room for yet.
    public private(set) var output: OutputQueue?

    /// A channel over a stream that is not polled yet.
    public init(_ stream: ByteStream) {
        self.stream = stream
        interest = []
    }

    // MARK: Polling

    /// Registers the stream with the poller. Throws if the kernel refuses.
    public mutating func register(
        with poller: borrowing Poller, _ wanted: PollEvents, token: UInt64
    ) throws(SystemError) {
        interest = wanted.union(stream.wants)
        try poller.add(stream.descriptor, interest, token: token)
    }

    /// Changes the events the stream is polled for. No system call if they are the same.
    public mutating func poll(with poller: borrowing Poller, _ wanted: PollEvents, token: UInt64) {
        let wanted = wanted.union(stream.wants)
        guard wanted != interest else { return }
        interest = wanted
        poller.change(stream.descriptor, wanted, token: token)
    }

    // MARK: Output

    /// Whether output waits for room.
    public var hasOutput: Bool { output != nil }

    /// Sends bytes after any that wait for room. Bytes the stream does not accept are copied and wait, too.
    public mutating func send(_ bytes: UnsafeBufferPointer<UInt8>) -> SendResult {
        guard !bytes.isEmpty else { return SendResult(sent: 0, waiting: output?.count ?? 0, hasFailed: false) }
        var sent = 0
        if output == nil {
            switch stream.write(UnsafeRawBufferPointer(bytes)) {
            case .bytes(let count): sent = count
            case .wouldBlock: break
            case .failed: return SendResult(sent: 0, waiting: 0, hasFailed: true)
            }
            guard sent < bytes.count else { return SendResult(sent: sent, waiting: 0, hasFailed: false) }
            output = OutputQueue()
        }
        output!.append(UnsafeBufferPointer(rebasing: bytes[sent...]))
        return SendResult(sent: sent, waiting: output!.count, hasFailed: false)
    }

    /// As `send`, for bytes that need no copy when others are waiting already.
    public mutating func send(piece: [UInt8]) -> SendResult {
        guard let output else { return piece.withUnsafeBufferPointer { send($0) } }
        output.append(piece)
        return SendResult(sent: 0, waiting: output.count, hasFailed: false)
    }

    /// Sends the waiting bytes until the stream accepts no more or none are left.
    public mutating func flush() -> SendResult {
        guard let output else { return SendResult(sent: 0, waiting: 0, hasFailed: false) }
        let before = output.count
        var hasFailed = false
        output.drain { bytes in
            switch stream.write(UnsafeRawBufferPointer(bytes)) {
            case .bytes(let count): return count
            case .wouldBlock: return 0
            case .failed:
                hasFailed = true
                return 0
            }
        }
        let left = output.count
        if left == 0 { self.output = nil }
        return SendResult(sent: before - left, waiting: left, hasFailed: hasFailed)
    }

    /// Discards both buffers: the connection is over.
    public mutating func discard() {
        input = nil
        output = nil
    }

    // MARK: Memory

    /// Memory that one buffer uses besides its contents: an object, and an array header in it.
    public static var bufferOverhead: Int { 96 }

    /// Bytes of memory that the buffers use. O(1).
    public var memory: Int {
        let ofInput = input.map { $0.memory + Channel.bufferOverhead } ?? 0
        return ofInput + (output.map { $0.memory + Channel.bufferOverhead } ?? 0)
    }
}
