// Resolves a host name to its addresses on a thread of its own: an unresponsive name server takes seconds, and nothing
// else may wait for it.
//
// Owns: the look-up alone. Refuses to connect, or to choose an address.

import Replication
import System
import Transport

enum PeerResolver {
    /// Maximum number of addresses of a name to try.
    static let addressesMax = 16
    /// Maximum number of look-ups in progress: those for nodes that are no longer followed continue until they are
    /// answered.
    static let lookupsMax = 8

    /// Resolves a node's addresses in another thread, which calls `done` with them, in the order in which to try them;
    /// with none if the name is unknown.
    static func ask(_ address: PeerAddress, _ done: @escaping @Sendable ([ResolvedAddress]) -> Void) {
        Thread.detach(name: "resolve") {
            done(ResolvedAddress.all(host: address.host, port: address.port, limit: addressesMax))
        }
    }
}
