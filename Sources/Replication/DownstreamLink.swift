// A replica from the point of view of the node that serves it, as a state machine: events in, actions out.
//
//                       REPLCONF                  +CONTINUE
//   connection ─────▶ announced ──PSYNC──┬──────────────────────────────────▶ streaming ──first ACK──▶ online
//                         │              │ +FULLRESYNC                            ▲      ≥ wholeAt
//                 refused ▼              ▼                  snapshot sent         │
//                      closed         waiting ──begun──▶ sending ─────────────────┘
//        any of them ── timeout, too far behind, connection lost, false acknowledgement ──▶ closed
//
// Invariants:
// (1) After +CONTINUE come the journal's bytes from the requested offset on; after +FULLRESYNC, a snapshot and then
//     the journal from the snapshot's offset on; each byte once and in order.
// (2) No journal bytes are buffered per link: they are read from the backlog when the connection accepts them.
//     `needed` is what the backlog has to keep. A link that exceeds its output limit is closed rather than kept for.
// (3) A replica counts (for WAIT, for min-replicas-to-write, as a FAILOVER target) once it is online: it has
//     acknowledged a consistent state. It is never credited with more than it has been sent.
// (4) A link belongs to one history. When the node's history changes, all links are closed: replicas reconnect and
//     continue by the rules of ReplicationIdentity.
//
// Owns: the answer to PSYNC and what is sent when. Never touches a socket, a clock or the engine.

package import System

/// What a node reports about itself to a node that requests its stream.
package struct ServingNode: Sendable {
    /// Whether the node can serve at the moment.
    package enum Readiness: Sendable {
        /// The node can serve.
        case ready
        /// Its state is still being recovered.
        case loading
        /// It is a replica whose own link is down. It may still take over.
        case withoutPrimary
        /// Its state is inconsistent: a full sync is in progress, or was interrupted.
        case incomplete
    }

    /// Whether it can serve.
    package var readiness: Readiness
    /// Whether it is a replica itself.
    package var isReplica: Bool
    /// Its history.
    package var identity: ReplicationIdentity
    /// The end of its journal in that history.
    package var end: Int64

    /// A node with these properties.
    package init(readiness: Readiness, isReplica: Bool, identity: ReplicationIdentity, end: Int64) {
        self.readiness = readiness
        self.isReplica = isReplica
        self.identity = identity
        self.end = end
    }
}

/// How often a link of either side has to send something, so that a peer that gives up after a silence of `timeout`
/// does not: every second, or three times per timeout if that is more often.
package func lifeSignInterval(timeout: Nanoseconds) -> Nanoseconds { min(.seconds(1), timeout / 3) }

