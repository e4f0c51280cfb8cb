// Connections that this server makes: resolving names, and connecting without blocking.

import CLinux
import Glibc
public import System

/// One address that a host name resolves to.
public struct ResolvedAddress: Equatable, Sendable {
    /// `AF_INET` or `AF_INET6`.
    let family: Int32
    /// The bytes of its `sockaddr`.
    let bytes: [UInt8]

    /// The addresses of a host, in the order in which to try them, `limit` at most; none if the name is unknown. Blocks
    /// on name servers.
    public static func all(host: String, port: Int, limit: Int) -> [ResolvedAddress] {
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var found: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo(host, String(port), &hints, &found) == 0 else { return [] }
        defer { freeaddrinfo(found) }
        var addresses: [ResolvedAddress] = []
        var next = found
        while let info = next, addresses.count < limit {
            next = info.pointee.ai_next
            let bytes = UnsafeRawBufferPointer(start: info.pointee.ai_addr, count: Int(info.pointee.ai_addrlen))
            addresses.append(ResolvedAddress(family: info.pointee.ai_family, bytes: Array(bytes)))
        }
        return addresses
    }

    /// The address of a Unix socket; nil if the path is too long for one.
    public static func unix(path: String) -> ResolvedAddress? {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let bytes = Array(path.utf8)
        guard bytes.count < MemoryLayout.size(ofValue: address.sun_path) else { return nil }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
        return withUnsafeBytes(of: &address) { ResolvedAddress(family: AF_UNIX, bytes: Array($0)) }
    }
}

extension ByteStream {
    /// Begins to connect. The stream becomes writable when that has succeeded or failed: `connectError` tells which.
    public static func connecting(to address: ResolvedAddress) throws(SystemError) -> ByteStream {
        let descriptor = clinux_socket(address.family, Int32(SOCK_STREAM.rawValue))
        guard descriptor >= 0 else { throw SystemError("socket") }
        let stream = ByteStream(descriptor)
        stream.configureTCP(keepAlive: 0)
        let result = address.bytes.withUnsafeBytes {
            connect(descriptor, $0.baseAddress!.assumingMemoryBound(to: sockaddr.self), socklen_t($0.count))
        }
        guard result == 0 || errno == EINPROGRESS else {
            let error = SystemError("connect")
            stream.close()
            throw error
        }
        return stream
    }

    /// The kernel's error number if connecting failed; 0 otherwise.
    public var connectError: Int32 {
        var error: Int32 = 0
        var length = socklen_t(MemoryLayout<Int32>.size)
        getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &error, &length)
        return error
    }
}
