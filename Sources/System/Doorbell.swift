// How a thread that waits for work alone is woken: a counter that goes up with every ring. A thread that waits for
// descriptors as well has a WakeEvent.

import CLinux

/// Rings wake the one thread that waits. A ring between looking for work and waiting is not lost.
///
/// `@unchecked Sendable`: both words are only touched by atomic operations.
public final class Doorbell: @unchecked Sendable {
    private let words: UnsafeMutablePointer<UInt32>
    private var rings: UnsafeMutablePointer<UInt32> { words }
    private var sleepers: UnsafeMutablePointer<UInt32> { words + 1 }

    /// A bell that has not rung.
    public init() {
        words = .allocate(capacity: 2)
        words.initialize(repeating: 0, count: 2)
    }

    deinit { words.deallocate() }

    /// How often it has rung: look before looking for work.
    public var count: UInt32 { clinux_word_load(rings) }

    /// Threads that wait, for tests.
    public var waiters: UInt32 { clinux_word_load(sleepers) }

    /// Wakes the waiting thread. A few nanoseconds when none waits.
    public func ring() {
        clinux_word_increment(rings)
        if clinux_word_load(sleepers) != 0 { clinux_futex_wake_one(rings) }
    }

    /// Returns when it has rung since `seen` was looked at, or after `limit`; at once if that is not above zero.
    public func wait(since seen: UInt32, atMost limit: Nanoseconds) {
        guard limit > .zero else { return }
        clinux_word_increment(sleepers)
        clinux_futex_wait_for(rings, seen, limit.nanoseconds)
        clinux_word_decrement(sleepers)
    }
}
