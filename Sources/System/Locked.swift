// A value behind a lock: holds the state of registries and logs.
//
// `Lock` explains why this is not `Synchronization.Mutex`.

/// A value that one thread at a time may read and change. Not recursive.
///
/// `@unchecked Sendable`: `value` is accessed only inside `withLock`, with the lock held.
public final class Locked<Value>: @unchecked Sendable {
    @usableFromInline let lock: Lock
    @usableFromInline let value: UnsafeMutablePointer<Value>

    /// - Parameter rank: The place of the lock in the lock order.
    @inlinable
    public init(_ initial: sending Value, rank: LockRank = .value) {
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
    @inlinable
    public func withLock<Result, Failure: Error>(
        _ body: (inout Value) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        lock.acquire()
        defer { lock.release() }
        return try body(&value.pointee)
    }
}
