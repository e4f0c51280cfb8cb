// The engine against the exact model: random calls at random times, extremes included, every answer compared.

import LimiterEngine
import TestSupport
import Testing

@Suite("The engine against an exact model")
struct ModelTests {
    #if DEBUG
        private static let steps = 60_000
    #else
        private static let steps = 1_000_000
    #endif

    @Test("parameters: accepted, refused and computed as by exact arithmetic")
    func parameters() {
        var random = SeededGenerator(for: "parameters")
        for _ in 0..<ModelTests.steps {
            let call = random.call()
            var made = LimitCall.blank
            let problem = made.setThrottle(
                maxBurst: call.maxBurst, count: call.count, period: call.period, quantity: call.quantity)
            switch ExactLimit.checked(call) {
            case .failure(let expected):
                guard problem == expected else {
                    Issue.record("\(call): \(problem as Any), not \(expected)")
                    return
                }
            case .success(let exact):
                let limit = made.limit
                let got = [
                    limit.emissionInterval, limit.capacity, limit.tolerance,
                    limit.emissionInterval * made.demand.units,
                ]
                let wanted = [exact.emission, exact.limit, exact.emission * exact.limit, exact.cost]
                guard problem == nil, got.map({ Exact($0) }) == wanted else {
                    Issue.record("\(call): \(got), not \(wanted); \(problem as Any)")
                    return
                }
            }
        }
    }

    @Test("a long run over many keys, occasional invariant checks")
    func longRun() {
        var run = DifferentialRun(name: "long run", shards: 16, keys: 400)
        for step in 1...ModelTests.steps {
            if step % (ModelTests.steps / 4) == 1 { run.meetEveryCase() }
            run.step()
            if step % 10_000 == 0 { run.checkEverything() }
            if run.hasFailed { return }
        }
        run.expectVariety()
    }

    @Test("a short run over one shard, invariants after every step")
    func shortRun() {
        var run = DifferentialRun(name: "short run", shards: 1, keys: 40)
        for _ in 0..<ModelTests.steps / 12 {
            run.step()
            run.checkEverything()
            if run.hasFailed { return }
        }
    }

    @Test("memory runs out", arguments: [EvictionPolicy.refuse, .evictSoonest])
    func memoryLimit(policy: EvictionPolicy) {
        var run = DifferentialRun(name: "memory limit, \(policy)", shards: 2, keys: 300)
        run.limitMemory(keys: 60, policy: policy)
        run.overfill()
        for _ in 0..<ModelTests.steps / 20 {
            run.step()
            run.checkEverything()
            if run.hasFailed { return }
        }
        switch policy {
        case .refuse: #expect(run.refused > 0 && run.evicted == 0)
        case .evictSoonest: #expect(run.refused == 0 && run.evicted > 0)
        }
    }
}

extension SeededGenerator {
    /// A typical number, or an absurd one.
    mutating func parameter() -> Int64 {
        switch below(12) {
        case 0: 0
        case 1: 1
        case 2: Int64.max - Int64(below(3))
        case 3: Int64(bitPattern: next())
        case 4: Int64(truncatingIfNeeded: next() >> UInt64(1 + below(63)))
        case 5: 999_999_998 + Int64(below(5))
        case 6: 9_223_372_034 + Int64(below(5))
        case 7: -Int64(below(3))
        default: Int64(below(60))
        }
    }

    mutating func call() -> Call {
        if below(4) == 0 {
            return Call(maxBurst: parameter(), count: parameter(), period: parameter(), quantity: parameter())
        }
        return Call(
            maxBurst: Int64(below(12)), count: Int64(1 + below(below(2) == 0 ? 10 : 100_000)),
            period: Int64(1 + below(below(2) == 0 ? 10 : 100_000)), quantity: Int64(below(4)))
    }
}
