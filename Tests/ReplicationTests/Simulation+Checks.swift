// Invariants of simulated nodes: at every moment, and at the end of a run.

import LimiterEngine
import Persistence
import TestSupport

@testable import Replication

extension Simulation {
    // MARK: States

    /// A complete state equals the state of its history at that offset.
    func checkState(of node: SimulatedNode) {
        guard node.isWhole else { return }
        coverage.checkedStates += 1
        if node.storage.breaker.state != .closed { coverage.followedInMemory += 1 }
        check(node.reader.state(), of: node, at: node.position, time: node.engineTime.nanoseconds)
    }

    private func check(_ found: StreamState, of node: SimulatedNode, at position: StreamPosition, time: Int64) {
        // There are two states where a history branched off: the promoted node, by its own clock as a former primary,
        // may have dropped keys that are still live by the stream's time. A node may also have two after changes that
        // no journal contains: the state in memory, and the older one in its files.
        let expected = truth.states(at: position)
        if truth.isForeign(position, to: node.number) { node.fail("is at \(position), an ambiguous place") }
        guard !expected.isEmpty else { return node.fail("is at \(position), which no primary has produced") }
        let digest = found.digest(at: time)
        guard !expected.contains(where: { $0.digest(at: time) == digest }) else { return }
        node.fail("has at \(position) \(truth.difference(found, expected[0], at: time))")
    }

    /// With everything collected, the journal's state equals the engine's.
    func checkJournal(of node: SimulatedNode) {
        guard let end = truth.end(of: node.role.identity.id) else { return }
        let time = node.engineTime.nanoseconds
        let found = node.reader.state()
        guard found.digest(at: time) != end.digest(at: time) else { return }
        node.fail("differs from its journal at \(node.position): \(truth.difference(found, end, at: time))")
    }

