// What INFO and ROLE show of the driver, and what is logged.

import Replication
import System

extension ReplicationThread {
    // MARK: Status

    /// Publishes the driver's state to INFO and ROLE.
    func publish() {
        let now = SteadyInstant.now()
        let (role, link) = (driver.role, driver.link)
        let bytes = stream.withBacklog { backlog in backlog.map { ($0.start, $0.count) } }
        let shown = replicas.values.compactMap { socket in driver.served[socket.id].map { (socket, $0) } }
            .filter { $0.1.link.isReplica }.sorted { $0.0.line.id < $1.0.line.id }
        if role.isReplica, link.isUp { linkDownSince = nil } else if linkDownSince == nil { linkDownSince = now }
        replication.set(linkIsUp: link.isUp)
        showReplicas()
        replication.update { status in
            // A role requested meanwhile is shown already.
            if status.rolesAsked == rolesHandled {
                if case .replica(let address) = role.role { status.primary = address } else { status.primary = nil }
            }
            status.isLinkUp = link.isUp
            status.linkState = linkState
            status.isSyncing = link.isSyncing
            status.lastHeard = link.lastHeard
            status.downSince = linkDownSince
            status.isPromotable = role.shownPriority(configured: 1) == 1
            status.replicas = shown.map { $0.1.state(now: now) }
            status.links = shown.map { $0.0.line(idle: $0.1.link.lag(now: now) ?? .zero) }
            if var line = upstream.line {
                line.idle = now - link.lastHeard
                status.links.append(line)
            }
            status.failover = driver.failover.state.rawValue
            status.isHandingOver = link.takesOver
            status.isRoleSaved = driver.unsavedRole == nil
            status.id = role.identity.id.text
            status.pastID = role.identity.past?.id.text ?? String(repeating: "0", count: 40)
            status.pastOffset = role.identity.past.map { $0.offset + 1 } ?? -1
            status.hasBacklog = bytes != nil
            status.backlogStart = bytes?.0 ?? 0
            status.backlogCount = bytes?.1 ?? 0
            status.fullSyncs = driver.fullSyncs
            status.partialSyncs = driver.partialSyncs
            status.refusedPartialSyncs = driver.refusedPartialSyncs
        }
    }

    private var linkState: String {
        switch driver.link.state {
        case .off, .waiting: "connect"
        case .connecting: "connecting"
        case .receiving, .completing: "sync"
        case .streaming: "connected"
        default: "handshake"
        }
    }

    // MARK: Log

    func note(_ note: NodeNote) {
        let log = server.log
        switch note {
        case .following(let address):
            linkDownSince = nil
            log.notice("following a new primary", LogFields(address))
        case .leading(let offset):
            log.notice("now the primary", ["offset": "\(offset)"])
            // A policy received from the previous primary may name a zone that only that machine had.
            ZoneLoading.warnOfMissing(log)
        case .promotedInsideFullSync:
            log.notice("promoted during a full sync; restoring the state on disk before becoming the primary")
        case .leadingWithoutState:
            log.warning("no state on disk to restore: this node is a primary without keys")
        case .roleSaved: log.notice("role saved")
        case .roleNotSaved(let error):
            log.warning("cannot save the role; a restart before this succeeds would lose it", ["error": "\(error)"])
        case .handingOver(let address): log.notice("handing over", LogFields(address))
        case .handoverNotSaved: log.warning("not handing over: cannot save the role")
        case .takeoverRefused(let text): log.warning("the other node does not take over", ["error": "\(text)"])
        case .fullSyncBegan(let offset): log.notice("full sync from the primary started", ["offset": "\(offset)"])
        case .snapshotReceived(let keys): log.notice("snapshot of the primary received", ["keys": .integer(keys)])
        case .linkUp(let address, let offset): linkUp(address, offset)
        case .linkDown(let address, let failure): linkDown(address, failure)
        case .partialSync(let replica): log.notice("partial resync accepted", ["replica": "\(replica.text)"])
        case .fullSync(let replica): log.notice("full resync started", ["replica": "\(replica.text)"])
        case .replicaOnline(let replica): log.notice("replica is online", ["replica": "\(replica.text)"])
        case .replicaGone(let replica, let failure):
            log.notice("replica is gone", ["replica": "\(replica.text)", "because": "\(failure.words)"])
        }
    }

    private func linkUp(_ address: PeerAddress?, _ offset: Int64) {
        linkLog.reset()
        var fields: LogFields = ["offset": "\(offset)"]
        if let address {
            fields.append("host", "\(address.host)")
            fields.append("port", .integer(address.port))
        }
        server.log.notice("link to the primary is up", fields)
    }

    private func linkDown(_ address: PeerAddress, _ failure: UpstreamLink.Failure) {
        let why = failure.words(connection: upstream.problem, timeout: driver.settings.upstream.timeout)
        guard let attempts = linkLog.failed(why, now: SteadyInstant.now()) else { return }
        var fields = LogFields(address)
        fields.append("because", "\(why)")
        fields.append("attempts", .integer(attempts))
        server.log.warning("link to the primary is down; retrying", fields)
    }
}

extension LogFields {
    fileprivate init(_ address: PeerAddress) {
        self = ["host": "\(address.host)", "port": .integer(address.port)]
    }
}

extension PeerAddress {
    fileprivate var text: String { "\(host):\(port)" }
}

extension ServedReplica {
    fileprivate func state(now: SteadyInstant) -> ReplicaLine {
        let state =
            switch link.state {
            case .waitingForSnapshot: "wait_bgsave"
            case .sendingSnapshot: "send_bulk"
            default: link.isOnline ? "online" : "send_bulk"
            }
        return ReplicaLine(
            host: address.host, port: address.port, state: state, offset: max(0, link.acknowledged),
            lag: link.lag(now: now) ?? .zero)
    }
}
