// Every algorithm against its exact model: random limits, calls and times, and window edges to the nanosecond.

import LimiterEngine
import TestSupport
import Testing

@Suite("Limits against an exact model")
struct LimitModelTests {
    #if DEBUG
        private static let limits = 150
        private static let calls = 120
    #else
        private static let limits = 2_000
        private static let calls = 400
    #endif

    @Test("take, peek, refund and reset", arguments: Limit.Algorithm.allCases)
    func everyAnswer(algorithm: Limit.Algorithm) {
        var random = SeededGenerator(for: "limits of \(algorithm)")
        var seen: [String: Int] = [:]
        if let fault = meetEveryCase(algorithm, &seen) {
            Issue.record("\(algorithm): \(fault)")
            return
        }
        for round in 0..<LimitModelTests.limits {
            let engine = Engine(shards: 1, seed: HashSeed(1, 2, 3))
            let session = KeyspaceSession(engine: engine)
            let limit = random.limit(algorithm)
            var meter = ExactMeter(limit)
            var now = random.start()
            for _ in 0..<LimitModelTests.calls {
                guard let next = random.later(than: now, meter) else { break }
                now = next
                let move = Move(&random, limit)
                guard let fault = step(session, &meter, now: now, move, &seen) else { continue }
                Issue.record("\(limit), round \(round), at \(now): \(fault)")
                return
            }
            let violations = engine.violatedInvariants()
            guard violations == [] else {
                Issue.record("\(limit), round \(round): \(violations)")
                return
            }
        }
        // A run that misses the interesting cases proves nothing.
        for what in ["allowed", "denied", "outOfRange", "partly", "never", "refunded", "reset"] {
            #expect(seen[what, default: 0] > 0, "no call was \(what)")
        }
    }

    /// One call.
    private struct Move {
        enum Kind { case reset, refund, peek, take }

        var kind: Kind
        var demand: Demand

        init(_ kind: Kind, _ units: Int64 = 1, isPartial: Bool = false) {
            self.kind = kind
            demand = try! Demand(units, isPartial: isPartial)
        }

        init(_ random: inout SeededGenerator, _ limit: Limit) {
            demand = random.demand(limit)
            kind = random.pick([.reset, .refund, .refund, .peek, .peek] + Array(repeating: .take, count: 7))
        }
    }

    /// Produces every case that `everyAnswer` requires. Returns the first fault.
    private func meetEveryCase(_ algorithm: Limit.Algorithm, _ seen: inout [String: Int]) -> String? {
        let limit = try! Limit.sample(algorithm, units: 5, period: 1_000_000_000_000)
        let moves = [
            Move(.take, 3), Move(.take, 3, isPartial: true), Move(.take, 1), Move(.take, 6), Move(.refund, 2),
            Move(.reset),
        ]
        // All calls at one instant; and a call so late that no time is left in which its unit could be replenished.
        for (now, moves) in [(1_000_000_000_000_000, moves), (Int64.max - 2, [Move(.take)])] as [(Int64, [Move])] {
            let session = KeyspaceSession(engine: Engine(shards: 1, seed: HashSeed(1, 2, 3)))
            var meter = ExactMeter(limit)
            for move in moves {
                if let fault = step(session, &meter, now: now, move, &seen) { return "\(move) at \(now): \(fault)" }
            }
        }
        return nil
    }

    private func step(
        _ session: KeyspaceSession, _ meter: inout ExactMeter, now: Int64, _ move: Move, _ seen: inout [String: Int]
    ) -> String? {
        let time = EngineTime(nanoseconds: now)
        let demand = move.demand
        var take = LimitCall(meter.limit, demand)
        switch move.kind {
        case .reset:
            seen["reset", default: 0] += 1
            let existed = "key".bytes { session.reset($0, now: time) }
            meter.forgetEnded(Exact(now))
            let was = meter.expiry.map { $0 > Exact(now) } ?? false
            meter = ExactMeter(meter.limit)
            return existed == was ? nil : "reset returned \(existed)"
        case .refund:
            take.operation = .refund
            session.decide("key", &take, now: time)
            let given = meter.refund(Exact(demand.units), now: Exact(now))
            if given > 0 { seen["refunded", default: 0] += 1 }
            let room = max(0, Exact(meter.limit.capacity) - meter.used(Exact(now)))
            let decision = take.decision
            guard decision.outcome == .allowed, Exact(decision.granted) == given, Exact(decision.remaining) == room
            else { return "refund of \(demand): \(decision), not \(given) with \(room) left" }
            return meter.fault(in: decision, to: .nothing, now: Exact(now))
        case .peek:
            take.operation = .peek
            session.decide("key", &take, now: time)
            var copy = meter
            let wanted = copy.take(demand, now: Exact(now), isKept: false)
            return fault(take.decision, wanted, meter, demand, now)
        case .take:
            session.decide("key", &take, now: time)
            let wanted = meter.take(demand, now: Exact(now))
            seen["\(wanted.outcome)", default: 0] += 1
            if take.decision.granted > 0, take.decision.granted < demand.units { seen["partly", default: 0] += 1 }
            if wanted.outcome == .denied, take.decision.retryAfter < 0 { seen["never", default: 0] += 1 }
            return fault(take.decision, wanted, meter, demand, now)
        }
    }

