// The walk behind KEYS: what it returns while the table changes between its steps.

import TestSupport
import Testing

@testable import LimiterEngine

@Suite struct KeyWalkTests {
    private let now = EngineTime.seconds(1)

    private func session(shards: Int, seed: UInt64 = 7) -> KeyspaceSession {
        let seed = HashSeed(seed &* 0x9E37_79B9_7F4A_7C15, ~seed, seed << 32)
        return KeyspaceSession(engine: Engine(shards: shards, seed: seed))
    }

    /// Walks to the end, calling `between` between two steps.
    private func walk(
        _ session: KeyspaceSession, keys: Int, between: (_ seen: [String]) -> Void = { _ in }
    ) -> [String] {
        var walk = KeyWalk()
        var seen: [String] = []
        while !walk.isOver {
            session.advance(&walk, keys: keys, bytes: 1_000, now: now) { key, _ in
                seen.append(String(decoding: key, as: UTF8.self))
            }
            between(seen)
        }
        for number in 0..<session.engine.shardCount {
            #expect(session.engine.shard(number).pointee.walks == 0)
        }
        return seen
    }

    private func expectOnce(_ seen: [String], all names: Set<String>) {
        #expect(Set(seen).count == seen.count, "a key was seen twice")
        #expect(names.subtracting(seen) == [], "a key was missed")
    }

    @Test(arguments: [1, 4, 256]) func seesEveryKeyOnce(shards: Int) {
        let session = session(shards: shards)
        #expect(walk(session, keys: 10) == [])
        let names = Set((0..<5_000).map { "k\($0)" })
        for name in names { session.throttle(name, thousandOnce, now: now) }
        let seen = walk(session, keys: 10)
        expectOnce(seen, all: names)
        #expect(seen.count == names.count)
    }

    /// The table doubles several times, is nearly emptied, and would shrink if it were allowed to.
    @Test(arguments: 1...20 as ClosedRange<UInt64>) func seesKeysThatStayWhileTheTableChanges(seed: UInt64) {
        let session = session(shards: 2, seed: seed)
        var random = SeededGenerator(seed: seed)
        var sweeper = Sweeper(engine: session.engine)
        let staying = Set((0..<500).map { "stays:\($0)" })
        for name in staying { session.throttle(name, thousandOnce, now: now) }
        // Oversized from the beginning, so it is due to shrink.
        for number in 0..<20_000 { session.throttle("before:\(number)", thousandOnce, now: now) }
        if seed % 2 == 0 {
            for number in 0..<20_000 { session.remove("before:\(number)", now: now) }
            _ = sweeper.step(buckets: 1 << 20, now: now)
        }
        var added: [String] = []
        let seen = walk(session, keys: 7) { seen in
            for _ in 0..<50 {
                if random.below(1_000) < (seen.count < 250 ? 800 : 100) {
                    added.append("goes:\(random.below(20_000))")
                    session.throttle(added.last!, thousandOnce, now: now)
                } else if let name = added.popLast() {
                    session.remove(name, now: now)
                }
            }
            session.setDeadline("stays:\(random.below(500))", to: .seconds(500), now: now)
            if random.below(4) == 0 {
                for number in 0..<100 { session.remove("before:\(random.below(20_000) + number)", now: now) }
            }
            _ = sweeper.step(buckets: 256, now: now)
        }
        expectOnce(seen, all: staying)
        #expect(session.engine.violatedInvariants() == [])
        // It shrinks once the walk is over.
        for name in session.allKeys(now: now).subtracting(staying) { session.remove(name, now: now) }
        for _ in 0..<100 { _ = sweeper.step(buckets: 1 << 20, now: now) }
        #expect(session.engine.bucketCount <= 1_024)
    }

    /// A mostly empty table that is swept throughout the walk: it may shrink only afterwards.
    @Test(arguments: [1, 3, 20, 100]) func seesEveryKeyOnceInAnOversizedTable(keys: Int) {
        let session = session(shards: 1)
        for number in 0..<6_000 { session.throttle("k\(number)", thousandOnce, now: now) }
        for number in 0..<5_700 { session.remove("k\(number)", now: now) }
        var sweeper = Sweeper(engine: session.engine)
        let before = session.engine.bucketCount
        let seen = walk(session, keys: keys) { _ in
            // Would otherwise install a smaller index and move all records.
            for _ in 0..<3 { _ = sweeper.step(buckets: 1 << 20, now: now) }
        }
        expectOnce(seen, all: Set((5_700..<6_000).map { "k\($0)" }))
        for _ in 0..<3 { _ = sweeper.step(buckets: 1 << 20, now: now) }
        #expect(session.engine.bucketCount < before)
    }

