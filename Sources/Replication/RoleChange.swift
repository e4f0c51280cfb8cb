// What a node is, and what has to happen in which order when that changes.
//
//                    REPLICAOF host port
//        ┌─────────┐ ───────────────────────▶ ┌───────────────────────────────┐ ──┐ REPLICAOF another
//   ●──▶ │ primary │                          │ replica of host port          │ ◀─┘
//        └─────────┘ ◀─────────────────────── │ state: whole │ partial │ none │
//                    NO ONE, PSYNC FAILOVER   └───────────────────────────────┘
//                                                  ▲ became whole │ ▲ snapshot ends │ ▲ snapshot begins
//
//   From partial or none NO ONE leads to a primary that is `restoring`: its state on disk is read back before it leads.
//
// Invariants:
// (1) A primary's engine is journaled whenever somebody may continue from its journal; a replica's never is. Between
//     the last write of a primary that becomes a replica and its request for the stream lies a collection: what it
//     wrote extra is in its offset, so that it is seen.
// (2) Whoever becomes primary begins a history before it takes a write (ReplicationIdentity). From a state that is
//     whole the old history is its past; from one that is not, nobody can continue.
// (3) A node's history, once somebody may rely on it, is on disk before bytes of it are: `saveIdentity` is an action.
// (4) When the history changes, every link that is served closes, and whoever waits in WAIT is told.
// (5) Whoever has never had a whole state as a replica shows `slave_priority:0`, now and after any start: its files are
//     called nobody's (ReplicationID.unowned) from before it first asks until a whole state takes their place.
// (6) Engine time follows the stream while the node is a replica, and goes on from there when it is not any more. It is
//     frozen before the position of a former primary is claimed: what it has forgotten since is not in its offset.
// (7) No node leads with a part of a state. The state on disk counts until the new one is whole: a node promoted inside
//     a full sync reads it back, and serves neither clients nor replicas meanwhile. Then it leads as after a start.
//
// Owns: role, history and whether the state is whole. Refuses to act: it returns what is to be done, in order. Actions
// of one call are done before anything else happens to the node.

/// A node's part in replication.
public struct NodeRole: Sendable {
    /// What it is.
    public enum Role: Equatable, Sendable {
        /// It takes writes.
        case primary
        /// It follows another.
        case replica(of: PeerAddress)
    }

    /// What its state is worth.
    public enum Dataset: Equatable, Sendable {
        /// One that its history had.
        case whole
        /// A complete snapshot that the journal has to be added to.
        case partial
        /// A part of a snapshot.
        case none
        /// The state on disk is on its way back into memory. Only a primary's: it does not lead yet.
        case restoring
    }

    /// What is to be done.
    public enum Action: Equatable, Sendable {
        /// Refuse writes with READONLY from now on: those that have begun are done before the next action.
        case refuseWrites
        /// Take writes.
        case allowWrites
        /// Collect every change, and have it taken from the journal.
        case collect
        /// Switch journaling in the engine on or off. On, where a log or a backlog wants it.
        case journal(Bool)
        /// Close all links to replicas; they may come back.
        case closeReplicaLinks
        /// Unblock WAIT with an error.
        case failWaits
        /// Forget the backlog: it goes on empty from the journal's offset.
        case restartBacklog
        /// Call the journal on disk by the new history: LogDirectory.rename, on disk before anything else. Where a
        /// received snapshot waits to be adopted, that is adopted under the new history instead.
        case saveIdentity
        /// What is on disk is no beginning of this history: begin a segment that continues nothing, take a snapshot,
        /// adopt it under the new history.
        case saveState
        /// Call what is on disk nobody's, whatever it is called: ReplicationID.unowned. On disk before anything else.
        case markUnowned
        /// Have the role on disk.
        case saveRole
        /// Follow the stream of this node: UpstreamLink.start.
        case startLink(PeerAddress, takesOver: Bool)
        /// Follow nobody: UpstreamLink.stop.
        case stopLink
        /// Engine time stands still and is the stream's from now on: StreamClock.follow.
        case followTime
        /// Engine time runs from now on: StreamClock.lead.
        case leadTime
        /// Empty the engine and read the state on disk back into it, in the background: `restored` follows. Until then
        /// neither reads nor writes are served, and engine time is that of before the snapshot (StreamClock.goBack).
        case restore
        /// Give up reading the state on disk back. When this is done nothing of it goes into the engine any more.
        case stopRestoring
        /// Go on with the log on disk from where it was read to, as a start does.
        case resumeLog
    }

