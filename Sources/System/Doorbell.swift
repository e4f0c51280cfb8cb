// Wakes a thread that waits only for work: a counter that every ring increments. A thread that also waits for
// descriptors has a WakeEvent.

import CLinux

/// A ring wakes the one thread that waits. A ring between checking for work and waiting is not lost.
///
/// `@unchecked Sendable`: both words are accessed only by atomic operations.
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

    /// Number of rings so far. Read it before checking for work.
    public var count: UInt32 { clinux_word_load(rings) }

    /// Number of waiting threads, for tests.
    public var waiters: UInt32 { clinux_word_load(sleepers) }

    /// Wakes the waiting thread. A few nanoseconds if none waits.
    public func ring() {
        clinux_word_increment(rings)
        if clinux_word_load(sleepers) != 0 { clinux_futex_wake_one(rings) }
    }

    /// Returns once the bell has rung since `seen` was read, or after `limit`; at once if `limit` is not positive.
    public func wait(since seen: UInt32, atMost limit: Nanoseconds) {
        guard limit > .zero else { return }
        clinux_word_increment(sleepers)
        clinux_futex_wait_for(rings, seen, limit.nanoseconds)
        clinux_word_decrement(sleepers)
    }
}
