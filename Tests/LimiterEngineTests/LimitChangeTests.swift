// Spent units when a limit changes: lowering it never replenishes any, and another algorithm takes them over.

import LimiterEngine
import TestSupport
import Testing

@Suite struct LimitChangeTests {
    @Test(arguments: Limit.Algorithm.allCases)
    func loweringReplenishesNothing(algorithm: Limit.Algorithm) throws {
        var random = SeededGenerator(for: "lowering \(algorithm)")
        var compared = 0
        for _ in 0..<1_500 {
            let session = KeyspaceSession(engine: Engine(shards: 1, seed: HashSeed(1, 2, 3)))
            let isRate = algorithm.kind == .gcra
            let units = Int64(1 + random.below(60))
            let period = Int64(1_000 + random.below(1_000_000))
            let burst = isRate ? Int64(1 + random.below(60)) : nil
            let old = try Limit.sample(algorithm, units: units, period: period, burst: burst)
            // Fewer units in the same or a longer period, and no larger burst.
            let lowered = try Limit.sample(
                algorithm, units: Int64(1 + random.below(Int(units))), period: period * Int64(1 + random.below(4)),
                burst: burst.map { Int64(1 + random.below(Int($0))) })
            var now = Int64(1_000_000_000 + random.below(1_000_000))
            for _ in 0..<random.below(40) {
                _ = session.decide(
                    "k", LimitCall(old, random.demand(old)), token: nil, now: EngineTime(nanoseconds: now))
                now += Int64(random.below(Int(old.emissionInterval) * 2 + 1))
            }
            // Ensures that some units are spent when the limit changes.
            _ = session.decide("k", LimitCall(old, .one), token: nil, now: EngineTime(nanoseconds: now))
            let new = Policy.having(old, lowered, since: now).limit
            for _ in 0..<20 {
                let before = session.standing(old, at: now)
                let after = session.standing(new, at: now)
                compared += before.remaining < before.limit ? 1 : 0
                guard after.remaining <= before.remaining else {
                    Issue.record("\(old), then \(new): \(before) became \(after) at \(now)")
                    return
                }
                now += Int64(random.below(Int(period) / 2 + 1))
            }
            // Eventually the lower limit applies as if it had always been in force.
            let later = now + 20 * max(period, old.period) * 60
            #expect(session.standing(new, at: later).remaining == lowered.capacity)
        }
        #expect(compared >= 1_500, "once in each round at least")
    }

    @Test func aDearerUnitDoesNotShrinkADebt() throws {
        let session = KeyspaceSession(engine: Engine(shards: 1, seed: HashSeed(1, 2, 3)))
        let second: Int64 = 1_000_000_000
        let old = try Limit(.gcra, units: 10, period: 10 * second, burst: 10)
        let dear = try Limit(.gcra, units: 1, period: 10 * second, burst: 10)
        let now = 100 * second
        _ = session.decide("k", LimitCall(old, try Demand(10)), token: nil, now: EngineTime(nanoseconds: now))
        #expect(session.standing(dear, at: now).remaining == 9, "as plain time, the debt of ten units is one unit")
        let changed = Policy.having(old, dear, since: now)
        let new = changed.limit
        #expect(session.standing(new, at: now).remaining == 0)
        #expect(session.standing(new, at: now + 10 * second - 1).remaining == 0)
        #expect(session.standing(new, at: now + 10 * second).remaining == 10, "all earlier debts are paid off")
        var take = LimitCall(new, try Demand(2))
        session.decide("k", &take, now: EngineTime(nanoseconds: now + second))
        #expect(take.decision.outcome == .denied && take.decision.retryAfter == 9 * second)
        take = LimitCall(new, .one)
        session.decide("k", &take, now: EngineTime(nanoseconds: now + second))
        #expect(take.decision.outcome == .denied && take.decision.retryAfter == 9 * second)
        // A cheaper unit needs no cap, and the superseded limit ends with its last debt.
        let restored = Policy(name: [1], limit: old).succeeding(changed, now: now + second)
        #expect(restored.limit.cappedUntil == 0)
        let dearAgain = Policy(name: [1], limit: dear).succeeding(restored, now: now + 2 * second)
        #expect(dearAgain.limit.cappedUntil == now + 12 * second)
    }

