// A value behind a lock: what registries and logs keep their state in.
//
// `System.Lock` says why this is not `Synchronization.Mutex`.

import System

/// A value that one thread at a time may look at and change. Not recursive.
///
/// `@unchecked Sendable`: `value` is touched only inside `withLock`, with the lock held.
final class Guarded<Value>: @unchecked Sendable {
    private let lock: Lock
    private let value: UnsafeMutablePointer<Value>

    /// - Parameter rank: Where the lock stands in the lock order.
    init(_ initial: sending Value, rank: LockRank = .value) {
        lock = .allocate(rank: rank)
        value = .allocate(capacity: 1)
        value.initialize(to: initial)
    }

    deinit {
        value.deinitialize(count: 1)
        value.deallocate()
        lock.deallocate()
    }

    /// Runs `body` with the lock held. `body` must be short and must not call back.
    func withLock<Result, Failure: Error>(
        _ body: (inout Value) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        lock.acquire()
        defer { lock.release() }
        return try body(&value.pointee)
    }
}
