// Policies and rules in a full sync: how they are split into pieces, and when they take effect.

import LimiterEngine
import TestSupport
import Testing

@testable import Persistence

@Suite struct PolicySyncTests {
    private let own = TestStream()
    private static let ruleCount = 150_000

    private func fill() throws {
        let name = Array("free".utf8)
        let limit = try Limit(.gcra, units: 5, period: 60_000_000_000)
        try own.engine.policies.edit(now: own.time) { draft throws(PolicyError) in
            try draft.set(Policy(name: name, limit: limit))
            for number in 0..<Self.ruleCount {
                let tenant = withUnsafeBytes(of: Int32(number)) { Array($0) }
                try draft.set(Rule(RuleSubject(tenant: tenant, client: nil, action: nil), policy: name))
            }
        }
    }

    @Test func manyRulesArriveInPiecesAndTakeEffectOnce() throws {
        try fill()
        own.write(0..<2000)
        let stream = SnapshotStream(journalOffset: 0, engine: own.engine, time: own.time)
        let copy = Engine(shards: 1)
        // Earlier contents, which the full sync must remove.
        try copy.policies.edit(now: own.time) { draft throws(PolicyError) in
            try draft.set(Policy(name: [1], limit: own.engine.policies.table.policies[0].limit))
        }
        let applier = BatchApplier(engine: copy)
        applier.beginSnapshot()
        #expect(copy.policies.table.policies == [])
        let before = copy.policies.version
        var (pieces, largest) = (0, 0)
        func read(_ piece: ByteBuffer, from start: Int = 0) {
            (pieces, largest) = (pieces + 1, max(largest, piece.count))
            withExtendedLifetime(piece) {
                let bytes = UnsafeRawBufferPointer(rebasing: piece.bytes[start...])
                TestStream.forEachBatch(bytes) { _, batch in
                    do { try applier.apply(batch, horizon: own.time) } catch { Issue.record(error) }
                }
            }
        }
        while !stream.hasSeenAllKeys {
            let piece = stream.next(time: own.time)
            read(piece, from: pieces == 0 ? FileHeader.size : 0)
        }
        read(stream.finish(wholeAt: 0, time: own.time))
        #expect(stream.keys == 1 + Self.ruleCount + 2000)
        #expect(pieces > 30)
        // The last item of a piece may be as long as 256 short keys.
        #expect(largest < 1 << 16 + 1 << 14)
        #expect(copy.policies.version == before, "no table is built before the end")
        applier.endSnapshot()
        #expect(copy.policies.version == before + 1)
        let (found, expected) = (copy.policies.table, own.engine.policies.table)
        #expect(found.policies == expected.policies)
        #expect(found.rules.count == Self.ruleCount)
        #expect(Set(found.rules.map(\.subject)) == Set(expected.rules.map(\.subject)))
        #expect(KeyspaceSession(engine: copy).count() == 2000)
        applier.endSnapshot()
        #expect(copy.policies.version == before + 1, "the snapshot has ended")
    }

    /// After the snapshot each batch takes effect on its own, and a restarted snapshot discards the pieces received
    /// so far.
    @Test func batchesAfterASnapshotTakeEffectAtOnce() throws {
        func record(_ name: UInt8) throws -> [UInt8] {
            let policy = Policy(name: [name], limit: try Limit(.gcra, units: 5, period: 60_000_000_000))
            own.journal.excludingCollections { own.journal.recordExcluding([PolicyRecord(policy)], time: own.time) }
            return own.drain()
        }
        let copy = Engine(shards: 1)
        let applier = BatchApplier(engine: copy)
        func apply(_ bytes: [UInt8]) throws { try bytes.withUnsafeBytes { try applier.apply($0, horizon: own.time) } }
        var names: [[UInt8]] { copy.policies.table.policies.map(\.name) }
        try apply(try record(1))
        #expect(names == [[1]])
        applier.beginSnapshot()
        try apply(try record(2))
        #expect(names == [])
        applier.beginSnapshot()
        try apply(try record(3))
        applier.endSnapshot()
        #expect(names == [[3]])
        try apply(try record(4))
        #expect(names == [[3], [4]])
    }
}
