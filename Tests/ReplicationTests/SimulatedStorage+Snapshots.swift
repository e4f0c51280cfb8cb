// Snapshots that a simulated node takes of itself, a piece at each turn of its journal thread.

import Glibc
import LimiterEngine
import Persistence

@testable import Replication

/// A snapshot on its way.
final class SimulatedSnapshot {
    enum Kind {
        case save, rewrite, repair
    }

    let kind: Kind
    let number: Int
    /// Everything up to here is in it.
    let origin: StreamPosition
    private let writer: SnapshotWriter
    private var hasAllKeys = false
    private(set) var result: Result<FinishedSnapshot, StorageError>?

    init(kind: Kind, number: Int, origin: StreamPosition, writer: SnapshotWriter) {
        self.kind = kind
        self.number = number
        self.origin = origin
        self.writer = writer
    }

    func step(time: EngineTime) {
        guard result == nil else { return }
        do throws(StorageError) {
            if !hasAllKeys {
                hasAllKeys = !(try writer.step(time: time))
            } else {
                result = .success(try writer.finish(time: time))
            }
        } catch {
            result = .failure(error)
        }
    }
}

extension SimulatedStorage {
    // MARK: Snapshots

    func take(_ kind: SimulatedSnapshot.Kind) {
        guard !isDetached else { return }
        guard run == nil else {
            scheduled = kind
            return
        }
        begin(kind)
    }

    func begin(_ kind: SimulatedSnapshot.Kind) {
        node.tell("begins \(kind)")
        do throws(StorageError) {
            if log.isOpen {
                guard breaker.state == .closed, collectAndAppend() else {
                    throw StorageError("write", SimulatedStorage.path, code: EIO)
                }
                try log.roll(at: log.appended, time: node.engineTime, continues: true)
            }
            try startSnapshot(kind)
        } catch {
            if log.isOpen, log.isDamaged, breaker.state == .closed { fail(error) }
            ended(kind, error, number: nil)
        }
    }

    func startSnapshot(_ kind: SimulatedSnapshot.Kind) throws(StorageError) {
        let number = try log.reserveSnapshot()
        let writer = try SnapshotWriter(
            files: files, directory: log.path, number: number, journalOffset: log.appended, engine: engine,
            time: node.engineTime)
        run = SimulatedSnapshot(kind: kind, number: number, origin: node.position, writer: writer)
    }

    /// What the files are called that a snapshot makes; nil for as before. Without a log keys are of different moments,
    /// and no offset stands for what they make: so it is called by a name that nobody else has.
    func history(for snapshot: SimulatedSnapshot) -> String? {
        guard log.isOpen else {
            if history == ReplicationID.nobodys.text { return history }
            let id = node.simulation.freshID()
            node.simulation.truth.contains(id, all: snapshot.origin)
            return id.text
        }
        return log.isPublished ? nil : history
    }

    func takeSnapshotResult() {
        for old in overtaken { log.abandon(snapshot: old.number) }
        overtaken = []
        guard !isDetached else {
            scheduled = nil
            return
        }
        guard let run, let result = run.result else { return }
        self.run = nil
        switch result {
        case .failure(let error): ended(run.kind, error, number: run.number)
        case .success(let snapshot): adopt(snapshot, of: run)
        }
        if let next = scheduled {
            scheduled = nil
            begin(next)
        }
    }

    private func adopt(_ snapshot: FinishedSnapshot, of run: SimulatedSnapshot) {
        if log.isOpen, breaker.state == .open || !collectAndAppend() {
            return ended(run.kind, nil, number: run.number)
        }
        do throws(StorageError) {
            try log.adopt(snapshot, history: history(for: run))
        } catch {
            if log.isOpen, error.code != ESTALE { fail(error) }
            return ended(run.kind, error, number: run.number)
        }
        node.tell("adopts \(run.kind) of \(snapshot.journalOffset) as \(log.manifest.history.prefix(6))")
        filesAreCurrent = true
        if run.kind == .repair { hasGap = false }
        node.simulation.coverage.snapshots += 1
        if run.kind == .repair, breaker.state == .halfOpen { recovered() }
        if log.isOpen { syncHere() }
    }

    private func ended(_ kind: SimulatedSnapshot.Kind, _ error: StorageError?, number: Int?) {
        if let number { log.abandon(snapshot: number) }
        if kind == .repair, breaker.state != .open, let error { fail(error) }
    }
}
