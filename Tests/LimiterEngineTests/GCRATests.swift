// CL.THROTTLE number by number: known sequences of calls, every parameter error, the edge cases of the formula.

import LimiterEngine
import Testing

@Suite("CL.THROTTLE, number by number")
struct GCRATests {
    private let session = KeyspaceSession(engine: Engine(shards: 4, seed: HashSeed(1, 2, 3)))

    /// The five integers of the reply.
    private func reply(_ key: String, _ call: Call, at milliseconds: Int64) -> [Int64] {
        let decision = session.throttle(key, call, now: .milliseconds(milliseconds))
        let second: Int64 = 1_000_000_000
        let reset = ceilingUnits(decision.resetAfter, unit: second)
        switch decision.outcome {
        case .allowed: return [0, call.limitCall.limit.capacity, decision.remaining, -1, reset]
        case .denied:
            let retry = decision.retryAfter < 0 ? -1 : ceilingUnits(decision.retryAfter, unit: second)
            return [1, call.limitCall.limit.capacity, decision.remaining, retry, reset]
        default: return []
        }
    }

    @Test("a burst of five, one a second")
    func burstOfFive() {
        let call = Call(maxBurst: 4, count: 1, period: 1)
        #expect(reply("foo", call.taking(6), at: 0) == [1, 5, 5, -1, 0])
        for taken in 1...5 as ClosedRange<Int64> {
            #expect(reply("foo", call, at: 0) == [0, 5, 5 - taken, -1, taken])
        }
        #expect(reply("foo", call, at: 0) == [1, 5, 0, 1, 5])
        #expect(reply("foo", call, at: 3000) == [0, 5, 2, -1, 3])
        #expect(reply("foo", call, at: 3100) == [0, 5, 1, -1, 4])
        _ = reply("foo", call, at: 4000)
        _ = reply("foo", call, at: 8000)
        #expect(reply("foo", call, at: 9500) == [0, 5, 4, -1, 1])
        _ = reply("foo", call, at: 9500)
        #expect(reply("foo", call, at: 9500) == [0, 5, 2, -1, 3])
        #expect(reply("foo", call.taking(5), at: 9500) == [1, 5, 2, 3, 3])
    }

    @Test("first calls of other limits")
    func firstCalls() {
        #expect(reply("user123", Call(maxBurst: 15, count: 30, period: 60), at: 0) == [0, 16, 15, -1, 2])
        #expect(reply("single", Call(maxBurst: 0, count: 1, period: 2), at: 0) == [0, 1, 0, -1, 2])
        #expect(reply("single", Call(maxBurst: 0, count: 1, period: 2), at: 0) == [1, 1, 0, 2, 2])
    }

    @Test(
        "seconds are rounded up",
        arguments: [
            (0, 0), (1, 1), (999_999_999, 1), (1_000_000_000, 1), (1_000_000_001, 2), (10_000_000_000, 10),
            (Int64.max, 9_223_372_037),
        ] as [(Int64, Int64)])
    func ceilings(nanoseconds: Int64, seconds: Int64) {
        #expect(ceilingUnits(nanoseconds, unit: 1_000_000_000) == seconds)
    }

    @Test("quantity 0 asks without taking, and creates no key")
    func quantityZero() {
        let call = Call(maxBurst: 4, count: 1, period: 1)
        #expect(reply("foo", call.taking(0), at: 0) == [0, 5, 5, -1, 0])
        #expect(session.count() == 0)
        #expect(reply("foo", call.taking(3), at: 0) == [0, 5, 2, -1, 3])
        let before = session.state(of: "foo", now: .milliseconds(1))
        #expect(reply("foo", call.taking(0), at: 500) == [0, 5, 2, -1, 3])
        #expect(session.state(of: "foo", now: .milliseconds(1)) == before)
    }

    @Test("a denied call creates no key and changes none")
    func denied() {
        let call = Call(maxBurst: 1, count: 1, period: 10)
        #expect(reply("foo", call.taking(3), at: 0) == [1, 2, 2, -1, 0])
        #expect(session.count() == 0)
        _ = reply("foo", call.taking(2), at: 0)
        let before = session.state(of: "foo", now: .milliseconds(0))
        #expect(reply("foo", call, at: 1) == [1, 2, 0, 10, 20])
        #expect(session.state(of: "foo", now: .milliseconds(1)) == before)
    }

