// The table of limiters: it grows, shrinks and releases memory, and finds every key at all times.

import LimiterEngine
import TestSupport
import Testing

@Suite struct TableTests {
    private let fixedSeed = HashSeed(1, 2, 3)

    @Test(arguments: [1, 256]) func growsAndShrinksWithoutLosingAKey(shards: Int) {
        let engine = Engine(shards: shards, seed: fixedSeed)
        let session = KeyspaceSession(engine: engine)
        let now = EngineTime.seconds(1)
        let names = (0..<20_000).map { "key:\($0)" }
        let empty = session.statistics().memory
        for (number, name) in names.enumerated() {
            session.throttle(name, thousandOnce, now: now)
            if number % 2_500 == 0 { #expect(engine.violatedInvariants() == []) }
        }
        #expect(session.count() == names.count)
        #expect(names.allSatisfy { session.exists($0, now: now) })
        for (number, name) in names.enumerated() where number % 100 != 0 { #expect(session.remove(name, now: now)) }
        #expect(session.count() == names.count / 100)
        var sweeper = Sweeper(engine: engine)
        for _ in 0..<2_000 { _ = sweeper.step(buckets: 256, now: now) }
        #expect(engine.violatedInvariants() == [])
        for number in stride(from: 0, to: names.count, by: 100) { #expect(session.exists(names[number], now: now)) }
        // The remaining records take about 32 bytes each, and the index has shrunk with them.
        #expect(session.statistics().memory < empty + 200 * 300)
    }

    @Test func keysOfEveryLengthStayApart() {
        let session = KeyspaceSession(engine: Engine(shards: 2, seed: fixedSeed))
        let now = EngineTime.seconds(1)
        let keys = (0...600).map { [UInt8](repeating: 7, count: $0) } + [[UInt8](repeating: 7, count: 1 << 20)]
        for key in keys { #expect(session.throttle(key, thousandOnce.limitCall, now: now).remaining == 999) }
        for key in keys { #expect(session.throttle(key, thousandOnce.limitCall, now: now).remaining == 998) }
        #expect(session.engine.violatedInvariants() == [])
        for key in keys { #expect(key.withUnsafeBytes { session.remove($0, now: now) }) }
        #expect(session.count() == 0)
        #expect(session.engine.violatedInvariants() == [])
    }

    /// `proto-max-bulk-len` may be 16 MiB, so keys may be that long.
    @Test func theLongestKey() {
        let session = KeyspaceSession(engine: Engine(shards: 1, seed: fixedSeed))
        let key = [UInt8](repeating: 1, count: 16 << 20)
        let now = EngineTime.seconds(1)
        #expect(session.throttle(key, thousandOnce.limitCall, now: now).remaining == 999)
        #expect(session.throttle(key, thousandOnce.limitCall, now: now).remaining == 998)
        #expect(session.engine.violatedInvariants() == [])
    }

    @Test func theSweepRemovesReplenishedLimiters() {
        let session = KeyspaceSession(engine: Engine(shards: 4, seed: fixedSeed))
        let second = Call(maxBurst: 0, count: 1, period: 1)
        for number in 0..<1_000 { session.throttle("short:\(number)", second, now: .seconds(1)) }
        for number in 0..<1_000 { session.throttle("long:\(number)", thousandOnce, now: .seconds(1)) }
        var sweeper = Sweeper(engine: session.engine)
        for _ in 0..<100 { _ = sweeper.step(buckets: 256, now: .milliseconds(1_999)) }
        #expect(session.count() == 2_000)
        for _ in 0..<100 { _ = sweeper.step(buckets: 256, now: .seconds(2)) }
        #expect(session.count() == 1_000)
        #expect(session.statistics().expired == 1_000)
        #expect(session.engine.violatedInvariants() == [])
    }

    @Test func fullMemoryRefusesNewKeysAndServesExistingOnes() {
        let session = KeyspaceSession(engine: Engine(shards: 4, seed: fixedSeed))
        session.throttle("known", thousandOnce, now: .seconds(1))
        session.engine.setMemoryLimit(1, policy: .refuse)
        #expect(session.throttle("new", thousandOnce, now: .seconds(1)).outcome == .outOfMemory)
        #expect(session.throttle("known", thousandOnce, now: .seconds(1)).remaining == 998)
        #expect(session.count() == 1)
    }

    @Test func evictionRemovesTheKeyReplenishedSoonest() {
        let session = KeyspaceSession(engine: Engine(shards: 1, seed: fixedSeed))
        // Fewer keys than one sample holds, so the soonest of all is evicted.
        for seconds in 1...20 {
            session.throttle("k\(seconds)", Call(maxBurst: 0, count: 1, period: Int64(seconds)), now: .seconds(1))
        }
        session.engine.setMemoryLimit(1, policy: .evictSoonest)
        #expect(session.throttle("new", thousandOnce, now: .seconds(1)).outcome == .allowed)
        #expect(!session.exists("k1", now: .seconds(1)))
        #expect(session.exists("k20", now: .seconds(1)))
        #expect(session.statistics().evicted >= 1)
        #expect(session.engine.violatedInvariants() == [])
    }

    @Test func aScanReturnsEveryKeyPresentThroughout() {
        var random = SeededGenerator(for: "scan")
        let session = KeyspaceSession(engine: Engine(shards: 2, seed: HashSeed(random.next(), random.next(), 5)))
        let now = EngineTime.seconds(1)
        let staying = Set((0..<500).map { "stays:\($0)" })
        for name in staying { session.throttle(name, thousandOnce, now: now) }
        var seen: Set<String> = []
        var cursor: UInt64 = 0
        var round = 0
        repeat {
            cursor = session.scan(cursor: cursor, effort: 7, now: now) { key, _ in
                seen.insert(String(decoding: key, as: UTF8.self))
            }
            // Doubles several times in the first rounds, shrinks in the later ones.
            for number in 0..<200 {
                let name = "goes:\(random.below(20_000)):\(number)"
                session.throttle(name, thousandOnce, now: now)
                if round > 20 { session.remove(name, now: now) }
            }
            round += 1
        } while cursor != 0 && round < 100_000
        #expect(cursor == 0)
        #expect(staying.subtracting(seen) == [])
    }

    @Test func aTransactionMayAddManyKeysAfterAShrinkWasRequested() {
        let engine = Engine(shards: 1, seed: fixedSeed)
        let session = KeyspaceSession(engine: engine)
        let now = EngineTime.seconds(1)
        for number in 0..<4_000 { session.throttle("a\(number)", thousandOnce, now: now) }
        for number in 0..<3_990 { session.remove("a\(number)", now: now) }
        session.holdingAll {
            for number in 0..<3_000 { session.throttle("b\(number)", thousandOnce, now: now) }
        }
        var sweeper = Sweeper(engine: engine)
        for _ in 0..<100 { _ = sweeper.step(buckets: 256, now: now) }
        #expect(session.count() == 3_010)
        #expect(engine.violatedInvariants() == [])
    }
}