    /// Whatever limits were in force in between, and however briefly: units taken under a limit count for as long as
    /// they would have under it.
    @Test func noIntermediateLimitReplenishesUnits() throws {
        let second: Int64 = 1_000_000_000
        let now = 1_000_000 * second
        let cheap = try Limit(.gcra, units: 60, period: 60 * second, burst: 10)
        let dear = try Limit(.gcra, units: 12, period: 60 * second, burst: 10)
        let detours: [[Limit]] = [
            [], [try Limit(.gcra, units: 12, period: 60 * second, burst: 2)],
            [try Limit(.gcra, units: 60, period: 60 * second, burst: 2)], [try Limit(.gcra, units: 0, period: second)],
            [try Limit(.fixedWindow, units: 5, period: second)], [dear, cheap],
            (1...9).map { try! Limit(.gcra, units: 12, period: 60 * second, burst: $0) },
        ]
        for detour in detours {
            let session = KeyspaceSession(engine: Engine(shards: 1, seed: HashSeed(1, 2, 3)))
            _ = session.decide("k", LimitCall(cheap, try Demand(10)), token: nil, now: EngineTime(nanoseconds: now))
            var changed = Policy(name: [1], limit: cheap)
            for limit in detour + [dear] {
                changed = Policy(name: [1], limit: limit).succeeding(changed, now: now)
            }
            for elapsed in 0..<10 {
                let left = session.standing(changed.limit, at: now + Int64(elapsed) * second).remaining
                #expect(left <= elapsed, "\(detour): \(left) of \(elapsed)")
            }
            #expect(session.standing(changed.limit, at: now + 10 * second).remaining == 10)
            // The policy is still valid after journaling.
            #expect(PolicyRecord(changed).isValid)
        }
    }

    /// Superseded limits concern debts only: a key without debt gets the new limit at once, and an intermediate block
    /// costs nothing.
    @Test func aFullKeyHasTheNewLimit() throws {
        let hour: Int64 = 3_600_000_000_000
        let now = 1_000 * hour
        let session = KeyspaceSession(engine: Engine(shards: 1, seed: HashSeed(1, 2, 3)))
        let old = try Limit(.gcra, units: 5, period: hour)
        let dear = try Limit(.gcra, units: 5, period: 24 * hour)
        let none = try Limit(.gcra, units: 0, period: hour)
        let new = Policy.having(old, dear, since: now).limit
        #expect(session.standing(new, at: now).remaining == 5)
        var take = LimitCall(new, try Demand(6, isPartial: true))
        session.decide("k", &take, now: EngineTime(nanoseconds: now))
        #expect(take.decision.granted == 5 && take.decision.remaining == 0)
        // One unit is a debt that might predate the change: the rest is available once no earlier debt can exist.
        session.removeAll()
        take = LimitCall(new, .one)
        session.decide("k", &take, now: EngineTime(nanoseconds: now))
        #expect(take.decision.outcome == .allowed && take.decision.remaining == 0)
        session.decide("k", &take, now: EngineTime(nanoseconds: now + 1))
        #expect(take.decision.outcome == .denied && take.decision.retryAfter == hour - 1)
        session.decide("k", &take, now: EngineTime(nanoseconds: now + hour))
        #expect(take.decision.outcome == .allowed && take.decision.remaining == 3)
        session.removeAll()
        let restored = Policy.having(old, dear, none, old, since: now).limit
        #expect(session.standing(restored, at: now).remaining == 5 && restored.cappedUntil == 0)
    }

    /// Units taken at a lower price are refunded at that price, whatever a unit costs now.
    @Test func refundsUseThePriceOfTheTake() throws {
        let second: Int64 = 1_000_000_000
        let now = 1_000_000 * second
        for algorithm in [Limit.Algorithm.gcra, .tokenBucket] {
            let session = KeyspaceSession(engine: Engine(shards: 1, seed: HashSeed(1, 2, 3)))
            let cheap = try Limit(algorithm, units: 60, period: 60 * second)
            let dear = Policy.having(cheap, try Limit(algorithm, units: 60, period: 300 * second), since: now).limit
            _ = session.decide("k", LimitCall(cheap, try Demand(50)), token: nil, now: EngineTime(nanoseconds: now))
            var back = LimitCall(dear, try Demand(10))
            back.operation = .refund
            session.decide("k", &back, now: EngineTime(nanoseconds: now))
            #expect(back.decision.granted == 10)
            #expect(session.standing(cheap, at: now).remaining == 20)
            // Once all earlier debts are paid off, the new price applies again.
            let later = now + 60 * second
            _ = session.decide("k", LimitCall(dear, try Demand(50)), token: nil, now: EngineTime(nanoseconds: later))
            session.decide("k", &back, now: EngineTime(nanoseconds: later))
            #expect(back.decision.granted == 10 && session.standing(dear, at: later).remaining == 20)
        }
    }

