// A value behind a lock: what registries and logs keep their state in.
//
// Why not `Synchronization.Mutex`: on Linux its contended path is a priority-inheritance futex with a cliff where
// threads outnumber cores, and it lies in a library that ThreadSanitizer does not see into, so that every contended use
// is reported as a race. This one is the stripe lock's four bytes, whose atomics are compiled into the caller.

import CLinux

/// A value that one thread at a time may look at and change. Not recursive.
///
/// `@unchecked Sendable`: `value` is touched only inside `withLock`, with the lock held.
final class Guarded<Value>: @unchecked Sendable {
    private let word: UnsafeMutablePointer<UInt32>
    private let value: UnsafeMutablePointer<Value>

    init(_ initial: sending Value) {
        word = .allocate(capacity: 1)
        word.initialize(to: 0)
        value = .allocate(capacity: 1)
        value.initialize(to: initial)
    }

    deinit {
        value.deinitialize(count: 1)
        value.deallocate()
        word.deallocate()
    }

    /// Runs `body` with the lock held. `body` must be short and must not call back.
    func withLock<Result, Failure: Error>(
        _ body: (inout Value) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        clinux_lock(word)
        defer { clinux_unlock(word) }
        return try body(&value.pointee)
    }
}
