// The lock that an event loop holds during its turn. Not a stripe lock: see docs/concurrency.md for the order.

import CLinux

/// A four-byte lock with memory of its own. Not recursive.
///
/// `@unchecked Sendable`: the word is only touched by atomic operations.
final class TurnLock: @unchecked Sendable {
    private let word: UnsafeMutablePointer<UInt32>

    init() {
        word = .allocate(capacity: 1)
        word.initialize(to: 0)
    }

    deinit { word.deallocate() }

    func acquire() { clinux_lock(word) }

    /// Gives the lock back. True when another thread has been waiting for it; it takes a while to wake up.
    @discardableResult
    func release() -> Bool { clinux_unlock(word) != 0 }
}