    /// A period divided by another number of units is rounded differently, which does not count as a longer
    /// tolerance.
    @Test func roundingCapsNothing() throws {
        let hour: Int64 = 3_600_000_000_000
        let now = 1_000 * hour
        for (old, new) in [(7, 5), (90, 60), (1_000_000_007, 999)] as [(Int64, Int64)] {
            let session = KeyspaceSession(engine: Engine(shards: 1, seed: HashSeed(1, 2, 3)))
            let limit = Policy.having(
                try Limit(.gcra, units: old, period: hour), try Limit(.gcra, units: new, period: hour), since: now
            ).limit
            #expect(limit.cappedUntil == 0)
            var taken: Int64 = 0
            while session.decide("k", LimitCall(limit, .one), token: nil, now: EngineTime(nanoseconds: now)).granted
                == 1
            {
                taken += 1
            }
            #expect(taken == new)
        }
        // A tolerance longer by a unit or more does.
        let longer = Policy.having(
            try Limit(.gcra, units: 7, period: hour), try Limit(.gcra, units: 5, period: hour, burst: 6), since: now
        ).limit
        #expect(longer.cappedUntil > now)
    }

    @Test func aFadedUnitIsNotRefundedInFull() throws {
        let second: Int64 = 1_000_000_000
        let session = KeyspaceSession(engine: Engine(shards: 1, seed: HashSeed(1, 2, 3)))
        let limit = try Limit(.slidingWindow, units: 100, period: 4 * second)
        let now = 1_000_000 * 4 * second
        _ = session.decide("k", LimitCall(limit, try Demand(100)), token: nil, now: EngineTime(nanoseconds: now))
        let later = now + 7 * second
        #expect(session.standing(limit, at: later).remaining == 75)
        var back = LimitCall(limit, try Demand(20))
        back.operation = .refund
        session.decide("k", &back, now: EngineTime(nanoseconds: later))
        #expect(back.decision.granted == 5 && back.decision.remaining == 80)
        back = LimitCall(limit, try Demand(1_000))
        back.operation = .refund
        session.decide("k", &back, now: EngineTime(nanoseconds: later))
        #expect(back.decision.granted == 20 && back.decision.remaining == 100)
        #expect(session.state(of: "k", now: EngineTime(nanoseconds: later)) == nil)
    }

    @Test func windowsKeepSpentUnitsUntilTheyEnd() throws {
        let session = KeyspaceSession(engine: Engine(shards: 1, seed: HashSeed(1, 2, 3)))
        let hour: Int64 = 3_600_000_000_000
        let now = 1_000 * hour + hour / 2
        for (algorithm, left) in [(Limit.Algorithm.fixedWindow, hour / 2), (.slidingLog, hour)] {
            session.removeAll()
            let old = try Limit(algorithm, units: 100, period: hour)
            let new = try Limit(algorithm, units: 2, period: hour / 60)
            _ = session.decide("k", LimitCall(old, try Demand(100)), token: nil, now: EngineTime(nanoseconds: now))
            #expect(session.standing(new, at: now).resetAfter == left)
            #expect(session.standing(new, at: now + left - 1).remaining == 0)
            #expect(session.standing(new, at: now + left).remaining == 2)
        }
        // A sliding window keeps fading under the old limit until units are granted under the new one.
        session.removeAll()
        let old = try Limit(.slidingWindow, units: 100, period: hour)
        let new = try Limit(.slidingWindow, units: 2, period: hour / 60)
        _ = session.decide("k", LimitCall(old, try Demand(100)), token: nil, now: EngineTime(nanoseconds: now))
        let fading = now + hour / 2
        #expect(session.standing(new, at: fading + hour / 2).remaining == 0)
        let nearly = fading + hour - hour / 100
        #expect(session.standing(new, at: nearly - 1).remaining == 0)
        let granted = session.decide(
            "k", LimitCall(new, .one), token: nil, now: EngineTime(nanoseconds: nearly))
        #expect(granted.outcome == .allowed && granted.remaining == 0)
        #expect(session.state(of: "k", now: EngineTime(nanoseconds: nearly))!.word <= nearly + 2 * (hour / 60))
        #expect(session.engine.violatedInvariants() == [])
    }

