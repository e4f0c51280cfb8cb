// Replacing a key's state by another form (a deadline added or removed, another kind, another algorithm of its
// policy) is a single journal record. With a removal and a state, a crash between the two would lose the state.

import LimiterEngine
import TestSupport
import Testing

@testable import Persistence

@Suite struct ReplacedStateTests {
    private let now = EngineTime.seconds(1_000_000)
    private let session = KeyspaceSession(engine: Engine(shards: 1))
    private let journal: Journal

    init() {
        session.engine.setJournaling(true)
        journal = Journal(engine: session.engine, offset: 0)
    }

    /// The records collected since the previous call, as text.
    private func collected() throws -> [String] {
        journal.collect(time: now)
        let part = journal.take(replacement: ByteBuffer())
        var found: [String] = []
        defer { withExtendedLifetime(part) {} }
        guard part.bytes.count > 0 else { return [] }
        try JournalBatch.forEachRecord(in: part.bytes.bytes) { record throws(Never) in
            switch record {
            case .state(_, let state): found.append("\(state.kind)" + (state.deadline == nil ? "" : " with deadline"))
            case .removed: found.append("removed")
            case .control: found.append("control")
            }
        }
        return found
    }

    private func set(_ value: Int64, deadline: CounterDeadline) throws {
        _ = try Array("k".utf8).withUnsafeBytes { key in
            try session.setCounter(key, to: value, deadline: deadline, now: now)
        }
    }

    private func take(_ algorithm: Limit.Algorithm) throws {
        var take = LimitCall(try Limit(algorithm, units: 9, period: 3_600_000_000_000), .one)
        take.carriesOver = true
        "k".withBytes { session.decide(&take, key: $0, now: now) }
        #expect(take.decision.outcome == .allowed)
    }

    /// Each change with the previous state either collected already or still pending.
    @Test(arguments: [true, false])
    func oneRecordEach(isCollectedBetween: Bool) throws {
        func expect(_ records: [String], _ place: Comment) throws {
            if isCollectedBetween { #expect(try collected() == records, place) }
        }
        try set(1, deadline: .remove)
        try expect(["counter"], "a new key")
        try set(2, deadline: .at(now.adding(1_000_000_000)))
        try expect(["counter with deadline"], "a deadline comes")
        try set(3, deadline: .remove)
        try expect(["counter"], "a deadline goes")
        session.remove("k", now: now)
        try expect(["removed"], "a removal")
        for algorithm in [Limit.Algorithm.gcra, .slidingLog, .fixedWindow, .slidingWindow, .gcra] {
            try take(algorithm)
            try expect(["\(algorithm.kind)"], "another algorithm")
        }
        try set(4, deadline: .remove)
        try expect(["counter"], "a counter in place of a limiter")
        if !isCollectedBetween {
            #expect(try collected() == ["removed", "counter"], "the records before and after the removal")
        }
        #expect(session.engine.violatedInvariants() == [])
    }
}
