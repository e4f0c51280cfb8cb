// `escapement ping`: asks a server over the network whether it serves, for health checks.
//
// Owns its arguments, its output and its exit codes. Sends one PING and reads one line; waits a bounded time. Refuses
// to authenticate: a password on a command line is visible to every user of the machine, and a server that asks for one
// has answered.

import Glibc
import System
import Transport

/// The subcommand `ping`.
public enum PingCommand {
    private static let usage = """
        usage: escapement ping [HOST:PORT | SOCKET] [--timeout SECONDS]

        Asks a server whether it serves. The default address is 127.0.0.1:6379; a Unix socket is a path with a slash.
        The time-out is 2 seconds unless given.
        Exit code: 0 it answers PONG, or asks for a password first; 1 it does not answer, or not yet, with the reason on
        standard error; 2 wrong arguments

        """

    private static let defaultPort = 6379
    private static let timeoutSecondsMax = 3600.0

    /// What the arguments ask for.
    struct Request: Equatable {
        var host = "127.0.0.1"
        var port = PingCommand.defaultPort
        /// Not nil: a Unix socket's path, instead of host and port.
        var path: String?
        var timeout = Nanoseconds.seconds(2)

        init() {}

        /// Nil if the arguments are wrong.
        init?(_ words: [String]) {
            var words = words[...]
            if let first = words.first, !first.hasPrefix("--") {
                words.removeFirst()
                if first.contains("/") {
                    path = first
                } else {
                    guard let colon = first.lastIndex(of: ":"), colon > first.startIndex,
                        let port = Int(first[first.index(after: colon)...]), (1...65535).contains(port)
                    else { return nil }
                    // An IPv6 address is in brackets.
                    host = String(first[..<colon].drop { $0 == "[" })
                    if host.hasSuffix("]") { host.removeLast() }
                    guard !host.isEmpty else { return nil }
                    self.port = port
                }
            }
            guard !words.isEmpty else { return }
            guard words.count == 2, words.first == "--timeout", let seconds = words.last.flatMap(Double.init),
                seconds > 0, seconds <= PingCommand.timeoutSecondsMax
            else { return nil }
            timeout = .microseconds(Int64(seconds * 1_000_000))
        }

        /// For messages.
        var target: String { path ?? (host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)") }
    }

    /// Runs `escapement ping` with the arguments after that word.
    ///
    /// - Returns: The exit code.
    public static func run(arguments: [String]) -> Int32 {
        if arguments.contains("--help") {
            try? FileDescriptor.standardOutput.writeAll(Array(usage.utf8))
            return 0
        }
        guard let request = Request(arguments) else {
            StandardError.write(usage)
            return 2
        }
        signal(SIGPIPE, SIG_IGN)
        do throws(Failure) {
            let line = try ask(request)
            if line == "+PONG" || line.hasPrefix("-NOAUTH") {
                try? FileDescriptor.standardOutput.writeAll(Array("\(line.dropFirst())\n".utf8))
                return 0
            }
            throw Failure(text: "answers '\(SettingError.printable(String(line.prefix(128))))'")
        } catch {
            StandardError.write("escapement: \(request.target): \(error.text)\n")
            return 1
        }
    }

    private struct Failure: Error {
        let text: String
    }

    /// Sends PING, and returns the first line of the answer without its end.
    private static func ask(_ request: Request) throws(Failure) -> String {
        let deadline = SteadyInstant.now() + request.timeout
        let stream = try connect(request, until: deadline)
        defer { stream.close() }
        let ping = Array("PING\r\n".utf8)
        // A fresh socket has room for it.
        guard case .bytes(ping.count) = ping.withUnsafeBytes(stream.write) else {
            throw Failure(text: "closes the connection")
        }
        var line: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 512)
        while line.count < lineMax {
            guard isReady(stream, Int16(POLLIN), until: deadline) else { throw Failure(text: timedOut) }
            switch buffer.withUnsafeMutableBytes({ stream.read(into: $0) }) {
            case .bytes(let count): line += buffer[..<count]
            case .wouldBlock: continue
            case .end: throw Failure(text: "closes the connection")
            case .failed(let code): throw Failure(text: SystemError.text(code))
            }
            if let end = line.firstIndex(of: UInt8(ascii: "\r")) {
                return String(decoding: line[..<end], as: UTF8.self)
            }
        }
        throw Failure(text: "does not speak the Redis protocol")
    }

    private static let timedOut = "does not answer within the time-out"
    /// Longest line read.
    private static let lineMax = 4096

    /// Connects to the first address that accepts.
    private static func connect(_ request: Request, until deadline: SteadyInstant) throws(Failure) -> ByteStream {
        let addresses =
            request.path.map { ResolvedAddress.unix(path: $0).map { [$0] } ?? [] }
            ?? ResolvedAddress.all(host: request.host, port: request.port, limit: 8)
        guard !addresses.isEmpty else {
            throw Failure(text: request.path == nil ? "unknown host" : "the path is too long for a socket")
        }
        var failure = Failure(text: timedOut)
        for address in addresses {
            let stream: ByteStream
            do throws(SystemError) {
                stream = try ByteStream.connecting(to: address)
            } catch {
                failure = Failure(text: SystemError.text(error.code))
                continue
            }
            guard isReady(stream, Int16(POLLOUT), until: deadline) else {
                stream.close()
                break
            }
            let code = stream.connectError
            if code == 0 { return stream }
            stream.close()
            failure = Failure(text: SystemError.text(code))
        }
        throw failure
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
