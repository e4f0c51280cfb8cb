// Several limits in one call: all or nothing, sequentially and from many threads at once; modes of limits.

import LimiterEngine
import TestSupport
import Testing

@Suite struct TakeAllTests {
    private let session = KeyspaceSession(engine: Engine(shards: 8, seed: HashSeed(1, 2, 3)))
    private let now = EngineTime.seconds(1_000_000)
    private let day: Int64 = 86_400_000_000_000

    private func call(_ key: String, _ limit: Limit, _ units: Int64 = 1) throws -> TakeAllRow {
        TakeAllRow(key: key, take: LimitCall(limit, try Demand(units)))
    }

    private func remaining(_ key: String, _ limit: Limit) -> Int64 {
        var take = LimitCall(limit, .nothing)
        take.operation = .peek
        session.decide(key, &take, now: now)
        return take.decision.remaining
    }

    @Test func takenEverywhereOrNowhere() throws {
        let wide = try Limit(.slidingLog, units: 5, period: day)
        let narrow = try Limit(.fixedWindow, units: 2, period: day)
        let rate = try Limit(.gcra, units: 3, period: day)
        for round in 1...2 as ClosedRange<Int64> {
            var rows = [try call("a", wide), try call("b", narrow), try call("c", rate)]
            #expect(session.takeAll(&rows, now: now) == .allowed)
            #expect(rows.map(\.take.decision.remaining) == [5 - round, 2 - round, 3 - round])
            #expect(rows.map(\.take.decision.granted) == [1, 1, 1])
        }
        var rows = [try call("a", wide), try call("b", narrow), try call("c", rate), try call("new", narrow)]
        let outcome = session.takeAll(&rows, now: now)
        let left = day - now.nanoseconds % day
        #expect(outcome == .denied(first: 1, retryAfter: left))
        #expect(rows.map(\.take.decision.outcome) == [.allowed, .denied, .allowed, .allowed])
        #expect(rows.map(\.take.decision.remaining) == [3, 0, 1, 2])
        #expect([remaining("a", wide), remaining("b", narrow), remaining("c", rate)] == [3, 0, 1])
        #expect(!session.exists("new", now: now))
        // The longest of several waits is returned; "never" outranks all others.
        var waits = [try call("b", narrow), try call("c", rate, 2), try call("a", wide, 2)]
        #expect(session.takeAll(&waits, now: now) == .denied(first: 0, retryAfter: max(left, day / 3)))
        var never = [try call("b", narrow), try call("c", rate, 4)]
        #expect(session.takeAll(&never, now: now) == .denied(first: 0, retryAfter: -1))
        #expect(session.engine.violatedInvariants() == [])
    }

    @Test func invalidRequestsAreRefused() throws {
        let limit = try Limit(.fixedWindow, units: 2, period: day)
        var twice = [try call("a", limit), try call("b", limit), try call("a", limit)]
        #expect(session.takeAll(&twice, now: now) == .sameKey(0, 2))
        var many = try (0...KeyspaceSession.takeAllMax).map { try call("\($0)", limit) }
        #expect(session.takeAll(&many, now: now) == .tooMany)
        #expect(session.count() == 0)
        session.throttle("rate", thousandOnce, now: now)
        var wrong = [try call("a", limit), try call("rate", limit)]
        #expect(session.takeAll(&wrong, now: now) == .denied(first: 1, retryAfter: 0))
        #expect(wrong[1].take.decision.outcome == .wrongKind && wrong[1].take.decision.foundKind == .gcra)
        #expect(!session.exists("a", now: now))
    }

    @Test func memoryForAllOrForNone() throws {
        let log = try Limit(.slidingLog, units: 100, period: day)
        var one = [try call("known", log)]
        #expect(session.takeAll(&one, now: now) == .allowed)
        session.engine.setMemoryLimit(1, policy: .refuse)
        var rows = [try call("known", log), try call("new", log)]
        guard case .denied = session.takeAll(&rows, now: now) else {
            Issue.record("taken without memory")
            return
        }
        #expect(rows[1].take.decision.outcome == .outOfMemory)
        #expect(remaining("known", log) == 99 && !session.exists("new", now: now))
        session.engine.setMemoryLimit(1, policy: .evictSoonest)
        #expect(session.takeAll(&rows, now: now) == .allowed)
        #expect(session.engine.violatedInvariants() == [])
    }

