// Removing all keys at once: its cost, and the release of their memory.

import Synchronization
import Testing

@testable import LimiterEngine

@Suite struct RemovalTests {
    private let now = EngineTime.seconds(1)

    private func filled(keys: Int, shards: Int) -> KeyspaceSession {
        let session = KeyspaceSession(engine: Engine(shards: shards, seed: HashSeed(1, 2, 3)))
        session.engine.setJournaling(true)
        for number in 0..<keys { session.throttle("k\(number)", thousandOnce, now: now) }
        // Tombstones, records that have moved, and some larger than a page.
        for number in 0..<keys / 10 { session.remove("k\(number)", now: now) }
        for number in keys / 10..<keys / 5 { session.setDeadline("k\(number)", to: .seconds(500), now: now) }
        for number in 0..<100 as Range<UInt8> {
            _ = session.throttle([UInt8](repeating: number, count: 1_000), thousandOnce.limitCall, now: now)
        }
        return session
    }

    /// Removal takes constant time, however many keys there are; memory is released step by step.
    @Test(arguments: [1, 8]) func memoryIsReleasedInSteps(shards: Int) {
        let session = filled(keys: 10_000, shards: shards)
        let engine = session.engine
        session.removeAll()
        #expect(session.count() == 0 && session.allKeys(now: now) == [])
        #expect(session.statistics().memory <= shards * 64)
        #expect(engine.gauge.used.load(ordering: .relaxed) <= shards * (64 + MemoryGauge.step))
        #expect(engine.violatedInvariants() == [])
        // Keys are re-created before the memory is released.
        for number in 0..<1_000 { session.throttle("k\(number)", thousandOnce, now: now) }
        var rounds = 0
        while !engine.releaseRemains(steps: 100) {
            rounds += 1
            #expect(engine.violatedInvariants() == [])
        }
        // Every record is visited, 100 per round.
        #expect(rounds >= 100 && rounds < 1_000)
        #expect(engine.releaseRemains(steps: 1))
        #expect(session.count() == 1_000)
        #expect(engine.violatedInvariants() == [])
    }

    /// Pages return to the pool, so new keys allocate none from the kernel.
    @Test func pagesAreReused() {
        let session = filled(keys: 10_000, shards: 1)
        let engine = session.engine
        session.removeAll()
        let left = engine.pool.freePages
        #expect(engine.releaseRemains(steps: Int.max))
        #expect(engine.pool.freePages > left + 50)
    }

    @Test func aDestroyedEngineReleasesRemainingMemory() {
        // A leak detector reports what is not released.
        for steps in [0, 1, 5_000] {
            let session = filled(keys: 3_000, shards: 2)
            session.removeAll()
            _ = session.engine.releaseRemains(steps: steps)
            session.throttle("k", thousandOnce, now: now)
        }
    }
}
