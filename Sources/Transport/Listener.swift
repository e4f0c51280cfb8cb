// Listening sockets: one per bound address, and the unix socket.

import CLinux
import Glibc
public import System

/// Why the server cannot listen at an endpoint: one sentence for the operator.
public struct ListenError: Error {
    /// The sentence, such as `cannot listen on 10.0.0.1 port 6379: the address is in use by another process`.
    public let text: String

    /// An error with this sentence.
    public init(text: String) { self.text = text }
}

/// A listening socket. A value without ownership: its creator closes it.
public struct Listener: Sendable {
    /// Where a socket listens.
    public enum Endpoint: Sendable, Equatable {
        /// A TCP address: numeric, a name, `*` for all of IPv4, `::*` for all of IPv6. Port 0 takes any.
        case tcp(host: String, port: Int)
        /// A path, with the socket's permissions; 0 leaves them to the umask.
        case unix(path: String, mode: Int)
    }

    /// The protocol of its connections.
    public enum Kind: String, Sendable, CaseIterable {
        /// RESP.
        case resp
        /// The check API.
        case http
        /// Administration over HTTP.
        case admin
    }

    /// The layer below that protocol.
    public enum Security: Sendable {
        case plain
    }

    /// The socket. Polled by the thread that accepts.
    public let descriptor: Int32
    /// Where it listens.
    public let endpoint: Endpoint
    /// The protocol of its connections.
    public let kind: Kind
    /// The layer below that protocol.
    public let security: Security

    /// Whether it is a unix socket, so that all connections are from this machine.
    public var isUnixSocket: Bool {
        if case .unix = endpoint { return true }
        return false
    }

    /// Starts listening. A unix socket left by a server that has exited is replaced; one that accepts connections is
    /// not.
    ///
    /// - Parameter backlog: Maximum number of connections that the kernel queues until they are accepted.
    public init(_ endpoint: Endpoint, kind: Kind, security: Security, backlog: Int) throws(ListenError) {
        self.endpoint = endpoint
        self.kind = kind
        self.security = security
        descriptor =
            switch endpoint {
            case .tcp(let host, let port): try Listener.tcp(host: host, port: port, backlog: backlog)
            case .unix(let path, let mode): try Listener.unix(path: path, mode: mode, backlog: backlog)
            }
    }

    /// Stops listening. The path of a unix socket remains.
    public func close() { Glibc.close(descriptor) }

    // MARK: Accepting

    /// The result of accepting.
    public enum Accepted {
        /// A connection; the caller's to close.
        case stream(ByteStream)
        /// No more are waiting.
        case none
        /// Accepting failed, usually for lack of descriptors or memory.
        case failed(SystemError)
    }

    /// Accepts a waiting connection.
    public func accept() -> Accepted {
        while true {
            let fd = clinux_accept(descriptor)
            if fd >= 0 { return .stream(ByteStream(fd)) }
            switch errno {
            case EINTR, ECONNABORTED: continue
            case EAGAIN: return .none
            default: return .failed(SystemError("accept4"))
            }
        }
    }

    // MARK: Opening

    private static func tcp(host: String, port: Int, backlog: Int) throws(ListenError) -> Int32 {
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        hints.ai_flags = AI_PASSIVE
        if host == "*" { hints.ai_family = AF_INET }
        if host == "::*" { hints.ai_family = AF_INET6 }
        var found: UnsafeMutablePointer<addrinfo>?
        let isAny = host == "*" || host == "::*"
        let result = getaddrinfo(isAny ? nil : host, String(port), &hints, &found)
        guard result == 0, let info = found else {
            throw ListenError(text: "bind: '\(host)' is not an address: \(String(cString: gai_strerror(result)))")
        }
        defer { freeaddrinfo(found) }
        let place = "\(host) port \(port)"
        let fd = clinux_socket(info.pointee.ai_family, Int32(SOCK_STREAM.rawValue))
        guard fd >= 0 else { throw failure("socket", place) }
        var one: Int32 = 1
        let size = socklen_t(MemoryLayout<Int32>.size)
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, size)
        if info.pointee.ai_family == AF_INET6 {
            setsockopt(fd, Int32(IPPROTO_IPV6), IPV6_V6ONLY, &one, size)
        }
        guard bind(fd, info.pointee.ai_addr, info.pointee.ai_addrlen) == 0, listen(fd, Int32(backlog)) == 0 else {
            let error = failure("listen", place)
            Glibc.close(fd)
            throw error
        }
        return fd
    }

    private static func unix(path: String, mode: Int, backlog: Int) throws(ListenError) -> Int32 {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let capacity = MemoryLayout.size(ofValue: address.sun_path)
        guard path.utf8.count < capacity else {
            throw ListenError(text: "unixsocket: '\(path)' is longer than \(capacity - 1) bytes")
        }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        let fd = clinux_socket(AF_UNIX, Int32(SOCK_STREAM.rawValue))
        guard fd >= 0 else { throw failure("socket", path) }
        let length = socklen_t(MemoryLayout<sockaddr_un>.size)
        let bound = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic in
                let probe = clinux_socket(AF_UNIX, Int32(SOCK_STREAM.rawValue))
                defer { Glibc.close(probe) }
                // A file that is not a socket refuses a connection as well; it must not be deleted.
                if connect(probe, generic, length) != 0, errno == ECONNREFUSED, isSocket(path) { unlink(path) }
                return Glibc.bind(fd, generic, length)
            }
        }
        guard bound == 0, listen(fd, Int32(backlog)) == 0 else {
            let error = failure("listen", path)
            Glibc.close(fd)
            throw error
        }
        if mode != 0 { chmod(path, mode_t(mode)) }
        return fd
    }

    private static func isSocket(_ path: String) -> Bool {
        var status = stat()
        return lstat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFSOCK
    }

    private static func failure(_ call: String, _ place: String) -> ListenError {
        let code = errno
        let reason = code == EADDRINUSE ? "the address is in use by another process" : SystemError.text(code)
        return ListenError(text: "cannot listen on \(place): \(reason)")
    }
}