    @Test(
        "invalid limits",
        arguments: [
            (.gcra, -1, 1, nil, 0, .negative(.limit)), (.gcra, 1, -1, nil, 0, .negative(.period)),
            (.gcra, 1, 0, nil, 0, .zero(.period)), (.gcra, 1, 1, -1, 0, .negative(.burst)),
            (.gcra, 2, 1, nil, 0, .rateTooHigh), (.gcra, 0, 1, 1, 0, .zero(.limit)),
            (.gcra, 1, Int64.max, 2, 0, .outOfRange(.burst)), (.gcra, 1, 1, nil, 1, .unsupported(.offset, .gcra)),
            (.fixedWindow, 1, 1, 1, 0, .unsupported(.burst, .fixedWindow)),
            (.fixedWindow, 1, 1, nil, Limit.offsetMax + 1, .tooLarge(.offset, maximum: Limit.offsetMax)),
            (.fixedWindow, 1, 1, nil, Int64.min, .tooLarge(.offset, maximum: Limit.offsetMax)),
            (.slidingLog, 4097, 1, nil, 0, .tooLarge(.limit, maximum: 4096)),
            (.slidingWindow, 1 << 32, 1, nil, 0, .tooLarge(.limit, maximum: (1 << 32) - 1)),
        ] as [(Limit.Algorithm, Int64, Int64, Int64?, Int64, LimitError)])
    func noLimit(
        algorithm: Limit.Algorithm, units: Int64, period: Int64, burst: Int64?, offset: Int64, error: LimitError
    ) {
        #expect(throws: error) { try Limit(algorithm, units: units, period: period, burst: burst, offset: offset) }
        #expect(throws: LimitError.negative(.cost)) { try Demand(-1) }
    }

    @Test func daysStartAtLocalMidnight() throws {
        let hour: Int64 = 3_600_000_000_000
        let session = KeyspaceSession(engine: Engine(shards: 1, seed: HashSeed(1, 2, 3)))
        // 21:30 UTC is 23:30 in a zone two hours to the east.
        let now = 20_000 * 24 * hour + 21 * hour + hour / 2
        for (offset, left) in [(0, 5 * hour / 2), (2 * hour, hour / 2), (-5 * hour, 15 * hour / 2)] {
            session.removeAll()
            let limit = try Limit(.fixedWindow, units: 1, period: 24 * hour, offset: offset)
            let taken = session.decide("k", LimitCall(limit, .one), token: nil, now: EngineTime(nanoseconds: now))
            #expect(taken.resetAfter == left)
            let denied = session.decide("k", LimitCall(limit, .one), token: nil, now: EngineTime(nanoseconds: now))
            #expect(denied.retryAfter == left)
        }
    }

    @Test func aLogTakesTheMemoryItNeeds() throws {
        let session = KeyspaceSession(engine: Engine(shards: 1, seed: HashSeed(1, 2, 3)))
        let limit = try Limit(.slidingLog, units: SlidingLog.unitsMax, period: 3_600_000_000_000)
        var now: Int64 = 1_000_000_000_000
        for _ in 0..<SlidingLog.unitsMax {
            #expect(
                session.decide("k", LimitCall(limit, .one), token: nil, now: EngineTime(nanoseconds: now)).granted
                    == 1)
            now += 1
        }
        let time = EngineTime(nanoseconds: now)
        #expect("k".bytes { session.memoryUsage(of: $0, now: time)! } < 41_100)
        #expect(session.decide("k", LimitCall(limit, .one), token: nil, now: time).outcome == .denied)
        #expect(session.engine.violatedInvariants() == [])
        // Calls at the same instant share an entry.
        session.removeAll()
        for _ in 0..<1_000 { _ = session.decide("k", LimitCall(limit, .one), token: nil, now: time) }
        #expect("k".bytes { session.memoryUsage(of: $0, now: time)! } < 60)
    }
}
