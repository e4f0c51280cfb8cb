// States shifted back in time answer every call relative to the new time as they did relative to the old one.

import TestSupport
import Testing

@testable import LimiterEngine

@Suite struct StateShiftTests {
    private let now = EngineTime.seconds(2_000_000_000)
    private let key = Array("k".utf8)

    private func ask(
        _ session: KeyspaceSession, _ limit: Limit, _ operation: LimitCall.Operation, _ units: Int64,
        _ now: EngineTime
    ) -> LimitDecision {
        var take = LimitCall(limit, try! Demand(units))
        take.operation = operation
        key.withUnsafeBytes { session.decide(&take, key: $0, now: now) }
        return take.decision
    }

    /// The key's state shifted back, in a separate engine.
    private func movedBack(_ session: KeyspaceSession, by shift: Int64, now: EngineTime) throws -> KeyspaceSession {
        // Copied, since two engines' stripes must not be held at once.
        let found = key.withUnsafeBytes { key in
            session.withState(of: key, now: now) { (kind: $0.kind, bytes: Array($0.value)) }
        }
        var (kind, bytes) = try #require(found)
        bytes.withUnsafeMutableBytes { StateView.moveBack(kind, $0, by: shift) }
        let copy = KeyspaceSession(engine: Engine(shards: 1))
        key.withUnsafeBytes { key in
            bytes.withUnsafeBytes {
                let moved = StateView(kind: kind, value: $0, deadline: nil)
                #expect(moved.isValid(for: KeyName(key)))
                copy.apply(moved, to: key, now: EngineTime(nanoseconds: 0))
            }
        }
        return copy
    }

    /// As long as any part of it is in force, a shifted state answers every call as before, takes included.
    @Test(arguments: Limit.Algorithm.allCases) func nothingIsLostAndNothingIsReplenishedSooner(
        algorithm: Limit.Algorithm
    ) throws {
        var random = SeededGenerator(seed: UInt64(algorithm.rawValue))
        for _ in 0..<300 {
            let period = Int64(1 + random.below(100_000)) * 1_000_003
            let limit = try Limit.sample(algorithm, units: Int64(1 + random.below(9)), period: period)
            let session = KeyspaceSession(engine: Engine(shards: 1))
            var time = now
            for _ in 0..<1 + random.below(8) {
                time.nanoseconds += Int64(random.below(Int(period)))
                _ = ask(session, limit, .take, Int64(1 + random.below(3)), time)
            }
            _ = ask(session, limit, .take, 1, time)
            let shift = Int64(random.below(1_000_000_000_000_000_000))
            let moved = try movedBack(session, by: shift, now: time)
            for _ in 0..<20 {
                time.nanoseconds += Int64(random.below(Int(period / 6)))
                let earlier = EngineTime(nanoseconds: time.nanoseconds - shift)
                guard key.withUnsafeBytes({ session.exists($0, now: time) }) else {
                    #expect(!key.withUnsafeBytes { moved.exists($0, now: earlier) })
                    break
                }
                let operation: LimitCall.Operation = random.below(3) == 0 ? .take : .peek
                let units = Int64(random.below(4))
                let (one, other) = (
                    ask(session, limit, operation, units, time), ask(moved, limit, operation, units, earlier)
                )
                #expect(one == other, "\(limit), \(time), moved back by \(shift)")
            }
        }
    }

    /// A window that would begin before 1970 begins in 1970: its units count for longer, never for less time.
    @Test func aWindowLongerThanTheTimeSince1970KeepsItsUnits() throws {
        let year: Int64 = 31_536_000_000_000_000
        let limit = try Limit(.slidingWindow, units: 10, period: 70 * year)
        let session = KeyspaceSession(engine: Engine(shards: 1))
        #expect(ask(session, limit, .take, 7, now).granted == 7)
        let moved = try movedBack(session, by: 20 * year, now: now)
        for years in [0, 1, 10, 60] as [Int64] {
            let later = EngineTime(nanoseconds: now.nanoseconds + years * year)
            let one = ask(session, limit, .peek, 1, later)
            let other = ask(moved, limit, .peek, 1, EngineTime(nanoseconds: later.nanoseconds - 20 * year))
            #expect(other.remaining <= one.remaining)
        }
    }

    @Test func stateThatEndedBefore1970IsDropped() {
        let shift = now.nanoseconds
        var word = Int64(5)
        withUnsafeMutableBytes(of: &word) { StateView.moveBack(.gcra, $0, by: shift) }
        #expect(word == 0)
        var window = [Int64(7), 3]
        window.withUnsafeMutableBytes { StateView.moveBack(.fixedWindow, $0, by: shift) }
        #expect(window == [0, 3])
        var counter = Int64(-5)
        withUnsafeMutableBytes(of: &counter) { StateView.moveBack(.counter, $0, by: shift) }
        #expect(counter == -5)
    }

    @Test func aDeadlineAtTheEndOfTimeStaysThere() {
        #expect(StateView.moveBack(deadline: 1000, by: 400) == 600)
        #expect(StateView.moveBack(deadline: 300, by: 400) == 0)
        #expect(StateView.moveBack(deadline: Int64.max - 1, by: 400) == Int64.max - 1)
        #expect(StateView.moveBack(deadline: Int64.max, by: 400) == Int64.max)
    }

    /// Superseded limits of a policy stay in force for as long as before.
    @Test func supersededLimitsStayInForceForAsLong() throws {
        let strict = try Limit(.gcra, units: 10, period: 1_000_000_000, burst: 2)
        let wide = try Limit(.gcra, units: 1, period: 1_000_000_000, burst: 50)
        let first = Policy(name: key, limit: strict)
        let second = Policy(name: key, limit: wide).succeeding(first, now: now.nanoseconds)
        #expect(second.limit.cappedUntil > now.nanoseconds)
        var record = PolicyRecord(second)
        record.value.withUnsafeMutableBytes { PolicyRecord.moveBack(.policy, $0, by: 1_000_000) }
        let moved = try #require(record.policy)
        #expect(moved.limit.cappedUntil == second.limit.cappedUntil - 1_000_000)
        #expect(moved.limit.tolerance(at: 0, ahead: 1) == second.limit.tolerance(at: 0, ahead: 1))
        // A rule contains no times.
        let subject = RuleSubject(tenant: key, client: nil, action: nil)
        var rule = PolicyRecord(Rule(subject, policy: [UInt8](repeating: 255, count: 60)))
        let before = rule
        rule.value.withUnsafeMutableBytes { PolicyRecord.moveBack(.rule, $0, by: 1_000_000) }
        #expect(rule == before)
    }
}
