// The state of the server as a whole, as far as it determines which commands may run: one word.
//
// A loop takes a snapshot at the beginning of each turn, before each command that is not batched, and again when a
// command has waited for something. Zero is the usual case: nothing restricts any command.

import System

/// A snapshot of the states that restrict commands.
struct ServerState: OptionSet, Sendable {
    let rawValue: UInt32

    /// The state on disk is being read at startup.
    static let loading = ServerState(rawValue: 1 << 0)
    /// The state in memory is being replaced, by a full sync or by the state on disk: nothing can be read.
    static let receiving = ServerState(rawValue: 1 << 1)
    /// With `receiving`: replaced by the state on disk, after which the node becomes the primary.
    static let restoring = ServerState(rawValue: 1 << 2)
    /// The node is a replica: clients cannot write.
    static let replica = ServerState(rawValue: 1 << 3)
    /// A replica without a link that must not serve stale data (`replica-serve-stale-data no`).
    static let stale = ServerState(rawValue: 1 << 4)
    /// A replica that has never received a dataset: what it has in memory belongs to no history.
    static let lacksState = ServerState(rawValue: 1 << 5)
    /// Fewer replicas keep up than `min-replicas-to-write` requires.
    static let lacksReplicas = ServerState(rawValue: 1 << 6)
    /// The disk has failed, and writes are refused without it.
    static let diskFailed = ServerState(rawValue: 1 << 7)
    /// CLIENT PAUSE ALL.
    static let paused = ServerState(rawValue: 1 << 8)
    /// CLIENT PAUSE WRITE.
    static let writesPaused = ServerState(rawValue: 1 << 9)
    /// FAILOVER is under way: writes wait for its end.
    static let handingOver = ServerState(rawValue: 1 << 10)
    /// At least one client receives every command (MONITOR): none may be batched.
    static let monitored = ServerState(rawValue: 1 << 11)
}

extension ServerState {
    /// The states of `server` at `steady`. A dozen relaxed loads: every turn calls this, so it does not take all
    /// settings, which would be copied.
    ///
    /// - Parameter servesStaleData: `replica-serve-stale-data`.
    init(of server: Server, servesStaleData: Bool, at steady: SteadyInstant) {
        let replication = server.replication
        self = []
        if server.isLoading { insert(.loading) }
        if replication.isReceiving { insert(.receiving) }
        if replication.isRestoring { insert(.restoring) }
        if replication.isReplica { insert(.replica) }
        if !servesStaleData, replication.isStale { insert(.stale) }
        if replication.lacksState { insert(.lacksState) }
        if replication.lacksGoodReplicas { insert(.lacksReplicas) }
        if server.durability.refusesWrites { insert(.diskFailed) }
        formUnion(server.pause.state(at: steady))
        if !server.monitors.isEmpty { insert(.monitored) }
    }
}
