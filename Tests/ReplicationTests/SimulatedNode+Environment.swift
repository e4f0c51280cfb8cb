// What a simulated node's driver asks for: gates, the journal, the disk, answers. What it does is noted, and checked
// where there is something that must be true of it.

import Glibc
import LimiterEngine
import Persistence
import System
import TestSupport

@testable import Replication

extension SimulatedNode: NodeEnvironment {
    // MARK: Time and names

    var steady: SteadyInstant { simulation.now + steadyOffset }
    var wall: WallInstant { Simulation.epoch + (simulation.now - .boot) + skew }
    var isLoading: Bool { false }

    /// A history is about to begin: because the node is promoted, has its old state back, or is asked by a replica for
    /// changes that were not kept.
    func freshID() -> ReplicationID {
        guard hasStarted else { return simulation.freshID() }
        promotion = nil
        if role.isReplica {
            simulation.willPromote(self)
            tell("is promoted, \(role.dataset)")
            promotion = Promotion(
                place: position, wasWhole: role.dataset == .whole, wasUp: hasBeenUp && isWhole)
        } else if role.leads {
            uncountedOrigin = position
        }
        return simulation.freshID()
    }

    // MARK: Commands

    func show(_ gates: NodeGates) {
        let before = self.gates
        self.gates = gates
        if before.isReplica, !gates.isReplica { began() }
    }

    /// The node leads: with its next change it makes bytes of its history.
    private func began() {
        if hasPart { fail("leads with a part of a state") }
        // One without a key says of itself that it has nothing, and may have all there was.
        if let promotion, promotion.wasWhole, role.identity.past == nil {
            simulation.truth.contains(role.identity.id, all: promotion.place)
        }
        if let promotion, promotion.wasUp { simulation.checkClock(of: self, at: promotion.place) }
        promotion = nil
        noteBeginning()
        clockPlace = nil
        simulation.lastPrimary = self
    }

    func show(_ clock: StreamClock) {}
    func show(following address: PeerAddress?) {}
    func waitForWriters() { loops.waitForTurnsInProgress() }
    func waitForReaders() { loops.waitForTurnsInProgress() }
    func closeClients(except asker: Int64) {}

    // MARK: Journal

    func collect() {
        guard isUp else { return }
        if storage.isJournaling { collectJournal() }
        drain()
    }

    func drain() {
        let before = journal.pendingBytes
        storage.drain()
        guard role.isReplica, !storage.isJournaling, before > 0 else { return }
        // A batch of the stream is in engine and journal.
        if hasBeenUp, !hasPart { clockPlace = position }
        simulation.checkState(of: self)
    }

    func beginBacklog() { storage.beginBacklog() }
    func restartBacklog() { storage.restartBacklog() }

    func restartJournal(at offset: Int64, time: EngineTime) {
        storage.restart(at: offset, time: time)
        lastSaid = time
    }

    func withBacklog<Result>(_ body: (Backlog?) -> Result) -> Result { body(storage.backlog) }
    func switchStreamOn() { storage.switchStreamOn() }
    func setJournaling(isPrimary: Bool) { storage.set(isPrimary: isPrimary) }
    var hasUncountedChanges: Bool { storage.hasUncountedChanges }
    func beginCounting() { storage.hasUncountedChanges = false }

    // MARK: Disk

    var syncedOffset: Int64 { storage.synced }
    var filesAreCurrent: Bool { storage.filesAreCurrent }

    /// A full sync begins.
    func detach() {
        losses += 1
        simulation.coverage.fullSyncs += 1
        tell("gets a snapshot")
        simulation.considerPromoting(insideFullSync: self)
        storage.perform { storage.detach() }
        if !hasPart, storage.filesAreCurrent { filesClockPlace = clockPlace }
        clockPlace = nil
        hasPart = true
    }

    func attach(history: String, isNewState: Bool) {
        storage.requests.append(.attach(history: history, isNewState: isNewState))
        if isNewState {
            tell("is whole")
            hasPart = false
            // What is on disk counts no more, though it may be found there for a while.
            resyncs += 1
            answered = nil
            simulation.checkState(of: self)
        } else if let origin = uncountedOrigin {
            uncountedOrigin = nil
            simulation.truth.contains(role.identity.id, all: origin)
            noteBeginning()
            simulation.coverage.lateJournals += 1
        }
    }

    func rename(from old: String?, to new: String) {
        if old == nil {
            // What it has on disk no longer counts as any history.
            answered = nil
            simulation.promises.removeAll { $0.node === self && $0.isSynced }
        }
        storage.perform { storage.rename(from: old, to: new) }
    }

    func restore(number: Int, horizon: EngineTime) {
        storage.wantedRestore = number
        storage.requests.append(.restore(number: number, horizon: horizon))
    }

    func stopRestoring() {
        storage.wantedRestore = 0
        storage.perform { storage.stopRestoring() }
        simulation.coverage.stoppedRestores += 1
    }

    func resumeLog() { storage.perform { storage.resume() } }

    /// The directory of the role fails with the log's, and now and then alone.
    func save(_ role: SavedRole) throws(StorageError) {
        guard files.failing.isEmpty, !simulation.random.once(in: 10) else {
            simulation.coverage.unsavedRoles += 1
            throw StorageError("write", "role", code: files.failing.isEmpty ? EIO : files.failureCodes[0])
        }
        savedRole = role
    }

    // MARK: Answers

    func answer(_ answer: Acknowledgements.Answer) {
        guard let wait = waits.removeValue(forKey: answer.ticket) else {
            return fail("answers a wait twice, or one that was never asked for")
        }
        simulation.answered(answer, wait, at: self)
    }

    func unblock(_ ticket: UInt64) {
        if waits.removeValue(forKey: ticket) == nil { fail("unblocks what does not wait") }
        if role.leads { fail("says that it leads no more, and does") }
    }

    func note(_ note: NodeNote) {
        tell("\(note)")
        switch note {
        case .following:
            hasBeenUp = false
            clockPlace = nil
        case .linkUp:
            hasBeenUp = true
            simulation.coverage.online += 1
        case .linkDown(_, .stream(let error)): fail("\(error)")
        case .partialSync, .fullSync:
            if case .partialSync = note { simulation.coverage.partialSyncs += 1 }
            if hasPart { fail("gives a replica a part of a state") }
        default: break
        }
    }
}