    /// What the node is.
    public private(set) var role: Role
    /// Which history its journal is in.
    public private(set) var identity: ReplicationIdentity
    /// What its state is worth.
    public private(set) var dataset: Dataset
    /// Whether the node has never had a whole state as a replica: then it reports `slave_priority:0`.
    public private(set) var neverSynced: Bool

    /// A node at its start.
    ///
    /// - Parameters:
    ///   - role: What it is to be.
    ///   - recovered: The history in the manifest; nil when no files were recovered, or nothing says which history.
    ///   - end: Where the recovered journal ends.
    ///   - fresh: A new name.
    ///   - isUnproven: Nothing says that what was recovered has ever been a primary's state: an empty one, of a node
    ///     that has not followed before.
    public init(
        role: Role, recovered: ReplicationID?, end: Int64, fresh: ReplicationID, isUnproven: Bool = false
    ) {
        let recovered = recovered == .unowned ? nil : recovered
        self.role = role
        identity = ReplicationIdentity(id: recovered ?? fresh)
        dataset = .whole
        // A primary may have sent more before its end than its disk has kept.
        if role == .primary, recovered != nil { identity.branch(to: fresh, at: end) }
        neverSynced = role != .primary && (recovered == nil || isUnproven)
    }

    /// What a start leads to, once recovery is complete.
    ///
    /// - Parameter takesOver: The process before ended while it handed over to the node that this one follows: it is
    ///   asked again, lest both follow each other.
    public func started(takesOver: Bool = false) -> [Action] {
        switch role {
        case .primary: [.saveIdentity, .journal(true), .allowWrites]
        case .replica(let address):
            [.refuseWrites, .journal(false)] + (neverSynced ? [.markUnowned] : [])
                + [.startLink(address, takesOver: takesOver)]
        }
    }

    /// What PSYNC asks to continue; nil for everything. `end` is the journal's.
    public func position(end: Int64) -> StreamPosition? {
        guard dataset == .whole, !neverSynced else { return nil }
        return StreamPosition(id: identity.id, offset: end)
    }

    /// A node that was primary, and added nothing to the history it had begun, goes back to the one before: that names
    /// the same state, and others know it. Nobody has been online in the new one, since that adds a batch. Returns the
    /// name that is given up, for `LogDirectory.rename`; nil where there is nothing to go back to.
    public mutating func returnToPast(end: Int64) -> ReplicationID? {
        guard isReplica, dataset == .whole, !neverSynced, let past = identity.past, past.offset == end
        else { return nil }
        defer { identity.replace(by: past.id) }
        return identity.id
    }

    /// Whether the node is a replica.
    public var isReplica: Bool { role != .primary }

    /// Whether the node makes the bytes of its history: a primary with a whole state.
    public var leads: Bool { role == .primary && dataset != .restoring }

    // MARK: Commands

    /// REPLICAOF host port. Nothing when the node follows that one already.
    ///
    /// - Parameter isEmpty: The node has no state: then it is like one that never synced, lest a Sentinel promote it.
    public mutating func follow(_ address: PeerAddress, isEmpty: Bool, takesOver: Bool = false) -> [Action] {
        let before = role
        guard before != .replica(of: address) else { return [] }
        role = .replica(of: address)
        if dataset == .restoring {
            // It has neither led nor lost what is on disk, so there is nothing to collect, and nothing to disown.
            dataset = .none
            return [.stopRestoring, .refuseWrites, .saveRole, .startLink(address, takesOver: false)]
        }
        if before == .primary, isEmpty, !takesOver { neverSynced = true }
        guard before == .primary else {
            return [.stopLink, .closeReplicaLinks, .followTime, .saveRole, .startLink(address, takesOver: false)]
        }
        return [.refuseWrites, .collect, .journal(false), .followTime, .closeReplicaLinks, .failWaits]
            + (neverSynced ? [.markUnowned] : []) + [.saveRole, .startLink(address, takesOver: takesOver)]
    }