    @Test(
        "invalid parameters",
        arguments: [
            (-1, 1, 1, 1, ThrottleParameterError.negative(.maxBurst)),
            (1, -1, 1, 1, .negative(.count)), (1, 1, -1, 1, .negative(.period)), (1, 1, 1, -1, .negative(.quantity)),
            (Int64.min, Int64.min, Int64.min, Int64.min, .negative(.maxBurst)),
            (1, 0, 1, 1, .zeroRate), (1, 1, 0, 1, .zeroRate), (1, 0, 0, 0, .zeroRate),
            (1, 1_000_000_001, 1, 1, .zeroRate), (1, Int64.max, 9_223_372_036, 1, .zeroRate),
            (0, 1, 9_223_372_037, 1, .outOfRange), (0, 1, 9_223_372_036, 1, nil),
            (0, Int64.max, Int64.max, 1, .outOfRange),
            (Int64.max, 1_000_000_000, 1, 1, .outOfRange), (Int64.max - 1, 1_000_000_000, 1, 1, nil),
            (Int64.max - 1, 500_000_000, 1, 1, .outOfRange), (1, 1, 9_223_372_036, 1, .outOfRange),
            (0, 1_000_000_000, 1, Int64.max, nil), (0, 500_000_000, 1, Int64.max, .outOfRange),
            (0, 1, 9_223_372_036, 2, .outOfRange),
        ] as [(Int64, Int64, Int64, Int64, ThrottleParameterError?)])
    func parameterErrors(
        maxBurst: Int64, count: Int64, period: Int64, quantity: Int64, expected: ThrottleParameterError?
    ) throws {
        let old = try Limit(.gcra, units: 1, period: 77, burst: 7)
        var call = LimitCall(old, try Demand(7777))
        let problem = call.setThrottle(maxBurst: maxBurst, count: count, period: period, quantity: quantity)
        #expect(problem == expected)
        let isUnchanged = call.limit == old && call.demand.units == 7777
        #expect(isUnchanged == (expected != nil), "unchanged after an error")
    }

    @Test("a TAT after the last instant is an error, and nothing is stored")
    func beyondTime() {
        let call = Call(maxBurst: 0, count: 1, period: 9_000_000_000)
        let late = EngineTime(nanoseconds: Int64.max - call.limitCall.limit.tolerance + 1)
        #expect(session.throttle("foo", call, now: late).outcome == .outOfRange)
        #expect(session.count() == 0)
        let justInTime = EngineTime(nanoseconds: late.nanoseconds - 1)
        #expect(session.throttle("foo", call, now: justInTime).outcome == .allowed)
        #expect(session.timeToLive("foo", now: justInTime) == .forever, "the last instant is never reached")
    }

    @Test("a stored TAT in the past counts as now")
    func pastArrival() {
        let call = Call(maxBurst: 4, count: 1, period: 1)
        _ = reply("foo", call, at: 0)
        #expect(reply("foo", call.taking(0), at: 1_000_000) == [0, 5, 5, -1, 0])
        #expect(reply("foo", call, at: 1_000_000) == [0, 5, 4, -1, 1])
        session.apply(KeyState(kind: .gcra, word: Int64.min), to: "ancient", now: .seconds(0))
        #expect(reply("ancient", call, at: 5) == [0, 5, 4, -1, 1])
    }

    @Test("other parameters price the stored debt by time")
    func repricing() {
        _ = reply("foo", Call(maxBurst: 9, count: 1, period: 1).taking(10), at: 0)
        // Ten seconds of debt: 20 units of half a second are 10 over a tolerance of 5 s; at 5 s a unit, 2 of 4.
        #expect(reply("foo", Call(maxBurst: 9, count: 2, period: 1), at: 0) == [1, 10, 0, 6, 10])
        #expect(reply("foo", Call(maxBurst: 9, count: 2, period: 1).taking(0), at: 0) == [1, 10, 0, 5, 10])
        #expect(reply("foo", Call(maxBurst: 3, count: 1, period: 5), at: 0) == [0, 4, 1, -1, 15])
    }

    @Test("ten thousand a second")
    func tenThousandPerSecond() {
        let call = Call(maxBurst: 0, count: 10_000, period: 1)
        var allowed = 0
        // Four calls for each unit replenished, for a tenth of a second.
        for microseconds in stride(from: 0 as Int64, to: 100_000, by: 25) {
            let now = EngineTime(nanoseconds: microseconds * 1000)
            if session.throttle("foo", call, now: now).outcome == .allowed { allowed += 1 }
        }
        #expect(allowed == 1000)
        let last = EngineTime(nanoseconds: 99_900_000)
        #expect(session.timeToLive("foo", now: last) == .nanoseconds(100_000))
        #expect(session.exists("foo", now: EngineTime(nanoseconds: 99_999_999)))
        #expect(!session.exists("foo", now: EngineTime(nanoseconds: 100_000_000)), "replenished: no state to keep")
    }

    @Test("a replenished limiter drops its deadline, whether swept or not")
    func deadlineOfFullLimiter() {
        let call = Call(maxBurst: 4, count: 1, period: 1)
        _ = reply("foo", call, at: 0)
        session.setDeadline("foo", to: .milliseconds(5000), now: .milliseconds(0))
        _ = reply("foo", call.taking(5), at: 4000)
        #expect(session.timeToLive("foo", now: .milliseconds(4000)) == .nanoseconds(5_000_000_000))
        #expect(reply("foo", call, at: 5000) == [0, 5, 0, -1, 5])
    }
}
