// What the node is: following, leading, handing over; and who waits for replicas.

import LimiterEngine
import Persistence
import Replication
import Synchronization
import System

extension ReplicationThread {
    private func fresh() -> ReplicationID {
        var generator = SystemRandomNumberGenerator()
        return ReplicationID(using: &generator)
    }

    /// What waits are told when the node is a primary no more.
    private static let unblockedText =
        "-UNBLOCKED force unblock from blocking operation, instance state changed "
        + "(master -> replica?)\r\n"

    func follow(_ address: PeerAddress, takesOver: Bool = false) {
        let isHandingOver = link.takesOver
        if !takesOver { run(failover.overruled()) }
        let actions = role.follow(address, isEmpty: !server.engine.hasState, takesOver: takesOver)
        guard !actions.isEmpty else {
            // It follows the target of the failover that has just ended, which is not to take over any more.
            if isHandingOver, !takesOver { run([.stopLink, .saveRole, .startLink(address, takesOver: false)]) }
            return
        }
        server.log.notice("following another node", ["host": "\(address.host)", "port": .integer(address.port)])
        linkDownSince = -1
        run(actions)
    }

    func lead() {
        run(failover.overruled())
        guard role.isReplica else { return }
        run(role.becomePrimary(end: server.durability.journal.offset, fresh: fresh()))
        if role.leads {
            server.log.notice("leading from here on", ["offset": "\(server.durability.journal.offset)"])
        } else {
            server.log.notice("promoted inside a full sync; going back to the state on disk before leading")
        }
    }

    /// The state on disk is back in the engine: the journal continues at its end, in a history of its own.
    func restored(_ number: Int, _ report: RecoveryReport) {
        guard role.dataset == .restoring, number == restores else { return }
        recoveredHistory = report.manifest.history
        stream.restart(at: report.end, time: report.lastTime)
        clock.recovered(report.lastTime)
        let history = report.foundState ? ReplicationID(report.manifest.history) : nil
        run(role.restored(recovered: history, end: report.end, fresh: fresh()))
        server.log.notice("leading from here on", ["offset": "\(server.durability.journal.offset)"])
        guard !server.engine.hasState else { return }
        server.log.warning("there was no state on disk to go back to: this node leads without a key")
    }

    func run(_ actions: [NodeRole.Action]) {
        face.set(lacksState: role.isReplica && role.neverSynced)
        for action in actions { run(action) }
    }

    private func run(_ action: NodeRole.Action) {
        let durability = server.durability
        switch action {
        case .refuseWrites:
            face.set(isReplica: true)
            // A sweep looks at the limit with a stripe held, and the collection that follows takes every stripe: what
            // was evicted is in it, and nothing is evicted behind it.
            server.roleChanged()
            server.waitForTurnsInProgress()
            // A rules file takes force outside of any turn: here it has, or will see that it must not.
            server.durability.journal.excludingCollections {}
        case .allowWrites:
            // Before the first write, not with the next tick.
            considerReplicas(now: EngineClock.steady())
            face.set(isReplica: false)
            server.roleChanged()
            face.set(isReceiving: false)
            face.set(isRestoring: false)
        case .collect: collect()
        case .journal(let isOn): durability.set(isPrimary: isOn, engine: server.engine)
        case .closeReplicaLinks:
            for replica in Array(served.values) { run(replica.link.historyChanged(), replica) }
        case .failWaits:
            for ticket in acknowledgements.fail() {
                answer(waiting.removeValue(forKey: ticket)?.connection, ReplicationThread.unblockedText)
            }
        case .restartBacklog: stream.restartBacklog()
        case .saveIdentity:
            // The first history of a directory comes out of none, and the files have a name nonetheless.
            let old = role.identity.past?.id.text ?? recoveredHistory
            awaitDisk { .rename(from: old, to: role.identity.id.text, $0) }
        case .saveState: durability.ask(.attach(history: role.identity.id.text, isNewState: false))
        case .disownState: awaitDisk { .rename(from: nil, to: ReplicationID.nobodys.text, $0) }
        case .saveRole: saveRole()
        case .startLink(let address, let takesOver):
            upstreamAddress = address
            // Where changes were made that no journal has, the offset stands for more than one state.
            if !takesOver, !durability.hasUncountedChanges,
                let given = role.returnToPast(end: durability.journal.offset)
            {
                awaitDisk { .rename(from: given.text, to: role.identity.id.text, $0) }
            }
            // Promoted, it serves others from where they are.
            stream.beginBacklog(capacity: settings.replBacklogSizeBytes)
            link.start(
                position: role.position(end: durability.journal.offset), horizon: server.clock.now(),
                takesOver: takesOver, now: EngineClock.steady()
            ) { perform($0) }
        case .stopLink:
            link.stop { perform($0) }
            applier.dropSnapshot()
            // A part of a state is served to nobody, whoever is followed next.
            face.set(isReceiving: role.dataset != .whole)
        case .followTime:
            clock.follow(EngineClock.steady())
            server.clock.show(clock)
        case .leadTime:
            clock.lead(wall: EngineTime(nanoseconds: EngineClock.wall()), at: EngineClock.steady())
            server.clock.show(clock)
        case .restore: restore()
        case .stopRestoring:
            durability.want(restore: 0)
            awaitDisk { .stopRestoring($0) }
            face.set(isRestoring: false)
        case .resumeLog: awaitDisk { .resume($0) }
        }
    }

