// What must be true of simulated nodes at every moment, and at the end.

import LimiterEngine
import Persistence
import TestSupport

@testable import Replication

extension Simulation {
    // MARK: States

    /// A whole state is the one that its history had at its offset.
    func checkState(of node: SimulatedNode) {
        guard node.isWhole else { return }
        coverage.checkedStates += 1
        if node.storage.breaker.state != .closed { coverage.followedInMemory += 1 }
        check(node.reader.state(), of: node, at: node.position, time: node.engineTime.nanoseconds)
    }

    private func check(_ found: StreamState, of node: SimulatedNode, at position: StreamPosition, time: Int64) {
        // Where a history branched off there are two: whoever was promoted may have forgotten, by its own clock as a
        // former primary, what the stream's time still has in force. And a node may have two where it made changes that
        // no journal has: those in memory, and those that its files have from before.
        let expected = truth.states(at: position)
        if truth.isForeign(position, to: node.number) { node.fail("is at \(position), which stands for many states") }
        guard !expected.isEmpty else { return node.fail("is at \(position), where no primary ever was") }
        let digest = found.digest(at: time)
        guard !expected.contains(where: { $0.digest(at: time) == digest }) else { return }
        node.fail("has at \(position) \(truth.difference(found, expected[0], at: time))")
    }

    /// Everything that changed has been collected: what the journal says is what the engine has.
    func checkJournal(of node: SimulatedNode) {
        guard let end = truth.end(of: node.role.identity.id) else { return }
        let time = node.engineTime.nanoseconds
        let found = node.reader.state()
        guard found.digest(at: time) != end.digest(at: time) else { return }
        node.fail("has more or less than its journal at \(node.position): \(truth.difference(found, end, at: time))")
    }

    /// What a start finds is what it says it is, and has what was promised to be on disk.
    func checkRecovery(of node: SimulatedNode, _ report: RecoveryReport) {
        guard let id = ReplicationID(report.manifest.history) else { return node.fail("has files of no history") }
        let position = StreamPosition(id: id, offset: report.end)
        if truth.states(at: position).isEmpty {
            coverage.namelessStarts += 1
        } else {
            coverage.checkedStarts += 1
            let time = max(node.engineTime.nanoseconds, truth.beginning(at: position) ?? 0)
            check(node.reader.state(), of: node, at: position, time: time)
        }
        if let answered = node.answered {
            coverage.checkedAnswers += 1
            if !truth.contains(position, answered) {
                node.fail("starts at \(position), and had answered for \(answered)")
            }
            node.answered = nil
        }
        for promise in promises where promise.node === node && promise.resyncs == node.resyncs && promise.isSynced {
            if !truth.contains(position, promise.position) {
                node.fail("starts at \(position), and had \(promise.position) on disk")
            }
        }
    }

    // MARK: Promotions

    /// A promotion neither loses what WAIT promised with this node in the count, nor gives back by its clock.
    func willPromote(_ node: SimulatedNode) {
        guard node.isWhole else { return }
        for promise in promises where promise.node === node && promise.resyncs == node.resyncs {
            guard promise.isSynced || promise.losses == node.losses else { continue }
            if !truth.contains(node.position, promise.position) {
                node.fail("is promoted at \(node.position) without \(promise.position)")
            }
        }
    }

    /// `place` is where it was promoted: by then it may be in a history of whose primary it has heard nothing.
    func checkClock(of node: SimulatedNode, at place: StreamPosition) {
        guard let leader = truth.clock(at: place) else { return }
        coverage.checkedClocks += 1
        if node.engineTime < node.lastSaid { node.fail("is promoted at a time before its stream's") }
        if node.clockOffset > leader {
            node.fail("gives \(node.clockOffset - leader) ns back at its promotion")
        }
    }

    /// A node that went back to its files goes on by the clock that it knew before, whatever it has heard meanwhile.
    func checkRestoredClock(of node: SimulatedNode, _ report: RecoveryReport) {
        if node.engineTime < report.lastTime { node.fail("goes back to a time before its files'") }
        guard let place = node.filesClockPlace, let leader = truth.clock(at: place) else { return }
        coverage.checkedClocks += 1
        if node.clockOffset > leader { node.fail("gives \(node.clockOffset - leader) ns back with its old state") }
    }

    /// A node that took over as asked, and was not forced, has all that the one before had.
    func checkHandover(of place: StreamPosition, from node: SimulatedNode, to target: SimulatedNode) {
        guard target.isUp, !truth.contains(target.position, place) else { return }
        node.fail("hands over at \(place) to \(target.number), which is at \(target.position)")
    }

