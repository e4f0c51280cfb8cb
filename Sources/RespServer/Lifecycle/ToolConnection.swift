// A subcommand's connection to a server: blocking, and bounded by a deadline.
//
// Owns the socket. Knows how to reach an address and to read one line or one reply; refuses to know what they mean.

import Glibc
import RESP
import System
import Transport

/// Where a subcommand finds a server.
struct ToolAddress: Equatable {
    var host = "127.0.0.1"
    var port = 6379
    /// Not nil: a Unix socket's path, instead of host and port.
    var path: String?

    /// The default address.
    init() {}

    /// A Unix socket.
    init(path: String) { self.path = path }

    /// `HOST:PORT`, with an IPv6 address in brackets, or a path with a slash. Nil if it is neither.
    init?(_ text: String) {
        if text.contains("/") {
            path = text
            return
        }
        guard let colon = text.lastIndex(of: ":"), let port = Int(text[text.index(after: colon)...]),
            (1...65535).contains(port)
        else { return nil }
        host = String(text[..<colon].drop { $0 == "[" })
        if host.hasSuffix("]") { host.removeLast() }
        guard !host.isEmpty else { return nil }
        self.port = port
    }

    /// For messages.
    var text: String { path ?? (host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)") }
}

/// Why a subcommand failed: the rest of a sentence that begins with an address or a path.
struct ToolFailure: Error {
    let text: String
}

/// A connection to a server. Closed when it is released.
final class ToolConnection {
    private let stream: ByteStream
    private let deadline: SteadyInstant
    private var input: [UInt8] = []

    private static let timedOut = "does not answer within the time-out"
    /// Longest reply read.
    private static let replyMax = 1 << 20

    /// Connects to the first of the host's addresses that accepts.
    init(to address: ToolAddress, until deadline: SteadyInstant) throws(ToolFailure) {
        let found =
            address.path.map { ResolvedAddress.unix(path: $0).map { [$0] } ?? [] }
            ?? ResolvedAddress.all(host: address.host, port: address.port, limit: 8)
        guard !found.isEmpty else {
            throw ToolFailure(text: address.path == nil ? "unknown host" : "the path is too long for a socket")
        }
        var failure = ToolFailure(text: ToolConnection.timedOut)
        for candidate in found {
            let stream: ByteStream
            do throws(SystemError) {
                stream = try ByteStream.connecting(to: candidate)
            } catch {
                failure = ToolFailure(text: SystemError.text(error.code))
                continue
            }
            guard ToolConnection.isReady(stream, Int16(POLLOUT), until: deadline) else {
                stream.close()
                break
            }
            let code = stream.connectError
            if code == 0 {
                self.stream = stream
                self.deadline = deadline
                return
            }
            stream.close()
            failure = ToolFailure(text: SystemError.text(code))
        }
        throw failure
    }

    deinit { stream.close() }

    /// Sends a request of words that contain no spaces, and returns its reply.
    func call(_ words: String...) throws(ToolFailure) -> ReplyValue {
        try send(words.joined(separator: " "))
        while true {
            do throws(ReplyError) {
                if let (value, length) = try ReplyValue.decode(input) {
                    input.removeFirst(length)
                    return value
                }
            } catch {
                throw ToolFailure(text: "does not speak the Redis protocol")
            }
            guard input.count < ToolConnection.replyMax else {
                throw ToolFailure(text: "sends a reply that is too long")
            }
            try receive()
        }
    }

    /// Sends a request, and returns the first line of what comes back, without its end.
    func firstLine(of request: String) throws(ToolFailure) -> String {
        try send(request)
        while input.count < 4096 {
            try receive()
            if let end = input.firstIndex(of: UInt8(ascii: "\r")) {
                return String(decoding: input[..<end], as: UTF8.self)
            }
        }
        throw ToolFailure(text: "does not speak the Redis protocol")
    }

    /// Sends an inline request, for which the socket has room.
    private func send(_ request: String) throws(ToolFailure) {
        let bytes = Array((request + "\r\n").utf8)
        guard case .bytes(bytes.count) = bytes.withUnsafeBytes(stream.write) else {
            throw ToolFailure(text: "closes the connection")
        }
    }

    private func receive() throws(ToolFailure) {
        guard ToolConnection.isReady(stream, Int16(POLLIN), until: deadline) else {
            throw ToolFailure(text: ToolConnection.timedOut)
        }
        var buffer = [UInt8](repeating: 0, count: 16 * 1024)
        switch buffer.withUnsafeMutableBytes({ stream.read(into: $0) }) {
        case .bytes(let count): input += buffer[..<count]
        case .wouldBlock: break
        case .end: throw ToolFailure(text: "closes the connection")
        case .failed(let code): throw ToolFailure(text: SystemError.text(code))
        }
    }

    /// Waits for events of the stream. False at the deadline.
    private static func isReady(_ stream: ByteStream, _ events: Int16, until deadline: SteadyInstant) -> Bool {
        while true {
            let left = deadline - SteadyInstant.now()
            var polled = pollfd(fd: stream.descriptor, events: events, revents: 0)
            // Rounded up, so that the last wait is not a busy one.
            let milliseconds = max(0, (left.nanoseconds + 999_999) / 1_000_000)
            if poll(&polled, 1, Int32(clamping: milliseconds)) > 0 { return true }
            guard left > .zero else { return false }
        }
    }
}
