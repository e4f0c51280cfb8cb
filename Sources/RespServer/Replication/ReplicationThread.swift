// The replication thread: runs the node's driver, which makes all decisions, with sockets, disk and clock.
//
//   requests (REPLICAOF, WAIT, PSYNC …) ─┐
//   sockets of links                     ├─▶ NodeDriver ─▶ what its environment does: +Environment, +Sockets
//   every 100 ms                         ┘
//
// Owns: the driver, the sockets of links, the clients that wait for a reply. Everything here runs on its thread alone.
// Lock order: it takes turn locks (to wait until writes in progress are done) with nothing else held, and waits for the
// journal thread, which never waits for it.
//
// Other files continue this type: +Environment, +Sockets, +Status.

import CLinux
import Glibc
import LimiterEngine
import Persistence
import Replication
import Synchronization
import System

/// Runs the node's driver.
///
/// `@unchecked Sendable`: created on the thread that starts it, and used only by its own thread from then on.
final class ReplicationThread: @unchecked Sendable {
    /// Interval between ticks.
    private static let tickInterval = Nanoseconds.milliseconds(100)
    /// Epoll tokens that do not belong to a replica.
    static let wakeToken: UInt64 = 0
    static let upstreamToken: UInt64 = 1
    /// Maximum number of events handled before the next tick.
    private static let eventsMax = 64

    unowned(unsafe) let server: Server
    let replication: ReplicationHandle
    let stream: JournalStream
    let poller: Poller
    private(set) var settings: Settings
    private var settingsVersion = 0
    /// Set once, at the end of `init`.
    private(set) var driver: NodeDriver!

