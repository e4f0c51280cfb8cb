// Eviction when memory is full: which keys are evicted, and the cost of finding them.

import TestSupport
import Testing

@testable import LimiterEngine

@Suite struct EvictionTests {
    private let now = EngineTime.seconds(1)
    /// The maximum number of slots one eviction may inspect: the rest of the last sample plus a new sample.
    private let slotsMax = EvictionCandidates.capacity + Shard.evictionSlotsMax

    private func session(keys: Int) -> KeyspaceSession {
        let seed = HashSeed(0x9E37_79B9_7F4A_7C15, 0xBF58_476D_1CE4_E5B9, 0x94D0_49BB_1331_11EB)
        let session = KeyspaceSession(engine: Engine(shards: 1, seed: seed))
        for number in 0..<keys { session.throttle("k\(number)", thousandOnce, now: now) }
        return session
    }

    @Test(arguments: [100, 10_000, 200_000]) func theSearchCostIsIndependentOfTheTablesSize(keys: Int) {
        let session = session(keys: keys)
        let shard = session.engine.shard(0)
        var slots = 0
        let evictions = min(1_000, keys)
        for _ in 0..<evictions {
            let found = shard.pointee.evictSoonest(now: now.nanoseconds)
            #expect(found.freed != nil && found.slots <= slotsMax)
            slots += found.slots
        }
        #expect(session.count() == keys - evictions)
        // One sample serves several evictions.
        #expect(slots < evictions * 40)
        #expect(session.engine.violatedInvariants() == [])
    }

    /// A large index that has lost nearly all of its keys: a search may find none, and still stops at the bound.
    @Test func theSearchCostIsBoundedInASparseTable() {
        let session = session(keys: 100_000)
        for number in 0..<99_990 { session.remove("k\(number)", now: now) }
        let shard = session.engine.shard(0)
        let capacity = shard.pointee.current.capacity
        var evicted = 0
        // Each search continues where the last one ended, so one full round finds all keys.
        for _ in 0...capacity / Shard.evictionSlotsMax {
            let found = shard.pointee.evictSoonest(now: now.nanoseconds)
            #expect(found.slots <= slotsMax)
            if found.freed != nil { evicted += 1 }
        }
        #expect(evicted == 10 && session.count() == 0)
        #expect(shard.pointee.evictSoonest(now: now.nanoseconds).freed == nil)
        #expect(session.engine.violatedInvariants() == [])
    }

    /// Whatever happens between evictions, an evicted key expires no later than a candidate did when it was sampled.
    @Test func aKeyUsedAgainIsNotACandidate() {
        let session = session(keys: 0)
        for number in 0..<24 {
            session.throttle("k\(number)", Call(maxBurst: 9, count: 1, period: Int64(number + 1)), now: now)
        }
        let shard = session.engine.shard(0)
        #expect(shard.pointee.evictSoonest(now: now.nanoseconds).freed != nil)
        #expect(!session.exists("k0", now: now))
        // The next candidates on the list now expire last of all keys.
        for number in 1..<8 {
            session.throttle("k\(number)", Call(maxBurst: 9, count: 1, period: 1_000), now: now)
        }
        #expect(shard.pointee.evictSoonest(now: now.nanoseconds).freed != nil)
        #expect(!session.exists("k8", now: now))
        #expect((1..<8).allSatisfy { session.exists("k\($0)", now: now) })
    }

    @Test func keysComeAndGoWhileMemoryIsFull() {
        var random = SeededGenerator(for: "full memory")
        let session = session(keys: 5_000)
        session.engine.setMemoryLimit(session.statistics().memory, policy: .evictSoonest)
        var sweeper = Sweeper(engine: session.engine)
        for number in 0..<50_000 {
            let name = "n\(random.below(20_000))"
            switch random.below(10) {
            case 0: session.remove(name, now: now)
            case 1: session.setDeadline(name, to: .seconds(Int64(random.below(1_000)) + 2), now: now)
            default: session.throttle(name, thousandOnce, now: now)
            }
            if number % 1_000 == 0 {
                _ = sweeper.step(buckets: 64, now: now)
                #expect(session.engine.violatedInvariants() == [])
            }
        }
        #expect(session.statistics().evicted > 10_000)
        #expect(session.count() < 6_000)
    }
}
