// How a simulated node goes back to the state on disk: what the server's journal thread does, function by function.

import LimiterEngine
import Persistence

@testable import Replication

extension SimulatedStorage {
    /// Reads the state back if one is wanted and it is time for a try. In the server that takes a while, and ends early
    /// when it is not wanted any more; here it is waited for now and then.
    func considerRestore() {
        guard let restore, !node.simulation.random.once(in: 3) else { return }
        guard restoreTries.state == .closed || restoreTries.tries(now: now) else { return }
        guard wantedRestore == restore.number else { return self.restore = nil }
        engine.removeState()
        let recovery = Recovery(files: files, path: SimulatedStorage.path, engine: engine, horizon: restore.horizon)
        do throws(RecoveryError) {
            let report = try recovery.run(history: node.runID, cutsTornTail: true)
            log = LogDirectory(files: files, path: SimulatedStorage.path, recovered: report)
            log.removeLeftovers()
            history = log.manifest.history
            filesAreCurrent = true
            self.restore = nil
            let (life, simulation) = (node.life, node.simulation)
            simulation.after(simulation.random.once(in: 2) ? 0 : simulation.random.between(0, 50_000_000)) { [node] in
                guard node.isUp, node.life == life else { return }
                node.restored(restore.number, report)
            }
        } catch {
            restoreTries.failed(now: now)
            node.simulation.coverage.failedRestores += 1
            node.tell("cannot read its state back: \(error)")
        }
    }

    /// The journal continues where the files end.
    func resume() {
        isDetached = false
        hasGap = false
        guard isLogging else { return }
        do throws(StorageError) {
            guard breaker.state == .closed else { throw StorageError("write", SimulatedStorage.path, code: 5) }
            try log.roll(at: log.appended, time: node.engineTime, continues: true)
            if beginDisk() != log.appended { node.fail("has a journal that does not continue its files") }
        } catch {
            hasGap = true
            if breaker.state == .closed { fail(error) }
        }
    }
}
