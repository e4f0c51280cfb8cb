// FAILOVER: the primary hands its role to a replica that has everything.
//
//                      FAILOVER [TO h p [FORCE]] [TIMEOUT t]
//   no failover ─────────────────────────────────────────────▶ waiting for sync: writes paused, changes collected
//    ▲  ▲  ▲                                                     │    │  a replica has acknowledged everything,
//    │  │  └─────────── ABORT, or time is up: writes go on ──────┘    │  or time is up and FORCE was given
//    │  │                                                             ▼
//    │  └──── it refused, or ABORT: primary again, ◀──────── in progress: this node is the other's replica and asks
//    │        in a new history                                  │        with PSYNC … FAILOVER to be relieved
//    └──────────────── the target has taken over ───────────────┘
//
// Invariants: (1) from the pause until the end no byte is added to the journal, not even an empty batch: so a replica
// that has acknowledged its end has everything. (2) While in progress the node takes no write, whatever happens to the
// target: it may have taken over and its answer been lost. Only an answer or the operator ends that. (3) Without FORCE
// a target that does not have everything never takes over.
//
// Owns: when to do what. Refuses to do it. The names of the states are those of INFO's `master_failover_state`.

public import System

/// The command FAILOVER at work on the primary.
public struct Failover: Sendable {
    /// Where it stands.
    public enum State: String, Sendable {
        /// None is under way.
        case none = "no-failover"
        /// Writes are paused until a replica has everything.
        case waitingForSync = "waiting-for-sync"
        /// The target has been asked.
        case inProgress = "failover-in-progress"
    }

    /// What was asked for.
    public struct Request: Equatable, Sendable {
        /// To whom; nil for the first replica that has everything.
        public var target: PeerAddress?
        /// Have the target take over when time is up, though it lacks something.
        public var force: Bool
        /// How long until time is up; nil for never.
        public var timeout: Nanoseconds?

        /// A request with these options.
        public init(target: PeerAddress? = nil, force: Bool = false, timeout: Nanoseconds? = nil) {
            self.target = target
            self.force = force
            self.timeout = timeout
        }
    }

    /// A replica, as it may be named by TO.
    public struct Candidate: Equatable, Sendable {
        /// The address and port it serves clients on.
        public var address: PeerAddress
        /// What it has acknowledged.
        public var acknowledged: Int64
        /// Whether its state is whole.
        public var isOnline: Bool

        /// A replica with these properties.
        public init(address: PeerAddress, acknowledged: Int64, isOnline: Bool) {
            self.address = address
            self.acknowledged = acknowledged
            self.isOnline = isOnline
        }
    }

    /// What the driver is to do.
    public enum Action: Equatable, Sendable {
        /// Have writes wait, suspend keep-alives, collect, and call `paused` with the journal's end.
        case pauseWrites
        /// Everything goes on as before.
        case resumeWrites
        /// Become a replica of this node, with a link that `takesOver`. Clients whose writes wait learn READONLY.
        case handOver(PeerAddress)
        /// Become primary again.
        case takeBack
    }

    /// Where it stands.
    public private(set) var state = State.none
    /// To whom; nil as long as that is open.
    public private(set) var target: PeerAddress?
    private var force = false
    private var deadline: SteadyInstant?
    private var end: Int64?

    /// None under way.
    public init() {}

    /// FAILOVER.
    public mutating func start(
        _ request: Request, isReplica: Bool, candidates: [Candidate], now: SteadyInstant
    ) throws(FailoverError) -> [Action] {
        guard state == .none else { throw .alreadyInProgress }
        guard !isReplica else { throw .notPrimary }
        guard !request.force || (request.target != nil && request.timeout != nil) else { throw .forceWithoutTarget }
        guard request.timeout.map({ $0 > .zero }) ?? true else { throw .invalidTimeout }
        guard !candidates.isEmpty else { throw .noReplicas }
        if let target = request.target {
            guard let candidate = candidates.first(where: { $0.address == target }) else { throw .unknownTarget }
            guard candidate.isOnline else { throw .targetOffline }
        }
        state = .waitingForSync
        target = request.target
        force = request.force
        deadline = request.timeout.map { now + $0 }
        end = nil
        return [.pauseWrites]
    }

    /// Writes are paused, and the journal ends at `end`.
    public mutating func paused(end: Int64) {
        guard state == .waitingForSync else { return }
        self.end = end
    }

    /// A replica has acknowledged, or time has passed.
    public mutating func tick(candidates: [Candidate], now: SteadyInstant) -> [Action] {
        guard state == .waitingForSync, let end else { return [] }
        let synced = candidates.first {
            $0.isOnline && $0.acknowledged >= end && (target == nil || $0.address == target)
        }
        if let synced { return handOver(to: synced.address) }
        guard now >= deadline ?? .distantFuture else { return [] }
        if force, let target { return handOver(to: target) }
        reset()
        return [.resumeWrites]
    }

    /// FAILOVER ABORT.
    public mutating func abort() throws(FailoverError) -> [Action] {
        guard state != .none else { throw .notInProgress }
        defer { reset() }
        return state == .inProgress ? [.takeBack, .resumeWrites] : [.resumeWrites]
    }

    /// The target's answer to PSYNC … FAILOVER.
    public mutating func answered(tookOver: Bool) -> [Action] {
        guard state == .inProgress else { return [] }
        reset()
        return tookOver ? [.resumeWrites] : [.takeBack, .resumeWrites]
    }

    /// The node's role has been changed by something else: REPLICAOF, from an operator or a Sentinel.
    public mutating func overruled() -> [Action] {
        guard state != .none else { return [] }
        reset()
        return [.resumeWrites]
    }

    private mutating func handOver(to address: PeerAddress) -> [Action] {
        state = .inProgress
        target = address
        return [.handOver(address)]
    }

    private mutating func reset() { self = Failover() }
}

/// Why FAILOVER does not begin or end. The raw value is an error reply without its `-`.
public enum FailoverError: String, Error, Sendable {
    case alreadyInProgress = "ERR FAILOVER already in progress."
    case notPrimary = "ERR FAILOVER is not valid when server is a replica."
    case forceWithoutTarget = "ERR FAILOVER with force option requires both a timeout and target HOST and IP."
    case invalidTimeout = "ERR FAILOVER timeout must be greater than 0"
    case noReplicas = "ERR FAILOVER requires connected replicas."
    case unknownTarget = "ERR FAILOVER target HOST and PORT is not a replica."
    case targetOffline = "ERR FAILOVER target replica is not online."
    case notInProgress = "ERR No failover in progress."
}
