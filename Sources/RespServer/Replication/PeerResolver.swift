// From a host's name to its addresses, on a thread of its own: a name server that is silent takes seconds, and nothing
// else may stand still for it.
//
// Owns: asking, and nothing behind it. Refuses to connect or to choose.

import Replication
import System
import Transport

enum PeerResolver {
    /// Most addresses of a name that are tried.
    static let addressesMax = 16
    /// Most questions under way at once: those of nodes that are followed no more go on until they are answered.
    static let questionsMax = 8

    /// Asks for a node's addresses in another thread, which calls `done` with them, in the order in which they are to
    /// be tried; with none when the name is not known.
    static func ask(_ address: PeerAddress, _ done: @escaping @Sendable ([ResolvedAddress]) -> Void) {
        Thread.detach(name: "resolve") {
            done(ResolvedAddress.all(host: address.host, port: address.port, limit: addressesMax))
        }
    }
}
