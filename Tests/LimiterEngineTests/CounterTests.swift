// Counters: checked arithmetic, conditions, bounds and deadlines, against a dictionary model.

import LimiterEngine
import TestSupport
import Testing

@Suite struct CounterTests {
    private let session = KeyspaceSession(engine: Engine(shards: 2, seed: HashSeed(1, 2, 3)))

    private struct Entry: Equatable {
        var value: Int64
        var deadline: Int64?
    }

    private func result<Value>(_ body: () throws -> Value) -> Result<Value, CounterError> {
        Result(catching: body).mapError { $0 as! CounterError }
    }

    /// A call and its arguments.
    private struct Move {
        enum Kind { case add, set, step, look, take }

        var kind: Kind
        var key = "k0"
        var number: Int64
        var instant: Int64 = 0
        var deadline = CounterDeadline.remove
        var condition = CounterCondition.always
        var bounds: (lower: Int64, upper: Int64) = (-20, 20)
        var saturates = false

        init(_ kind: Kind, _ number: Int64, _ condition: CounterCondition = .always, saturates: Bool = false) {
            self.kind = kind
            self.number = number
            self.condition = condition
            self.saturates = saturates
        }

        init(_ random: inout SeededGenerator, now: Int64) {
            kind = random.pick([.add, .set, .step, .look, random.below(4) == 0 ? .take : .look])
            key = "k\(random.below(8))"
            number = random.pick([0, 1, -1, 7, Int64.max, Int64.min, Int64.max - 3, Int64(random.below(100)) - 50])
            instant = now + Int64(random.below(3_000)) - 200
            deadline = random.pick([
                .keep, .remove, .at(EngineTime(nanoseconds: instant)), .ifNone(at: EngineTime(nanoseconds: instant)),
            ])
            condition = random.pick([.always, .ifAbsent, .ifPresent])
            bounds = (random.pick([Int64.min, 0, -20]), random.pick([Int64.max, 0, 20]))
            saturates = random.below(2) == 0
        }

        /// Calls that random choice may miss, in an order in which each has the outcome in its comment.
        static let needed = [
            Move(.set, 5), Move(.set, 6, .ifAbsent), Move(.set, 5, .ifPresent),  // refused, then set
            Move(.add, Int64.max),  // overflows
            Move(.step, 7), Move(.step, 100, saturates: true), Move(.step, 100),  // to 12, to 20, refused
        ]
    }

    @Test func everyCallAgainstAModel() throws {
        var random = SeededGenerator(for: "counters")
        var model: [String: Entry] = [:]
        var now: Int64 = 1_000
        var seen: Set<String> = []
        for turn in 0..<20_000 {
            now += random.pick([0, 0, 1, 500, 5_000])
            let time = EngineTime(nanoseconds: now)
            model = model.filter { $0.value.deadline.map { $0 > now } ?? true }
            let move = turn < Move.needed.count ? Move.needed[turn] : Move(&random, now: now)
            let (key, number, deadline, instant) = (move.key, move.number, move.deadline, move.instant)
            let old = model[key]
            func write(_ value: Int64) {
                var end: Int64?
                switch deadline {
                case .keep: end = old?.deadline
                case .remove: end = nil
                case .at: end = instant
                case .ifNone: end = old?.deadline ?? instant
                }
                model[key] = end.map { $0 <= now } ?? false ? nil : Entry(value: value, deadline: end)
            }
            switch move.kind {
            case .add:
                let (sum, overflows) = (old?.value ?? 0).addingReportingOverflow(number)
                let got = result { try key.bytes { try session.add(number, toCounter: $0, now: time) } }
                if overflows {
                    seen.insert("overflow")
                    #expect(got == .failure(.overflow))
                } else {
                    #expect(got == .success(sum))
                    model[key] = Entry(value: sum, deadline: old?.deadline)
                }
            case .set:
                let condition = move.condition
                let holds = condition == .always || (condition == .ifPresent) == (old != nil)
                let got = try key.bytes {
                    try session.setCounter($0, to: number, if: condition, deadline: deadline, now: time)
                }
                #expect(got == CounterSetting(isSet: holds, previous: old?.value))
                seen.insert("\(condition) \(holds)")
                if holds { write(number) }
            case .step:
                var step = CounterStep(number)
                (step.lowerBound, step.upperBound) = move.bounds
                step.saturates = move.saturates
                step.deadline = deadline
                let exact = Exact(old?.value ?? 0) + Exact(number)
                let bounded = max(Exact(step.lowerBound), min(Exact(step.upperBound), exact))
                let got = result { try key.bytes { try session.step(step, counter: $0, now: time) } }
                let applied = bounded - Exact(old?.value ?? 0)
                guard bounded == exact || step.saturates else {
                    seen.insert("refused")
                    let pair = try got.get()
                    #expect(pair == (old?.value ?? 0, 0))
                    continue
                }
                guard let fitting = Int64(exactly: applied) else {
                    #expect(throws: CounterError.overflow) { try got.get() }
                    continue
                }
                seen.insert(bounded == exact ? "stepped" : "saturated")
                let pair = try got.get()
                #expect(pair == (Int64(bounded), fitting))
                write(Int64(bounded))
            case .look:
                #expect(try key.bytes { try session.counter($0, now: time) } == old?.value)
                let wanted = old.map { $0.deadline.map { .nanoseconds($0 - now) } ?? TimeToLive.forever } ?? .missing
                #expect(session.timeToLive(key, now: time) == wanted)
            case .take:
                #expect(try key.bytes { try session.takeCounter($0, now: time) } == old?.value)
                model[key] = nil
            }
        }
        #expect(
            seen.isSuperset(of: ["overflow", "refused", "saturated", "stepped", "ifAbsent false", "ifPresent true"]))
        #expect(session.engine.violatedInvariants() == [])
    }

    @Test func otherKindsAreNotCounters() throws {
        let now = EngineTime.seconds(5)
        session.throttle("rate", thousandOnce, now: now)
        "rate".bytes { (key: UnsafeRawBufferPointer) -> Void in
            #expect(throws: CounterError.wrongKind(.gcra)) { try session.counter(key, now: now) }
            #expect(throws: CounterError.wrongKind(.gcra)) { try session.add(1, toCounter: key, now: now) }
            #expect(throws: CounterError.wrongKind(.gcra)) { try session.step(CounterStep(1), counter: key, now: now) }
            #expect(throws: CounterError.wrongKind(.gcra)) { try session.takeCounter(key, now: now) }
            #expect(throws: CounterError.wrongKind(.gcra)) {
                try session.setCounter(key, to: 1, wantsPrevious: true, now: now)
            }
        }
        #expect(session.throttle("rate", thousandOnce, now: now).remaining == 998)
        let setting = try "rate".bytes { try session.setCounter($0, to: 1, now: now) }
        #expect(setting == CounterSetting(isSet: true, previous: nil))
        #expect(session.state(of: "rate", now: now)?.kind == .counter)
        session.engine.setMemoryLimit(1, policy: .refuse)
        #expect(throws: CounterError.outOfMemory) {
            try "new".bytes { try session.add(1, toCounter: $0, now: now) }
        }
    }
}
