// The replication thread: does what the machines of the Replication module say, with sockets, the engine and the clock.
//
//   requests (REPLICAOF, WAIT, PSYNC …) ─┐
//   the link to the primary              ├─▶ machines ─▶ actions ─▶ engine, journal, disk, clock, sockets
//   links of replicas                    │
//   every 100 ms                         ┘
//
// Owns: the machines, the sockets of links, the role on disk. Everything here runs on its thread alone. Lock order: it
// takes turn locks (to wait until writes that have begun are done) with nothing else held, and waits for the journal
// thread, which never waits for it.
//
// Other files continue this type: +Role, +Link, +Serving.

import CLinux
import Glibc
import LimiterEngine
import Persistence
import Replication
import Synchronization
import System

/// Drives replication.
///
/// `@unchecked Sendable`: made on the thread that starts it and used by its own thread alone from then on.
final class ReplicationThread: @unchecked Sendable {
    /// Nanoseconds between ticks.
    private static let tickInterval: Int64 = 100_000_000
    /// From one try to save the role to the next.
    static let roleTryInterval: Int64 = 1_000_000_000
    /// Epoll tokens that are no link's.
    static let wakeToken: UInt64 = 0
    static let upstreamToken: UInt64 = 1

    unowned(unsafe) let server: Server
    let face: ReplicationFace
    let stream: JournalStream
    let poller: Int32
    var settings: Settings

    var role: NodeRole
    var clock: StreamClock
    let link: ReplicaLink
    var keepAlive = KeepAlive(interval: 1_000_000_000)
    var acknowledgements = Acknowledgements()
    var failover = Failover()
    let applier: BatchApplier