    @Test func limitsInShadowModeOrOff() throws {
        let limit = try Limit(.fixedWindow, units: 1, period: day)
        for (mode, wanted) in [(LimitCall.Mode.enforce, 1), (.shadow, 1), (.off, 0)] {
            session.removeAll()
            var decisions: [LimitDecision] = []
            for _ in 0..<2 {
                var take = LimitCall(limit, .one)
                take.mode = mode
                session.decide("k", &take, now: now)
                decisions.append(take.decision)
            }
            #expect(decisions[0].outcome == .allowed && !decisions[0].isShadowed)
            #expect(decisions[1].outcome == (mode == .enforce ? .denied : .allowed))
            #expect(decisions[1].isShadowed == (mode == .shadow))
            #expect(decisions[1].granted == (mode == .enforce ? 0 : 1))
            #expect(session.count() == wanted)
        }
        #expect(session.statistics().shadowed == 1)
        // A limit in shadow mode never denies a call, and is not overdrawn either.
        session.removeAll()
        for _ in 0..<2 {
            var rows = [try call("hard", try Limit(.fixedWindow, units: 5, period: day)), try call("soft", limit)]
            rows[1].take.mode = .shadow
            #expect(session.takeAll(&rows, now: now) == .allowed)
        }
        #expect(remaining("soft", limit) == 0)
        #expect(remaining("hard", try Limit(.fixedWindow, units: 5, period: day)) == 3)
    }

    @Test func neverPartlyTakenByManyThreads() throws {
        let engine = Engine(shards: 16)
        let limits = [
            try Limit(.fixedWindow, units: 700, period: day), try Limit(.slidingLog, units: 900, period: day),
            try Limit(.slidingWindow, units: 800, period: day), try Limit(.gcra, units: 1000, period: 1000 * day),
        ]
        let now = now
        onThreads(4) { number in
            let session = KeyspaceSession(engine: engine)
            for _ in 0..<400 {
                var rows = (0..<4).map { TakeAllRow(key: "k\($0)", take: LimitCall(limits[$0], .one)) }
                if number % 2 == 1 { rows.reverse() }
                _ = session.takeAll(&rows, now: now)
            }
        }
        let session = KeyspaceSession(engine: engine)
        let left = limits.enumerated().map { number, limit in
            var take = LimitCall(limit, .nothing)
            session.decide("k\(number)", &take, now: now)
            return take.decision.limit - take.decision.remaining
        }
        #expect(left == [700, 700, 700, 700])
        #expect(engine.violatedInvariants() == [])
    }

    @Test func aBatchHoldsEveryKindOfCall() throws {
        let limit = try Limit(.slidingLog, units: 3, period: day)
        let key = Array("k".utf8)
        let other = Array("throttled".utf8)
        let counter = Array("counter".utf8)
        var increment = LimitCall.blank
        increment.setAdd(-5)
        var read = LimitCall.blank
        read.begin(.read)
        let calls = [
            (key, LimitCall(limit, .one)), (other, thousandOnce.limitCall), (counter, read), (counter, increment),
            (key, LimitCall(limit, try Demand(5, isPartial: true))), (counter, read), (key, thousandOnce.limitCall),
            (key, increment), (key, read), (counter, LimitCall(limit, .one)),
        ]
        let batch = decided(calls)
        #expect(batch[0].decision.granted == 1)
        #expect(batch[1].decision.remaining == 999)
        #expect(batch[2].decision.outcome == .absent && !batch[2].hasChangedState)
        #expect(batch[3].counterValue == -5 && batch[3].hasChangedState)
        #expect(batch[4].decision.granted == 2)
        #expect(batch[5].counterValue == -5 && !batch[5].hasChangedState)
        for call in batch[6...] { #expect(call.decision.outcome == .wrongKind && !call.hasChangedState) }
        for call in batch[7...8] { #expect(call.counterProblem == .wrongKind(.slidingLog)) }
        #expect(batch[9].decision.foundKind == .counter)
    }

    /// Decides calls with their keys in one batch.
    private func decided(_ rows: [([UInt8], LimitCall)]) -> [LimitCall] {
        let keys = rows.map { UnsafeMutableBufferPointer<UInt8>.allocate(capacity: $0.0.count) }
        defer { keys.forEach { $0.deallocate() } }
        var calls = rows.map(\.1)
        for (position, key) in keys.enumerated() {
            _ = key.initialize(from: rows[position].0)
            calls[position].setKey(key.baseAddress!, count: key.count)
        }
        calls.withUnsafeMutableBufferPointer { session.decide($0.baseAddress!, count: $0.count, now: now) }
        return calls
    }
}

/// A `takeAll` call with a string key.
struct TakeAllRow {
    var key: String
    var take: LimitCall
}

extension KeyspaceSession {
    func takeAll(_ rows: inout [TakeAllRow], now: EngineTime) -> TakeAllOutcome {
        let keys = rows.map { row -> UnsafeMutableBufferPointer<UInt8> in
            let memory = UnsafeMutableBufferPointer<UInt8>.allocate(capacity: row.key.utf8.count)
            _ = memory.initialize(from: row.key.utf8)
            return memory
        }
        defer { keys.forEach { $0.deallocate() } }
        var calls = rows.map(\.take)
        for (position, key) in keys.enumerated() { calls[position].setKey(key.baseAddress!, count: key.count) }
        let outcome = calls.withUnsafeMutableBufferPointer { takeAll($0.baseAddress!, count: $0.count, now: now) }
        for position in rows.indices { rows[position].take = calls[position] }
        return outcome
    }
}
