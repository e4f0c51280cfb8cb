// A node's part in replication: events in, calls to its environment out.
//
//   follow, lead, WAIT, FAILOVER ─┐
//   bytes of the primary          ├─▶ NodeRole, UpstreamLink, DownstreamLink, ─▶ NodeEnvironment: gates, journal, disk,
//   words of replicas             │   Failover, Acknowledgements, clocks      links, answers
//   ticks, a state read back      ┘
//
// The machines decide one thing each; what is here is what holds them together: in which order their actions are done,
// and what an event means to several of them.
//
// Invariants: (1) Events come one at a time, and each is done when its call returns. (2) No gate opens
// until every action before it is done, and no closed gate is relied upon until `waitForWriters` or `waitForReaders`
// has returned. (3) The role is on disk as the machines want it, or `unsavedRole` says what is missing there, and it is
// tried again.
//
// Owns: the machines, the role on disk, who is served. Refuses to know a thread, a socket, a clock or a lock: the
// replication thread runs it, and so does the simulation.
//
// Other files continue this type: +Role, +Upstream, +Serving, +Waiting.

public import LimiterEngine
public import Persistence
public import System

/// Drives a node's machines. Not thread-safe. A class, because the environment reads it inside its calls.
public final class NodeDriver {
    /// What the operator may set.
    public struct Settings {
        /// For the link to the primary.
        public var upstream: UpstreamLink.Settings
        /// For the links of replicas.
        public var downstream = DownstreamLink.Settings()
        /// Without a batch for so long an empty one is due.
        public var keepAliveInterval = Nanoseconds.seconds(1)
        /// `min-replicas-to-write`.
        public var minReplicas = 0
        /// `min-replicas-max-lag`.
        public var maxLag = Nanoseconds.zero
        /// From one try to save the role to the next.
        public var roleTryInterval = Nanoseconds.seconds(1)

        /// Settings with these for the link to the primary.
        public init(upstream: UpstreamLink.Settings) { self.upstream = upstream }
    }

    /// What a start has found.
    public struct Start {
        /// What the node is to be.
        public var role: NodeRole.Role
        /// What the file of the role says; nil where there is none.
        public var saved: SavedRole?
        /// What was recovered.
        public var report: RecoveryReport
        /// Engine time, where the node leads.
        public var time: EngineTime

        /// A start with these findings.
        public init(role: NodeRole.Role, saved: SavedRole?, report: RecoveryReport, time: EngineTime) {
            self.role = role
            self.saved = saved
            self.report = report
            self.time = time
        }
    }

    let engine: Engine
    let journal: Journal
    unowned let environment: any NodeEnvironment
    /// Takes effect with the next step it concerns.
    public var settings: Settings { didSet { settingsChanged() } }

    // The machines.
    /// What the node is.
    public internal(set) var role: NodeRole
    /// Engine time.
    public internal(set) var clock: StreamClock
    /// The link to the primary.
    public let link: UpstreamLink
    /// WAIT, and who keeps up.
    public internal(set) var acknowledgements = Acknowledgements()
    /// The command FAILOVER.
    public internal(set) var failover = Failover()
    var keepAlive: KeepAlive
    let applier: BatchApplier

    /// What commands are admitted by.
    public internal(set) var gates = NodeGates() { didSet { if gates != oldValue { environment.show(gates) } } }
    /// What the file of the role says; nil where there is none.
    public internal(set) var savedRole: SavedRole?
    /// What it is to say, where the disk did not take that yet.
    public internal(set) var unsavedRole: SavedRole?
    var nextRoleTry = SteadyInstant.boot
    /// What the files were called when they were read.
    var recoveredHistory: String
    /// Restores asked for: the last one's number.
    var restores = 0

    // The link to the primary.
    var upstreamAddress: PeerAddress?
    var snapshotHeader: FileHeader?
    /// Answers to a wish to take over, which are acted upon when the link's own call is over.
    var tookOver: [Bool] = []

    // Links of replicas, and who waits.
    /// Those who asked for the stream, by the names of their links.
    public internal(set) var served: [LinkID: ServedReplica] = [:]
    /// Tickets of those who have gone; the next tick forgets their waits, all at once.
    var gone: Set<UInt64> = []
    /// The connection that asked for the last failover.
    var failoverAsker: Int64 = 0
    /// Full syncs that replicas were given.
    public internal(set) var fullSyncs = 0
    /// Replicas that continued from their positions.
    public internal(set) var partialSyncs = 0
    /// Replicas that asked to continue and were given everything.
    public internal(set) var refusedPartialSyncs = 0

    /// A node that has recovered its state, and does nothing before `start`.
    public init(
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
        // If only its settings make it a replica, it may have been a primary without any client.
        let hasFollowed = start.saved != nil && start.saved != .configured
        role = NodeRole(
            role: wanted, recovered: report.foundState ? ReplicationID(report.manifest.history) : nil,
            end: report.end, fresh: environment.freshID(), isUnproven: !engine.hasState && !hasFollowed)
        clock =
            wanted == .primary
            ? StreamClock(leadingFrom: start.time, steady: environment.steady)
            : StreamClock(followingFrom: report.lastTime)
        link = UpstreamLink(settings: settings.upstream)
        keepAlive = KeepAlive(interval: settings.keepAliveInterval)
        applier = BatchApplier(engine: engine)
        environment.show(clock)
    }

    // MARK: Events

    /// The node begins to do what it is to do.
    public func start() {
        settingsChanged()
        var isHandingOver = false
        if case .handingOver = savedRole { isHandingOver = true }
        run(role.started(takesOver: isHandingOver))
        forgetFollowing()
    }

    /// Time has passed: to be called every 100 ms or so.
    public func tick() {
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
        // Replicas report what is on their disks once a second; a client is waiting for it.
        if acknowledgements.awaitsDisk, hasLinks, !keepAlive.isSuspended { addEmptyBatch() }
    }

    private func tickReplicas(now: SteadyInstant) {
        var limits = settings.downstream
        limits.raiseLimits(to: environment.withBacklog { $0?.keptMost ?? 0 })
        for replica in replicas { run(replica.link.tick(end: journal.offset, limits, now: now), replica) }
        let needed = served.values.compactMap(\.link.needed).min()
        environment.withBacklog { $0?.trim(needed: needed) }
    }

    /// Replicas in the order in which they came.
    public var replicas: [ServedReplica] { served.values.sorted { $0.id < $1.id } }

    private func settingsChanged() {
        link.settings = settings.upstream
        keepAlive.interval = settings.keepAliveInterval
        // A replica's own report, once a second, may be too late for this.
        let isShort = settings.minReplicas > 0 && settings.maxLag > .zero && settings.maxLag < .seconds(3)
        keepAlive.askInterval = isShort ? settings.maxLag / 3 : nil
        considerReplicas(now: environment.steady)
    }

    // MARK: Journal

    /// Adds a batch without records after everything that changed.
    func addEmptyBatch() {
        environment.collect()
        journal.recordTime(engineTime)
        environment.drain()
    }

    /// Engine time at this moment.
    var engineTime: EngineTime { clock.now(environment.steady) }

    /// Where the node is.
    public var position: StreamPosition { StreamPosition(id: role.identity.id, offset: journal.offset) }
}

extension Engine {
    /// Whether anything would be lost with this engine: keys, and what commands have made of policies and rules. What
    /// came from a file comes again. O(policies + rules).
    var hasState: Bool {
        let policies = policies.table
        return KeyspaceSession(engine: self).count() > 0 || policies.policies.contains { $0.origin == .command }
            || policies.rules.contains { $0.origin == .command }
    }
}
