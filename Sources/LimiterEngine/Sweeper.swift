// The background pass that drops expired keys, frees their memory, and keeps the engine under its limit.

import CLinux
import Synchronization
import System

/// A pass over an engine's keys in bounded steps. Used by one thread; several sweepers may run at once.
public struct Sweeper {
    /// Buckets examined per hold of a stripe: at most 128 keys, prefetched.
    private static let bucketsPerHold = 16
    /// Pages returned to the kernel per step.
    private static let pagesPerStep = 256

    private let engine: Engine
    private var number = 0
    private var bucket = 0

    /// A sweeper that begins at the first shard.
    public init(engine: Engine) { self.engine = engine }

    /// The result of a step.
    public struct Progress: Sendable {
        /// Keys examined.
        public var seen = 0
        /// Keys dropped because they had expired, or evicted because memory was full.
        public var forgotten = 0
        /// Whether the pass has completed a round over all shards.
        public var finishedRound = false
    }

    /// Examines the keys of approximately `buckets` buckets and continues with the next shards as needed. One stripe at
    /// a time, each for a few microseconds. Ends early after one round.
    public mutating func step(buckets: Int, now: EngineTime) -> Progress {
        var progress = Progress()
        var left = buckets
        var shardsPassed = 0
        while left > 0, shardsPassed < engine.shardCount {
            let lock = engine.lock(number)
            lock.acquire()
            let shard = engine.shard(number)
            // Without keys there may still be an emptied index to free.
            if shard.pointee.recordCount > 0 || shard.pointee.retiring != nil {
                let found = shard.pointee.sweep(
                    from: bucket, buckets: Sweeper.bucketsPerHold, now: now.nanoseconds)
                progress.seen += found.seen
                progress.forgotten += found.expired
            }
            if engine.isOverMemoryLimit, engine.evicts, shard.pointee.evictSoonest(now: now.nanoseconds).freed != nil {
                progress.forgotten += 1
            }
            bucket += Sweeper.bucketsPerHold
            left -= Sweeper.bucketsPerHold
            let isDone = bucket >= shard.pointee.current.bucketCount
            if isDone { shard.pointee.considerShrinking() }
            let wanted = shard.pointee.bucketsWanted
            lock.release()
            if wanted != 0 { engine.provideIndex(number, buckets: wanted) }
            guard isDone else { continue }
            bucket = 0
            shardsPassed += 1
            number += 1
            if number == engine.shardCount {
                number = 0
                progress.finishedRound = true
            }
        }
        engine.pool.trim(pages: Sweeper.pagesPerStep)
        return progress
    }
}

extension Engine {
    var evicts: Bool { gauge.policy.load(ordering: .relaxed) == EvictionPolicy.evictSoonest.rawValue }

    /// Buckets of all shards together: the length of a whole round. O(shards).
    public var bucketCount: Int {
        var sum = 0
        forEachShard { sum += $0.current.bucketCount }
        return sum
    }
}
