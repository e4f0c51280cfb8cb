// One replica as the node that serves it sees it, as a state machine: events in, actions out.
//
//                       REPLCONF                  +CONTINUE
//   connection ─────▶ announced ──PSYNC──┬──────────────────────────────────▶ streaming ──first ACK──▶ online
//                         │              │ +FULLRESYNC                            ▲      ≥ wholeAt
//                 refused ▼              ▼                  snapshot sent         │
//                      closed         waiting ──begun──▶ sending ─────────────────┘
//                                  for a snapshot        snapshot
//         any of them ── time-out, too far behind, connection lost, false acknowledgement ──▶ closed
//
// Invariants:
// (1) Behind +CONTINUE come the journal's bytes from the requested offset on; behind +FULLRESYNC a snapshot and then
//     the journal's from the snapshot's offset on; each byte once and in order.
// (2) No byte of the journal is held for a link: it is read from the backlog when the connection takes it. `needed`
//     says what the backlog has to keep. A link further behind than its output limit is closed before it is kept for.
// (3) A replica counts (for WAIT, for min-replicas-to-write, as a target of FAILOVER) when it is online: its state is
//     whole, by its own acknowledgement, and it is never counted for more than it has been sent.
// (4) All of it concerns one history. When the node's history changes, all links are closed: replicas come back and
//     continue by the rules of ReplicationIdentity.
//
// Owns: the answer to PSYNC and what is sent when. Refuses to touch a socket, a clock or the engine.

public import System

/// What a node says of itself to those that ask it for its stream.
public struct ServingNode: Sendable {
    /// Whether the node can serve at the moment.
    public enum Readiness: Sendable {
        /// It can.
        case ready
        /// Its state is still being recovered.
        case loading
        /// It is a replica whose own link is not up. It may still take over.
        case withoutPrimary
        /// Its state is not whole: a full sync is under way, or was cut off.
        case incomplete
    }

    /// Whether it can serve.
    public var readiness: Readiness
    /// Whether it is a replica itself.
    public var isReplica: Bool
    /// Its history.
    public var identity: ReplicationIdentity

    /// A node with these properties.
    public init(readiness: Readiness, isReplica: Bool, identity: ReplicationIdentity) {
        self.readiness = readiness
        self.isReplica = isReplica
        self.identity = identity
    }
}

/// How often a link of either side has to say something, so that a peer that gives up after a silence of
/// `timeout` does not: each second, or three times in the time-out where that is short.
public func lifeSignInterval(timeout: Nanoseconds) -> Nanoseconds { min(.seconds(1), timeout / 3) }

/// The primary's side of a link.
public struct DownstreamLink: Sendable {
    /// What the operator may set.
    public struct Settings: Sendable {
        /// `repl-timeout`: a replica silent for so long is gone.
        public var timeout = Nanoseconds.seconds(60)
        /// Bytes a replica may be behind: the hard limit of `client-output-buffer-limit replica`; 0 for none.
        public var hardLimit = 256 << 20
        /// Bytes it may be behind for `softTime`; 0 for any number.
        public var softLimit = 64 << 20
        /// How long.
        public var softTime = Nanoseconds.seconds(60)

        /// Redis's.
        public init() {}

        /// Limits on bytes are no lower than what the backlog keeps anyway: else a replica that may go on where it was
        /// would be let go at once, and again, for being as far behind as that. As with Redis.
        public mutating func raiseLimits(to kept: Int) {
            if hardLimit > 0 { hardLimit = max(hardLimit, kept) }
            if softLimit > 0 { softLimit = max(softLimit, kept) }
        }
    }

    /// Where the link stands.
    public enum State: Equatable, Sendable {
        /// It is a connection on which REPLCONF or PSYNC may come.
        case announced
        /// A full sync has been promised and no snapshot begun.
        case waitingForSnapshot
        /// The snapshot goes out.
        case sendingSnapshot
        /// The journal goes out.
        case streaming
        /// Over.
        case closed
    }

