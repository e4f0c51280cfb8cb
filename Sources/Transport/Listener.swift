// Sockets that accept: one per bound address, and the unix socket.

import CLinux
import Glibc
import System

/// Why the server cannot listen somewhere: one sentence for the person who started it.
struct ListenError: Error {
    let text: String
}

/// A listening socket.
struct Listener {
    let fd: Int32
    let isUnixSocket: Bool

    /// Listens on a TCP address: numeric, a name, `*` for all of IPv4, `::*` for all of IPv6. Port 0 takes any.
    static func tcp(host: String, port: Int, backlog: Int) throws(ListenError) -> Listener {
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        hints.ai_flags = AI_PASSIVE
        if host == "*" { hints.ai_family = AF_INET }
        if host == "::*" { hints.ai_family = AF_INET6 }
        var found: UnsafeMutablePointer<addrinfo>?
        let isAny = host == "*" || host == "::*"
        let result = getaddrinfo(isAny ? nil : host, String(port), &hints, &found)
        guard result == 0, let info = found else {
            throw ListenError(text: "bind: '\(host)' is no address: \(String(cString: gai_strerror(result)))")
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
            close(fd)
            throw error
        }
        return Listener(fd: fd, isUnixSocket: false)
    }

    /// Listens on a path. A socket left there by a server that is gone is replaced; one that answers is not.
    static func unix(path: String, mode: Int, backlog: Int) throws(ListenError) -> Listener {
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
                defer { close(probe) }
                // A file that is no socket refuses a connection as well: that one is somebody's.
                if connect(probe, generic, length) != 0, errno == ECONNREFUSED, isSocket(path) { unlink(path) }
                return Glibc.bind(fd, generic, length)
            }
        }
        guard bound == 0, listen(fd, Int32(backlog)) == 0 else {
            let error = failure("listen", path)
            close(fd)
            throw error
        }
        if mode != 0 { chmod(path, mode_t(mode)) }
        return Listener(fd: fd, isUnixSocket: true)
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
