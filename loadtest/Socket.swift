// TCP to a server on this machine, and single requests over it.

import CLinux
import Glibc
import RESP

/// The error message of the last failed call.
func lastErrorText() -> String { String(cString: strerror(errno)) }

/// Connects to 127.0.0.1 and returns the descriptor, with Nagle's delay off.
func connectLoopback(port: Int) throws(Failure) -> Int32 {
    let fd = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    guard fd >= 0 else { throw Failure("cannot create a socket: \(lastErrorText())") }
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = in_port_t(port).bigEndian
    address.sin_addr.s_addr = in_addr_t(0x7F00_0001).bigEndian
    let connected = withUnsafePointer(to: &address) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
            connect(fd, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
        }
    }
    guard connected == 0 else {
        let reason = lastErrorText()
        close(fd)
        throw Failure("cannot connect to 127.0.0.1:\(port): \(reason)")
    }
    var on: Int32 = 1
    setsockopt(fd, Int32(IPPROTO_TCP), TCP_NODELAY, &on, socklen_t(MemoryLayout<Int32>.size))
    return fd
}

/// Makes reads and writes return instead of blocking.
func makeNonBlocking(_ fd: Int32) {
    _ = fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK)
}

/// Raises this process's limit to `count` open descriptors.
func raiseOpenFilesLimit(to count: Int) throws(Failure) {
    var limit = rlimit()
    guard clinux_open_files_limit(&limit) == 0 else { throw Failure("cannot read RLIMIT_NOFILE: \(lastErrorText())") }
    guard limit.rlim_cur < rlim_t(count) else { return }
    limit.rlim_cur = rlim_t(count)
    limit.rlim_max = max(limit.rlim_max, rlim_t(count))
    guard clinux_set_open_files_limit(&limit) == 0 else {
        throw Failure("\(count) open files are needed (ulimit -n): \(lastErrorText())")
    }
}

/// A blocking connection for single requests: for setup and for reading counters, never for measuring.
final class Dialogue {
    private let fd: Int32
    private let port: Int

    init(port: Int) throws(Failure) {
        self.port = port
        fd = try connectLoopback(port: port)
        var patience = timeval(tv_sec: 30, tv_usec: 0)
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
    }

    deinit { close(fd) }

    /// Sends a command and waits for its reply, at most 30 seconds.
    func ask(_ words: [String]) throws(Failure) -> ReplyValue {
        let request = try CommandTemplate(words).encode().bytes
        guard request.withUnsafeBytes({ send(fd, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }) == request.count
        else { throw Failure("cannot send to port \(port): \(lastErrorText())") }
        var received: [UInt8] = []
        var piece = [UInt8](repeating: 0, count: 16 * 1024)
        while true {
            let count = read(fd, &piece, piece.count)
            guard count > 0 else {
                throw Failure("port \(port) did not answer \(words[0]): \(count == 0 ? "closed" : lastErrorText())")
            }
            received += piece[..<count]
            do {
                if let (value, _) = try ReplyValue.decode(received) { return value }
            } catch {
                throw Failure("port \(port) answered \(words[0]) with invalid RESP: \(error)")
            }
        }
    }

    /// As `ask`, but an error reply is thrown.
    func demand(_ words: [String]) throws(Failure) -> ReplyValue {
        let reply = try ask(words)
        if case .error(let text) = reply { throw Failure("port \(port) answered \(words[0]) with '\(text)'") }
        return reply
    }
}
