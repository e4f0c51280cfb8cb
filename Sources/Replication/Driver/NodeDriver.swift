// A node's part in replication: events in, calls to its environment out.
//
//   follow, lead, WAIT, FAILOVER ─┐
//   bytes from the primary        ├─▶ NodeRole, UpstreamLink, DownstreamLink, ─▶ NodeEnvironment: gates, journal, disk,
//   commands from replicas        │   Failover, Acknowledgements, clocks      links, answers
//   ticks, a state read back      ┘
//
// Each machine decides one thing; this type coordinates them: the order in which their actions are performed, and what
// an event means to several of them.
//
// Invariants: (1) Events come one at a time, and each is complete when its call returns. (2) No gate opens until every
// action before it is complete, and a closed gate is not relied on until `waitForWriters` or `waitForReaders` has
// returned. (3) The role on disk is the machines' role, or `unsavedRole` holds what has not been written yet and is
// retried.
//
// Owns: the machines, the role file, the served replicas. Knows no thread, socket, clock or lock: the replication
// thread runs it, and so does the simulation.
//
// Continued in: +Role, +Upstream, +Serving, +Waiting.

package import LimiterEngine
package import Persistence
package import System

/// Drives a node's machines. Not thread-safe. A class, because the environment reads it inside its calls.
package final class NodeDriver {
    /// The operator's settings.
    package struct Settings {
        /// For the link to the primary.
        package var upstream: UpstreamLink.Settings
        /// For the links of replicas.
        package var downstream = DownstreamLink.Settings()
        /// An empty batch is due after this long without a batch.
        package var keepAliveInterval = Nanoseconds.seconds(1)
        /// `min-replicas-to-write`.
        package var minReplicas = 0
        /// `min-replicas-max-lag`.
        package var maxLag = Nanoseconds.zero
        /// Time between attempts to save the role.
        package var roleTryInterval = Nanoseconds.seconds(1)

        /// Settings with these values for the link to the primary.
        package init(upstream: UpstreamLink.Settings) { self.upstream = upstream }
    }

    /// The findings of a start.
    package struct Start {
        /// The node's role.
        package var role: NodeRole.Role
        /// The contents of the role file; nil if there is none.
        package var saved: SavedRole?
        /// The recovery's report.
        package var report: RecoveryReport
        /// Engine time at `steady` if the node leads.
        package var time: EngineTime
        /// Read together with `time`: a thread may be interrupted for long before its next step.
        package var steady: SteadyInstant

        /// A start with these findings.
        package init(
            role: NodeRole.Role, saved: SavedRole?, report: RecoveryReport, time: EngineTime, steady: SteadyInstant
        ) {
            self.role = role
            self.saved = saved
            self.report = report
            self.time = time
            self.steady = steady
        }
    }

    let engine: Engine
    let journal: Journal
    unowned let environment: any NodeEnvironment
    /// Changes take effect with the next step they concern.
    package var settings: Settings { didSet { settingsChanged() } }

    // The machines.
    /// The node's role.
    package internal(set) var role: NodeRole
    /// Engine time.
    package internal(set) var clock: StreamClock
    /// The link to the primary.
    package let link: UpstreamLink
    /// WAIT, and replicas' lag.
    package internal(set) var acknowledgements = Acknowledgements()
    /// The FAILOVER command.
    package internal(set) var failover = Failover()
    var keepAlive: KeepAlive
    let applier: BatchApplier

    /// The gates that admit commands.
    package internal(set) var gates = NodeGates() { didSet { if gates != oldValue { environment.show(gates) } } }
    /// The contents of the role file; nil if there is none.
    package internal(set) var savedRole: SavedRole?
    /// The intended contents, if they could not be written yet.
    package internal(set) var unsavedRole: SavedRole?
    var nextRoleTry = SteadyInstant.boot
    /// The history named by the recovered files.
    var recoveredHistory: String
    /// Number of the last restore requested.
    var restores = 0

    // The link to the primary.
    var upstreamAddress: PeerAddress?
    var snapshotHeader: FileHeader?
    /// Answers to takeover requests, handled after the link's own call has returned.
    var tookOver: [Bool] = []

    // Links of replicas, and waits.
    /// Replicas that requested the stream, by link.
    package internal(set) var served: [LinkID: ServedReplica] = [:]
    /// Tickets of clients that have disconnected; the next tick removes their waits, all at once.
    var gone: Set<UInt64> = []
    /// The connection that requested the last failover.
    var failoverAsker: Int64 = 0
    /// The handover in progress is forced. A handover that continues after a restart is not.
    var handoverPermitsLoss = false
    /// Full syncs given to replicas.
    package internal(set) var fullSyncs = 0
    /// Replicas that continued from their positions.
    package internal(set) var partialSyncs = 0
    /// Replicas that requested to continue and were given a full sync.
    package internal(set) var refusedPartialSyncs = 0

    /// A node that has recovered its state and does nothing before `start`.
    package init(
        _ start: Start, engine: Engine, journal: Journal, settings: Settings, environment: any NodeEnvironment
    ) {
        self.engine = engine
        self.journal = journal
        self.environment = environment
        self.settings = settings
        let report = start.report
        let wanted = start.role
        savedRole = start.saved
        recoveredHistory = report.manifest.history
        // If only its configuration makes it a replica, it may have been a primary without any client.
        let hasFollowed = start.saved != nil && start.saved != .configured
        role = NodeRole(
            role: wanted, recovered: report.foundState ? ReplicationID(report.manifest.history) : nil,
            end: report.end, fresh: environment.freshID(), isUnproven: !engine.hasState && !hasFollowed)
        clock =
            wanted == .primary
            ? StreamClock(leadingFrom: start.time, steady: start.steady)
            : StreamClock(followingFrom: report.lastTime)
        link = UpstreamLink(settings: settings.upstream)
        keepAlive = KeepAlive(interval: settings.keepAliveInterval)
        applier = BatchApplier(engine: engine)
        environment.show(clock)
    }

    // MARK: Events

    /// Starts the node in its role.
    package func start() {
        settingsChanged()
        var isHandingOver = false
        if case .handingOver = savedRole { isHandingOver = true }
        run(role.started(takesOver: isHandingOver))
        forgetFollowing()
    }

    /// Time has passed: to be called about every 100 ms.
    package func tick() {
        let now = environment.steady
        saveRoleAgain(now: now)
        link.tick(now: now, synced: environment.syncedOffset) { perform($0) }
        forgetWaiters()
        if role.leads { tickLeading(now: now) }
        considerReplicas(now: now)
        tickReplicas(now: now)
        finishTakeover()
    }

    private func tickLeading(now: SteadyInstant) {
        let hasLinks = served.values.contains { $0.link.isReplica }
        if keepAlive.isDue(end: journal.offset, hasLinks: hasLinks, now: now) { addEmptyBatch() }
        run(failover.tick(candidates: candidates, now: now))
        finish(acknowledgements.synced(environment.syncedOffset))
        finish(acknowledgements.tick(now: now))
        // Replicas report their synced offsets once a second; a client is waiting for one.
        if acknowledgements.awaitsDisk, hasLinks, !keepAlive.isSuspended { addEmptyBatch() }
    }

    private func tickReplicas(now: SteadyInstant) {
        var limits = settings.downstream
        limits.raiseLimits(to: environment.withBacklog { $0?.keptMost ?? 0 })
        for replica in replicas { run(replica.link.tick(end: journal.offset, limits, now: now), replica) }
        let needed = served.values.compactMap(\.link.needed).min()
        environment.withBacklog { $0?.trim(needed: needed) }
    }

    /// Replicas in order of connection.
    package var replicas: [ServedReplica] { served.values.sorted { $0.id < $1.id } }

    private func settingsChanged() {
        link.settings = settings.upstream
        keepAlive.interval = settings.keepAliveInterval
        // A replica's own report, once a second, may be too late for this.
        let isShort = settings.minReplicas > 0 && settings.maxLag > .zero && settings.maxLag < .seconds(3)
        keepAlive.askInterval = isShort ? settings.maxLag / 3 : nil
        considerReplicas(now: environment.steady)
    }

    // MARK: Journal

    /// Adds an empty batch after everything that changed.
    func addEmptyBatch() {
        environment.collect()
        journal.recordTime(engineTime)
        environment.drain()
    }

    /// The current engine time.
    var engineTime: EngineTime { clock.now(environment.steady) }

    /// The node's current position.
    package var position: StreamPosition { StreamPosition(id: role.identity.id, offset: journal.offset) }
}

extension Engine {
    /// Whether discarding this engine would lose anything: keys, and changes that commands made to policies and rules.
    /// Those from a file can be reloaded. O(policies + rules).
    var hasState: Bool {
        let policies = policies.table
        return KeyspaceSession(engine: self).count() > 0 || policies.policies.contains { $0.origin == .command }
            || policies.rules.contains { $0.origin == .command }
    }
}