    // Sockets.
    var upstream = UpstreamSocket()
    /// By link id, which is also the epoll token.
    var replicas: [LinkID: ReplicaSocket] = [:]
    var nextToken: LinkID = 2
    let readBuffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 18, alignment: 8)

    /// Clients in WAIT or WAITAOF, by ticket, which is the connection's id: a connection waits for one thing at a time.
    var waiting: [UInt64: (connection: Connection, demand: WaitDemand)] = [:]
    /// The gates as last shown.
    var shownGates = NodeGates()
    var linkLog = LinkLog()
    var linkDownSince: SteadyInstant?
    /// While REPLICAOF is handled: the last connection accepted before writes were gated.
    private(set) var lastClientOfPrimary: Int64?
    /// Number of requests for another role that were handled.
    private(set) var rolesHandled = 0
    /// The directory had a state, in which commands may have changed policies or rules.
    private let hasRecoveredState: Bool
    private var nextTick = SteadyInstant.boot

    /// - Parameters:
    ///   - report: The result of recovery at startup.
    ///   - role: The role to start in.
    ///   - saved: The contents of the role file.
    init(server: Server, report: RecoveryReport, role: NodeRole.Role, saved: SavedRole?) {
        self.server = server
        replication = server.replication
        hasRecoveredState = report.foundState
        stream = server.durability.stream
        settings = server.currentSettings.value
        do throws(SystemError) {
            poller = try Poller(capacity: ReplicationThread.eventsMax)
            try poller.add(replication.requests.wakeDescriptor, .readable, token: ReplicationThread.wakeToken)
        } catch {
            preconditionFailure("\(error)")
        }
        let steady = SteadyInstant.now()
        driver = NodeDriver(
            NodeDriver.Start(
                role: role, saved: saved, report: report, time: server.clock.now(at: steady), steady: steady),
            engine: server.engine, journal: server.durability.journal, settings: settings.driverSettings,
            environment: self)
    }

    /// Starts the thread.
    func start() {
        Thread.detach(name: "replication") { [self] in run() }
    }

    // MARK: Running

    private func run() {
        applySettings()
        driver.start()
        publish()
        if hasRecoveredState { server.restoreOverrides() }
        // A replica uses the policies and rules of its primary.
        if !driver.role.isReplica, let problem = rulesProblem() {
            server.log.warning("cannot load the rules file", ["error": "\(problem)"])
            server.abandon("rules-file: \(problem)")
        } else {
            server.finishLoading()
        }
        while true {
            let wait = max(.zero, min(ReplicationThread.tickInterval, nextTick - SteadyInstant.now()))
            let ready = poller.wait(milliseconds: Int32(wait.millisecondsRoundedUp))
            for number in 0..<ready {
                let (token, events) = poller.event(number)
                handle(token: token, events: events)
            }
            if upstream.hasFailed {
                upstream.hasFailed = false
                driver.upstreamFailed()
            }
            let now = SteadyInstant.now()
            if now >= nextTick {
                nextTick = now + ReplicationThread.tickInterval
                refreshSettings()
                driver.tick()
            }
            for replica in Array(replicas.values) { send(replica) }
            publish()
        }
    }

    /// Applies the rules file. Returns the error if that fails.
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

    private func handle(token: UInt64, events: PollEvents) {
        switch token {
        case ReplicationThread.wakeToken:
            for request in replication.requests.drain() {
                // A transaction may change masterauth and then send REPLICAOF.
                refreshSettings()
                handle(request)
            }
        case ReplicationThread.upstreamToken: upstreamReady(events: events)
        default: if let replica = replicas[token] { ready(replica, events: events) }
        }
    }

    private func refreshSettings() {
        if server.currentSettings.version != settingsVersion { applySettings() }
    }

    private func applySettings() {
        settingsVersion = server.currentSettings.version
        settings = server.currentSettings.value
        driver.settings = settings.driverSettings
        stream.withBacklog { $0?.capacity = settings.replBacklogSizeBytes }
    }

    // MARK: Requests

    private func handle(_ request: ReplicationHandle.Request) {
        switch request {
        case .change(let change, let reply):
            let text = perform(change)
            publish()
            reply.answer(Array(text.utf8))
        case .wait(let connection, let demand):
            let ticket = UInt64(connection.id)
            waiting[ticket] = (connection, demand)
            driver.wait(ticket, demand.forDriver)
            // Only what could not be answered at once waits, for long or not.
            if waiting[ticket] != nil, EventLoop.isLong(timeout: demand.timeout) {
                connection.loop.mailbox.post(.waitsLong(connection))
            }
        case .waiterGone(let id):
            if waiting.removeValue(forKey: UInt64(id)) != nil { driver.waiterGone(UInt64(id)) }
        case .serve(let handover): serve(handover)
        case .resolved(let attempt, let address, let addresses): resolved(attempt, address, addresses)
        case .restored(let number, let report): driver.restored(number, report)
        case .settingsChanged: break
        }
    }

    /// Performs a change; returns the reply to its command.
    private func perform(_ change: ReplicationHandle.Change) -> String {
        do throws(FailoverError) {
            switch change {
            case .follow(let address, let asker, let lastClient):
                rolesHandled += 1
                lastClientOfPrimary = lastClient
                driver.follow(address, asker: asker)
                lastClientOfPrimary = nil
            case .lead:
                rolesHandled += 1
                driver.lead()
            case .failover(let wanted, let asker): try driver.startFailover(wanted, asker: asker)
            case .abortFailover: try driver.abortFailover()
            case .closeLinks(let ids):
                closeLinks(ids)
                return ""
            }
            return "+OK\r\n"
        } catch {
            return "-\(error.rawValue)\r\n"
        }
    }

    /// Answers a client that waits for replicas.
    func answer(_ waiter: Connection?, _ reply: String) {
        publish()
        if let waiter { waiter.loop.mailbox.post(.unblock(waiter, Array(reply.utf8))) }
    }
}

extension Settings {
    /// The settings that the driver uses.
    fileprivate var driverSettings: NodeDriver.Settings {
        var upstream = UpstreamLink.Settings(listeningPort: replicaAnnouncePort == 0 ? port : replicaAnnouncePort)
        upstream.address = replicaAnnounceIP.isEmpty ? nil : replicaAnnounceIP
        upstream.user = masteruser.isEmpty ? nil : masteruser
        upstream.password = masterauth.isEmpty ? nil : masterauth
        upstream.timeout = .seconds(replTimeoutSeconds)
        upstream.acknowledgeInterval = lifeSignInterval(timeout: upstream.timeout)
        var result = NodeDriver.Settings(upstream: upstream)
        result.downstream.timeout = upstream.timeout
        let output = clientOutputBufferLimit.replica
        result.downstream.hardLimit = output.hardBytes
        result.downstream.softLimit = output.softBytes
        result.downstream.softTime = .seconds(output.softSeconds)
        result.keepAliveInterval = lifeSignInterval(timeout: upstream.timeout)
        result.minReplicas = minReplicasToWrite
        result.maxLag = .seconds(minReplicasMaxLagSeconds)
        return result
    }
}

extension WaitDemand {
    fileprivate var forDriver: NodeDriver.WaitDemand {
        NodeDriver.WaitDemand(
            replicas: replicas, timeout: timeout == .forever ? nil : timeout, onDisk: onDisk,
            onOwnDisk: onOwnDisk)
    }
}
