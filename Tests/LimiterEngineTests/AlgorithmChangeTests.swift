// A policy that changes its algorithm: spent units carry over, and are replenished by the new algorithm.

import LimiterEngine
import TestSupport
import Testing

@Suite struct AlgorithmChangeTests {
    @Test func spentUnitsCarryOverToAnotherAlgorithm() throws {
        let second: Int64 = 1_000_000_000
        // The nominal period of a calendar day, so that a unit costs the same under every algorithm.
        let period = 23 * 3600 * second
        let now = 1_000_000 * second + 5 * second
        for from in Limit.Algorithm.allCases {
            for to in Limit.Algorithm.allCases where from.kind != to.kind {
                let session = KeyspaceSession(engine: Engine(shards: 1, seed: HashSeed(1, 2, 3)))
                session.engine.setJournaling(true)
                let old = try Limit.sample(from, units: 10, period: period)
                let new = try Limit.sample(to, units: 10, period: period)
                let time = EngineTime(nanoseconds: now)
                _ = session.decide("k", LimitCall(old, try Demand(6)), token: nil, now: time)
                session.setDeadline("k", to: EngineTime(nanoseconds: now + 1_000 * second), now: time)
                // Only a named limit carries over; otherwise the call is refused and reports the kind found.
                let refused = session.decide("k", LimitCall(new, .one), token: nil, now: time)
                #expect(refused.outcome == .wrongKind && refused.foundKind == from.kind)
                #expect(session.standing(new, at: now, carriesOver: true).remaining == 4)
                #expect(session.state(of: "k", now: time)?.kind == from.kind, "a peek writes nothing")
                var take = LimitCall(new, try Demand(5))
                take.carriesOver = true
                session.decide("k", &take, now: time)
                #expect(take.decision.outcome == .denied && take.decision.remaining == 4, "\(from) to \(to)")
                take = LimitCall(new, try Demand(4))
                take.carriesOver = true
                session.decide("k", &take, now: time)
                #expect(take.decision.outcome == .allowed && take.decision.remaining == 0)
                #expect(session.state(of: "k", now: time)?.kind == to.kind)
                #expect(session.state(of: "k", now: time)?.deadline == now + 1_000 * second)
                let none = try Limit.sample(to, units: 0, period: period)
                take = LimitCall(none, .one)
                take.carriesOver = true
                session.decide("k", &take, now: time)
                #expect(take.decision.outcome == .denied && take.decision.retryAfter == -1)
                #expect(session.engine.violatedInvariants() == [])
            }
        }
    }

    /// A call that can receive neither units nor a wait leaves the other algorithm's state in place, so that
    /// reverting the change has no effect.
    @Test func callsThatCannotPassKeepTheOtherAlgorithmsState() throws {
        let second: Int64 = 1_000_000_000
        let now = EngineTime(nanoseconds: 1_000_000 * second)
        for from in Limit.Algorithm.allCases {
            for to in Limit.Algorithm.allCases where from.kind != to.kind {
                let session = KeyspaceSession(engine: Engine(shards: 1, seed: HashSeed(1, 2, 3)))
                let old = try Limit.sample(from, units: 100, period: 86_400 * second)
                _ = session.decide("k", LimitCall(old, try Demand(100)), token: nil, now: now)
                for (units, demand) in [(0, .one), (1, .nothing), (1, try Demand(2))] as [(Int64, Demand)] {
                    let new = Policy.having(
                        old, try Limit.sample(to, units: units, period: second), since: now.nanoseconds
                    )
                    .limit
                    var take = LimitCall(new, demand)
                    take.carriesOver = true
                    session.decide("k", &take, now: now)
                    #expect(take.decision.granted == 0 && take.decision.remaining == 0, "\(from) to \(to)")
                    #expect(!take.hasChangedState && session.state(of: "k", now: now)?.kind == from.kind)
                }
                #expect(session.standing(old, at: now.nanoseconds).remaining == 0)
                // The refund returns the units taken at their original price; everything else stays spent.
                let two = Policy.having(
                    old, try Limit.sample(to, units: 2, period: 86_400 * second), since: now.nanoseconds
                )
                .limit
                var back = LimitCall(two, try Demand(40))
                back.operation = .refund
                back.carriesOver = true
                session.decide("k", &back, now: now)
                #expect(back.decision.granted == 40 && back.decision.remaining == 0, "\(from) to \(to)")
                #expect(session.standing(old, at: now.nanoseconds).remaining == 40, "\(from) to \(to)")
                #expect(session.engine.violatedInvariants() == [])
            }
        }
    }

    /// A wait returned after a change of algorithm is accurate, for a single call and in a group.
    @Test func waitsAfterAnAlgorithmChangeAreAccurate() throws {
        let second: Int64 = 1_000_000_000
        let begin = 10_000 * 86_400 * second + 5 * second
        for from in Limit.Algorithm.allCases {
            for to in Limit.Algorithm.allCases where from.kind != to.kind {
                for together in [false, true] {
                    let session = KeyspaceSession(engine: Engine(shards: 1, seed: HashSeed(1, 2, 3)))
                    let old = try Limit.sample(from, units: 1000, period: 86_400 * second)
                    let time = EngineTime(nanoseconds: begin)
                    _ = session.decide("k", LimitCall(old, try Demand(500)), token: nil, now: time)
                    let new = Policy.having(old, try Limit.sample(to, units: 100, period: 10 * second), since: begin)
                        .limit
                    var take = LimitCall(new, .one)
                    take.carriesOver = true
                    var now = begin
                    var refusals = 0
                    var rows = [
                        TakeAllRow(key: "k", take: take), TakeAllRow(key: "other", take: LimitCall(new, .one)),
                    ]
                    while refusals < 4 {
                        let wait: Int64
                        if together {
                            let outcome = session.takeAll(&rows, now: EngineTime(nanoseconds: now))
                            guard case .denied(0, let said) = outcome else { break }
                            wait = said
                        } else {
                            session.decide("k", &take, now: EngineTime(nanoseconds: now))
                            guard take.decision.outcome == .denied else { break }
                            #expect(
                                take.hasChangedState == (refusals == 0), "the first is written and journaled")
                            wait = take.decision.retryAfter
                        }
                        #expect(wait >= 0)
                        now += wait
                        refusals += 1
                    }
                    // Spent units beyond a full limit are carried into windows and fade in steps.
                    #expect(refusals == 1 || (to.kind == .slidingWindow && refusals == 2), "\(from) to \(to)")
                    let bound = to == .calendar ? 86_400 * second : 20 * second
                    #expect(now - begin <= bound, "\(from) to \(to): \(now - begin)")
                    #expect(session.engine.violatedInvariants() == [])
                }
            }
        }
    }
}
