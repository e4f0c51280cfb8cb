// From a host's name to its addresses, on a thread of its own: a name server that is silent takes seconds, and nothing
// else may stand still for it.
//
// Owns: asking, and nothing behind it. Refuses to connect or to choose.

import CLinux
import Glibc
import Replication
import System

/// One address that a name stands for.
struct ResolvedAddress: Equatable, Sendable {
    /// `AF_INET` or `AF_INET6`.
    let family: Int32
    /// The bytes of its `sockaddr`.
    let bytes: [UInt8]
}

enum PeerResolver {
    /// Most addresses of a name that are tried.
    static let addressesMax = 16
    /// Most questions under way at once: those of nodes that are followed no more go on until they are answered.
    static let questionsMax = 8

    /// Asks for a node's addresses in another thread, which calls `done` with them, in the order in which they are to
    /// be tried; with none when the name is not known.
    static func ask(_ address: PeerAddress, _ done: @escaping @Sendable ([ResolvedAddress]) -> Void) {
        Thread.detach(name: "resolve") { done(addresses(of: address)) }
    }

    /// A node's addresses. Waits for name servers.
    static func addresses(of address: PeerAddress) -> [ResolvedAddress] {
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var found: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo(address.host, String(address.port), &hints, &found) == 0 else { return [] }
        defer { freeaddrinfo(found) }
        var addresses: [ResolvedAddress] = []
        var next = found
        while let info = next, addresses.count < addressesMax {
            next = info.pointee.ai_next
            let bytes = UnsafeRawBufferPointer(start: info.pointee.ai_addr, count: Int(info.pointee.ai_addrlen))
            addresses.append(ResolvedAddress(family: info.pointee.ai_family, bytes: Array(bytes)))
        }
        return addresses
    }
}