/// The primary's side of a link.
package struct DownstreamLink: Sendable {
    /// The operator's settings.
    package struct Settings: Sendable {
        /// `repl-timeout`: a replica silent for this long is considered lost.
        package var timeout = Nanoseconds.seconds(60)
        /// Bytes a replica may lag: the hard limit of `client-output-buffer-limit replica`; 0 for unlimited.
        package var hardLimit = 256 << 20
        /// Bytes it may lag for `softTime`; 0 for unlimited.
        package var softLimit = 64 << 20
        /// How long it may exceed `softLimit`.
        package var softTime = Nanoseconds.seconds(60)

        /// Redis's defaults.
        package init() {}

        /// Raises limits on bytes to what the backlog keeps anyway: otherwise a replica allowed to resume from the
        /// backlog would be disconnected for its lag at once, over and over. Redis does the same.
        package mutating func raiseLimits(to kept: Int) {
            if hardLimit > 0 { hardLimit = max(hardLimit, kept) }
            if softLimit > 0 { softLimit = max(softLimit, kept) }
        }
    }

    /// The link's state.
    package enum State: Equatable, Sendable {
        /// A connection on which REPLCONF or PSYNC may arrive.
        case announced
        /// A full sync has been promised, but no snapshot has been started.
        case waitingForSnapshot
        /// The snapshot is being sent.
        case sendingSnapshot
        /// The journal is being sent.
        case streaming
        /// The link has ended.
        case closed
    }

    /// Why a link ended.
    package enum Failure: Equatable, Sendable {
        /// The connection was lost.
        case connection
        /// Nothing was received for `timeout`.
        case silence
        /// It lagged too far.
        case outputLimit
        /// It acknowledged an offset it cannot have, or sent an unexpected command.
        case unexpected
        /// The snapshot could not be created.
        case snapshot
        /// The node's history has changed.
        case history
        /// Its request cannot be served now; the error line is sent before the connection closes.
        case refused
    }

    /// Actions for the driver.
    package enum Action: Equatable, Sendable {
        /// Send a line.
        case send(String)
        /// Start a snapshot: create a backlog, switch on journaling in the engine, collect, create a SnapshotStream at
        /// the journal's offset, and call `snapshotBegan` with it before anything else is added to the journal.
        case beginSnapshot
        /// The replica was this node's primary and requests that it take over: promote this node, then call `request`
        /// again with the node's new properties.
        case takeOver
        /// An empty batch is due (`KeepAlive.want`), so that the replica learns the time. A node that is itself a
        /// replica cannot create one and does nothing: its primary's arrive every second.
        case wantTime
        /// The replica's state is consistent, and it counts from now on.
        case cameOnline
        /// Close the connection. A `refused` replica's error line is sent first, as far as its socket accepts it.
        case close(Failure)
    }

    /// What to send next.
    package enum Output {
        /// Nothing at the moment.
        case nothing
        /// The next piece of the snapshot; `snapshotEnded` follows the last.
        case snapshot
        /// Bytes of the journal; then `sent`. Valid until the backlog changes.
        case journal(UnsafeRawBufferPointer)
    }

    /// Upper bound on the journal bytes returned at once.
    package static let outputMax = 1 << 18

    /// The link's state.
    package private(set) var state = State.announced
    /// A takeover that it requests is forced: see `ReplicaAnnouncement.permitsLoss`.
    private var permitsLoss = false
    /// The port on which it serves clients, as announced; 0 if not announced.
    package private(set) var listeningPort = 0
    /// The address to report for it; nil for the connection's.
    package private(set) var address: String?
    /// Offset of the next byte of the journal to be sent.
    package private(set) var nextOffset: Int64 = 0
    /// The journal up to here is in the replica's state, by its acknowledgement; -1 before the first.
    package private(set) var acknowledged: Int64 = -1
    /// The journal up to here is synced on the replica; -1 without a log.
    package private(set) var synced: Int64 = -1
    /// When something was last received from it.
    package private(set) var lastHeard: SteadyInstant
    /// When it last acknowledged.
    package private(set) var lastAcknowledged = SteadyInstant.boot
    /// Whether it counts.
    package private(set) var isOnline = false
    private var wholeAt: Int64 = 0
    private var softSince: SteadyInstant?
    private var lastSign = SteadyInstant.boot

    /// The link of a connection made at `now`.
    package init(now: SteadyInstant) { lastHeard = now }

    /// Whether the connection is a replica's: it has requested the stream.
    package var isReplica: Bool { state != .announced && state != .closed }

    /// The lowest offset that the backlog has to keep for it; nil for none.
    package var needed: Int64? {
        switch state {
        case .sendingSnapshot, .streaming: nextOffset
        default: nil
        }
    }

    /// Time since it last acknowledged; nil before the first.
    package func lag(now: SteadyInstant) -> Nanoseconds? {
        isOnline ? max(.zero, now - lastAcknowledged) : nil
    }

    // MARK: Events

    /// REPLCONF. Before PSYNC, announcements are answered with +OK; acknowledgements never are, and after PSYNC nothing
    /// is.
    ///
    /// - Parameter end: The journal's end.
    package mutating func announced(_ announcement: ReplicaAnnouncement, end: Int64, now: SteadyInstant) -> [Action] {
        guard state != .closed else { return [] }
        lastHeard = now
        switch announcement {
        case .listeningPort(let port): listeningPort = port
        case .address(let address): self.address = address.isEmpty ? nil : address
        case .capability: break
        case .permitsLoss: permitsLoss = true
        case .acknowledged(let offset, let synced): return acknowledge(offset, synced: synced, end: end, now: now)
        }
        return []
    }

    private mutating func acknowledge(_ offset: Int64, synced: Int64, end: Int64, now: SteadyInstant) -> [Action] {
        // On a connection that is not a replica's, this has no meaning.
        guard isReplica else { return [] }
        guard state == .streaming, offset <= nextOffset, offset <= end else { return close(.unexpected) }
        acknowledged = max(acknowledged, offset)
        self.synced = max(self.synced, min(synced, offset))
        lastAcknowledged = now
        guard !isOnline, acknowledged >= wholeAt else { return [] }
        isOnline = true
        return [.cameOnline]
    }

    /// Anything else was received, including an empty line.
    package mutating func heard(now: SteadyInstant) { lastHeard = max(lastHeard, now) }

    /// PSYNC.
    package mutating func request(
        _ request: SyncRequest, of node: ServingNode, backlog: Backlog?, now: SteadyInstant
    ) -> [Action] {
        guard state == .announced else { return close(.unexpected) }
        lastHeard = now
        if node.readiness == .loading {
            return refuse("LOADING Redis is loading the dataset in memory")
        }
        if request.takesOver, node.readiness != .incomplete, let answer = takeOver(request, node) { return answer }
        guard node.readiness == .ready else {
            return refuse("NOMASTERLINK Can't SYNC while not connected with my master")
        }
        if let position = request.position, let backlog,
            node.identity.continues(position, end: backlog.end), backlog.serves(from: position.offset)
        {
            state = .streaming
            nextOffset = position.offset
            lastAcknowledged = now
            return [.send(SyncAnswer.partial(node.identity.id).line), .wantTime]
        }
        state = .waitingForSnapshot
        lastSign = now
        return [.beginSnapshot]
    }

    /// Handles a takeover request before it becomes an ordinary request; nil when the node has already taken over.
    private mutating func takeOver(_ request: SyncRequest, _ node: ServingNode) -> [Action]? {
        let identity = node.identity
        guard node.isReplica else {
            // The answer may have been lost: the request then comes again, with the history this node has left.
            if let position = request.position, position.id == identity.past?.id { return nil }
            return refuse("ERR PSYNC FAILOVER can't be sent to a master.")
        }
        guard let position = request.position, position.id == identity.id else {
            return refuse("ERR PSYNC FAILOVER replid must match my replid.")
        }
        // It had everything when it was chosen. A crash since then may have cost it what its disk had not yet.
        guard permitsLoss || position.offset <= node.end else {
            return refuse("ERR PSYNC FAILOVER offset is beyond mine: this node has lost changes since it was chosen.")
        }
        return [.takeOver]
    }

    /// A refused replica reconnects, so this connection is of no further use.
    private mutating func refuse(_ text: String) -> [Action] {
        [.send(SyncAnswer.refused(text).line)] + close(.refused)
    }

    /// The requested snapshot has begun at this position.
    package mutating func snapshotBegan(at position: StreamPosition, now: SteadyInstant) -> [Action] {
        guard state == .waitingForSnapshot else { return [] }
        state = .sendingSnapshot
        nextOffset = position.offset
        return [.send(SyncAnswer.full(position).line)]
    }

    /// The snapshot's last piece, which states that the state is consistent at `wholeAt`, has been passed to the
    /// connection.
    package mutating func snapshotEnded(wholeAt: Int64, now: SteadyInstant) -> [Action] {
        guard state == .sendingSnapshot else { return [] }
        self.wholeAt = wholeAt
        state = .streaming
        lastAcknowledged = now
        return [.wantTime]
    }

    /// The snapshot could not be created.
    package mutating func snapshotFailed() -> [Action] {
        state == .waitingForSnapshot || state == .sendingSnapshot ? close(.snapshot) : []
    }

    /// It sent a command that is not allowed after PSYNC.
    package mutating func spokeOutOfTurn() -> [Action] { close(.unexpected) }

    /// The connection has ended.
    package mutating func connectionLost() -> [Action] { close(.connection) }

    /// The node's history has changed, or the node can no longer be followed.
    package mutating func historyChanged() -> [Action] { isReplica ? close(.history) : [] }

    /// Time has passed: to be called about every 100 ms, and before the backlog is trimmed.
    ///
    /// - Parameter end: The journal's end.
    package mutating func tick(end: Int64, _ settings: Settings, now: SteadyInstant) -> [Action] {
        guard isReplica else { return [] }
        if now - lastHeard > settings.timeout { return close(.silence) }
        if state == .waitingForSnapshot {
            guard now - lastSign >= lifeSignInterval(timeout: settings.timeout) else { return [] }
            lastSign = now
            return [.send("\n")]
        }
        // A replica that was primary waits for the stream to reach the latest time it has seen itself.
        let actions: [Action] = state == .streaming && !isOnline ? [.wantTime] : []
        let behind = end - nextOffset
        if settings.hardLimit > 0, behind > Int64(settings.hardLimit) { return close(.outputLimit) }
        guard settings.softLimit > 0, behind > Int64(settings.softLimit) else {
            softSince = nil
            return actions
        }
        softSince = softSince ?? now
        return now - softSince! >= settings.softTime ? close(.outputLimit) : actions
    }

    // MARK: Output

    /// What to send next.
    package func output(from backlog: Backlog) -> Output {
        switch state {
        case .sendingSnapshot: return .snapshot
        case .streaming:
            guard let bytes = backlog.bytes(from: nextOffset, limit: DownstreamLink.outputMax) else { return .nothing }
            return .journal(bytes)
        default: return .nothing
        }
    }

    /// The connection accepted this many of the journal's bytes.
    package mutating func sent(_ count: Int) {
        precondition(state == .streaming && count >= 0)
        nextOffset += Int64(count)
    }

    private mutating func close(_ failure: Failure) -> [Action] {
        guard state != .closed else { return [] }
        state = .closed
        isOnline = false
        return [.close(failure)]
    }
}
