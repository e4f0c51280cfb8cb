// The environment of a simulated node's driver: gates, the journal, the disk, answers. The driver's actions are
// recorded, and checked against invariants.

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

    /// Called when a history is about to begin: at a promotion, after a restore, or when a replica requests changes
    /// that were not journaled.
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

    /// The node begins to lead: its next change appends to its own history.
    private func began() {
        if hasPart { fail("leads with a partial state") }
        // A node without keys reports that it has no state, yet it may have everything up to that place.
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
        // A batch of the stream has reached engine and journal.
        if hasBeenUp, !hasPart { clockPlace = position }
        simulation.checkState(of: self)
    }

    func beginBacklog() { storage.beginBacklog() }
    func restartBacklog() { storage.restartBacklog() }

    func restartJournal(at offset: Int64, time: EngineTime) {
        storage.restart(at: offset, time: time)
        lastBatchTime = time
    }

    func withBacklog<Result>(_ body: (Backlog?) -> Result) -> Result { body(storage.backlog) }
    func switchStreamOn() { storage.switchStreamOn() }
    func setJournaling(isPrimary: Bool) { storage.set(isPrimary: isPrimary) }
    var hasUncountedChanges: Bool { storage.hasUncountedChanges }
    func beginCounting() { storage.hasUncountedChanges = false }

    // MARK: Disk

    var syncedOffset: Int64 { storage.synced }
    var filesAreCurrent: Bool { storage.filesAreCurrent }

    /// A full sync begins, and the node leaves its state on disk.
    func detach() {
        losses += 1
        simulation.coverage.fullSyncs += 1
        tell("receives a snapshot")
        simulation.considerPromoting(insideFullSync: self)
        storage.perform { storage.detach() }
        if !hasPart, storage.filesAreCurrent { filesClockPlace = clockPlace }
        clockPlace = nil
        hasPart = true
    }

    func attach(history: String, isNewState: Bool) {
        storage.requests.append(.attach(history: history, isNewState: isNewState))
        if isNewState {
            tell("has a complete state")
            hasPart = false
            // The previous files no longer count, though they may remain on disk for a while.
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
            // The files on disk no longer belong to any history.
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

    /// The role's directory fails together with the log's, and sometimes on its own.
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
            return fail("answers a wait twice, or an unknown one")
        }
        simulation.answered(answer, wait, at: self)
    }

    func unblock(_ ticket: UInt64) {
        if waits.removeValue(forKey: ticket) == nil { fail("unblocks a client that does not wait") }
        if role.leads { fail("reports that it no longer leads, but leads") }
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
            if hasPart { fail("sends a replica a partial state") }
        default: break
        }
    }
}
