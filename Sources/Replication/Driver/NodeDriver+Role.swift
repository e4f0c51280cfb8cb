// Role changes: following, leading, handing over; and the role file.

import LimiterEngine
package import Persistence
import System

extension NodeDriver {
    // MARK: Events

    /// REPLICAOF host port.
    ///
    /// - Parameter asker: The connection that requested it. A former primary closes all other client connections.
    package func follow(_ address: PeerAddress, asker: Int64) {
        let wasPrimary = !role.isReplica
        follow(address, takesOver: false)
        if wasPrimary { environment.closeClients(except: asker) }
    }

    /// REPLICAOF NO ONE.
    package func lead() {
        run(failover.overruled())
        guard role.isReplica else { return }
        run(role.becomePrimary(end: journal.offset, fresh: environment.freshID()))
        environment.note(role.leads ? .leading(offset: journal.offset) : .promotedInsideFullSync)
    }

    /// The state on disk is back in the engine: the journal continues at its end, in a new history.
    package func restored(_ number: Int, _ report: RecoveryReport) {
        guard role.dataset == .restoring, number == restores else { return }
        recoveredHistory = report.manifest.history
        environment.restartJournal(at: report.end, time: report.lastTime)
        clock.recovered(report.lastTime)
        let history = report.foundState ? ReplicationID(report.manifest.history) : nil
        run(role.restored(recovered: history, end: report.end, fresh: environment.freshID()))
        environment.note(.leading(offset: journal.offset))
        if !engine.hasState { environment.note(.leadingWithoutState) }
    }

    func follow(_ address: PeerAddress, takesOver: Bool) {
        let isHandingOver = link.takesOver
        if !takesOver { run(failover.overruled()) }
        let actions = role.follow(address, isEmpty: !engine.hasState, takesOver: takesOver)
        guard !actions.isEmpty else {
            // It follows the target of the failover that has just ended, which must not be asked to take over again.
            if isHandingOver, !takesOver { run([.stopLink, .saveRole, .startLink(address, takesOver: false)]) }
            return
        }
        environment.note(.following(address))
        run(actions)
    }

    // MARK: Actions

    func run(_ actions: [NodeRole.Action]) {
        gates.lacksState = role.isReplica && role.neverSynced
        for action in actions { run(action) }
    }

    private func run(_ action: NodeRole.Action) {
        switch action {
        case .refuseWrites:
            gates.isReplica = true
            environment.waitForWriters()
        case .allowWrites: openGates()
        case .collect: environment.collect()
        case .journal(let isOn): environment.setJournaling(isPrimary: isOn)
        case .closeReplicaLinks: for replica in replicas { run(replica.link.historyChanged(), replica) }
        case .failWaits: for ticket in acknowledgements.fail() { environment.unblock(ticket) }
        case .restartBacklog: environment.restartBacklog()
        case .saveIdentity:
            // A directory's first history has no predecessor, but its files carry a name.
            let old = role.identity.past?.id.text ?? recoveredHistory
            environment.rename(from: old, to: role.identity.id.text)
        case .saveState: environment.attach(history: role.identity.id.text, isNewState: false)
        case .markUnowned: environment.rename(from: nil, to: ReplicationID.unowned.text)
        case .saveRole: saveRole()
        case .startLink(let address, let takesOver): startLink(address, takesOver: takesOver)
        case .stopLink:
            link.stop { perform($0) }
            applier.dropSnapshot()
            // A partial state is never served, whichever node is followed next.
            gates.isReceiving = role.dataset != .whole
        case .followTime:
            clock.follow(environment.steady)
            environment.show(clock)
        case .leadTime:
            clock.lead(wall: environment.wall, at: environment.steady)
            environment.show(clock)
        case .restore: restore()
        case .stopRestoring:
            environment.stopRestoring()
            gates.isRestoring = false
        case .resumeLog: environment.resumeLog()
        }
    }

    private func openGates() {
        // Before the first write rather than at the next tick.
        considerReplicas(now: environment.steady)
        var open = gates
        open.isReplica = false
        open.isReceiving = false
        open.isRestoring = false
        gates = open
    }

    private func startLink(_ address: PeerAddress, takesOver: Bool) {
        upstreamAddress = address
        // If changes were made that are in no journal, an offset does not identify a single state.
        if !takesOver, !environment.hasUncountedChanges, let given = role.returnToPast(end: journal.offset) {
            environment.rename(from: given.text, to: role.identity.id.text)
        }
        // After its promotion it serves replicas from their positions.
        environment.beginBacklog()
        link.start(
            position: role.position(end: journal.offset), horizon: engineTime, takesOver: takesOver,
            permitsLoss: takesOver && handoverPermitsLoss, now: environment.steady
        ) { perform($0) }
    }

    /// Starts reading back the state on disk, without waiting for it.
    private func restore() {
        var closed = gates
        closed.isReceiving = true
        closed.isRestoring = true
        gates = closed
        clock.goBack()
        environment.show(clock)
        environment.waitForReaders()
        restores += 1
        // The time last heard: which clock the node will lead by is not known yet, but it will not be earlier.
        environment.restore(number: restores, horizon: engineTime)
    }

    // MARK: The role file

    func saveRole() {
        guard case .replica(let address) = role.role else {
            environment.show(following: nil)
            save(.role(.primary))
            return
        }
        environment.show(following: address)
        save(failover.state == .inProgress ? .handingOver(address) : .role(role.role))
    }

    /// Writes the role file, now or as soon as the disk allows it. Returns whether it is written.
    @discardableResult
    private func save(_ wanted: SavedRole) -> Bool {
        do throws(StorageError) {
            try environment.save(wanted)
            if unsavedRole != nil { environment.note(.roleSaved) }
            savedRole = wanted
            unsavedRole = nil
            return true
        } catch {
            if unsavedRole == nil { environment.note(.roleNotSaved(error)) }
            unsavedRole = wanted
            return false
        }
    }

    /// Retries saving the role: the disk may work again.
    func saveRoleAgain(now: SteadyInstant) {
        guard let unsavedRole, now >= nextRoleTry else { return }
        nextRoleTry = now + settings.roleTryInterval
        save(unsavedRole)
    }

    /// A node that was never given a role at run time and has had a replica keeps a backlog from its next start on, so
    /// that the replica can continue. A replica by configuration that has had a consistent state is proven: its next
    /// start may be an empty one.
    func rememberRole() {
        guard unsavedRole == nil else { return }
        if savedRole == nil || savedRole == .configured && role.isReplica {
            save(role.isReplica ? .configuredReplica : .configured)
        }
    }

    /// A primary no longer needs the record that it once had a consistent state as a replica.
    func forgetFollowing() {
        if !role.isReplica, savedRole == .configuredReplica { save(.configured) }
    }

    /// Records on disk that this node is handing over: without that record a restart would create a second primary. If
    /// the disk fails, the previous content remains in force.
    func saveHandover(to address: PeerAddress) -> Bool {
        let before = unsavedRole ?? savedRole ?? .configured
        guard !save(.handingOver(address)) else { return true }
        // The disk may contain the record all the same.
        unsavedRole = before
        environment.note(.handoverNotSaved)
        return false
    }
}
