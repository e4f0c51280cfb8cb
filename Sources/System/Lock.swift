// The product's only lock: four bytes; spins briefly, then sleeps in the kernel. Debug builds check its rank.
//
// Why not `Synchronization.Mutex`: on Linux its contended path is a priority-inheritance futex, which on two cores with
// eight threads degraded from 200 ns to 195 µs per round, and ThreadSanitizer cannot see into it. This lock stays at
// 200 to 270 ns and costs the same uncontended; its atomics are inlined into the caller.
//
// Owns: mutual exclusion, and the order in which locks may be acquired (`LockRank`). Knows nothing of the data it
// guards.

public import CLinux

/// The levels of the lock order, lowest first. A thread that holds a lock may acquire only locks of a higher rank, or
/// of the same rank and a higher order number. docs/concurrency.md lists them; a test compares the two.
public enum LockRank: UInt32, CaseIterable, Sendable {
    /// Held during disk I/O, so it is acquired with no other lock held.
    case fileSync = 1
    /// An event loop's turn; ordered by the loop's number.
    case turn
    /// A sweep of expired keys.
    case sweep
    /// The readers of the journal, which determine whether the engine journals changes.
    case journalingDemand
    /// The journal's bytes in transit to disk and replicas.
    case journalStream
    /// The order of batches in the journal.
    case journal
    /// A shard; ordered by the shard's number.
    case stripe
    /// Changing policies and rules.
    case policyEditor
    /// Applying settings outside of the loops.
    case settingsEffects
    /// A value with a lock of its own.
    case value
    /// A queue of messages or requests: may be appended to while holding any of the above.
    case mailbox
    /// Free pages.
    case pagePool
    /// The reference to the policies and rules in force, or to the zones.
    case policyTable
}

/// A lock over four bytes. Not recursive, not fair; released by the thread that acquired it.
///
/// `@unchecked Sendable`: the word is accessed only by atomic operations; the rest is immutable.
public struct Lock: @unchecked Sendable {
    @usableFromInline let word: UnsafeMutablePointer<UInt32>
    #if DEBUG
        @usableFromInline let rank: LockRank
        @usableFromInline let order: UInt32
    #endif

    /// A lock in the caller's memory, which contains 0 while the lock is free.
    ///
    /// - Parameter order: The position among locks of the same rank.
    @inlinable @inline(__always)
    public init(at word: UnsafeMutablePointer<UInt32>, rank: LockRank, order: Int = 0) {
        self.word = word
        #if DEBUG
            self.rank = rank
            self.order = UInt32(truncatingIfNeeded: order)
        #endif
    }

    /// A lock with memory of its own, which `deallocate` frees.
    public static func allocate(rank: LockRank, order: Int = 0) -> Lock {
        let word = UnsafeMutablePointer<UInt32>.allocate(capacity: 1)
        word.initialize(to: 0)
        return Lock(at: word, rank: rank, order: order)
    }

    /// Frees the memory of an allocated lock. The lock must not be held.
    public func deallocate() { word.deallocate() }

    /// Acquires the lock; waits while another thread holds it.
    @inlinable @inline(__always)
    public func acquire() {
        #if DEBUG
            clinux_rank_acquire(word, rank.rawValue, order)
        #endif
        clinux_lock(word)
    }

    /// Acquires the lock, unless `isAbandoned` becomes true while another thread holds it; checks it ten times a
    /// second. Returns whether the lock is now held.
    public func acquire(unless isAbandoned: () -> Bool) -> Bool {
        #if DEBUG
            clinux_rank_acquire(word, rank.rawValue, order)
        #endif
        while clinux_lock_for(word, Nanoseconds.milliseconds(100).nanoseconds) == 0 {
            if isAbandoned() {
                #if DEBUG
                    clinux_rank_release(word)
                #endif
                return false
            }
        }
        return true
    }

    /// Releases the lock. Returns whether another thread has been waiting for it; that thread needs time to wake up.
    @inlinable @inline(__always) @discardableResult
    public func release() -> Bool {
        #if DEBUG
            clinux_rank_release(word)
        #endif
        return clinux_unlock(word) != 0
    }
}

/// Traps in a debug build if the calling thread holds a lock: for use before waiting for a disk or another thread.
@inlinable @inline(__always)
public func assertHoldsNoLock() {
    #if DEBUG
        clinux_rank_assert_free(LockRank.fileSync.rawValue)
    #endif
}

/// As `assertHoldsNoLock`, but a turn lock may be held.
@inlinable @inline(__always)
public func assertHoldsNoLockButTurn() {
    #if DEBUG
        clinux_rank_assert_free(LockRank.turn.rawValue)
    #endif
}
