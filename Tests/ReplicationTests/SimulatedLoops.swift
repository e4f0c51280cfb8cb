// What runs a simulated node's commands: loops, whose turns have numbers, last a while, and may lend their locks.
//
//   batch          admitted ─ runs ─▶ end                       a turn of no length, as almost all are
//   long batch     admitted ─ runs some ─── … ─── the rest ─▶ end        the turn lock is held meanwhile
//   EXEC, planned  admitted ─ lends its turn ─ … ─ holds all loops, admitted again ─ runs ─ follow-up ─▶ end
//
// Meanwhile anything may happen to the node: REPLICAOF, FAILOVER, a promotion. Waiting for the
// turns in progress runs the rest of each at once.
//
// Owns: the rules by which a command that was admitted may still run. They are those of EventLoop and ExclusivePlan.

import TestSupport

@testable import Replication

/// A node's loops.
final class SimulatedLoops {
    /// What keeps a command from running after a change of role that was waited for.
    struct Rules {
        /// Waiting for turns in progress goes by their numbers, so a turn that has lent its lock is waited for. If
        /// false, it goes by locks alone.
        var waitsForNumbers = true
        /// A command that waited for locks is admitted again when it has them.
        var admitsAgain = true
        /// Settings that an EXEC changes take effect when it has released its stripes.
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
    /// The commands of an EXEC run.
    private var holdsStripes = false

    init(_ node: SimulatedNode) { self.node = node }

    private var simulation: Simulation { node.simulation }

    /// A client's commands arrive at one of the loops.
    func serve() {
        guard node.admitsWrites else { return }
        let loop = simulation.random.below(turns.count)
        // That loop is busy: they wait in the socket.
        guard turns[loop] == nil else { return }
        switch simulation.random.below(16) {
        case 0: beginTransaction(on: loop)
        case 1: beginLongBatch(on: loop)
        default: simulation.runWrites(on: node)
        }
    }

    /// A turn begins that lasts, where a role is about to change.
    func serveLongTurn() {
        guard node.admitsWrites, let loop = turns.indices.first(where: { turns[$0] == nil }) else { return }
        if simulation.random.once(in: 2) { beginTransaction(on: loop) } else { beginLongBatch(on: loop) }
    }

    /// Returns when no turn is under way that had begun.
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
        // A node that has written nothing more than its replicas have may continue as their replica.
        if simulation.random.once(in: 2) { simulation.runWrites(on: node) }
        begin(on: loop, isLent: false) { [self] in simulation.runWrites(on: node) }
    }

    /// EXEC with a command that looks at the connections of all loops, and now and then CONFIG SET appendonly.
    private func beginTransaction(on loop: Int) {
        simulation.coverage.lentTurns += 1
        begin(on: loop, isLent: true) { [self] in
            // The locks of all loops: turns that hold theirs end first.
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

    /// Whatever needs every stripe asks: a loop that holds some and needs all waits for itself, and the node never
    /// answers anybody again.
    func checkStripesAreFree(for what: String) {
        if holdsStripes { node.fail("hangs: \(what) waits for the stripes of a transaction") }
    }
}
