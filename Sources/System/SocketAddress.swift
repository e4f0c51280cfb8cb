// Socket addresses as text.

public import Glibc

/// The addresses of a socket's two ends, from the kernel. Stateless.
public enum SocketAddress {
    /// The remote end of a connection; `?:0` if the kernel does not know it.
    public static func peer(of fd: Int32) -> String { address(fd, getpeername) }

    /// The local end of a connection.
    public static func local(of fd: Int32) -> String { address(fd, getsockname) }

    /// Whether the remote end of a connection is this machine; false if the kernel does not know.
    public static func isPeerLoopback(of fd: Int32) -> Bool {
        var storage = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        let result = withUnsafeMutablePointer(to: &storage) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { getpeername(fd, $0, &length) }
        }
        return result == 0 && isLoopback(storage)
    }

    private static func address(
        _ fd: Int32, _ ask: (Int32, UnsafeMutablePointer<sockaddr>, UnsafeMutablePointer<socklen_t>) -> Int32
    ) -> String {
        var storage = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        let result = withUnsafeMutablePointer(to: &storage) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { ask(fd, $0, &length) }
        }
        return result == 0 ? text(storage) : "?:0"
    }

    /// `127.0.0.1:6379` or `[::1]:6379`.
    public static func text(_ storage: sockaddr_storage) -> String {
        var storage = storage
        return withUnsafePointer(to: &storage) { pointer in
            if Int32(pointer.pointee.ss_family) == AF_INET6 {
                return pointer.withMemoryRebound(to: sockaddr_in6.self, capacity: 1) { address in
                    var copy = address.pointee
                    return "[\(numeric(AF_INET6, &copy.sin6_addr))]:\(UInt16(bigEndian: address.pointee.sin6_port))"
                }
            }
            return pointer.withMemoryRebound(to: sockaddr_in.self, capacity: 1) { address in
                var copy = address.pointee
                return "\(numeric(AF_INET, &copy.sin_addr)):\(UInt16(bigEndian: address.pointee.sin_port))"
            }
        }
    }

    /// Whether an address is a loopback address.
    public static func isLoopback(_ storage: sockaddr_storage) -> Bool {
        let text = text(storage)
        return text.hasPrefix("127.") || text.hasPrefix("[::1]") || text.hasPrefix("[::ffff:127.")
    }

    private static func numeric(_ family: Int32, _ address: UnsafeRawPointer) -> String {
        var buffer = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
        guard inet_ntop(family, address, &buffer, socklen_t(buffer.count)) != nil else { return "?" }
        return String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}
