// The thread that syncs the log under `everysec`, so that the journal thread never waits for fsync.

import Persistence
import System

/// Runs one sync at a time.
final class SyncThread: Sendable {
    private enum State {
        case idle
        case waiting(LogDirectory.SyncJob)
        case running
        case done(LogDirectory.SyncJob, Result<Void, StorageError>)
        case ended
    }

    private let state = Locked(State.idle)
    private let doorbell = Doorbell()

    /// Starts the thread; `done` is rung after every sync.
    init(done: Doorbell) {
        Thread.detach(name: "sync") { [self] in run(done) }
    }

    /// Starts a sync. None may be in progress.
    func start(_ job: LogDirectory.SyncJob) {
        state.withLock { $0 = .waiting(job) }
        doorbell.ring()
    }

    /// The result of the finished sync; returned once.
    func drainResult() -> (LogDirectory.SyncJob, Result<Void, StorageError>)? {
        state.withLock { state in
            guard case .done(let job, let result) = state else { return nil }
            state = .idle
            return (job, result)
        }
    }

    /// Ends the thread when its current sync is done.
    func end() {
        state.withLock { $0 = .ended }
        doorbell.ring()
    }

    private func run(_ done: Doorbell) {
        while true {
            let seen = doorbell.count
            var job: LogDirectory.SyncJob?
            let hasEnded = state.withLock { state in
                if case .ended = state { return true }
                if case .waiting(let waiting) = state {
                    job = waiting
                    state = .running
                }
                return false
            }
            if hasEnded { return }
            guard let job else {
                doorbell.wait(since: seen, atMost: .seconds(3600))
                continue
            }
            let result = job.run()
            state.withLock { state in
                if case .running = state { state = .done(job, result) }
            }
            done.ring()
        }
    }
}
