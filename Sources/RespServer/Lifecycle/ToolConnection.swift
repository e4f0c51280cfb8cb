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

    /// `HOST:PORT`, with an IPv6 address in brackets, or a path with a slash.
    init(_ text: String) throws(ToolFailure) {
        if text.contains("/") {
            path = text
            return
        }
        guard let colon = text.lastIndex(of: ":") else {
            throw ToolFailure(text: "no port: an address is HOST:PORT, such as localhost:6379")
        }
        guard let port = Int(text[text.index(after: colon)...]), (1...65535).contains(port) else {
            throw ToolFailure(text: "the port after the last colon is not a number from 1 to 65535")
        }
        host = String(text[..<colon].drop { $0 == "[" })
        if host.hasSuffix("]") { host.removeLast() }
        guard !host.isEmpty else { throw ToolFailure(text: "no host before the colon") }
        self.port = port
    }

    /// For messages.
    var text: String { path ?? (host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)") }
}

/// Why a subcommand failed: the rest of a sentence that begins with an address, a path or an argument.
struct ToolFailure: Error {
    let text: String
}

/// The words after a subcommand's name: arguments, and at most one `--timeout SECONDS`.
struct ToolArguments {
    private(set) var words: [String] = []
    private(set) var timeout: String?

    /// - Parameter most: The maximum number of arguments.
    init(_ arguments: [String], most: Int) throws(ToolFailure) {
        var rest = arguments[...]
        while let word = rest.popFirst() {
            if word == "--timeout", timeout == nil {
                guard let seconds = rest.popFirst() else { throw ToolFailure(text: "--timeout: no number follows it") }
                timeout = seconds
            } else if word.hasPrefix("--") {
                let reason = word == "--timeout" ? "given twice" : "there is no such option"
                throw ToolArguments.failure(word, reason)
            } else if words.count == most {
                throw ToolArguments.failure(word, "one argument too many")
            } else {
                words.append(word)
            }
        }
    }

    /// The word as an address.
    static func address(_ word: String) throws(ToolFailure) -> ToolAddress {
        do throws(ToolFailure) {
            return try ToolAddress(word)
        } catch {
            throw failure(word, error.text)
        }
    }

    /// A sentence about an argument.
    static func failure(_ word: String, _ reason: String) -> ToolFailure {
        ToolFailure(text: "'\(SettingError.printable(word))': \(reason)")
    }

    /// Prints why the arguments of a subcommand are wrong, and its usage.
    ///
    /// - Returns: The exit code.
    static func refuse(_ subcommand: String, _ failure: ToolFailure, usage: String) -> Int32 {
        StandardError.write("escapement: \(subcommand): \(failure.text)\n\(usage)")
        return 2
    }
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

    /// Sends a request, and returns its reply.
    func call(_ words: String...) throws(ToolFailure) -> ReplyValue {
        var request = "*\(words.count)\r\n"
        for word in words { request += "$\(word.utf8.count)\r\n\(word)\r\n" }
        try send(request)
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

    /// Sends an inline request, and returns the first line of what comes back, without its end.
    func firstLine(of request: String) throws(ToolFailure) -> String {
        try send("\(request)\r\n")
        while input.count < 4096 {
            try receive()
            if let end = input.firstIndex(of: UInt8(ascii: "\r")) {
                return String(decoding: input[..<end], as: UTF8.self)
            }
        }
        throw ToolFailure(text: "does not speak the Redis protocol")
    }

    /// Sends a request, for which the socket has room.
    private func send(_ request: String) throws(ToolFailure) {
        let bytes = Array(request.utf8)
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
