// The one lock of the product: four bytes, spins briefly, then sleeps in the kernel. Debug builds check its rank.
//
// Why not `Synchronization.Mutex`: on Linux its contended path is a priority-inheritance futex, which on two cores with
// eight threads fell from 200 ns a round to 195 µs, and ThreadSanitizer does not see into it. This one stays at 200 to
// 270 ns and costs the same uncontended; its atomics are compiled into the caller.
//
// Owns: mutual exclusion, and the order in which locks may be taken (`LockRank`). Knows nothing of what it guards.

public import CLinux

/// The places in the lock order, lowest first. A thread that holds a lock may only take locks of a higher rank, or of
/// the same rank and a higher order number. docs/concurrency.md lists them; a test compares the two.
public enum LockRank: UInt32, CaseIterable, Sendable {
    /// Held while the disk works, so it is taken with nothing held.
    case fileSync = 1
    /// An event loop's turn; ordered by the loop's number.
    case turn
    /// A sweep of expired keys.
    case sweep
    /// Settings taking effect outside of the loops.
    case settingsEffects
    /// Which readers of the journal there are, and so whether the engine keeps changes.
    case journalingDemand
    /// The journal's bytes on their way to disk and replicas.
    case journalStream
    /// The order of batches in the journal.
    case journal
    /// A shard; ordered by the shard's number.
    case stripe
    /// Policies and rules while they are changed.
    case policyEditor
    /// A value behind a lock of its own.
    case value
    /// A list of messages or requests: may be appended to under any of the above.
    case mailbox
    /// Free pages.
    case pagePool
    /// The reference to the policies and rules in force, or to the zones.
    case policyTable
}

/// A lock over four bytes. Not recursive, not fair; released by the thread that acquired it.
///
/// `@unchecked Sendable`: the word is only touched by atomic operations; the rest is immutable.
public struct Lock: @unchecked Sendable {
    @usableFromInline let word: UnsafeMutablePointer<UInt32>
    #if DEBUG
        @usableFromInline let rank: LockRank
        @usableFromInline let order: UInt32
    #endif

    /// A lock in the caller's memory, which holds 0 while the lock is free.
    ///
    /// - Parameter order: The place among locks of the same rank.
    @inlinable @inline(__always)
    public init(at word: UnsafeMutablePointer<UInt32>, rank: LockRank, order: Int = 0) {
        self.word = word
        #if DEBUG
            self.rank = rank
            self.order = UInt32(truncatingIfNeeded: order)
        #endif
    }

    /// A lock with memory of its own; `deallocate` gives it back.
    public static func allocate(rank: LockRank, order: Int = 0) -> Lock {
        let word = UnsafeMutablePointer<UInt32>.allocate(capacity: 1)
        word.initialize(to: 0)
        return Lock(at: word, rank: rank, order: order)
    }

    /// Gives the memory of an allocated lock back. The lock must be free.
    public func deallocate() { word.deallocate() }

    /// Takes the lock; waits for as long as another thread holds it.
    @inlinable @inline(__always)
    public func acquire() {
        #if DEBUG
            clinux_rank_acquire(word, rank.rawValue, order)
        #endif
        clinux_lock(word)
    }

    /// Takes the lock, unless `isAbandoned` becomes true while another thread holds it: asked ten times a second.
    /// Returns whether the lock is held now.
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

    /// Gives the lock back. Returns whether another thread has been waiting for it; it takes a while to wake up.
    @inlinable @inline(__always) @discardableResult
    public func release() -> Bool {
        #if DEBUG
            clinux_rank_release(word)
        #endif
        return clinux_unlock(word) != 0
    }
}

/// Stops a debug build when the calling thread holds a lock: before it waits for a disk or for another thread.
@inlinable @inline(__always)
public func assertHoldsNoLock() {
    #if DEBUG
        clinux_rank_assert_free(LockRank.fileSync.rawValue)
    #endif
}

/// As `assertHoldsNoLock`, but a turn may be held.
@inlinable @inline(__always)
public func assertHoldsNoLockButTurn() {
    #if DEBUG
        clinux_rank_assert_free(LockRank.turn.rawValue)
    #endif
}
