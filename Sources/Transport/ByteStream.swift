// The two directions of a connection: bytes in, bytes out; nothing blocks.
//
// Does not own the descriptor: the owner of the Channel closes it. This file is the only one of the product that calls
// read and send on a socket.

import Glibc
public import System

/// The result of a read.
@frozen
public enum ReadResult: Equatable, Sendable {
    /// This many bytes, 1 or more.
    case bytes(Int)
    /// No input yet.
    case wouldBlock
    /// The peer has ended its output.
    case end
    /// The connection is lost; the kernel's error number.
    case failed(Int32)
}

/// The result of a write.
@frozen
public enum WriteResult: Equatable, Sendable {
    /// This many bytes were accepted, 1 or more; possibly not all.
    case bytes(Int)
    /// There is no room.
    case wouldBlock
    /// The peer is gone; the kernel's error number.
    case failed(Int32)
}

/// A layer between a socket and a channel, such as encryption. Belongs to one connection; called by the thread that
/// owns it.
public protocol StreamLayer: AnyObject, Sendable {
    /// Reads bytes into `buffer`, which is not empty.
    func read(into buffer: UnsafeMutableRawBufferPointer, from socket: Int32) -> ReadResult
    /// Accepts bytes, of which there is at least one.
    func write(_ bytes: UnsafeRawBufferPointer, to socket: Int32) -> WriteResult
    /// Events the layer waits for in addition to the channel's: it may have to write before it can continue reading.
    var wants: PollEvents { get }
}

/// A non-blocking byte stream: a socket, and the layer on top of it, if any.
public struct ByteStream: Sendable {
    /// The socket.
    public let descriptor: Int32
    /// Nil for a plain stream, which then has no overhead.
    private let layer: (any StreamLayer)?

    /// A stream over a non-blocking socket.
    public init(_ descriptor: Int32, layer: (any StreamLayer)? = nil) {
        self.descriptor = descriptor
        self.layer = layer
    }

    /// Reads as many bytes as are available and fit. One system call for a plain stream.
    @inline(__always)
    public func read(into buffer: UnsafeMutableRawBufferPointer) -> ReadResult {
        if let layer { return layer.read(into: buffer, from: descriptor) }
        let count = Glibc.read(descriptor, buffer.baseAddress, buffer.count)
        if count > 0 { return .bytes(count) }
        if count == 0 { return .end }
        return errno == EAGAIN || errno == EINTR ? .wouldBlock : .failed(errno)
    }

    /// Writes as many bytes as there is room for. One system call for a plain stream.
    @inline(__always)
    public func write(_ bytes: UnsafeRawBufferPointer) -> WriteResult {
        if let layer { return layer.write(bytes, to: descriptor) }
        while true {
            let count = send(descriptor, bytes.baseAddress, bytes.count, Int32(MSG_NOSIGNAL))
            if count > 0 { return .bytes(count) }
            if count == 0 || errno == EAGAIN { return .wouldBlock }
            if errno != EINTR { return .failed(errno) }
        }
    }

    /// The peer's address as text; `?:0` if the kernel does not know it. One system call.
    public var peerAddress: String { SocketAddress.peer(of: descriptor) }
    /// This end's address as text. One system call.
    public var localAddress: String { SocketAddress.local(of: descriptor) }
    /// Whether the peer is on this machine, by its address. One system call.
    public var isPeerLoopback: Bool { SocketAddress.isPeerLoopback(of: descriptor) }

    /// Configures a TCP socket: bytes are sent without delay, and a peer that has vanished is detected.
    ///
    /// - Parameter keepAlive: Seconds of silence after which the kernel probes the peer, as in Redis: up to three
    ///   probes, a third of that time apart. 0 for never.
    public func configureTCP(keepAlive seconds: Int) {
        func set(_ level: Int32, _ option: Int32, _ value: Int) {
            var value = Int32(value)
            setsockopt(descriptor, level, option, &value, socklen_t(MemoryLayout<Int32>.size))
        }
        set(Int32(IPPROTO_TCP), TCP_NODELAY, 1)
        guard seconds > 0 else { return }
        set(SOL_SOCKET, SO_KEEPALIVE, 1)
        set(Int32(IPPROTO_TCP), TCP_KEEPIDLE, seconds)
        set(Int32(IPPROTO_TCP), TCP_KEEPINTVL, max(1, seconds / 3))
        set(Int32(IPPROTO_TCP), TCP_KEEPCNT, 3)
    }

    /// Events to poll for in addition to those the stream's user waits for.
    public var wants: PollEvents { layer?.wants ?? [] }

    /// Ends both directions at once; the descriptor stays open. The peer is notified, and the next read returns the
    /// end.
    public func shutdown() { Glibc.shutdown(descriptor, Int32(SHUT_RDWR)) }

    /// Ends the output: the peer reads its end after everything sent so far. Input can still be read.
    public func endOutput() { Glibc.shutdown(descriptor, Int32(SHUT_WR)) }

    /// Closes the descriptor.
    public func close() { Glibc.close(descriptor) }
}
