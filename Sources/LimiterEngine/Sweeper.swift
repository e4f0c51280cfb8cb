// The walk that forgets worthless keys nobody asks for, gives their memory back, and keeps the engine under its limit.

import CLinux
import Synchronization
import System

/// A walk over an engine's keys in bounded steps. One thread's own; several may walk at once.
public struct Sweeper {
    /// Buckets looked at under one hold of a stripe: 128 keys at most, fetched ahead.
    private static let bucketsPerHold = 16
    /// Pages given back to the kernel per step.
    private static let pagesPerStep = 256

    private let engine: Engine
    private var number = 0
    private var bucket = 0

    /// A walk that begins at the first shard.
    public init(engine: Engine) { self.engine = engine }

    /// What a step found.
    public struct Progress: Sendable {
        /// Keys looked at.
        public var seen = 0
        /// Keys forgotten, because they were worth nothing or because memory was full.
        public var forgotten = 0
        /// The walk has been round all shards.
        public var finishedRound = false
    }

    /// Looks at the keys of about `buckets` buckets and goes on to the next shards as needed. One stripe at a time,
    /// each for a few microseconds. Ends early after one round.
    public mutating func step(buckets: Int, now: EngineTime) -> Progress {
        var progress = Progress()
        var left = buckets
        var shardsPassed = 0
        while left > 0, shardsPassed < engine.shardCount {
            let lock = engine.lock(number)
            lock.acquire()
            let shard = engine.shard(number)
            // With no key left there may still be an emptied index to let go of.
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

    /// Buckets of all shards together: how much a whole round of a sweep looks at. O(shards).
    public var bucketCount: Int {
        var sum = 0
        forEachShard { sum += $0.current.bucketCount }
        return sum
    }
}
