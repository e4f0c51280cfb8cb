// A node's role, and the ordered actions that a change of role requires.
//
//                    REPLICAOF host port
//        ┌─────────┐ ───────────────────────▶ ┌───────────────────────────────┐ ──┐ REPLICAOF another
//   ●──▶ │ primary │                          │ replica of host port          │ ◀─┘
//        └─────────┘ ◀─────────────────────── │ state: whole │ partial │ none │
//                    NO ONE, PSYNC FAILOVER   └───────────────────────────────┘
//                                                  ▲ became whole │ ▲ snapshot ends │ ▲ snapshot begins
//
//   From partial or none, NO ONE leads to a primary that is `restoring`: its state on disk is read back before it
//   leads.
//
// Invariants:
// (1) A primary's engine is journaled whenever a replica may continue from its journal; a replica's never is. When a
//     primary becomes a replica, a collection comes between its last write and its request for the stream: extra writes
//     are included in its offset, so that they are detected.
// (2) A node that becomes primary begins a history before it accepts a write (ReplicationIdentity). From a consistent
//     state, the old history becomes its past; from an inconsistent one, no replica can continue.
// (3) Once others may rely on a history, its name is on disk before its bytes are: `saveIdentity` is an action.
// (4) When the history changes, every served link is closed, and clients blocked in WAIT are told.
// (5) A node that has never had a consistent state as a replica reports `slave_priority:0`, now and after any restart:
//     its files are named ReplicationID.unowned from before its first request until a consistent state replaces them.
// (6) Engine time follows the stream while the node is a replica, and continues from there afterwards. It is frozen
//     before a former primary claims its position: keys forgotten after that would not be reflected in its offset.
// (7) No node leads with part of a state. The state on disk remains valid until the new one is consistent: a node
//     promoted during a full sync reads it back and serves neither clients nor replicas meanwhile. Then it leads as
//     after a start.
//
// Owns: role, history and the consistency of the state. Performs nothing: it returns ordered actions. The actions of
// one call are completed before anything else happens to the node.

