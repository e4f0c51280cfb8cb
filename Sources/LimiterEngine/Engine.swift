// The engine: shards in memory, each protected by its own stripe lock.
//
// Owns: every limiter's state and its memory. Never reads a clock, does I/O or logs: bytes and `now` come in, decisions
// go out. Threads use it through a `KeyspaceSession`, one per thread.
//
// Lock order: stripes by shard number, ascending; the page pool's lock under any of them.

import CLinux
import Synchronization
import System

/// A sharded, lock-striped table of limiter states.
///
/// `@unchecked Sendable`: `shards` is a constant pointer, and a shard is touched only with its stripe held; everything
/// else is immutable or atomic.
public final class Engine: @unchecked Sendable {
    /// Distance between shards, so that no two stripes share a cache line or adjacent lines.
    private static let shardStride = 512
    /// The lock word is placed before its shard, not in it: other threads try the lock while its holder has exclusive
    /// access to the whole shard.
    private static let shardOffset = 8

    private let memory: UnsafeMutableRawPointer
    let pool = PagePool()
    let gauge = MemoryGauge()
    let remains = RemainsQueue()
    let seed: HashSeed
    /// Named limits, and the rules that assign them.
    public let policies: PolicyRegistry
    /// Number of shards: a power of two.
    public let shardCount: Int
    /// Shifting a hash right by this yields its shard.
    private let shardShift: UInt64

    /// An engine without keys.
    ///
    /// - Parameters:
    ///   - shards: Number of stripes: a power of two, 1 … 4096.
    ///   - seed: The hash's seed; random except in tests that need to be repeatable.
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