    // MARK: WAIT

    /// WAIT's answer counts nodes that have it.
    func answered(_ answer: Acknowledgements.Answer, _ wait: SimulatedNode.Wait, at node: SimulatedNode) {
        guard let position = wait.position else { return node.fail("answers WAIT for what it has not collected") }
        var found = 0
        for replica in node.driver.replicas where replica.link.isOnline {
            let acknowledged = wait.isSynced ? replica.link.synced : replica.link.acknowledged
            guard acknowledged >= position.offset else { continue }
            found += 1
            promise(wait, position, by: replica, at: node)
        }
        if found != answer.count { node.fail("answered WAIT with \(answer.count), and \(found) have acknowledged") }
        if answer.isLocal, wait.isLocal {
            checkDisk(of: node, for: position)
            coverage.localWaits += 1
        }
        guard answer.count >= wait.count else { return }
        coverage.waits += 1
        if wait.isSynced { coverage.syncedWaits += 1 }
    }

    /// A replica was counted.
    private func promise(
        _ wait: SimulatedNode.Wait, _ position: StreamPosition, by replica: ServedReplica, at node: SimulatedNode
    ) {
        guard let connection = node.clients[replica.id]?.connection else { return node.fail("serves a closed link") }
        let peer = connection.client
        guard peer.losses == connection.clientLosses + (replica.receivedSnapshot ? 1 : 0) else { return }
        // One without keys that was primary meanwhile is whole, though it does not say so to a Sentinel.
        if peer.role.dataset != .whole || !truth.contains(peer.position, position) {
            peer.fail("counts for \(position) and is at \(peer.position)")
        }
        if wait.isSynced { checkDisk(of: peer, for: position) }
        promises.append(
            Promise(
                position: position, node: peer, losses: peer.losses, resyncs: peer.resyncs, isSynced: wait.isSynced))
    }

    /// If the power went now, the node would have this.
    private func checkDisk(of node: SimulatedNode, for wanted: StreamPosition) {
        let engine = Engine(shards: 1, seed: hashSeed)
        let recovery = Recovery(
            files: SimulatedFileSystem(image: node.files.image.atWorst), path: SimulatedStorage.path, engine: engine,
            horizon: EngineTime(nanoseconds: 0))
        do throws(RecoveryError) {
            let report = try recovery.run(history: node.runID, cutsTornTail: true)
            guard let id = ReplicationID(report.manifest.history) else { return node.fail("has files of no history") }
            let position = StreamPosition(id: id, offset: report.end)
            if !truth.contains(position, wanted) {
                node.fail("counts as having \(wanted) on disk, and has \(position)")
            }
        } catch {
            node.fail("could not start now: \(error)")
        }
    }

    // MARK: The end

    var hasConverged: Bool {
        guard let leader = nodes.first(where: { $0.isPrimary }) else { return false }
        return nodes.allSatisfy {
            $0 === leader || ($0.link.isUp && $0.position == leader.position && $0.isWhole)
        }
    }

    /// Every log that is wanted is one that a start would read, with all there is.
    var disksAreWell: Bool {
        nodes.allSatisfy { node in
            guard let storage = node.storage, node.settings.logs else { return true }
            return storage.log.isPublished && !storage.hasGap && !storage.isDetached && storage.breaker.state == .closed
                && (node.settings.appendfsync == .no || storage.log.synced == node.journal.offset)
        }
    }

    func checkConvergence() {
        guard hasConverged, let leader = nodes.first(where: { $0.isPrimary }) else {
            let text = nodes.map { "\($0.number): \($0.role.role) \($0.position) \($0.link.state)" }
            fail("the nodes have not come together: \(text)")
            return
        }
        let text = nodes.map {
            "\($0.number): \($0.storage.log.synced) of \($0.journal.offset) \($0.storage.breaker.state) "
                + "\($0.storage.hasGap)"
        }
        if !disksAreWell { fail("the disks are not well again: \(text)") }
        coverage.converged += 1
        leader.collect()
        let time = nodes.map { $0.engineTime.nanoseconds }.max()!
        let state = leader.reader.state().digest(at: time)
        for node in nodes {
            if node !== leader { checkState(of: node) }
            if node.position == leader.position, node.reader.state().digest(at: time) != state {
                node.fail("is where the primary is, with another state")
            }
            for violation in node.engine.violatedInvariants() { node.fail(violation) }
        }
    }
}