/// A node's part in replication.
package struct NodeRole: Sendable {
    /// Primary or replica.
    package enum Role: Equatable, Sendable {
        /// It accepts writes.
        case primary
        /// It follows another node.
        case replica(of: PeerAddress)
    }

    /// The consistency of a node's state.
    package enum Dataset: Equatable, Sendable {
        /// Consistent: a state that its history had.
        case whole
        /// A complete snapshot to which the journal still has to be applied.
        case partial
        /// Part of a snapshot.
        case none
        /// The state on disk is being read back into memory. Only on a primary, which does not lead yet.
        case restoring
    }

    /// Actions for the driver.
    package enum Action: Equatable, Sendable {
        /// Refuse writes with READONLY from now on: writes already begun finish before the next action.
        case refuseWrites
        /// Accept writes.
        case allowWrites
        /// Collect every change and drain the journal.
        case collect
        /// Switch journaling in the engine on or off. On only where a log or a backlog needs it.
        case journal(Bool)
        /// Close all links to replicas; they may reconnect.
        case closeReplicaLinks
        /// Unblock WAIT with an error.
        case failWaits
        /// Empty the backlog: it continues at the journal's offset.
        case restartBacklog
        /// Rename the journal on disk to the new history (LogDirectory.rename), durably before anything else. If a
        /// received snapshot waits to be adopted, it is adopted under the new history instead.
        case saveIdentity
        /// The files are not a beginning of this history: start a segment that does not continue the log, take a
        /// snapshot and adopt it under the new history.
        case saveState
        /// Rename the history on disk to ReplicationID.unowned, whatever its name. Durable before anything else.
        case markUnowned
        /// Save the role to disk.
        case saveRole
        /// Follow this node's stream: UpstreamLink.start.
        case startLink(PeerAddress, takesOver: Bool)
        /// Stop following: UpstreamLink.stop.
        case stopLink
        /// Freeze engine time and advance it with the stream from now on: StreamClock.follow.
        case followTime
        /// Run engine time from now on: StreamClock.lead.
        case leadTime
        /// Empty the engine and read the state on disk back into it, in the background: `restored` follows. Until then
        /// neither reads nor writes are served, and engine time is the one before the snapshot (StreamClock.goBack).
        case restore
        /// Stop reading back the state on disk. Once this is complete, none of it enters the engine any more.
        case stopRestoring
        /// Continue the log on disk where the recovery ended, as a start does.
        case resumeLog
    }

    /// The node's role.
    package private(set) var role: Role
    /// The history of its journal.
    package private(set) var identity: ReplicationIdentity
    /// The consistency of its state.
    package private(set) var dataset: Dataset
    /// Whether the node has never had a consistent state as a replica: it then reports `slave_priority:0`.
    package private(set) var neverSynced: Bool

    /// A node at its start.
    ///
    /// - Parameters:
    ///   - role: Its role.
    ///   - recovered: The history in the manifest; nil when no files were recovered, or their history is unknown.
    ///   - end: Where the recovered journal ends.
    ///   - fresh: A new name.
    ///   - isUnproven: There is no evidence that the recovered state was ever a primary's: it is empty, on a node that
    ///     has not followed before.
    package init(
        role: Role, recovered: ReplicationID?, end: Int64, fresh: ReplicationID, isUnproven: Bool = false
    ) {
        let recovered = recovered == .unowned ? nil : recovered
        self.role = role
        identity = ReplicationIdentity(id: recovered ?? fresh)
        dataset = .whole
        // A primary may have sent more before it ended than its disk kept.
        if role == .primary, recovered != nil { identity.branch(to: fresh, at: end) }
        neverSynced = role != .primary && (recovered == nil || isUnproven)
    }

    /// The actions of a start, once recovery is complete.
    ///
    /// - Parameter takesOver: The previous process ended while handing over to the node that this one follows: it is
    ///   asked again, so that the two cannot follow each other.
    package func started(takesOver: Bool = false) -> [Action] {
        switch role {
        case .primary: [.saveIdentity, .journal(true), .allowWrites]
        case .replica(let address):
            [.refuseWrites, .journal(false)] + (neverSynced ? [.markUnowned] : [])
                + [.startLink(address, takesOver: takesOver)]
        }
    }

    /// The position with which to request a partial sync; nil for a full one. `end` is the journal's end.
    package func position(end: Int64) -> StreamPosition? {
        guard dataset == .whole, !neverSynced else { return nil }
        return StreamPosition(id: identity.id, offset: end)
    }

    /// A former primary that added nothing to the history it began returns to the previous one: both names identify the
    /// same state, and other nodes know the previous one. No replica was online in the new one, since that would have
    /// added a batch. Returns the abandoned name, for `LogDirectory.rename`; nil when there is nothing to return to.
    package mutating func returnToPast(end: Int64) -> ReplicationID? {
        guard isReplica, dataset == .whole, !neverSynced, let past = identity.past, past.offset == end
        else { return nil }
        defer { identity.replace(by: past.id) }
        return identity.id
    }

    /// Whether the node is a replica.
    package var isReplica: Bool { role != .primary }

    /// Whether the node produces the bytes of its history: a primary with a consistent state.
    package var leads: Bool { role == .primary && dataset != .restoring }

    // MARK: Commands

    /// REPLICAOF host port. No actions if the node already follows that one.
    ///
    /// - Parameter isEmpty: The node has no state: it is treated as never synced, so that a Sentinel does not promote
    ///   it.
    package mutating func follow(_ address: PeerAddress, isEmpty: Bool, takesOver: Bool = false) -> [Action] {
        let before = role
        guard before != .replica(of: address) else { return [] }
        role = .replica(of: address)
        if dataset == .restoring {
            // It has neither led nor lost the state on disk, so there is nothing to collect and no file to disown.
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

    /// REPLICAOF NO ONE, or a primary's takeover request. `end` is the journal's end, `fresh` a new name.
    package mutating func becomePrimary(end: Int64, fresh: ReplicationID) -> [Action] {
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

    /// The state on disk is back in memory, and the journal continues at its end.
    ///
    /// - Parameters:
    ///   - recovered: The history in the manifest; nil when no files were recovered, or their history is unknown.
    ///   - end: Where the recovered journal ends.
    ///   - fresh: A new name.
    package mutating func restored(recovered: ReplicationID?, end: Int64, fresh: ReplicationID) -> [Action] {
        guard dataset == .restoring else { return [] }
        self = NodeRole(role: .primary, recovered: recovered, end: end, fresh: fresh)
        return [.leadTime, .resumeLog, .saveIdentity, .journal(true), .allowWrites]
    }

    /// A primary's changes are journaled again after a time in which they were not. Its offset no longer identifies a
    /// single state.
    /// Snapshots are adopted under the new history.
    package mutating func journalingBegins(fresh: ReplicationID) -> [Action] {
        identity.replace(by: fresh)
        return [.closeReplicaLinks, .restartBacklog, .journal(true)]
    }

    // MARK: Link events

    /// UpstreamLink's `follow`. `end` is the journal's end.
    package mutating func follows(_ id: ReplicationID, end: Int64) -> [Action] {
        identity.branch(to: id, at: end)
        return [.saveIdentity, .closeReplicaLinks, .followTime]
    }

    /// UpstreamLink's `beginSnapshot`. Right after the actions, engine time and journal become the snapshot's: a node
    /// promoted during it continues from there, and never reports its previous time.
    package mutating func snapshotBegan(_ id: ReplicationID) -> [Action] {
        identity.replace(by: id)
        dataset = .none
        return [.closeReplicaLinks]
    }

    /// UpstreamLink's `endSnapshot`.
    package mutating func snapshotEnded() { dataset = .partial }

    /// UpstreamLink's `becameWhole`. The driver adopts the snapshot, and with it the history, on disk.
    package mutating func becameWhole() {
        dataset = .whole
        neverSynced = false
    }

    // MARK: What is reported to others

    /// To what extent the node can serve replicas of its own.
    ///
    /// - Parameter end: The journal's end.
    package func serving(linkIsUp: Bool, isLoading: Bool, end: Int64) -> ServingNode {
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
        return ServingNode(readiness: readiness, isReplica: isReplica, identity: identity, end: end)
    }

    /// `slave_priority`: 0 while the node must not be promoted.
    package func shownPriority(configured: Int) -> Int { neverSynced || dataset != .whole ? 0 : configured }
}