    /// REPLICAOF NO ONE, or a primary's wish that the node take over. `end` is the journal's, `fresh` a new name.
    public mutating func becomePrimary(end: Int64, fresh: ReplicationID) -> [Action] {
        guard isReplica else { return [] }
        role = .primary
        guard dataset == .whole else {
            dataset = .restoring
            return [.stopLink, .closeReplicaLinks, .saveRole, .restore]
        }
        guard !neverSynced else {
            identity.replace(by: fresh)
            neverSynced = false
            return [
                .stopLink, .closeReplicaLinks, .restartBacklog, .leadTime, .journal(true), .saveState, .saveRole,
                .allowWrites,
            ]
        }
        identity.branch(to: fresh, at: end)
        return [.stopLink, .closeReplicaLinks, .saveIdentity, .leadTime, .saveRole, .journal(true), .allowWrites]
    }

    /// The state on disk is in memory again, and the journal continues at its end.
    ///
    /// - Parameters:
    ///   - recovered: The history in the manifest; nil when no files were recovered, or nothing says which history.
    ///   - end: Where the recovered journal ends.
    ///   - fresh: A new name.
    public mutating func restored(recovered: ReplicationID?, end: Int64, fresh: ReplicationID) -> [Action] {
        guard dataset == .restoring else { return [] }
        self = NodeRole(role: .primary, recovered: recovered, end: end, fresh: fresh)
        return [.leadTime, .resumeLog, .saveIdentity, .journal(true), .allowWrites]
    }

    /// A primary's changes begin to be kept after a time in which they were not: the offset stands for many states.
    /// Snapshots are adopted under the new history.
    public mutating func journalingBegins(fresh: ReplicationID) -> [Action] {
        identity.replace(by: fresh)
        return [.closeReplicaLinks, .restartBacklog, .journal(true)]
    }

    // MARK: What the link says

    /// UpstreamLink's `follow`. `end` is the journal's.
    public mutating func follows(_ id: ReplicationID, end: Int64) -> [Action] {
        identity.branch(to: id, at: end)
        return [.saveIdentity, .closeReplicaLinks, .followTime]
    }

    /// UpstreamLink's `beginSnapshot`. Right after the actions, engine time and journal become the snapshot's: a node
    /// that is promoted during it continues from there, and never reports the time it had before.
    public mutating func snapshotBegan(_ id: ReplicationID) -> [Action] {
        identity.replace(by: id)
        dataset = .none
        return [.closeReplicaLinks]
    }

    /// UpstreamLink's `endSnapshot`.
    public mutating func snapshotEnded() { dataset = .partial }

    /// UpstreamLink's `becameWhole`. The driver adopts the snapshot, and with it the history, on disk.
    public mutating func becameWhole() {
        dataset = .whole
        neverSynced = false
    }

    // MARK: What others are told

    /// How far the node can serve replicas of its own.
    public func serving(linkIsUp: Bool, isLoading: Bool) -> ServingNode {
        let isWhole = dataset == .whole && !neverSynced
        let readiness: ServingNode.Readiness =
            if isLoading || dataset == .restoring {
                .loading
            } else if !isWhole {
                .incomplete
            } else if isReplica, !linkIsUp {
                .withoutPrimary
            } else {
                .ready
            }
        return ServingNode(readiness: readiness, isReplica: isReplica, identity: identity)
    }

    /// `slave_priority`: 0 while the node must not be promoted.
    public func shownPriority(configured: Int) -> Int { neverSynced || dataset != .whole ? 0 : configured }
}
