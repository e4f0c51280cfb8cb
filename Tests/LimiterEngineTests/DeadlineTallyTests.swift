// The tally of keys by expiry: INFO keyspace always shows what a walk over all keys would find.

import LimiterEngine
import TestSupport
import Testing

@Suite struct DeadlineTallyTests {
    private let start = EngineTime.seconds(1_700_000_000)

    /// Compares the tally with the keys themselves.
    private func expectCounted(_ session: KeyspaceSession, _ model: [String: EngineTime?], now: EngineTime) {
        let statistics = session.statistics()
        let deadlines = model.values.compactMap { $0 }
        #expect(statistics.expiring == deadlines.count)
        let mean =
            deadlines.isEmpty
            ? 0 : deadlines.reduce(0.0) { $0 + Double($1.nanoseconds - now.nanoseconds) } / Double(deadlines.count)
        // A Double holds the sum of a thousand instants to about a microsecond.
        #expect(abs(Double(statistics.allKeys.meanTimeToLive(now: now)) - max(0, mean)) < 10_000)
        #expect(session.engine.violatedInvariants() == [])
    }

    @Test func everyTransitionToADeadlineAndBack() throws {
        let session = KeyspaceSession(engine: Engine(shards: 4))
        let later = EngineTime.seconds(1_700_000_100)
        session.throttle("limiter", thousandOnce, now: start)
        try set(session, "counter", .remove)
        expectCounted(session, ["limiter": nil, "counter": nil], now: start)
        #expect(session.statistics().persistent == 1)
        try set(session, "counter", .at(later))
        session.setDeadline("limiter", to: later, now: start)
        expectCounted(session, ["limiter": later, "counter": later], now: start)
        #expect(session.statistics().persistent == 0)
        #expect(session.statistics().allKeys.meanTimeToLive(now: start) == 100_000_000_000)
        session.removeDeadline("counter", now: start)
        expectCounted(session, ["limiter": later, "counter": nil], now: start)
        #expect(session.statistics().persistent == 1)
        // The key now has room for a deadline, which is reused.
        session.setDeadline("counter", to: EngineTime.seconds(1_700_000_300), now: start)
        #expect(session.statistics().expiring == 2)
        #expect(session.statistics().allKeys.meanTimeToLive(now: start) == 200_000_000_000)
        try set(session, "counter", .remove)
        session.removeDeadline("limiter", now: start)
        expectCounted(session, ["limiter": nil, "counter": nil], now: start)
        session.remove("counter", now: start)
        #expect(session.statistics().persistent == 0)
    }

    @Test func theEndOfTime() throws {
        let session = KeyspaceSession(engine: Engine(shards: 1))
        let last = EngineTime(nanoseconds: Int64.max)
        for number in 0..<100 { try set(session, "k\(number)", .at(last)) }
        #expect(session.statistics().expiring == 100)
        let mean = session.statistics().allKeys.meanTimeToLive(now: start)
        #expect(abs(Double(mean) - Double(Int64.max - start.nanoseconds)) < 1e6)
        session.removeAll()
        expectCounted(session, [:], now: start)
        // A hundred 64-bit values at the maximum left no remainder in the sum.
        try set(session, "k", .at(EngineTime.seconds(1_700_000_001)))
        #expect(session.statistics().allKeys.meanTimeToLive(now: start) == 1_000_000_000)
    }

    private func set(
        _ session: KeyspaceSession, _ key: String, _ deadline: CounterDeadline, now: EngineTime? = nil
    ) throws {
        _ = try key.bytes {
            try session.setCounter(
                $0, to: 1, if: .always, deadline: deadline, wantsPrevious: false, now: now ?? start)
        }
    }

    /// Thousands of writes, expiries, sweeps, evictions and deletions, journaled and restored in another engine.
    @Test func agreesWithAWalk() throws {
        var random = SeededGenerator(for: "keys by how they end")
        let session = KeyspaceSession(engine: Engine(shards: 4))
        session.engine.setJournaling(true)
        var sweeper = Sweeper(engine: session.engine)
        var now = start
        for step in 0..<6_000 {
            now = EngineTime(nanoseconds: now.nanoseconds + Int64(random.below(200_000_000)))
            let key = "k\(random.below(300))"
            let later = EngineTime(nanoseconds: now.nanoseconds + Int64(random.below(60)) * 1_000_000_000)
            switch random.below(12) {
            case 0, 1: session.throttle(key, Call(maxBurst: 3, count: 1, period: 10), now: now)
            case 2: try set(session, key, .at(later), now: now)
            case 3: try set(session, key, .keep, now: now)
            case 4: try set(session, key, .remove, now: now)
            case 5, 6: session.setDeadline(key, to: later, now: now)
            case 7: session.removeDeadline(key, now: now)
            case 8: session.remove(key, now: now)
            case 9: _ = sweeper.step(buckets: 16, now: now)
            case 10:
                _ = key.bytes { bytes in
                    session.apply(KeyState(kind: .counter, word: 5, deadline: later.nanoseconds), to: bytes, now: now)
                }
            default:
                // Memory is occasionally short.
                let limit = random.below(4) == 0 ? session.statistics().memory : 0
                session.engine.setMemoryLimit(limit, policy: .evictSoonest)
                session.engine.collectChanges(shard: random.below(4)) { _ in }
            }
            if step % 200 == 0 { expectWalkAgrees(session, now: now) }
        }
        expectWalkAgrees(session, now: now)
        session.removeAll()
        #expect(session.statistics().expiring == 0 && session.statistics().persistent == 0)
        #expect(session.engine.violatedInvariants() == [])
    }

    /// A walk over the states of all keys, as used by restarts and replicas.
    private func expectWalkAgrees(_ session: KeyspaceSession, now: EngineTime) {
        // Expired keys are counted until they are removed, but a walk skips them.
        var sweeper = Sweeper(engine: session.engine)
        while !sweeper.step(buckets: 1 << 20, now: now).finishedRound {}
        var states: [(key: [UInt8], kind: StateKind, value: [UInt8], deadline: Int64?)] = []
        var model: [String: EngineTime?] = [:]
        var persistent = 0
        var cursor: UInt64 = 0
        repeat {
            cursor = session.scanStates(cursor: cursor, effort: 1_000, now: now) { key, state in
                let deadline = state.deadline.map { EngineTime(nanoseconds: $0) }
                model[String(decoding: key.bytes, as: UTF8.self)] = .some(deadline)
                if state.kind == .counter, state.deadline == nil { persistent += 1 }
                states.append((Array(key.bytes), state.kind, Array(state.value), state.deadline))
            }
        } while cursor != 0
        let copy = Engine(shards: 2)
        let restorer = Restorer(engine: copy, horizon: now)
        for state in states {
            state.key.withUnsafeBytes { key in
                state.value.withUnsafeBytes { value in
                    restorer.put(StateView(kind: state.kind, value: value, deadline: state.deadline), KeyName(key))
                    restorer.flush()
                }
            }
        }
        expectCounted(session, model, now: now)
        #expect(session.statistics().persistent == persistent)
        expectCounted(KeyspaceSession(engine: copy), model, now: now)
    }
}
