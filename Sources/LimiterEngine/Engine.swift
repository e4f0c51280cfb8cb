// The engine: shards in memory, each behind its own stripe lock.
//
// Owns: every limiter's state, and the memory it lies in. Refuses to read a clock, to do I/O, to log: bytes and `now`
// come in, decisions go out. What threads do with it goes through a `KeyspaceSession`, one per thread.
//
// Lock order: stripes by shard number, ascending; the page pool's lock under any of them.

import CLinux
import Synchronization
import System

/// A sharded, lock-striped table of limiter states.
///
/// `@unchecked Sendable`: `shards` is a constant pointer, and a shard behind it is touched only with its stripe held;
/// everything else is immutable or atomic.
public final class Engine: @unchecked Sendable {
    /// Shards are this far apart, so that no two stripes share a cache line nor its neighbour.
    private static let shardStride = 512
    /// The lock's word stands in front of its shard, not in it: others try the lock while its holder has the whole
    /// shard to itself.
    private static let shardOffset = 8

    private let memory: UnsafeMutableRawPointer
    let pool = PagePool()
    let gauge = MemoryGauge()
    let remains = RemainsQueue()
    let seed: HashSeed
    /// Named limits, and who gets which.
    public let policies: PolicyRegistry
    /// How many shards there are: a power of two.
    public let shardCount: Int
    /// The shard of a hash is what this shift leaves of it.
    private let shardShift: UInt64

    /// An engine without keys.
    ///
    /// - Parameters:
    ///   - shards: How many stripes: a power of two, 1 … 4096.
    ///   - seed: Of the hash; random unless a test wants to repeat itself.
    public init(shards: Int = 256, seed: HashSeed = HashSeed()) {
        precondition(shards >= 1 && shards <= 4096 && shards & (shards - 1) == 0, "shards: a power of two up to 4096")
        precondition(Engine.shardOffset + MemoryLayout<Shard>.size <= Engine.shardStride)
        shardCount = shards
        self.seed = seed
        policies = PolicyRegistry(seed: seed)
        shardShift = UInt64(64 - shards.trailingZeroBitCount)
        memory = .allocate(byteCount: shards * Engine.shardStride, alignment: 128)
        for number in 0..<shards {
            lockWord(number).initialize(to: 0)
            shard(number).initialize(to: Shard(pool: pool, gauge: gauge, seed: seed))
        }
    }

    deinit {
        for number in 0..<shardCount {
            shard(number).pointee.deallocate()
            shard(number).deinitialize(count: 1)
        }
        memory.deallocate()
    }

    // MARK: Shards

    @inline(__always)
    func shard(_ number: Int) -> UnsafeMutablePointer<Shard> {
        (memory + number &* Engine.shardStride + Engine.shardOffset).assumingMemoryBound(to: Shard.self)
    }

    @inline(__always)
    func shardNumber(_ hash: UInt64) -> Int { Int(truncatingIfNeeded: hash >> shardShift) }

    @inline(__always)
    func lock(_ number: Int) -> Lock {
        Lock(at: lockWord(number), rank: .stripe, order: number)
    }

    @inline(__always)
    private func lockWord(_ number: Int) -> UnsafeMutablePointer<UInt32> {
        (memory + number &* Engine.shardStride).assumingMemoryBound(to: UInt32.self)
    }

    /// Runs `body` on every shard in turn, one stripe at a time.
    func forEachShard(_ body: (inout Shard) -> Void) {
        for number in 0..<shardCount {
            lock(number).acquire()
            body(&shard(number).pointee)
            lock(number).release()
        }
    }

    /// Gives a shard the larger or smaller index it asked for. Allocates with no stripe held.
    @inline(never)
    func provideIndex(_ number: Int, buckets: Int) {
        let index = Index(buckets: buckets)
        lock(number).acquire()
        // Somebody else may have provided it in between.
        let isWanted = shard(number).pointee.bucketsWanted == buckets && shard(number).pointee.retiring == nil
        let isTaken = isWanted && shard(number).pointee.fits(buckets: buckets)
        if isTaken {
            shard(number).pointee.install(index)
        } else if isWanted {
            shard(number).pointee.bucketsWanted = 0
        }
        lock(number).release()
        if !isTaken { index.deallocate() }
    }

    // MARK: Limits and numbers

    /// Memory the keys may use, in bytes; 0 for no limit. Takes effect with the next new key.
    public func setMemoryLimit(_ bytes: Int, policy: EvictionPolicy) {
        gauge.limit.store(bytes, ordering: .relaxed)
        gauge.policy.store(policy.rawValue, ordering: .relaxed)
    }

    /// Idempotency tokens remembered at most unless `setTokenLimit` says otherwise.
    public static let tokenLimitDefault = 1_000_000

