// A replica's connection at the node that serves it: the link, and the output that precedes the journal.

import LimiterEngine
import Persistence
import System

/// A replica of this node. Owned by the driver; others may read it.
package final class ServedReplica {
    /// Its link's id.
    package let id: LinkID
    /// The host it connects from.
    package let peerHost: String
    /// The link.
    package internal(set) var link: DownstreamLink
    /// Pending lines, and pieces of the snapshot.
    var output: [UInt8]
    /// The snapshot to send first; nil if it continues from a position.
    var snapshot: SnapshotStream?

    init(_ connection: ReplicaConnection, now: SteadyInstant) {
        id = connection.id
        peerHost = connection.peerHost
        output = connection.output
        link = DownstreamLink(now: now)
    }

    /// Its address for clients: as announced, or its peer address.
    package var address: PeerAddress { PeerAddress(host: link.address ?? peerHost, port: link.listeningPort) }

    /// Whether it began with a snapshot.
    package var receivedSnapshot: Bool { snapshot != nil }
}

/// A connection that has identified itself as a replica's.
package struct ReplicaConnection {
    /// Identifies it; never reused.
    package let id: LinkID
    /// The host it connects from.
    package let peerHost: String
    /// What it announced before it requested the stream.
    package let announcements: [ReplicaAnnouncement]
    /// Its PSYNC request.
    package let request: SyncRequest
    /// Output not sent yet.
    package let output: [UInt8]

    /// A connection with these properties.
    package init(
        id: LinkID, peerHost: String, announcements: [ReplicaAnnouncement], request: SyncRequest, output: [UInt8] = []
    ) {
        self.id = id
        self.peerHost = peerHost
        self.announcements = announcements
        self.request = request
        self.output = output
    }
}