    /// Has the journal thread read the state on disk back. This thread does not wait for it.
    private func restore() {
        face.set(isReceiving: true)
        face.set(isRestoring: true)
        clock.goBack()
        server.clock.show(clock)
        letReadersEnd()
        restores += 1
        server.durability.want(restore: restores)
        // The time heard last: it is not known yet by what clock the node will lead, but that will not be earlier.
        server.durability.ask(.restore(number: restores, horizon: clock.now(EngineClock.steady())))
    }

    /// Asks the journal thread for something, and returns when it is done.
    func awaitDisk(_ request: (DiskAnswer) -> Durability.Request) {
        assertHoldsNoLock()
        let answer = DiskAnswer()
        server.durability.ask(request(answer))
        answer.wait()
    }

    /// Returns when no command and no sweep is under way that began by an earlier clock, or before it could be told
    /// LOADING: none of them takes a key of the next state for one of the last, or for expired.
    func letReadersEnd() {
        server.waitForTurnsInProgress()
        server.sweepTurn.acquire()
        server.sweepTurn.release()
    }

    private func saveRole() {
        let isReplica = role.isReplica
        let replicaof = upstreamText
        server.currentSettings.change("replicaof") { $0.replicaof = isReplica ? replicaof : "" }
        if failover.state == .inProgress, case .replica(let address) = role.role {
            save(.handingOver(address))
        } else {
            save(.role(role.role))
        }
    }

    /// Has the role's file say this, at once or as soon as the disk lets us. Returns whether it does.
    @discardableResult
    private func save(_ content: RoleFile.Content) -> Bool {
        do throws(StorageError) {
            try RoleFile.save(content, directory: settings.dir)
            if unsavedRole != nil { server.log.notice("the role is saved") }
            savedRole = content
            unsavedRole = nil
            return true
        } catch {
            if unsavedRole == nil {
                server.log.warning(
                    "cannot save the role; a start before that works would not know it", ["error": "\(error)"])
            }
            unsavedRole = content
            return false
        }
    }

    /// The disk may work again.
    func saveRoleAgain(now: Int64) {
        guard let unsavedRole, now >= nextRoleTry else { return }
        nextRoleTry = now + ReplicationThread.roleTryInterval
        save(unsavedRole)
    }

    /// A node that was told nothing and has had a replica keeps a backlog from its next start on: the replica can go on
    /// where it was. And one whose settings made it a replica, and that has been whole, is worth something if it starts
    /// empty.
    func rememberRole() {
        guard unsavedRole == nil else { return }
        let content: RoleFile.Content = role.isReplica ? .configuredReplica : .configured
        if savedRole == nil || savedRole == .configured && role.isReplica { save(content) }
    }

    /// What it was as a replica says nothing of what it does as a primary from here on.
    func forgetFollowing() {
        if !role.isReplica, savedRole == .configuredReplica { save(.configured) }
    }

    private var upstreamText: String {
        if case .replica(let address) = role.role { return "\(address.host) \(address.port)" }
        return ""
    }