    /// Why a link is over.
    public enum Failure: Equatable, Sendable {
        /// The connection was lost.
        case connection
        /// Nothing was heard for `timeout`.
        case silence
        /// It fell too far behind.
        case outputLimit
        /// It acknowledged what it cannot have, or spoke out of turn.
        case unexpected
        /// The snapshot could not be made.
        case snapshot
        /// The node's history has changed.
        case history
        /// It asked for what cannot be given now, and has been told: the line goes out first.
        case refused
    }

    /// What the driver is to do.
    public enum Action: Equatable, Sendable {
        /// Send a line.
        case send(String)
        /// Begin a snapshot: have a backlog, have the engine journaling, collect, make a SnapshotStream at the
        /// journal's offset, and call `snapshotBegan` with it before anything else is added to the journal.
        case beginSnapshot
        /// The replica was this node's primary and wants it to take over: promote this node, then call `request`
        /// again with what the node is then.
        case takeOver
        /// An empty batch is due (`KeepAlive.want`), so that the replica knows the time. A node that is a replica
        /// itself cannot make one and does nothing: its primary's come every second.
        case wantTime
        /// The replica's state is whole, and it counts.
        case cameOnline
        /// Close the connection. What a `refused` one was told is sent before that, as far as its socket takes it.
        case close(Failure)
    }

    /// What to send next.
    public enum Output {
        /// Nothing at the moment.
        case nothing
        /// The next piece of the snapshot; `snapshotEnded` behind its last.
        case snapshot
        /// Bytes of the journal; then `sent`. Valid until the backlog is changed.
        case journal(UnsafeRawBufferPointer)
    }

    /// Bytes of the journal handed out at once.
    public static let outputMax = 1 << 18

    /// Where the link stands.
    public private(set) var state = State.announced
    /// The port it serves clients on, as it said; 0 where it did not.
    public private(set) var listeningPort = 0
    /// The address it wants to be known under; nil for the connection's.
    public private(set) var address: String?
    /// Offset of the next byte of the journal to be sent.
    public private(set) var nextOffset: Int64 = 0
    /// The journal up to here is in the replica's state, as it said; -1 before it said so.
    public private(set) var acknowledged: Int64 = -1
    /// The journal up to here is on the replica's disk; -1 without a log.
    public private(set) var synced: Int64 = -1
    /// When it was heard of last.
    public private(set) var lastHeard: SteadyInstant
    /// When it acknowledged last.
    public private(set) var lastAcknowledged = SteadyInstant.boot
    /// Whether it counts.
    public private(set) var isOnline = false
    private var wholeAt: Int64 = 0
    private var softSince: SteadyInstant?
    private var lastSign = SteadyInstant.boot

    /// The link of a connection that was made at `now`.
    public init(now: SteadyInstant) { lastHeard = now }

    /// Whether the connection is a replica's: it has asked for the stream.
    public var isReplica: Bool { state != .announced && state != .closed }

    /// The lowest offset the backlog has to keep for it; nil for none.
    public var needed: Int64? {
        switch state {
        case .sendingSnapshot, .streaming: nextOffset
        default: nil
        }
    }

    /// Time since it last acknowledged; nil before the first.
    public func lag(now: SteadyInstant) -> Nanoseconds? {
        isOnline ? max(.zero, now - lastAcknowledged) : nil
    }

    // MARK: Events

    /// REPLCONF. In front of PSYNC announcements are to be answered with +OK; acknowledgements never, and nothing is
    /// behind it.
    ///
    /// - Parameter end: The journal's.
    public mutating func announced(_ announcement: ReplicaAnnouncement, end: Int64, now: SteadyInstant) -> [Action] {
        guard state != .closed else { return [] }
        lastHeard = now
        switch announcement {
        case .listeningPort(let port): listeningPort = port
        case .address(let address): self.address = address.isEmpty ? nil : address
        case .capability: break
        case .acknowledged(let offset, let synced): return acknowledge(offset, synced: synced, end: end, now: now)
        }
        return []
    }

