// Policies and rules recovered from the log, from a snapshot, and from both.

import LimiterEngine
import TestSupport
import Testing

@testable import Persistence

@Suite struct PolicyRecoveryTests {
    private let now = EngineTime.seconds(1_000_000)
    private let files = SimulatedFileSystem()
    private let session: KeyspaceSession
    private let journal: Journal
    private let log: LogDirectory

    init() throws {
        (session, journal, log) = try PromiseCheck.start(files, now: now)
        try log.roll(at: 0, time: now, continues: true)
    }

    private static func name(_ text: String) -> [UInt8] { Array(text.utf8) }

    private static func policy(_ text: String, units: Int64, mode: LimitCall.Mode = .enforce) throws -> Policy {
        Policy(name: name(text), limit: try Limit(.gcra, units: units, period: 60_000_000_000), mode: mode)
    }

    private func edit(_ body: (inout PolicyDraft) throws(PolicyError) -> Void) throws {
        try journal.excludingCollections {
            Result { () throws(PolicyError) in
                try session.engine.policies.edit(now: now, body) { journal.recordExcluding($0, time: now) }
            }
        }.get()
    }

    private func write() throws {
        journal.collect(time: now)
        try log.append(journal.take(replacement: ByteBuffer()))
        try log.sync()
    }

    /// The records in force, in an order independent of hashing.
    private func records(_ engine: Engine) -> [[[UInt8]]] {
        engine.policies.table.records.map { [[$0.kind.rawValue], $0.key, $0.value] }
            .sorted { $0.joined().lexicographicallyPrecedes($1.joined()) }
    }

    private func recovered(workers: Int = 1) throws -> (engine: Engine, report: RecoveryReport) {
        let engine = Engine(shards: 4)
        let report = try Recovery(
            files: files, path: simulatedDirectory, engine: engine, horizon: now, workers: workers
        ).run(history: String(repeating: "a", count: 40), cutsTornTail: false)
        return (engine, report)
    }

    private func expectTheSameAgain() throws {
        for workers in [1, 2, 4] {
            let copy = try recovered(workers: workers).engine
            #expect(records(copy) == records(session.engine))
            #expect(KeyspaceSession(engine: copy).allStates().keys == session.allStates().keys)
        }
    }

    private func snapshot(meanwhile: () throws -> Void = {}) throws {
        try log.roll(at: journal.offset, time: now, continues: true)
        let writer = try SnapshotWriter(
            files: files, directory: simulatedDirectory, number: try log.reserveSnapshot(),
            journalOffset: journal.offset, engine: session.engine, time: now)
        try meanwhile()
        while try writer.step(time: now) {}
        try write()
        try log.adopt(try writer.finish(time: now))
    }

    private let subject = RuleSubject(tenant: name("acme"), client: nil, action: [0, 255, 10])

    @Test func theyAreRecoveredFromTheLog() throws {
        try edit { draft throws(PolicyError) in
            try draft.set(try! Self.policy("free", units: 5))
            try draft.set(try! Self.policy("gone", units: 6))
            try draft.set(Rule(subject, policy: Self.name("free"), origin: .file))
            try draft.set(Rule(RuleSubject(tenant: nil, client: nil, action: nil), policy: Self.name("free")))
        }
        session.throttle("key", burst: 9, count: 1, period: 1000, now: now)
        try edit { draft throws(PolicyError) in
            try draft.removePolicy(Self.name("gone"))
            try draft.removeRule(RuleSubject(tenant: nil, client: nil, action: nil))
            try draft.set(try! Self.policy("free", units: 7, mode: .shadow))
        }
        try write()
        try expectTheSameAgain()
        let table = try recovered().engine.policies.table
        #expect(table.policies.map(\.limit.units) == [7])
        #expect(table.policies.map(\.mode) == [.shadow])
        #expect(table.rules.map(\.subject) == [subject])
        #expect(table.rules.map(\.origin) == [.file])
    }

