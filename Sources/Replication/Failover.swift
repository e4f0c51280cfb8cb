// FAILOVER: the primary hands its role to a replica that has the entire journal.
//
//                      FAILOVER [TO h p [FORCE]] [TIMEOUT t]
//   no failover ─────────────────────────────────────────────▶ waiting for sync: writes paused, changes collected
//    ▲  ▲  ▲                                                     │    │  a replica has acknowledged everything,
//    │  │  └─────────── ABORT, or timeout: writes resume ────────┘    │  or timeout with FORCE
//    │  │                                                             ▼
//    │  └──── it refused, or ABORT: primary again, ◀──────── in progress: this node is the other's replica and asks
//    │        in a new history                                  │        it with PSYNC … FAILOVER to take over
//    └──────────────── the target has taken over ───────────────┘
//
// Invariants: (1) From the pause until the end no byte is added to the journal, not even an empty batch: so a replica
// that has acknowledged the journal's end has everything. (2) While in progress the node accepts no write, whatever
// happens to the target: it may have taken over, and its answer may have been lost. Only an answer or the operator ends
// that. (3) Without FORCE, a target that lacks anything never takes over.
//
// Owns: the decisions, not their execution. The state names are those of INFO's `master_failover_state`.

package import System

/// The state of the FAILOVER command on the primary.
package struct Failover: Sendable {
    /// The failover's state.
    package enum State: String, Sendable {
        /// No failover.
        case none = "no-failover"
        /// Writes are paused until a replica has everything.
        case waitingForSync = "waiting-for-sync"
        /// The target has been asked to take over.
        case inProgress = "failover-in-progress"
    }

    /// The requested options.
    package struct Request: Equatable, Sendable {
        /// The target; nil for the first replica that has everything.
        package var target: PeerAddress?
        /// Have the target take over on timeout even if it lacks something.
        package var force: Bool
        /// Time until the timeout; nil for none.
        package var timeout: Nanoseconds?

        /// A request with these options.
        package init(target: PeerAddress? = nil, force: Bool = false, timeout: Nanoseconds? = nil) {
            self.target = target
            self.force = force
            self.timeout = timeout
        }
    }

    /// A replica that TO may name.
    package struct Candidate: Equatable, Sendable {
        /// The address and port it serves clients on.
        package var address: PeerAddress
        /// Its acknowledged offset.
        package var acknowledged: Int64
        /// Whether its state is consistent.
        package var isOnline: Bool

        /// A replica with these properties.
        package init(address: PeerAddress, acknowledged: Int64, isOnline: Bool) {
            self.address = address
            self.acknowledged = acknowledged
            self.isOnline = isOnline
        }
    }

    /// Actions for the driver.
    package enum Action: Equatable, Sendable {
        /// Pause writes, suspend keep-alives, collect, and call `paused` with the journal's end.
        case pauseWrites
        /// Resume writes.
        case resumeWrites
        /// Become a replica of this node, with a link that `takesOver`. Clients whose writes are paused get READONLY.
        /// With `permitsLoss` the node may lack the end of the journal: the failover was forced.
        case handOver(PeerAddress, permitsLoss: Bool)
        /// Become primary again.
        case takeBack
    }

    /// The failover's state.
    package private(set) var state = State.none
    /// The target; nil until it is chosen.
    package private(set) var target: PeerAddress?
    private var force = false
    private var deadline: SteadyInstant?
    private var end: Int64?

    /// No failover.
    package init() {}

    /// FAILOVER.
    package mutating func start(
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
    package mutating func paused(end: Int64) {
        guard state == .waitingForSync else { return }
        self.end = end
    }

    /// A replica has acknowledged, or time has passed.
    package mutating func tick(candidates: [Candidate], now: SteadyInstant) -> [Action] {
        guard state == .waitingForSync, let end else { return [] }
        let synced = candidates.first {
            $0.isOnline && $0.acknowledged >= end && (target == nil || $0.address == target)
        }
        if let synced { return handOver(to: synced.address, permitsLoss: false) }
        guard now >= deadline ?? .distantFuture else { return [] }
        if force, let target { return handOver(to: target, permitsLoss: true) }
        reset()
        return [.resumeWrites]
    }

    /// FAILOVER ABORT.
    package mutating func abort() throws(FailoverError) -> [Action] {
        guard state != .none else { throw .notInProgress }
        defer { reset() }
        return state == .inProgress ? [.takeBack, .resumeWrites] : [.resumeWrites]
    }

    /// The target's answer to PSYNC … FAILOVER.
    package mutating func answered(tookOver: Bool) -> [Action] {
        guard state == .inProgress else { return [] }
        reset()
        return tookOver ? [.resumeWrites] : [.takeBack, .resumeWrites]
    }

    /// The node's role was changed by something else: REPLICAOF, from an operator or a Sentinel.
    package mutating func overruled() -> [Action] {
        guard state != .none else { return [] }
        reset()
        return [.resumeWrites]
    }

    private mutating func handOver(to address: PeerAddress, permitsLoss: Bool) -> [Action] {
        state = .inProgress
        target = address
        return [.handOver(address, permitsLoss: permitsLoss)]
    }

    private mutating func reset() { self = Failover() }
}

/// Why FAILOVER is refused. The raw value is an error reply without its `-`.
package enum FailoverError: String, Error, Sendable {
    case alreadyInProgress = "ERR FAILOVER already in progress."
    case notPrimary = "ERR FAILOVER is not valid when server is a replica."
    case forceWithoutTarget = "ERR FAILOVER with force option requires both a timeout and target HOST and IP."
    case invalidTimeout = "ERR FAILOVER timeout must be greater than 0"
    case noReplicas = "ERR FAILOVER requires connected replicas."
    case unknownTarget = "ERR FAILOVER target HOST and PORT is not a replica."
    case targetOffline = "ERR FAILOVER target replica is not online."
    case notInProgress = "ERR No failover in progress."
}