    // MARK: FAILOVER

    var candidates: [Failover.Candidate] {
        served.values.filter(\.link.isReplica).map { replica in
            Failover.Candidate(
                address: PeerAddress(host: replica.host, port: replica.link.listeningPort),
                acknowledged: replica.link.acknowledged, isOnline: replica.link.isOnline)
        }
    }

    func begin(_ wanted: Failover.Request, _ waiter: Connection?) {
        do throws(FailoverError) {
            run(
                try failover.start(
                    wanted, isReplica: role.isReplica, candidates: candidates, now: EngineClock.steady()))
            answer(waiter, "+OK\r\n")
        } catch {
            answer(waiter, "-\(error.rawValue)\r\n")
        }
    }

    func run(_ actions: [Failover.Action]) {
        for action in actions {
            switch action {
            case .pauseWrites:
                server.pause.holdsWrites.store(true, ordering: .sequentiallyConsistent)
                server.waitForTurnsInProgress()
                // What is being collected elsewhere comes before the end, too.
                sayTime()
                keepAlive.isSuspended = true
                failover.paused(end: server.durability.journal.offset)
            case .resumeWrites:
                server.pause.holdsWrites.store(false, ordering: .sequentiallyConsistent)
                keepAlive.isSuspended = false
                for loop in server.loops { loop.mailbox.post(.resume) }
            case .handOver(let address):
                guard saveHandover(to: address) else {
                    run(failover.answered(tookOver: false))
                    continue
                }
                server.log.notice("handing over", ["host": "\(address.host)", "port": .integer(address.port)])
                follow(address, takesOver: true)
            case .takeBack: if role.isReplica { lead() }
            }
        }
    }

    /// Has it on disk that this node hands over: without that it would, started again, be a second primary. When the
    /// disk does not take it, what it said before counts on.
    private func saveHandover(to address: PeerAddress) -> Bool {
        let before = unsavedRole ?? savedRole ?? .configured
        guard !save(.handingOver(address)) else { return true }
        // The disk may have it all the same.
        unsavedRole = before
        server.log.warning("not handing over: that could not be saved")
        return false
    }

    func settleTakeover() {
        while !tookOver.isEmpty {
            run(failover.answered(tookOver: tookOver.removeFirst()))
            guard role.isReplica else { continue }
            // From here on it follows as any replica does, after the next start, too.
            saveRole()
            sendClientsAway(except: failoverAsker)
        }
    }

    /// Closes the connections of clients, after what they are owed: they were a primary's, and a pool that keeps them
    /// would be told READONLY for ever instead of asking who is the primary now.
    ///
    /// - Parameter asker: The connection that asked for the change.
    func sendClientsAway(except asker: Int64) {
        server.log.notice("closing client connections: this node is no longer the primary")
        // Those that connect from here on know what they connect to.
        let last = server.lastClientID.load(ordering: .relaxed)
        for loop in server.loops { loop.mailbox.post(.closeClients(upTo: last, except: asker)) }
    }

    // MARK: WAIT

    func wait(_ connection: Connection, _ demand: WaitDemand) {
        guard role.leads else {
            return answer(connection, ReplicationThread.unblockedText)
        }
        collect()
        let ticket = UInt64(connection.id)
        waiting[ticket] = (connection, demand)
        let now = EngineClock.steady()
        finish(acknowledgements.synced(syncedOffset))
        let answer = acknowledgements.wait(
            ticket: ticket, offset: server.durability.journal.offset, count: demand.replicas,
            deadline: demand.milliseconds == 0 ? nil : now + demand.milliseconds * 1_000_000,
            demandsSync: demand.onDisk, demandsLocal: demand.onOwnDisk)
        if let answer { return finish([answer]) }
        // Replicas acknowledge an empty batch when it comes.
        if !keepAlive.isSuspended { sayTime() }
    }

    func finish(_ answers: [Acknowledgements.Answer]) {
        for done in answers {
            guard let (connection, demand) = waiting.removeValue(forKey: done.ticket) else { continue }
            let count = ":\(done.count)\r\n"
            answer(connection, demand.onDisk ? "*2\r\n:\(done.isLocal ? 1 : 0)\r\n" + count : count)
        }
    }
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
