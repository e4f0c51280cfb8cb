// A replica's connection at the node that serves it: the link, and what is to be sent before the journal.

import LimiterEngine
import Persistence
import System

/// A replica of this node. Belongs to the driver; others read it.
public final class ServedReplica {
    /// Its name here.
    public let id: LinkID
    /// Where it connects from.
    public let peerHost: String
    /// The link.
    public internal(set) var link: DownstreamLink
    /// Lines, and pieces of the snapshot.
    var output: [UInt8]
    /// What it is sent first; nil where it continues from a position.
    var snapshot: SnapshotStream?

    init(_ connection: ReplicaConnection, now: SteadyInstant) {
        id = connection.id
        peerHost = connection.peerHost
        output = connection.output
        link = DownstreamLink(now: now)
    }

    /// Where it is reached: as it announced, or where it comes from.
    public var address: PeerAddress { PeerAddress(host: link.address ?? peerHost, port: link.listeningPort) }

    /// Whether it began with a snapshot.
    public var receivedSnapshot: Bool { snapshot != nil }
}

/// A connection that turned out to be a replica's.
public struct ReplicaConnection {
    /// Names it, and is never used again.
    public let id: LinkID
    /// Where it comes from.
    public let peerHost: String
    /// What it said of itself before it asked for the stream.
    public let announcements: [ReplicaAnnouncement]
    /// What it asks for.
    public let request: SyncRequest
    /// What it has not been sent yet.
    public let output: [UInt8]

    /// A connection with these properties.
    public init(
        id: LinkID, peerHost: String, announcements: [ReplicaAnnouncement], request: SyncRequest, output: [UInt8] = []
    ) {
        self.id = id
        self.peerHost = peerHost
        self.announcements = announcements
        self.request = request
        self.output = output
    }
}