    private func fault(
        _ decision: LimitDecision, _ wanted: ExactMeter.Answer, _ meter: ExactMeter, _ demand: Demand, _ now: Int64
    ) -> String? {
        guard decision.outcome == wanted.outcome, Exact(decision.granted) == wanted.granted,
            Exact(decision.remaining) == wanted.remaining
        else { return "\(demand): \(decision), not \(wanted)" }
        guard decision.outcome == .allowed || decision.outcome == .denied else { return nil }
        guard decision.limit == meter.limit.capacity else { return "limit \(decision.limit)" }
        return meter.fault(in: decision, to: demand, now: Exact(now)).map { "\(demand): \(decision): \($0)" }
    }

    /// A bucket filled drop by drop, stored as its content and not as a time.
    private struct Bucket {
        let limit: Limit
        var content: Exact
        var filledAt: Exact

        mutating func take(_ units: Int64, now: Exact) -> Bool {
            let size = Exact(limit.capacity) * Exact(limit.emissionInterval)
            content = min(size, content + now - filledAt)
            filledAt = now
            let cost = Exact(units) * Exact(limit.emissionInterval)
            guard cost <= content else { return false }
            content -= cost
            return true
        }
    }

    @Test("a token bucket is equivalent to GCRA")
    func tokenBucketIsGCRA() throws {
        var random = SeededGenerator(for: "token bucket")
        for _ in 0..<LimitModelTests.limits {
            let session = KeyspaceSession(engine: Engine(shards: 1, seed: HashSeed(1, 2, 3)))
            let gcra = random.limit(.gcra)
            let bucket = try TokenBucket.limit(capacity: gcra.capacity, refill: gcra.units, per: gcra.period)
            #expect([bucket.emissionInterval, bucket.tolerance] == [gcra.emissionInterval, gcra.tolerance])
            var now = min(random.start(), Int64.max / 2)
            var model = Bucket(limit: gcra, content: Exact(gcra.tolerance), filledAt: Exact(now))
            for _ in 0..<LimitModelTests.calls {
                now += Int64(random.below(Int(min(max(1, gcra.tolerance), 1 << 40))))
                let time = EngineTime(nanoseconds: now)
                let demand = try Demand(Int64(random.below(Int(min(8, gcra.capacity + 2)))))
                var first = LimitCall(gcra, demand)
                var second = LimitCall(bucket, demand)
                session.decide("gcra", &first, now: time)
                session.decide("bucket", &second, now: time)
                guard first.decision.outcome != .outOfRange else { break }
                let isAllowed = model.take(demand.units, now: Exact(now))
                let tat = session.state(of: "bucket", now: time)?.word ?? 0
                let content = TokenBucket.content(bucket, arrivalTime: tat, now: now)
                guard first.decision == second.decision, (first.decision.outcome == .allowed) == isAllowed,
                    Exact(content) == model.content
                else {
                    Issue.record("\(gcra), \(demand) at \(now): \(first.decision), \(second.decision), \(model)")
                    return
                }
            }
        }
    }