    private mutating func acknowledge(_ offset: Int64, synced: Int64, end: Int64, now: SteadyInstant) -> [Action] {
        // A connection that is no replica says nothing by it.
        guard isReplica else { return [] }
        guard state == .streaming, offset <= nextOffset, offset <= end else { return close(.unexpected) }
        acknowledged = max(acknowledged, offset)
        self.synced = max(self.synced, min(synced, offset))
        lastAcknowledged = now
        guard !isOnline, acknowledged >= wholeAt else { return [] }
        isOnline = true
        return [.cameOnline]
    }

    /// Anything else has come over the connection, an empty line included.
    public mutating func heard(now: SteadyInstant) { lastHeard = max(lastHeard, now) }

    /// PSYNC.
    public mutating func request(
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

    /// What a wish to take over leads to before it is a request like any other; nil when the node has done so already.
    private mutating func takeOver(_ request: SyncRequest, _ node: ServingNode) -> [Action]? {
        let identity = node.identity
        guard node.isReplica else {
            // Its answer may have been lost: then the request comes again, of the history this node has left.
            if let position = request.position, position.id == identity.past?.id { return nil }
            return refuse("ERR PSYNC FAILOVER can't be sent to a master.")
        }
        guard request.position?.id == identity.id else {
            return refuse("ERR PSYNC FAILOVER replid must match my replid.")
        }
        return [.takeOver]
    }

    /// Whoever is refused comes back with another connection: one that is kept would be nobody's.
    private mutating func refuse(_ text: String) -> [Action] {
        [.send(SyncAnswer.refused(text).line)] + close(.refused)
    }

    /// The snapshot that was asked for has begun at this position.
    public mutating func snapshotBegan(at position: StreamPosition, now: SteadyInstant) -> [Action] {
        guard state == .waitingForSnapshot else { return [] }
        state = .sendingSnapshot
        nextOffset = position.offset
        return [.send(SyncAnswer.full(position).line)]
    }

    /// The snapshot's last piece, which says that the state is whole at `wholeAt`, has been handed to the connection.
    public mutating func snapshotEnded(wholeAt: Int64, now: SteadyInstant) -> [Action] {
        guard state == .sendingSnapshot else { return [] }
        self.wholeAt = wholeAt
        state = .streaming
        lastAcknowledged = now
        return [.wantTime]
    }

    /// No snapshot could be made.
    public mutating func snapshotFailed() -> [Action] {
        state == .waitingForSnapshot || state == .sendingSnapshot ? close(.snapshot) : []
    }

    /// It said what has no place behind PSYNC.
    public mutating func spokeOutOfTurn() -> [Action] { close(.unexpected) }

    /// The connection has ended.
    public mutating func connectionLost() -> [Action] { close(.connection) }

    /// The node's history has changed, or it is no node to follow any more.
    public mutating func historyChanged() -> [Action] { isReplica ? close(.history) : [] }

    /// Time has passed: to be called every 100 ms or so, and before the backlog is trimmed.
    ///
    /// - Parameter end: The journal's.
    public mutating func tick(end: Int64, _ settings: Settings, now: SteadyInstant) -> [Action] {
        guard isReplica else { return [] }
        if now - lastHeard > settings.timeout { return close(.silence) }
        if state == .waitingForSnapshot {
            guard now - lastSign >= lifeSignInterval(timeout: settings.timeout) else { return [] }
            lastSign = now
            return [.send("\n")]
        }
        // A replica that was primary waits for the stream to say a time that it has seen itself.
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

    /// What the connection gets next.
    public func output(from backlog: Backlog) -> Output {
        switch state {
        case .sendingSnapshot: return .snapshot
        case .streaming:
            guard let bytes = backlog.bytes(from: nextOffset, limit: DownstreamLink.outputMax) else { return .nothing }
            return .journal(bytes)
        default: return .nothing
        }
    }

    /// The connection took so many of the journal's bytes.
    public mutating func sent(_ count: Int) {
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