    /// Gives a shard the larger or smaller index it requested. Allocates with no stripe held.
    @inline(never)
    func provideIndex(_ number: Int, buckets: Int) {
        let index = Index(buckets: buckets)
        lock(number).acquire()
        // Another thread may have provided it in the meantime.
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

    // MARK: Limits and statistics

    /// Upper bound on the memory of the keys, in bytes; 0 for no limit. Takes effect with the next new key.
    public func setMemoryLimit(_ bytes: Int, policy: EvictionPolicy) {
        gauge.limit.store(bytes, ordering: .relaxed)
        gauge.policy.store(policy.rawValue, ordering: .relaxed)
    }

    /// Default for `setTokenLimit`.
    public static let tokenLimitDefault = 1_000_000

    /// Upper bound on the idempotency tokens remembered at once, 0 or more; calls with further ones are refused. Their
    /// memory counts against the memory limit like that of any key. Takes effect with the next new token.
    public func setTokenLimit(_ count: Int) {
        gauge.tokenLimit.store(max(0, count), ordering: .relaxed)
    }

    /// Whether the keys exceed the memory limit. O(1).
    public var isOverMemoryLimit: Bool { gauge.wouldExceed(0) }

    /// Bytes that count against the memory limit: records and index, accurate to half a KiB per shard. O(1).
    public var memoryInUse: Int { gauge.used.load(ordering: .relaxed) }

    /// The engine's use of the C library's heap.
    public struct HeapUse: Sendable {
        /// Bytes of keys and index, as the C library counts them.
        public var bytes = 0
        /// Number of records allocated from it.
        public var records = 0
    }

    /// The engine's use of the C library's heap. O(shards), one stripe at a time.
    public var heapUse: HeapUse {
        var sum = HeapUse()
        forEachShard { shard in
            sum.bytes += shard.heapMemory
            sum.records += shard.slab.heapRecords
        }
        return sum
    }

    /// The shards' counters.
    public struct Statistics: Sendable {
        /// Limiter calls allowed, including those that requested no units.
        public var allowed: UInt64 = 0
        /// Limiter calls denied.
        public var denied: UInt64 = 0
        /// Calls that a limit in shadow mode would have denied.
        public var shadowed: UInt64 = 0
        /// Calls answered with the first answer to their idempotency token.
        public var repeated: UInt64 = 0
        /// Calls refused because the maximum number of idempotency tokens was reached.
        public var tokensRefused: UInt64 = 0
        /// Idempotency tokens remembered, including expired ones not yet found.
        public var tokens = 0
        /// Keys held, including expired ones not yet found; without tokens.
        public var keys = 0
        /// Keys dropped because their limiter was fully replenished or their deadline had passed.
        public var expired: UInt64 = 0
        /// Keys evicted because memory was full.
        public var evicted: UInt64 = 0
        /// Changes of keys, each counted once.
        public var changes: UInt64 = 0
        /// Longest probe distance in buckets from a key's home bucket.
        public var probesMax = 0
        /// Bytes used by the keys, including the index.
        public var memory = 0
        /// Keys with an explicit deadline, including expired ones not yet found.
        public var expiring = 0
        /// Keys that stay until they are removed: counters without a deadline.
        public var persistent = 0
        /// The sum of the deadlines of `expiring`, in nanoseconds of engine time.
        public var deadlineSum = 0.0
        /// The keys of each database, from 0 up to the highest that has been in use.
        public var databases = [DatabaseKeys()]

        /// The keys of a database.
        public struct DatabaseKeys: Sendable {
            /// Keys held, including expired ones not yet found.
            public var keys = 0
            /// Those of them with an explicit deadline.
            public var expiring = 0
            /// The sum of these deadlines, in nanoseconds of engine time.
            public var deadlineSum = 0.0

            /// Mean time to live of the keys with a deadline, in nanoseconds; 0 if there are none. O(1).
            public func meanTimeToLive(now: EngineTime) -> Int64 {
                guard expiring > 0 else { return 0 }
                let left = deadlineSum / Double(expiring) - Double(now.nanoseconds)
                return Int64(min(max(0, left), 9e18))
            }
        }

        /// All keys, whatever their database.
        public var allKeys: DatabaseKeys { DatabaseKeys(keys: keys, expiring: expiring, deadlineSum: deadlineSum) }

        mutating func addDatabases(of shard: Shard) {
            let last = shard.databases.tallies.count
            while databases.count <= last { databases.append(DatabaseKeys()) }
            for number in 0...last {
                let tally = shard.tally(of: UInt8(number))
                databases[number].keys += tally.keys
                databases[number].expiring += tally.deadlines.expiring
                databases[number].deadlineSum += tally.deadlines.deadlineSum
            }
        }
    }

    // MARK: Journal

    /// Starts or stops recording changes for `collectChanges`. While off, nothing is recorded and there is no cost.
    public func setJournaling(_ enabled: Bool) {
        forEachShard { $0.setJournaling(enabled) }
    }

    /// Changes passed on per hold of a stripe.
    private static let changesPerHold = 256

    /// Passes the changes of one shard since the last collection to `body`, in the order in which their keys first
    /// changed; a key that changed often appears once, with its newest state. `body` runs with the stripe held and must
    /// not call the engine; the stripe is released every few hundred changes. O(changed keys).
    ///
    /// - Parameter isAbandoned: Called ten times a second while another thread holds the stripe: return true to leave
    ///   the rest of the shard's changes in place.
    /// - Returns: Whether all of them were passed on.
    /// - Precondition: One collection at a time.
    @discardableResult
    public func collectChanges(
        shard number: Int, unless isAbandoned: () -> Bool = { false }, _ body: (JournalChange) -> Void
    ) -> Bool {
        let lock = lock(number)
        let shard = shard(number)
        guard lock.acquire(unless: isAbandoned) else { return false }
        // Changes made while this runs are left to the next collection; otherwise this one might never end.
        var left = shard.pointee.dirty.count
        while left > 0 {
            let part = min(left, Engine.changesPerHold, shard.pointee.dirty.count)
            shard.pointee.collect(limit: part, body)
            // A FLUSHALL between two holds may have emptied the rest of the list.
            left = part == 0 ? 0 : left - part
            lock.release()
            guard lock.acquire(unless: isAbandoned) else { return false }
        }
        lock.release()
        return true
    }

    // MARK: Checking

    /// Checks everything and returns the violated invariants; empty when there are none. O(keys), for tests.
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