    @Test("a limit of GCRA answers as CL.THROTTLE does, on the same state")
    func gcraIsThrottle() throws {
        var random = SeededGenerator(for: "gcra and CL.THROTTLE")
        let session = KeyspaceSession(engine: Engine(shards: 1, seed: HashSeed(1, 2, 3)))
        var now: Int64 = 0
        for _ in 0..<LimitModelTests.limits * LimitModelTests.calls {
            let call = Call(
                maxBurst: Int64(random.below(20)), count: Int64(1 + random.below(1000)),
                period: Int64(1 + random.below(100)), quantity: Int64(random.below(5)))
            let limit = try Limit(
                .gcra, units: call.count, period: call.period * 1_000_000_000, burst: call.maxBurst + 1)
            now += Int64(random.below(3_000_000_000))
            let time = EngineTime(nanoseconds: now)
            let key = "\(random.below(3))"
            let state = session.state(of: key, now: time)
            let throttled = session.throttle(key, call, now: time)
            if let state { session.apply(state, to: key, now: time) } else { session.remove(key, now: time) }
            var take = LimitCall(limit, try Demand(call.quantity))
            session.decide(key, &take, now: time)
            let decision = take.decision
            #expect((decision.outcome == .allowed) == (throttled.outcome == .allowed))
            #expect(decision.remaining == throttled.remaining && decision.limit == call.limitCall.limit.capacity)
            #expect(decision.retryAfter == throttled.retryAfter && decision.resetAfter == throttled.resetAfter)
        }
    }
}

extension KeyspaceSession {
    func decide(_ key: String, _ take: inout LimitCall, now: EngineTime) {
        let bytes = Array(key.utf8)
        bytes.withUnsafeBytes { decide(&take, key: $0, now: now) }
    }
}

extension SeededGenerator {
    mutating func pick<Value>(_ values: [Value]) -> Value { values[below(values.count)] }

    /// A typical limit, or one at the edge of the permitted range.
    mutating func limit(_ algorithm: Limit.Algorithm) -> Limit {
        while true {
            let units = pick([0, 1, 2, 3, 5, 10, Int64(below(100)), Int64(below(5000)), 4096, Int64(UInt32.max)])
            let period = pick([
                1, 2, 7, 60, 1_000, 1_000_000_000, 60_000_000_000, 86_400_000_000_000,
                Int64(1 + below(1_000_000)), Int64.max / 2, Int64.max,
            ])
            if algorithm == .calendar { return calendarLimit(units: units) }
            let burst = below(3) == 0 ? Int64(below(30)) : nil
            let offset = pick([0, 3_600_000_000_000, -Limit.offsetMax, Limit.offsetMax, Int64(below(1000)) - 500])
            let limit = try? Limit(
                algorithm, units: units, period: period, burst: algorithm.kind == .gcra ? burst : nil,
                offset: algorithm == .fixedWindow ? offset : 0)
            if let limit { return limit }
        }
    }

    /// Calendar windows with a fixed offset, which the model computes independently.
    private mutating func calendarLimit(units: Int64) -> Limit {
        let unit = pick(CalendarUnit.allCases)
        let start = unit.starts.lowerBound + below(unit.starts.count)
        let zone = try! ZoneName(pick(["UTC", "+01:00", "-05:30", "+14:00", "-23:59", "+23:59"]))
        return try! Limit(
            units: units, per: CalendarPeriod(unit, start: below(2) == 0 ? start : nil)!,
            zone: ZoneRegistry.shared.intern(zone))
    }

    mutating func demand(_ limit: Limit) -> Demand {
        let units = pick([0, 1, 1, 1, 2, 3, limit.capacity, limit.capacity / 2, Int64(below(20)), Int64.max])
        let demand = try? Demand(below(8) == 0 ? min(limit.capacity &+ 1, Int64.max) : units, isPartial: below(3) == 0)
        return demand ?? .one
    }

    mutating func start() -> Int64 {
        pick([0, 1, 1_700_000_000_000_000_000, Int64.max / 2, Int64.max - 100_000_000_000])
    }

    /// An instant not before `now`: often when part of the meter expires, or a nanosecond to either side.
    mutating func later(than now: Int64, _ meter: ExactMeter) -> Int64? {
        let period = meter.limit.period
        let local = (Exact(now) + Exact(meter.limit.offset)) % Exact(period)
        let border = Exact(now) + Exact(period) - (local < 0 ? local + Exact(period) : local)
        var next = Exact(now)
        switch below(10) {
        case 0...2: break
        case 3: next += 1
        case 4...5: next = border + Exact(below(3) - 1)
        case 6: next = (meter.expiry ?? next) + Exact(below(3) - 1)
        case 7: next += Exact(period) / Exact(1 + below(9))
        case 8: next = (meter.grants.first?.time ?? next) + Exact(period) + Exact(below(3) - 1)
        default: next += Exact(below(Int(min(period, 1 << 60)))) * Exact(1 + below(2))
        }
        next = max(next, Exact(now))
        return next < Exact(Int64.max) ? Int64(next) : nil
    }
}
