// Counters that set their own deadline, in one step: compared with the same step made of separate operations on another
// engine.

import LimiterEngine
import TestSupport
import Testing

@Suite struct CountingTests {
    private let stepwise = KeyspaceSession(engine: Engine(shards: 2, seed: HashSeed(1, 2, 3)))
    private let session = KeyspaceSession(engine: Engine(shards: 2, seed: HashSeed(1, 2, 3)))

    private struct Answer: Equatable {
        var problem: CounterError?
        var value: Int64 = 0
        var lifetime: Int64 = 0
    }

    private static let rules: [LimitCall.CountRule] = [.onFirstSum, .onOne, .ifNone, .restart, .restartAndRenew]

    @Test func oneStepEqualsItsParts() {
        var random = SeededGenerator(for: "counting")
        var now: Int64 = 1_000
        var seen: Set<String> = []
        for _ in 0..<20_000 {
            now += random.pick([0, 0, 1, 500, 5_000])
            let time = EngineTime(nanoseconds: now)
            let key = "k\(random.below(6))"
            switch random.below(12) {
            case 0: for session in [session, stepwise] { _ = key.bytes { session.remove($0, now: time) } }
            case 1: for session in [session, stepwise] { _ = session.throttle(key, thousandOnce, now: time) }
            case 2:
                let value = random.pick([0, -1, Int64.max, Int64.min, 7])
                for session in [session, stepwise] {
                    _ = try? key.bytes { try session.setCounter($0, to: value, now: time) }
                }
            default:
                let amount = random.pick([1, 1, 2, 0, -1, Int64.max, Int64.min])
                let rule = random.pick(Self.rules)
                let lifetime = random.pick([1, 700, 20_000, Int64.max])
                let expected = steps(key, amount, rule, lifetime, time)
                let answer = count(key, amount, rule, lifetime, time)
                #expect(answer == expected, "\(rule) \(amount) at \(now)")
                seen.insert("\(rule) \(expected.problem.map { "\($0)" } ?? "\(expected.lifetime < 0)")")
            }
            #expect(session.timeToLive(key, now: time) == stepwise.timeToLive(key, now: time))
        }
        // Each rule has been seen with and without a deadline, except the one that always leaves one.
        for rule in Self.rules {
            #expect(seen.contains("\(rule) false") && seen.contains("\(rule) wrongKind(LimiterEngine.StateKind.gcra)"))
        }
        #expect(seen.contains("onFirstSum true") && seen.contains("onOne true") && seen.contains("ifNone overflow"))
    }

    private func count(
        _ key: String, _ amount: Int64, _ rule: LimitCall.CountRule, _ lifetime: Int64, _ now: EngineTime
    ) -> Answer {
        var call = LimitCall.blank
        let isRestart = rule == .restart || rule == .restartAndRenew
        call.setCount(isRestart ? 1 : amount, rule, lifetime: lifetime)
        key.bytes { session.decide(&call, key: $0, now: now) }
        #expect(call.hasChangedState == (call.counterProblem == nil))
        if let problem = call.counterProblem { return Answer(problem: problem) }
        return Answer(value: call.counterValue, lifetime: call.counterLifetime)
    }

    /// The same with one operation after the other.
    private func steps(
        _ key: String, _ amount: Int64, _ rule: LimitCall.CountRule, _ lifetime: Int64, _ now: EngineTime
    ) -> Answer {
        do {
            let deadline = now.advanced(by: lifetime)
            let value = try key.bytes { key throws(CounterError) -> Int64 in
                let isRestart = rule == .restart || rule == .restartAndRenew
                let before = stepwise.timeToLive(key, now: now)
                if isRestart, before == .missing || before == .forever {
                    _ = try stepwise.setCounter(key, to: 1, deadline: .at(deadline), now: now)
                    return 1
                }
                let sum = try stepwise.add(isRestart ? 1 : amount, toCounter: key, now: now)
                let expires =
                    switch rule {
                    case .onFirstSum: sum == amount
                    case .onOne: sum == 1
                    case .ifNone: stepwise.timeToLive(key, now: now) == .forever
                    case .restart: false
                    case .restartAndRenew: true
                    }
                if expires { _ = stepwise.setDeadline(key, to: deadline, now: now) }
                return sum
            }
            guard case .nanoseconds(let left) = stepwise.timeToLive(key, now: now) else {
                return Answer(value: value, lifetime: -1)
            }
            return Answer(value: value, lifetime: left)
        } catch {
            return Answer(problem: error as? CounterError)
        }
    }
}