    // The link to the primary.
    var upstream: Int32 = -1
    var upstreamIsConnecting = false
    /// Nil without a connection.
    var upstreamLine: LinkLine?
    var upstreamOutput: [UInt8] = []
    var upstreamAddress: PeerAddress? { didSet { if upstreamAddress != oldValue { linkLog.reset() } } }
    /// What became of the last connection, or of the attempt to make one, in words.
    var connectionProblem = ""
    var linkLog = LinkLog()
    /// Which attempt to connect this is: an answer for another one comes too late.
    var attempt = 0
    /// Addresses of the primary's name that the next attempts try, one each.
    var untried: (of: PeerAddress?, addresses: [ResolvedAddress]) = (nil, [])
    /// Names asked for and not answered.
    var questions = 0
    var snapshotHeader: FileHeader?
    var linkDownSince: Int64 = -1
    /// No connection came about; the link is told outside of its own call.
    var upstreamHasFailed = false
    let readBuffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 18, alignment: 8)

    // Links of replicas, and who waits.
    var served: [UInt64: ServedReplica] = [:]
    var nextToken: UInt64 = 2
    /// By ticket, which is the connection's id: it waits for one thing at a time.
    var waiting: [UInt64: (connection: Connection, demand: WaitDemand)] = [:]
    /// Tickets of those who have gone; the next tick forgets their waits, all at once.
    var gone: Set<UInt64> = []
    /// The connection that asked for the last failover.
    var failoverAsker: Int64 = 0
    var tookOver: [Bool] = []
    var fullSyncs = 0
    var partialSyncs = 0
    var refusedPartialSyncs = 0
    /// Requests for another role that were taken up.
    private var rolesTaken = 0
    /// What the role's file says; nil where there is none.
    var savedRole: RoleFile.Content?
    /// What it is to say, where the disk did not take it yet.
    var unsavedRole: RoleFile.Content?
    var nextRoleTry: Int64 = 0
    /// What the files were called when they were read.
    var recoveredHistory: String
    /// Restores asked for: the last one's number.
    var restores = 0
    /// The directory had a state, of which commands may have changed something.
    private let hasRecoveredState: Bool
    private var nextTick: Int64 = 0

    /// - Parameters:
    ///   - report: What the start recovered.
    ///   - role: What the node is to be.
    ///   - savedRole: What the role's file says.
    init(server: Server, report: RecoveryReport, role wanted: NodeRole.Role, savedRole: RoleFile.Content?) {
        self.server = server
        face = server.replication
        recoveredHistory = report.manifest.history
        hasRecoveredState = report.foundState
        stream = server.durability.stream
        settings = server.currentSettings.value
        poller = clinux_epoll_create()
        precondition(poller >= 0, "epoll_create1: \(SystemError("epoll_create1"))")
        var generator = SystemRandomNumberGenerator()
        self.savedRole = savedRole
        // Where the settings alone make it a replica it may have been a primary that nobody ever called.
        let hasFollowed = savedRole != nil && savedRole != .configured
        role = NodeRole(
            role: wanted, recovered: report.foundState ? ReplicationID(report.manifest.history) : nil,
            end: report.end, fresh: ReplicationID(using: &generator),
            isUnproven: !server.engine.hasState && !hasFollowed)
        let steady = EngineClock.steady()
        clock =
            wanted == .primary
            ? StreamClock(leadingFrom: server.clock.now(), steady: steady)
            : StreamClock(followingFrom: report.lastTime)
        link = ReplicaLink(settings: ReplicaLink.Settings(listeningPort: server.currentSettings.value.port))
        applier = BatchApplier(engine: server.engine)
        server.clock.show(clock)
        watch(face.wakeDescriptor, ReplicationThread.wakeToken, reading: true, writing: false, isNew: true)
    }

    /// Starts the thread.
    func start() {
        Thread.detach(name: "replication") { [self] in run() }
    }

    // MARK: Running

    private func run() {
        takeSettings()
        var isHandingOver = false
        if case .handingOver = savedRole { isHandingOver = true }
        run(role.started(takesOver: isHandingOver))
        forgetFollowing()
        publish()
        if hasRecoveredState { server.restoreOverrides() }
        // A replica has the policies and rules of its primary.
        if !role.isReplica, let problem = rulesProblem() {
            server.log.warning("cannot load the rules file", ["error": "\(problem)"])
            server.abandon("rules-file: \(problem)")
        } else {
            server.finishLoading()
        }
        let capacity = 64
        let events = UnsafeMutablePointer<epoll_event>.allocate(capacity: capacity)
        while true {
            let wait = max(0, min(ReplicationThread.tickInterval, nextTick - EngineClock.steady()))
            let ready = epoll_wait(poller, events, Int32(capacity), Int32(ceilingUnits(wait, unit: 1_000_000)))
            for number in 0..<max(0, Int(ready)) {
                take(token: clinux_epoll_token(events + number), events: (events + number).pointee.events)
            }
            settleTakeover()
            let now = EngineClock.steady()
            if upstreamHasFailed {
                upstreamHasFailed = false
                link.failed(now: now) { perform($0) }
            }
            if now >= nextTick {
                nextTick = now + ReplicationThread.tickInterval
                tick(now: now)
            }
            for replica in Array(served.values) { send(replica) }
            publish()
        }
    }

    /// Has the rules file take force. Returns why it could not.
    private func rulesProblem() -> String? {
        do throws(RulesFileError) {
            if let report = try server.loadRulesFile(now: server.clock.now()) {
                server.log(report, listsDifferences: hasRecoveredState)
            }
            return nil
        } catch {
            return error.text
        }
    }

    private func take(token: UInt64, events: UInt32) {
        switch token {
        case ReplicationThread.wakeToken: for request in face.takeRequests() { take(request) }
        case ReplicationThread.upstreamToken: upstreamReady(events: events)
        default: if let replica = served[token] { ready(replica, events: events) }
        }
    }

    private func take(_ request: ReplicationFace.Request) {
        switch request {
        case .follow(let address, let waiter, let asker):
            rolesTaken += 1
            let wasPrimary = !role.isReplica
            follow(address)
            if wasPrimary { sendClientsAway(except: asker) }
            answer(waiter, "+OK\r\n")
        case .lead(let waiter):
            rolesTaken += 1
            lead()
            answer(waiter, "+OK\r\n")
        case .wait(let connection, let demand): wait(connection, demand)
        case .waiterGone(let id):
            if waiting.removeValue(forKey: UInt64(id)) != nil { gone.insert(UInt64(id)) }
        case .failover(let wanted, let waiter, let asker):
            failoverAsker = asker
            begin(wanted, waiter)
        case .abortFailover(let waiter):
            do throws(FailoverError) {
                run(try failover.abort())
                answer(waiter, "+OK\r\n")
            } catch {
                answer(waiter, "-\(error.rawValue)\r\n")
            }
        case .serve(let handover): serve(handover)
        case .closeLinks(let ids):
            if let upstreamLine, ids.contains(upstreamLine.id) {
                lostUpstream(EngineClock.steady(), "a client has closed it with CLIENT KILL")
            }
            for replica in Array(served.values) where ids.contains(replica.line.id) {
                run(replica.link.connectionLost(), replica)
            }
        case .resolved(let attempt, let address, let addresses): resolved(attempt, address, addresses)
        case .restored(let number, let report): restored(number, report)
        case .settingsChanged: takeSettings()
        }
    }

    func answer(_ waiter: Connection?, _ reply: String) {
        publish()
        if let waiter { waiter.loop.mailbox.post(.unblock(waiter, Array(reply.utf8))) }
    }

    private func takeSettings() {
        settings = server.currentSettings.value
        let port = settings.replicaAnnouncePort == 0 ? settings.port : settings.replicaAnnouncePort
        var linkSettings = ReplicaLink.Settings(listeningPort: port)
        linkSettings.address = settings.replicaAnnounceIP.isEmpty ? nil : settings.replicaAnnounceIP
        linkSettings.user = settings.masteruser.isEmpty ? nil : settings.masteruser
        linkSettings.password = settings.masterauth.isEmpty ? nil : settings.masterauth
        linkSettings.timeout = Int64(settings.replTimeoutSeconds) * 1_000_000_000
        linkSettings.acknowledgeInterval = lifeSignInterval(timeout: linkSettings.timeout)
        link.settings = linkSettings
        keepAlive.interval = lifeSignInterval(timeout: linkSettings.timeout)
        // What replicas say by themselves each second may come too late for this.
        let lag = Int64(settings.minReplicasMaxLagSeconds) * 1_000_000_000
        let isShort = settings.minReplicasToWrite > 0 && lag > 0 && lag < 3_000_000_000
        keepAlive.askInterval = isShort ? lag / 3 : nil
        stream.withBacklog { $0?.capacity = settings.replBacklogSizeBytes }
        considerReplicas(now: EngineClock.steady())
    }

    private func tick(now: Int64) {
        if settings != server.currentSettings.value { takeSettings() }
        saveRoleAgain(now: now)
        link.tick(now: now, synced: syncedOffset) { perform($0) }
        if !gone.isEmpty {
            acknowledgements.cancel(gone)
            gone = []
        }
        if role.leads {
            let hasLinks = served.values.contains { $0.link.isReplica }
            if keepAlive.isDue(end: server.durability.journal.offset, hasLinks: hasLinks, now: now) { sayTime() }
            run(failover.tick(candidates: candidates, now: now))
            finish(acknowledgements.synced(syncedOffset))
            finish(acknowledgements.tick(now: now))
            // Replicas say of themselves once a second what is on their disks; here somebody waits for it.
            if acknowledgements.awaitsDisk, hasLinks, !keepAlive.isSuspended { sayTime() }
        }
        considerReplicas(now: now)
        var limits = PrimaryLink.Settings()
        limits.timeout = Int64(settings.replTimeoutSeconds) * 1_000_000_000
        let output = settings.clientOutputBufferLimit.replica
        limits.hardLimit = output.hardBytes
        limits.softLimit = output.softBytes
        limits.softTime = Int64(output.softSeconds) * 1_000_000_000
        limits.raiseLimits(to: stream.withBacklog { $0?.keptMost ?? 0 })
        for replica in Array(served.values) {
            run(replica.link.tick(end: server.durability.journal.offset, limits, now: now), replica)
        }
        let needed = served.values.compactMap(\.link.needed).min()
        stream.withBacklog { $0?.trim(needed: needed) }
        settleTakeover()
    }

    /// Adds a batch without records behind everything that changed.
    func sayTime() {
        collect()
        server.durability.journal.recordTime(server.clock.now())
        drain()
    }

    func considerReplicas(now: Int64) {
        let lag = Int64(settings.minReplicasMaxLagSeconds) * 1_000_000_000
        face.set(
            lacksGoodReplicas: role.leads
                && acknowledgements.refusesWrites(minimum: settings.minReplicasToWrite, lag: lag, now: now))
    }

    /// Up to where a start would find the journal; -1 where that cannot be said.
    var syncedOffset: Int64 {
        server.durability.status.recoverableOffset
    }

    // MARK: Journal

    /// Has every change so far in the journal.
    func collect() {
        if server.durability.isJournaling { server.durability.journal.collect(time: server.clock.now()) }
        drain()
    }

    /// Takes what was added to the journal to its readers.
    func drain() {
        if stream.drain() { server.durability.noteStream() }
    }

    // MARK: Descriptors

    func watch(_ fd: Int32, _ token: UInt64, reading: Bool, writing: Bool, isNew: Bool) {
        var events: UInt32 = 0
        if reading { events |= UInt32(clinux_epoll_in) }
        if writing { events |= UInt32(clinux_epoll_out) }
        _ = clinux_epoll_control(poller, isNew ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, fd, events, token)
    }

    // MARK: Status

    /// Shows INFO and ROLE how things stand.
    func publish() {
        let now = EngineClock.steady()
        let bytes = stream.withBacklog { backlog in backlog.map { ($0.start, $0.count) } }
        let replicas = served.values.filter(\.link.isReplica).sorted { $0.line.id < $1.line.id }
        let good = acknowledgements.good(lag: Int64(settings.minReplicasMaxLagSeconds) * 1_000_000_000, now: now)
        if role.isReplica, link.isUp { linkDownSince = -1 } else if linkDownSince < 0 { linkDownSince = now }
        face.set(linkIsUp: link.isUp)
        face.update { status in
            // What has been asked for meanwhile is shown already.
            if status.rolesAsked == rolesTaken {
                if case .replica(let address) = role.role { status.primary = address } else { status.primary = nil }
            }
            status.isLinkUp = link.isUp
            status.linkState = linkState
            status.isSyncing = link.isSyncing
            status.lastHeard = link.lastHeard
            status.downSince = linkDownSince
            status.isPromotable = role.shownPriority(configured: 1) == 1
            status.replicas = replicas.map { $0.state(now: now) }
            status.links = replicas.map { $0.line(now: now) }
            if var line = upstreamLine {
                line.idle = max(0, (now - link.lastHeard) / 1_000_000_000)
                status.links.append(line)
            }
            status.goodReplicas = good
            status.failover = failover.state.rawValue
            status.isHandingOver = link.takesOver
            status.isRoleSaved = unsavedRole == nil
            status.id = role.identity.id.text
            status.pastID = role.identity.past?.id.text ?? String(repeating: "0", count: 40)
            status.pastOffset = role.identity.past.map { $0.offset + 1 } ?? -1
            status.hasBacklog = bytes != nil
            status.backlogStart = bytes?.0 ?? 0
            status.backlogCount = bytes?.1 ?? 0
            status.fullSyncs = fullSyncs
            status.partialSyncs = partialSyncs
            status.refusedPartialSyncs = refusedPartialSyncs
        }
    }

    private var linkState: String {
        switch link.state {
        case .off, .waiting: "connect"
        case .connecting: "connecting"
        case .receiving, .completing: "sync"
        case .streaming: "connected"
        default: "handshake"
        }
    }
}
