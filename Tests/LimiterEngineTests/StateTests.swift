// States as bytes: every kind journaled and restored, and always validated.

import LimiterEngine
import TestSupport
import Testing

@Suite struct StateTests {
    private let day: Int64 = 86_400_000_000_000

    private func limits() throws -> [Limit] {
        [
            try Limit(.gcra, units: 10, period: day), try Limit(.fixedWindow, units: 10, period: day),
            try Limit(.slidingWindow, units: 10, period: 5_000_000_000),
            try Limit(.slidingLog, units: 300, period: 9_000_000_000),
            try Limit.sample(.calendar, units: 10, period: day),
        ]
    }

    @Test func everyKindReplaysIntoAnotherEngine() throws {
        var random = SeededGenerator(for: "replay of every kind")
        let source = KeyspaceSession(engine: Engine(shards: 4))
        source.engine.setJournaling(true)
        let copy = KeyspaceSession(engine: Engine(shards: 16))
        let limits = try limits()
        var now: Int64 = 1_000_000_000_000
        var kinds: Set<StateKind> = []
        // Ensures one key of every kind, which the first round journals alone.
        for (number, limit) in limits.enumerated() {
            _ = source.decide("key \(number)", LimitCall(limit, .one), token: "t", now: EngineTime(nanoseconds: now))
        }
        _ = source.raise("key 23", now: EngineTime(nanoseconds: now))
        for round in 0..<150 {
            for _ in 0..<(round == 0 ? 0 : 30) {
                let time = EngineTime(nanoseconds: now)
                let number = random.below(24)
                let key = "key \(number)"
                switch random.below(9) {
                case 0: source.remove(key, now: time)
                case 1: source.setDeadline(key, to: EngineTime(nanoseconds: now + day / 2), now: time)
                case 2: _ = source.raise(key, now: time)
                default:
                    var take = LimitCall(
                        limits[number % limits.count], random.demand(limits[number % limits.count]))
                    take.operation = random.below(5) == 0 ? .refund : .take
                    let token = random.below(3) == 0 ? "token \(random.below(4))" : nil
                    _ = source.decide(key, take, token: take.operation == .take ? token : nil, now: time)
                }
                now += Int64(random.below(40_000_000))
            }
            var changes: [Journaled] = []
            for shard in 0..<4 { source.engine.collectChanges(shard: shard) { changes.append(Journaled($0)) } }
            for _ in 0...random.below(2) { Journaled.restore(changes, into: copy.engine, horizon: now) }
            let time = EngineTime(nanoseconds: now)
            let copied = Journaled.all(copy, now: time)
            #expect(Journaled.all(source, now: time) == copied)
            kinds.formUnion(copied.compactMap(\.kind))
        }
        // Not every kind exists at every moment, nor at the end.
        #expect(kinds.count == StateKind.allCases.count)
        #expect(source.engine.violatedInvariants() == [])
        #expect(copy.engine.violatedInvariants() == [])
        // Nothing is left once everything has expired.
        let later = EngineTime(nanoseconds: now + 3 * day)
        #expect(Journaled.all(source, now: later).allSatisfy { $0.kind == .counter })
    }

    /// Valid states, to be damaged.
    private func samples() throws -> [Journaled] {
        let session = KeyspaceSession(engine: Engine(shards: 1))
        let now: Int64 = 1_000_000_000_000
        for (number, limit) in try limits().enumerated() {
            for step in 0..<9 as Range<Int64> {
                let time = EngineTime(nanoseconds: now + step * 1_000_000_000)
                _ = session.decide("k\(number)", LimitCall(limit, .one), token: "t", now: time)
                _ = session.decide("k\(number)", LimitCall(limit, .one), token: nil, now: time)
            }
        }
        _ = session.raise("counter", now: EngineTime(nanoseconds: now))
        return Journaled.all(session, now: EngineTime(nanoseconds: now))
    }

    private func isValid(_ state: Journaled) -> Bool {
        state.key.withUnsafeBytes { key in
            state.value.withUnsafeBytes {
                StateView(kind: state.kind!, value: $0, deadline: state.deadline).isValid(for: KeyName(key))
            }
        }
    }