    /// Superseded limits are part of a policy: a restart must not replenish anything.
    @Test func aSupersededLimitInForceIsRecovered() throws {
        try edit { draft throws(PolicyError) in try draft.set(try! Self.policy("free", units: 100)) }
        try edit { draft throws(PolicyError) in
            let limit = try! Limit(.gcra, units: 1, period: 60_000_000_000, burst: 50)
            try draft.set(Policy(name: Self.name("free"), limit: limit))
        }
        try write()
        try expectTheSameAgain()
        #expect(try recovered().engine.policies.table.policies[0].limit.cappedUntil > now.nanoseconds)
    }

    @Test func flushingKeepsThem() throws {
        try edit { draft throws(PolicyError) in try draft.set(try! Self.policy("free", units: 5)) }
        session.throttle("key", burst: 9, count: 1, period: 1000, now: now)
        try write()
        journal.record(.flushAll, time: now) { session.removeAll() }
        try write()
        try expectTheSameAgain()
        #expect(try recovered().engine.policies.table.policies.count == 1)
    }

    /// More than fit into one step of the writer, and changes while it runs, both before and after its position.
    @Test func aSnapshotContainsThem() throws {
        try edit { draft throws(PolicyError) in
            for number in 0..<700 { try draft.set(try! Self.policy("p\(number)", units: 5)) }
            for number in 0..<700 {
                let subject = RuleSubject(tenant: Self.name("t\(number)"), client: nil, action: nil)
                try draft.set(Rule(subject, policy: Self.name("p\(number)")))
            }
        }
        for number in 0..<1000 { session.throttle("key\(number)", burst: 9, count: 1, period: 1000, now: now) }
        try write()
        try snapshot {
            try edit { draft throws(PolicyError) in
                let subject = RuleSubject(tenant: Self.name("t3"), client: nil, action: nil)
                try draft.removeRule(subject)
                try draft.removePolicy(Self.name("p3"))
                try draft.set(try! Self.policy("new", units: 9))
            }
        }
        try expectTheSameAgain()
        #expect(log.manifest.logs.count == 1, "only the snapshot has the first ones")
        let report = try recovered(workers: 2).report
        #expect(report.records == 1400 + 1000 + 3)
    }

    /// The table may be captured later than the snapshot's offset: then the log repeats changes already in it.
    @Test func theLogMayRepeatChangesInTheSnapshot() throws {
        try edit { draft throws(PolicyError) in try draft.set(try! Self.policy("a", units: 1)) }
        try write()
        let offset = journal.offset
        try log.roll(at: offset, time: now, continues: true)
        try edit { draft throws(PolicyError) in
            try draft.set(Rule(subject, policy: Self.name("a")))
            try draft.set(try! Self.policy("b", units: 2))
        }
        try edit { draft throws(PolicyError) in
            try draft.removeRule(subject)
            try draft.removePolicy(Self.name("a"))
        }
        let writer = try SnapshotWriter(
            files: files, directory: simulatedDirectory, number: try log.reserveSnapshot(), journalOffset: offset,
            engine: session.engine, time: now)
        while try writer.step(time: now) {}
        try write()
        try log.adopt(try writer.finish(time: now))
        try expectTheSameAgain()
        #expect(try recovered().engine.policies.table.policies.map(\.name) == [Self.name("b")])
    }

    @Test func aRecordThatIsNotAPolicyIsDamage() throws {
        let good = PolicyRecord(try Self.policy("free", units: 5))
        var bad = good
        bad.value[1] = 99
        for kind in [ControlKind.policy, .rule, .policyRemoval, .ruleRemoval] {
            let buffer = ByteBuffer()
            bad.key.withUnsafeBytes { key in
                bad.value.withUnsafeBytes { JournalRecord.encodeControl(kind, key: key, body: $0, into: buffer) }
            }
            var offset = 0
            #expect(throws: RecordError.self) { _ = try JournalRecord.decode(buffer.bytes, at: &offset) }
        }
    }
}
