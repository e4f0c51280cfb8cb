// What a simulated node does about its role: it follows, leads and hands over, as the machines say.

import LimiterEngine
import Persistence
import Testing

@testable import Replication

extension SimulatedNode {
    // MARK: Role

    func follow(_ other: SimulatedNode, takesOver: Bool = false) {
        let isHandingOver = link.takesOver
        if !takesOver { runFailover(failover.overruled()) }
        let isEmpty = KeyspaceSession(engine: engine).count() == 0
        let actions = role.follow(other.address, isEmpty: isEmpty, takesOver: takesOver)
        run(actions)
        // It follows the target of the failover that has just ended, which is not to take over any more.
        guard actions.isEmpty, isHandingOver, !takesOver else { return }
        run([.stopLink, .saveRole, .startLink(other.address, takesOver: false)])
    }

    func promote() {
        runFailover(failover.overruled())
        guard role.isReplica else { return }
        let (before, place) = (role, position)
        simulation.willPromote(self)
        tell("is promoted, \(role.dataset)")
        let actions = role.becomePrimary(end: journal.offset, fresh: simulation.freshID())
        // Whoever has no key says of itself that it has nothing, and may have all there was.
        if before.dataset == .whole, role.identity.past == nil {
            simulation.truth.contains(role.identity.id, all: place)
        }
        let wasUp = hasBeenUp && before.dataset == .whole && !before.neverSynced
        run(actions)
        if wasUp { simulation.checkClock(of: self, at: place) }
        if role.leads { becamePrimary() }
    }

    /// The state on disk is back in the engine: the journal continues at its end, in a history of its own.
    func restored(_ number: Int, _ report: RecoveryReport) {
        guard role.dataset == .restoring, number == restores else { return }
        recoveredHistory = report.manifest.history
        storage.restart(at: report.end, time: report.lastTime)
        clock.recovered(report.lastTime)
        lastSaid = report.lastTime
        hasPart = false
        tell("goes back to \(report.manifest.history.prefix(6)) \(report.end)")
        simulation.coverage.restores += 1
        let history = report.foundState ? ReplicationID(report.manifest.history) : nil
        let actions = role.restored(recovered: history, end: report.end, fresh: simulation.freshID())
        run(actions)
        if report.foundState { simulation.checkRecovery(of: self, report) }
        simulation.checkRestoredClock(of: self, report)
        becamePrimary()
    }

    func becamePrimary() {
        noteBeginning()
        clockPlace = nil
        simulation.lastPrimary = self
    }

    func run(_ actions: [NodeRole.Action]) {
        for action in actions {
            tell("\(action)")
            switch action {
            case .refuseWrites: takesWrites = false
            case .allowWrites:
                takesWrites = true
                isReceiving = false
                if hasPart { fail("leads with a part of a state") }
            case .collect:
                isLeaving = true
                collect()
                isLeaving = false
            case .journal(let isOn): storage.set(isPrimary: isOn)
            case .closeReplicaLinks:
                for replica in served { run(replica.link.historyChanged(), replica) }
            case .failWaits:
                for ticket in acknowledgements.fail() { waits[ticket] = nil }
            case .restartBacklog: storage.restartBacklog()
            case .saveIdentity:
                rename(from: role.identity.past?.id.text ?? recoveredHistory)
            case .saveState:
                storage.requests.append(.attach(history: role.identity.id.text, isNewState: false))
            case .disownState:
                // What it had on disk is nobody's from here on.
                answered = nil
                simulation.promises.removeAll { $0.node === self && $0.isSynced }
                storage.perform { storage.rename(from: nil, to: ReplicationID.nobodys.text) }
            case .saveRole:
                // A crash may come before the role is on disk.
                if !simulation.random.once(in: 10) { saveRole() }
            case .startLink(let address, let takesOver):
                attempt += 1
                hasBeenUp = false
                clockPlace = nil
                upstreamPort = address.port
                // Where changes were made that no journal has, the offset stands for more than one state.
                if !takesOver, !storage.hasUncountedChanges,
                    let given = role.returnToPast(end: journal.offset)
                {
                    rename(from: given.text)
                }
                // Promoted, it serves others from where they are.
                storage.beginBacklog()
                link.start(
                    position: role.position(end: journal.offset), horizon: engineTime, takesOver: takesOver,
                    now: steady
                ) { self.perform($0) }
            case .stopLink:
                link.stop { self.perform($0) }
                applier.dropSnapshot()
                isReceiving = role.dataset != .whole
            case .followTime: clock.follow(steady)
            case .leadTime:
                clock.lead(wall: wall, at: steady)
            case .restore: restore()
            case .stopRestoring:
                storage.wantedRestore = 0
                storage.perform { storage.stopRestoring() }
                simulation.coverage.stoppedRestores += 1
            case .resumeLog: storage.perform { storage.resume() }
            }
        }
    }

    private func restore() {
        isReceiving = true
        clock.goBack()
        restores += 1
        storage.wantedRestore = restores
        storage.requests.append(.restore(number: restores, horizon: clock.now(steady)))
    }

    private func rename(from old: String) {
        storage.perform { storage.rename(from: old, to: role.identity.id.text) }
    }

    private func saveRole() {
        savedRole = role.role
        isHandoverSaved = role.isReplica && failover.state == .inProgress
        isRoleSaved = true
    }

    /// A node that has had a replica keeps a backlog from its next start on: the replica can go on where it was.
    func rememberRole() {
        if !isRoleSaved { saveRole() }
    }

    // MARK: Failover

    var candidates: [Failover.Candidate] {
        served.filter(\.link.isReplica).map {
            Failover.Candidate(
                address: PeerAddress(host: "node", port: $0.link.listeningPort), acknowledged: $0.link.acknowledged,
                isOnline: $0.link.isOnline)
        }
    }

    func startFailover(_ request: Failover.Request) {
        do throws(FailoverError) {
            runFailover(
                try failover.start(request, isReplica: role.isReplica, candidates: candidates, now: steady))
        } catch {}
    }

    func runFailover(_ actions: [Failover.Action]) {
        for action in actions {
            switch action {
            case .pauseWrites:
                isPaused = true
                collect()
                journal.recordTime(engineTime)
                storage.drain()
                keepAlive.isSuspended = true
                failover.paused(end: journal.offset)
            case .resumeWrites:
                isPaused = false
                keepAlive.isSuspended = false
            case .handOver(let address):
                if let other = simulation.nodes.first(where: { $0.address == address }) {
                    follow(other, takesOver: true)
                }
            case .takeBack:
                if role.isReplica { promote() }
            }
        }
    }

    func run(_ actions: [Failover.Action]) { runFailover(actions) }

    func settleTakeover() {
        while !tookOver.isEmpty {
            let isTaken = tookOver.removeFirst()
            if isTaken, failover.state == .inProgress { simulation.coverage.takeovers += 1 }
            runFailover(failover.answered(tookOver: isTaken))
            if role.isReplica { saveRole() }
        }
    }
}
