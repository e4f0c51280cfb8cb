// One snapshot in progress, on a low-priority thread of its own.

import CLinux
import Glibc
import LimiterEngine
import Persistence
import Synchronization
import System

/// A snapshot in progress.
///
/// `@unchecked Sendable`: `writer` is used by the snapshot's thread alone; the rest is immutable, atomic or guarded.
final class SnapshotRun: @unchecked Sendable {
    let number: Int
    private let writer: SnapshotWriter
    private let isCancelled = Atomic<Bool>(false)
    private let keysDone = Atomic<Int>(0)
    private let outcome = Locked<Result<FinishedSnapshot, StorageError>?>(nil)

    init(number: Int, writer: SnapshotWriter) {
        self.number = number
        self.writer = writer
    }

    var keys: Int { keysDone.load(ordering: .relaxed) }

    /// The result, once available.
    var result: Result<FinishedSnapshot, StorageError>? { outcome.withLock { $0 } }

    func cancel() { isCancelled.store(true, ordering: .relaxed) }

    /// How long the thread works before it sleeps for as long. Low priority alone is not enough: when every core is
    /// busy, a loop that wakes up still waits until the scheduler preempts this thread, milliseconds later.
    private static let workMax = Nanoseconds.microseconds(250)

    /// Writes the snapshot on a thread of its own; `done` is rung at the end.
    func start(clock: EngineClock, done: Doorbell) {
        Thread.detach(name: "snapshot") { [self] in
            clinux_lower_priority()
            let result = write(clock: clock)
            outcome.withLock { $0 = result }
            done.ring()
        }
    }

    private func write(clock: EngineClock) -> Result<FinishedSnapshot, StorageError> {
        var restedAt = SteadyInstant.now()
        do throws(StorageError) {
            while try writer.step(time: clock.now()) {
                keysDone.store(writer.keys, ordering: .relaxed)
                if SteadyInstant.now() - restedAt >= SnapshotRun.workMax {
                    Thread.sleep(SnapshotRun.workMax)
                    restedAt = SteadyInstant.now()
                }
                if isCancelled.load(ordering: .relaxed) {
                    throw StorageError("snapshot", Manifest.snapshotName(number), code: ECANCELED)
                }
            }
            keysDone.store(writer.keys, ordering: .relaxed)
            return .success(try writer.finish(time: clock.now()))
        } catch {
            return .failure(error)
        }
    }
}