    /// A smaller index requested before the walk is not installed during it.
    @Test func aResizeRequestedBeforeTheWalkWaits() {
        let session = session(shards: 1)
        for number in 0..<20_000 { session.throttle("k\(number)", thousandOnce, now: now) }
        for number in 0..<19_900 { session.remove("k\(number)", now: now) }
        let shard = session.engine.shard(0)
        shard.pointee.considerShrinking()
        let (wanted, before) = (shard.pointee.bucketsWanted, session.engine.bucketCount)
        #expect(wanted > 0 && wanted < before)
        var walk = KeyWalk()
        session.advance(&walk, keys: 1, bytes: 1, now: now) { _, _ in }
        session.engine.provideIndex(0, buckets: wanted)
        #expect(session.engine.bucketCount == before && shard.pointee.bucketsWanted == 0)
        session.end(&walk)
        shard.pointee.considerShrinking()
        session.engine.provideIndex(0, buckets: wanted)
        #expect(session.engine.bucketCount == wanted)
    }

    /// FLUSHALL in the middle, after which some keys are re-created: none is returned twice.
    @Test(arguments: [50, 500, 3_000]) func keysRecreatedAfterAFlushAreNotSeenTwice(flushedAfter: Int) {
        let session = session(shards: 4)
        for number in 0..<4_000 { session.throttle("k\(number)", thousandOnce, now: now) }
        var isFlushed = false
        let seen = walk(session, keys: 10) { seen in
            guard seen.count >= flushedAfter, !isFlushed else { return }
            isFlushed = true
            session.removeAll()
            for name in seen { session.throttle(name, thousandOnce, now: now) }
        }
        #expect(isFlushed)
        expectOnce(seen, all: [])
        #expect(session.engine.violatedInvariants() == [])
    }

    @Test func anAbandonedWalkLetsTheTableShrink() {
        let session = session(shards: 1)
        for number in 0..<20_000 { session.throttle("k\(number)", thousandOnce, now: now) }
        var walks = (0..<3).map { _ in KeyWalk() }
        for number in walks.indices { session.advance(&walks[number], keys: 10, bytes: 1_000, now: now) { _, _ in } }
        for number in 0..<20_000 { session.remove("k\(number)", now: now) }
        var sweeper = Sweeper(engine: session.engine)
        let before = session.engine.bucketCount
        for _ in 0..<10 { _ = sweeper.step(buckets: 1 << 20, now: now) }
        #expect(session.engine.bucketCount == before)
        for number in walks.indices {
            session.end(&walks[number])
            session.end(&walks[number])
            #expect(walks[number].isOver)
        }
        for _ in 0..<10 { _ = sweeper.step(buckets: 1 << 20, now: now) }
        #expect(session.engine.bucketCount < before)
    }

    /// However many keys a step may visit, a stripe is held for about 128 of them, and long keys end a step sooner.
    @Test func aStepIsBounded() {
        let session = session(shards: 1)
        for number in 0..<2_000 { session.throttle("k\(number)", thousandOnce, now: now) }
        var position: UInt64 = 0
        var budget = WalkBudget(keys: 100_000, bytes: Int.max)
        var seen = 0
        session.engine.shard(0).pointee.scan(&position, &budget, database: 0, now: now.nanoseconds) { _ in
            seen += 1
        }
        #expect(seen > 0 && seen < 128 + 64)
        let long = [UInt8](repeating: 1, count: 5_000)
        for number in 0..<200 as Range<UInt8> {
            _ = session.throttle(long + [number], thousandOnce.limitCall, now: now)
        }
        var walk = KeyWalk()
        var bytes = 0
        session.advance(&walk, keys: 100_000, bytes: 20_000, now: now) { key, _ in bytes += key.count }
        #expect(bytes >= 20_000 && bytes < 20_000 + 64 * 5_000)
        session.end(&walk)
    }

    @Test func theSearchForARandomKeyIsBounded() {
        let session = session(shards: 1)
        for number in 0..<100_000 { session.throttle("k\(number)", thousandOnce, now: now) }
        for number in 1..<100_000 { session.remove("k\(number)", now: now) }
        // 131,072 slots or more with a single key: most searches find none, and give up quickly.
        var random: UInt64 = 0
        var found = 0
        for _ in 0..<1_000 {
            random &+= 1_000
            if session.randomKey(random: { random }, now: now, { _ in () }) != nil { found += 1 }
        }
        #expect(found > 0 && found < 100)
    }
}