    @Test func damagedBytesAreRefusedOrHarmless() throws {
        var random = SeededGenerator(for: "spoiled states")
        let samples = try samples()
        #expect(samples.allSatisfy(isValid) && Set(samples.map(\.kind)).count == StateKind.allCases.count)
        var accepted = 0
        var refused = 0
        for _ in 0..<40_000 {
            var state = random.pick(samples)
            switch random.below(6) {
            case 0: state.kind = random.pick(StateKind.allCases)
            case 1: state.value = Array(state.value.prefix(random.below(state.value.count + 1)))
            case 2: state.value += [UInt8](repeating: UInt8(random.below(2)), count: 1 + random.below(30))
            case 3: state.key = Array(state.key.prefix(random.below(state.key.count + 1)))
            default: break
            }
            for _ in 0..<random.below(3) where !state.value.isEmpty {
                state.value[random.below(state.value.count)] = random.pick([
                    0, 1, 0x7F, 0x80, 0xFF, UInt8(random.below(256)),
                ])
            }
            guard isValid(state) else {
                refused += 1
                continue
            }
            accepted += 1
            try use(state, &random)
        }
        #expect(accepted > 1_000 && refused > 1_000)
    }

    /// Performs every operation on an externally supplied state: nothing may trap.
    private func use(_ state: Journaled, _ random: inout SeededGenerator) throws {
        let session = KeyspaceSession(engine: Engine(shards: 1))
        Journaled.restore([state], into: session.engine, horizon: 0)
        let instants = [0, 1_000_000_000_000, 1_004_000_000_000, Int64.max / 2, Int64.max - 1]
        for limit in try limits() {
            var take = LimitCall(limit, random.demand(limit))
            take.operation = random.pick([.take, .peek, .refund])
            take.carriesOver = random.below(2) == 0
            let now = EngineTime(nanoseconds: random.pick(instants))
            state.key.withUnsafeBytes { session.decide(&take, key: $0, now: now) }
            _ = session.decide("k0", take, token: "t", now: now)
        }
        let violations = session.engine.violatedInvariants()
        #expect(violations == [])
    }

    @Test(arguments: [
        (StateKind.fixedWindow, 15), (.fixedWindow, 17), (.slidingWindow, 16), (.slidingLog, 0), (.slidingLog, 15),
        (.slidingLog, 25), (.token, 8), (.gcra, 0), (.counter, 9), (.calendar, 8), (.calendar, 24),
    ])
    func wrongLengths(kind: StateKind, count: Int) {
        let state = Journaled(kind: kind, value: [UInt8](repeating: 0, count: count))
        #expect(!isValid(state))
    }

    @Test func invalidNumbersAreRefused() {
        func words(_ values: Int64...) -> [UInt8] {
            values.flatMap { withUnsafeBytes(of: $0.littleEndian) { Array($0) } }
        }
        #expect(isValid(Journaled(kind: .fixedWindow, value: words(1, 1))))
        #expect(!isValid(Journaled(kind: .fixedWindow, value: words(1, 0))))
        #expect(!isValid(Journaled(kind: .fixedWindow, value: words(1, -1))))
        #expect(!isValid(Journaled(kind: .fixedWindow, value: words(-1, 1))))
        #expect(isValid(Journaled(kind: .slidingWindow, value: words(20, 10, 1 << 32))))
        #expect(!isValid(Journaled(kind: .slidingWindow, value: words(19, 10, 1 << 32))), "begins before time zero")
        #expect(isValid(Journaled(kind: .slidingWindow, value: words(10, 10, 1))))
        #expect(!isValid(Journaled(kind: .slidingWindow, value: words(20, 10, 0))), "holds nothing")
        #expect(!isValid(Journaled(kind: .slidingWindow, value: words(20, 0, 1))))
        #expect(!isValid(Journaled(kind: .slidingWindow, value: words(20, -10, 1))))
        #expect(!isValid(Journaled(kind: .slidingWindow, value: words(Int64.max, Int64.max, 1 << 32))))
        let log = words(9, 1 | 1 << 32 | 3 << 48, 9) + [3, 0]
        #expect(isValid(Journaled(kind: .slidingLog, value: log)))
        for (byte, value) in [(8, 0), (8, 2), (10, 1), (12, 0), (12, 2), (14, 2), (0, 8), (16, 8), (24, 0)]
            as [(Int, UInt8)]
        {
            var spoiled = log
            spoiled[byte] = value
            #expect(!isValid(Journaled(kind: .slidingLog, value: spoiled)), "byte \(byte)")
        }
    }
}

extension Journaled {
    init(kind: StateKind, value: [UInt8]) {
        self.init(key: [0, 0, 0, 0], kind: kind, value: value)
    }

    init(key: [UInt8], kind: StateKind, value: [UInt8]) {
        self = value.withUnsafeBytes { value in
            key.withUnsafeBytes { Journaled(key: KeyName($0), StateView(kind: kind, value: value, deadline: nil)) }
        }
    }
}