    /// How many idempotency tokens may be remembered at once, 0 or more; calls with further ones are refused. Their
    /// memory counts against the memory limit as any key's. Takes effect with the next new token.
    public func setTokenLimit(_ count: Int) {
        gauge.tokenLimit.store(max(0, count), ordering: .relaxed)
    }

    /// Whether the keys use more than they may. O(1).
    public var isOverMemoryLimit: Bool { gauge.wouldExceed(0) }

    /// Bytes that count against the memory limit: records and index, to within half a KiB a shard. O(1).
    public var memoryInUse: Int { gauge.used.load(ordering: .relaxed) }

    /// What the engine has of the C library's heap.
    public struct HeapUse: Sendable {
        /// Bytes of keys and index, as the C library counts them.
        public var bytes = 0
        /// Records that are pieces of it.
        public var records = 0
    }

    /// What the engine has of the C library's heap. O(shards), one stripe at a time.
    public var heapUse: HeapUse {
        var sum = HeapUse()
        forEachShard { shard in
            sum.bytes += shard.heapMemory
            sum.records += shard.slab.heapRecords
        }
        return sum
    }

    /// What the shards have counted so far.
    public struct Statistics: Sendable {
        /// Limiter calls allowed, those that asked for nothing included.
        public var allowed: UInt64 = 0
        /// Limiter calls denied.
        public var denied: UInt64 = 0
        /// Calls that a limit in shadow mode would have denied.
        public var shadowed: UInt64 = 0
        /// Calls answered with the first answer to their idempotency token.
        public var repeated: UInt64 = 0
        /// Calls refused because no more idempotency tokens may be remembered.
        public var tokensRefused: UInt64 = 0
        /// Idempotency tokens remembered, the expired ones not yet found included.
        public var tokens = 0
        /// Keys held, the expired ones not yet found included; no tokens.
        public var keys = 0
        /// Keys forgotten because their limiter was full again or their deadline had passed.
        public var expired: UInt64 = 0
        /// Keys forgotten because memory was full.
        public var evicted: UInt64 = 0
        /// Changes of keys, each one counted.
        public var changes: UInt64 = 0
        /// Most buckets beyond its home that any key was looked for in.
        public var probesMax = 0
        /// Bytes the keys use, index included.
        public var memory = 0
        /// Keys with a deadline that was set on them, the expired ones not yet found included.
        public var expiring = 0
        /// Keys that stay until they are removed: counters without a deadline.
        public var persistent = 0
        /// The sum of the deadlines of `expiring`, in nanoseconds of engine time.
        public var deadlineSum = 0.0

        /// How long the keys with a deadline have to live on average, in nanoseconds; 0 where there are none. O(1).
        public func meanTimeToLive(now: EngineTime) -> Int64 {
            guard expiring > 0 else { return 0 }
            let left = deadlineSum / Double(expiring) - Double(now.nanoseconds)
            return Int64(min(max(0, left), 9e18))
        }
    }

    // MARK: Journal

    /// Starts or stops keeping changes for `collectChanges`. Off, nothing is kept and nothing costs anything.
    public func setJournaling(_ enabled: Bool) {
        forEachShard { $0.setJournaling(enabled) }
    }

    /// Changes handed over with one hold of a stripe.
    private static let changesPerHold = 256

    /// Hands the changes of one shard since the last collection to `body`, in the order in which their keys first
    /// changed; a key changed often is there once, with its newest state. `body` runs with the stripe held and must
    /// not call the engine; the stripe is given back every few hundred changes. O(changed keys).
    ///
    /// - Parameter isAbandoned: Asked ten times a second while another thread keeps the stripe: true to leave the rest
    ///   of the shard's changes where they are.
    /// - Returns: Whether all of them were handed over.
    /// - Precondition: One collection at a time.
    @discardableResult
    public func collectChanges(
        shard number: Int, unless isAbandoned: () -> Bool = { false }, _ body: (JournalChange) -> Void
    ) -> Bool {
        let lock = lock(number)
        let shard = shard(number)
        guard lock.acquire(unless: isAbandoned) else { return false }
        // What comes in while this runs is left to the next collection, or this one might never end.
        var left = shard.pointee.dirty.count
        while left > 0 {
            let part = min(left, Engine.changesPerHold, shard.pointee.dirty.count)
            shard.pointee.collect(limit: part, body)
            // A FLUSHALL between two holds has taken the rest of the list away.
            left = part == 0 ? 0 : left - part
            lock.release()
            guard lock.acquire(unless: isAbandoned) else { return false }
        }
        lock.release()
        return true
    }

    // MARK: Checking

    /// Walks everything and returns what contradicts the invariants; empty when all is well. O(keys), for tests.
    public func violatedInvariants() -> [String] {
        var violations: [String] = []
        for number in 0..<shardCount {
            lock(number).acquire()
            violations += shard(number).pointee.violatedInvariants { self.shardNumber($0) == number }
                .map { "shard \(number): \($0)" }
            lock(number).release()
        }
        return violations
    }
}
