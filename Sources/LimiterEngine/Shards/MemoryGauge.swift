// The engine's memory use and limit, counted across shards without sharing a cache line on every call.

import Synchronization

/// What happens when a new key exceeds the memory limit.
public enum EvictionPolicy: UInt8, Sendable {
    /// The call fails and nothing changes.
    case refuse = 0
    /// Of a sample of keys, the one replenished soonest is evicted: that loses the least.
    case evictSoonest = 1
}

/// Bytes in use and the limit. Shards report in steps of `step` bytes, so `used` may be off by that much per shard.
final class MemoryGauge: Sendable {
    static let step = 512

    let used = Atomic<Int>(0)
    /// 0 for none.
    let limit = Atomic<Int>(0)
    let policy = Atomic<UInt8>(EvictionPolicy.refuse.rawValue)
    /// Idempotency tokens remembered, and their maximum.
    let tokens = Atomic<Int>(0)
    let tokenLimit = Atomic<Int>(Engine.tokenLimitDefault)

    /// Whether `extra` more bytes would exceed the limit.
    func wouldExceed(_ extra: Int) -> Bool {
        let limit = limit.load(ordering: .relaxed)
        return limit > 0 && used.load(ordering: .relaxed) + extra > limit
    }
}
