// Runs a simulated node's commands on event loops whose turns are numbered, take time, and may lend their locks.
//
//   batch          admitted ─ runs ─▶ end                       a turn of zero length, the common case
//   long batch     admitted ─ runs some ─── … ─── the rest ─▶ end        the turn lock is held meanwhile
//   EXEC, planned  admitted ─ lends its turn ─ … ─ holds all loops, admitted again ─ runs ─ follow-up ─▶ end
//
// Between these steps anything may happen to the node: REPLICAOF, FAILOVER, a promotion. Waiting for turns in
// progress runs the rest of each turn at once.
//
// Owns: the rules that decide whether an admitted command may still run, the same as in EventLoop and ExclusivePlan.

import TestSupport

@testable import Replication

/// A node's loops.
final class SimulatedLoops {
    /// Rules that stop a command from running after a role change has waited for turns in progress.
    struct Rules {
        /// Turns in progress are awaited by number, so a turn that has lent its lock is included. If false, they are
        /// awaited by lock alone.
        var waitsForNumbers = true
        /// A command that waited for locks passes admission again once it holds them.
        var admitsAgain = true
        /// Settings changed by an EXEC take effect after it has released its stripes.
        var settingsFollowTheRelease = true
    }

    private struct Turn {
        let number: Int
        let isLent: Bool
        let rest: () -> Void
    }

    private unowned let node: SimulatedNode
    private var turns: [Turn?] = [nil, nil]
    private var lastNumber = 0
    /// The commands of an EXEC are running.
    private var holdsStripes = false

    init(_ node: SimulatedNode) { self.node = node }

    private var simulation: Simulation { node.simulation }

    /// Runs a client's commands on a random loop.
    func serve() {
        guard node.admitsWrites else { return }
        let loop = simulation.random.below(turns.count)
        // The loop is busy: the commands wait in the socket.
        guard turns[loop] == nil else { return }
        switch simulation.random.below(16) {
        case 0: beginTransaction(on: loop)
        case 1: beginLongBatch(on: loop)
        default: simulation.runWrites(on: node)
        }
    }

    /// Begins a long turn just before a role change.
    func serveLongTurn() {
        guard node.admitsWrites, let loop = turns.indices.first(where: { turns[$0] == nil }) else { return }
        if simulation.random.once(in: 2) { beginTransaction(on: loop) } else { beginLongBatch(on: loop) }
    }

    /// Returns once no turn that had begun is in progress.
    func waitForTurnsInProgress() {
        for loop in turns.indices {
            guard let turn = turns[loop], simulation.loopRules.waitsForNumbers || !turn.isLent else { continue }
            simulation.coverage.awaitedTurns += 1
            end(turn.number, of: loop)
        }
    }

    // MARK: Turns

    private func begin(on loop: Int, isLent: Bool, _ rest: @escaping () -> Void) {
        lastNumber += 1
        let (number, life) = (lastNumber, node.life)
        turns[loop] = Turn(number: number, isLent: isLent, rest: rest)
        simulation.after(simulation.random.between(100_000, isLent ? 25_000_000 : 4_000_000)) { [self] in
            if node.isUp, node.life == life { end(number, of: loop) }
        }
    }

    private func end(_ number: Int, of loop: Int) {
        guard let turn = turns[loop], turn.number == number else { return }
        turns[loop] = nil
        turn.rest()
    }

    private func beginLongBatch(on loop: Int) {
        simulation.coverage.longTurns += 1
        // A node that has written nothing beyond what its replicas have may continue as their replica.
        if simulation.random.once(in: 2) { simulation.runWrites(on: node) }
        begin(on: loop, isLent: false) { [self] in simulation.runWrites(on: node) }
    }

    /// EXEC with a command that inspects the connections of all loops, and sometimes CONFIG SET appendonly.
    private func beginTransaction(on loop: Int) {
        simulation.coverage.lentTurns += 1
        begin(on: loop, isLent: true) { [self] in
            // Needs the locks of all loops, so turns that hold theirs end first.
            for other in turns.indices where turns[other]?.isLent == false { end(turns[other]!.number, of: other) }
            guard node.admitsWrites || !simulation.loopRules.admitsAgain else {
                simulation.coverage.refusedTransactions += 1
                return
            }
            let switchesLog = simulation.random.once(in: 10)
            holdsStripes = true
            simulation.runWrites(on: node)
            if switchesLog, !simulation.loopRules.settingsFollowTheRelease { simulation.switchLog(of: node) }
            holdsStripes = false
            if switchesLog, simulation.loopRules.settingsFollowTheRelease { simulation.switchLog(of: node) }
        }
    }

    /// Called by code that needs every stripe: a loop that already holds some and needs all would deadlock, and the
    /// node would never answer again.
    func checkStripesAreFree(for what: String) {
        if holdsStripes { node.fail("hangs: \(what) waits for the stripes of a transaction") }
    }
}