    /// Recovery finds the state that its position identifies, and everything promised to be on disk.
    func checkRecovery(of node: SimulatedNode, _ report: RecoveryReport) {
        guard let id = ReplicationID(report.manifest.history) else { return node.fail("has files with no history") }
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
                node.fail("restarts at \(position), but had promised \(answered)")
            }
            node.answered = nil
        }
        for promise in promises where promise.node === node && promise.resyncs == node.resyncs && promise.isSynced {
            if !truth.contains(position, promise.position) {
                node.fail("restarts at \(position), but had \(promise.position) on disk")
            }
        }
    }

    // MARK: Promotions

    /// A promotion loses nothing that WAIT promised with this node counted, and its clock does not replenish limits
    /// early.
    func willPromote(_ node: SimulatedNode) {
        guard node.isWhole else { return }
        for promise in promises where promise.node === node && promise.resyncs == node.resyncs {
            guard promise.isSynced || promise.losses == node.losses else { continue }
            if !truth.contains(node.position, promise.position) {
                node.fail("is promoted at \(node.position) without \(promise.position)")
            }
        }
    }

    /// `place` is the position at the promotion: by now the node may be in a history whose primary it has never heard
    /// from.
    func checkClock(of node: SimulatedNode, at place: StreamPosition) {
        guard let leader = truth.clock(at: place) else { return }
        coverage.checkedClocks += 1
        if node.engineTime < node.lastBatchTime { node.fail("is promoted at a time before its stream's") }
        if node.clockOffset > leader {
            node.fail("is \(node.clockOffset - leader) ns ahead of its primary's clock at its promotion")
        }
    }

    /// A node that restored its files continues by the clock known at that state, whatever clock it has received
    /// since.
    func checkRestoredClock(of node: SimulatedNode, _ report: RecoveryReport) {
        if node.engineTime < report.lastTime { node.fail("is restored to a time before its files'") }
        guard let place = node.filesClockPlace, let leader = truth.clock(at: place) else { return }
        coverage.checkedClocks += 1
        if node.clockOffset > leader { node.fail("is \(node.clockOffset - leader) ns ahead with its old state") }
    }

    /// After an unforced failover, the new primary has everything that the old one had.
    func checkHandover(of place: StreamPosition, from node: SimulatedNode, to target: SimulatedNode) {
        guard target.isUp, !truth.contains(target.position, place) else { return }
        node.fail("hands over at \(place) to \(target.number), which is at \(target.position)")
    }

    // MARK: WAIT

    /// WAIT's answer counts only nodes that have the writes.
    func answered(_ answer: Acknowledgements.Answer, _ wait: SimulatedNode.Wait, at node: SimulatedNode) {
        guard let position = wait.position else { return node.fail("answers WAIT for uncollected changes") }
        var found = 0
        for replica in node.driver.replicas where replica.link.isOnline {
            let acknowledged = wait.isSynced ? replica.link.synced : replica.link.acknowledged
            guard acknowledged >= position.offset else { continue }
            found += 1
            promise(wait, position, by: replica, at: node)
        }
        if found != answer.count { node.fail("answered WAIT with \(answer.count), but \(found) have acknowledged") }
        if answer.isLocal, wait.isLocal {
            checkDisk(of: node, for: position)
            coverage.localWaits += 1
        }
        guard answer.count >= wait.count else { return }
        coverage.waits += 1
        if wait.isSynced { coverage.syncedWaits += 1 }
    }

    /// Records the promise made by counting a replica.
    private func promise(
        _ wait: SimulatedNode.Wait, _ position: StreamPosition, by replica: ServedReplica, at node: SimulatedNode
    ) {
        guard let connection = node.clients[replica.id]?.connection else { return node.fail("serves a closed link") }
        let peer = connection.client
        guard peer.losses == connection.clientLosses + (replica.receivedSnapshot ? 1 : 0) else { return }
        // A node without keys that was primary in between has a complete state, though it does not report that to a
        // Sentinel.
        if peer.role.dataset != .whole || !truth.contains(peer.position, position) {
            peer.fail("was counted for \(position) but is at \(peer.position)")
        }
        if wait.isSynced { checkDisk(of: peer, for: position) }
        promises.append(
            Promise(
                position: position, node: peer, losses: peer.losses, resyncs: peer.resyncs, isSynced: wait.isSynced))
    }

    /// Checks that the node would still have this after a power loss now.
    private func checkDisk(of node: SimulatedNode, for wanted: StreamPosition) {
        let engine = Engine(shards: 1, seed: hashSeed)
        let recovery = Recovery(
            files: SimulatedFileSystem(image: node.files.image.atWorst), path: SimulatedStorage.path, engine: engine,
            horizon: EngineTime(nanoseconds: 0))
        do throws(RecoveryError) {
            let report = try recovery.run(history: node.runID, cutsTornTail: true)
            guard let id = ReplicationID(report.manifest.history) else { return node.fail("has files with no history") }
            let position = StreamPosition(id: id, offset: report.end)
            if !truth.contains(position, wanted) {
                node.fail("was counted as having \(wanted) on disk, but has \(position)")
            }
        } catch {
            node.fail("could not restart now: \(error)")
        }
    }

    // MARK: The end

    var hasConverged: Bool {
        guard let leader = nodes.first(where: { $0.isPrimary }) else { return false }
        return nodes.allSatisfy {
            $0 === leader || ($0.link.isUp && $0.position == leader.position && $0.isWhole)
        }
    }

    /// Every active log could be recovered completely.
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
            fail("the nodes have not converged: \(text)")
            return
        }
        let text = nodes.map {
            "\($0.number): \($0.storage.log.synced) of \($0.journal.offset) \($0.storage.breaker.state) "
                + "\($0.storage.hasGap)"
        }
        if !disksAreWell { fail("the disks have not recovered: \(text)") }
        coverage.converged += 1
        leader.collect()
        let time = nodes.map { $0.engineTime.nanoseconds }.max()!
        let state = leader.reader.state().digest(at: time)
        for node in nodes {
            if node !== leader { checkState(of: node) }
            if node.position == leader.position, node.reader.state().digest(at: time) != state {
                node.fail("is at the primary's position with another state")
            }
            for violation in node.engine.violatedInvariants() { node.fail(violation) }
        }
    }
}
