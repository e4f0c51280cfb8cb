// Sliced work: slices of any size give the same answer, and no slice exceeds its step budget by much.

import TestSupport
import Testing
import Transport

@testable import LimiterEngine
@testable import RESP
@testable import RespServer

@Suite struct SlicedWorkTests {
    private let now = EngineTime(nanoseconds: 1_000_000_000)

    private func session(keys: [[UInt8]], shards: Int = 4) -> KeyspaceSession {
        let session = KeyspaceSession(engine: Engine(shards: shards, seed: HashSeed(1, 2, 3)))
        for key in keys {
            key.withUnsafeBytes { _ = session.apply(KeyState(kind: .counter, word: 1), to: $0, now: now) }
        }
        return session
    }

    private func names(_ count: Int) -> [[UInt8]] { (0..<count).map { Array("key:\($0)".utf8) } }

    /// Runs all of the work in slices; returns their number.
    private func finish(
        _ work: any SlicedWork, _ session: KeyspaceSession, steps: Int, perKey: Int = 10, overrun: Int
    ) -> Int {
        var slices = 0
        while slices < 1_000_000 {
            slices += 1
            var budget = StepBudget(steps: steps, stepsPerKey: perKey, isFinal: false)
            let isDone = work.advance(session, now: now, &budget)
            #expect(budget.steps > -overrun, "a slice of \(steps) steps did \(-budget.steps) more")
            if isDone { break }
        }
        return slices
    }

    private func answer(_ work: any SlicedWork) -> [UInt8] {
        let reply = ReplyBuffer()
        work.writeReply(to: reply)
        guard let elements = work.elements else { return Array(reply.bytes) }
        return Array(reply.bytes) + elements.pieces.flatMap { $0 } + Array(elements.buffer.bytes)
    }

    /// The bulk strings of an answer at any nesting level.
    private func bulks(_ bytes: [UInt8]) -> [String] {
        let lines = String(decoding: bytes, as: UTF8.self).split(separator: "\r\n").map(String.init)
        return zip(lines, lines.dropFirst()).filter { $0.0.hasPrefix("$") }.map(\.1)
    }

    private func walks(_ session: KeyspaceSession) -> Int32 {
        (0..<session.engine.shardCount).reduce(0) { $0 + session.engine.shard($1).pointee.walks }
    }

    @Test(arguments: [1, 1_000, 100_000]) func keysInSlices(steps: Int) {
        let session = session(keys: names(5_000))
        let work = KeysWork(GlobPattern("key:*7*"))
        let slices = finish(work, session, steps: steps, overrun: KeyBatch.keysMax * 10 + 100)
        #expect(slices > 500_000 / 10 / (steps + KeyBatch.keysMax * 10))
        let found = bulks(answer(work))
        let expected = Set((0..<5_000).map { "key:\($0)" }.filter { $0.contains("7") })
        #expect(found.count == expected.count && Set(found) == expected)
        #expect(answer(work).starts(with: Array("*\(expected.count)\r\n".utf8)))
        #expect(walks(session) == 0)
    }

    @Test func keysInATransaction() {
        let session = session(keys: names(1_000))
        session.holdingAll {
            var budget = StepBudget.transaction(steps: 100_000)
            let work = KeysWork(GlobPattern("*"))
            #expect(work.advance(session, now: now, &budget))
            #expect(bulks(answer(work)).count == 1_000 && budget.steps < 100_000)
            // Too few steps for the whole work, and none at all.
            for steps in [500, 0] {
                var budget = StepBudget.transaction(steps: steps)
                let work = KeysWork(GlobPattern("*"))
                #expect(!work.advance(session, now: now, &budget))
                work.cancel(session)
            }
        }
        #expect(walks(session) == 0)
    }

    @Test(arguments: [1, 5_000]) func scanInSlices(steps: Int) throws {
        let session = session(keys: names(5_000))
        var found: [String] = []
        var cursor: UInt64 = 0
        var calls = 0
        repeat {
            let work = ScanWork(cursor: cursor, effort: 2_000, pattern: GlobPattern("*1*"), type: nil)
            _ = finish(work, session, steps: steps, overrun: KeyBatch.keysMax * 10 + 100)
            let bulks = bulks(answer(work))
            cursor = try #require(UInt64(bulks[0]))
            found += bulks.dropFirst()
            calls += 1
        } while cursor != 0
        let expected = Set((0..<5_000).map { "key:\($0)" }.filter { $0.contains("1") })
        #expect(found.count == expected.count && Set(found) == expected)
        #expect(calls == 3)
    }

    /// Long keys, and a pattern that takes a million steps per key: a call returns early with a cursor to continue
    /// from.
    @Test func scanEndsEarlyWhenAPatternTakesLong() throws {
        let long = (0..<40 as Range<UInt8>).map { [UInt8](repeating: UInt8(ascii: "a"), count: 65_536) + [$0] }
        let session = session(keys: long)
        let pattern = GlobPattern("*" + String(repeating: "?", count: 500) + String(repeating: "a", count: 500) + "b*")
        var cursor: UInt64 = 0
        var calls = 0
        repeat {
            let work = ScanWork(cursor: cursor, effort: 1_000, pattern: pattern, type: nil)
            _ = finish(work, session, steps: 250_000, overrun: 2_000_000)
            cursor = try #require(UInt64(bulks(answer(work))[0]))
            calls += 1
        } while cursor != 0
        #expect(calls > 1)
        // Inside EXEC, after other commands have used up all steps: one batch of keys, and the cursor.
        session.holdingAll {
            var budget = StepBudget.transaction(steps: 0)
            let work = ScanWork(cursor: 0, effort: 1_000, pattern: pattern, type: nil)
            #expect(work.advance(session, now: now, &budget))
            #expect(bulks(answer(work)) != ["0"])
        }
    }

    @Test func theFirstKeyOfANearlyEmptyTable() {
        let session = session(keys: names(50_000), shards: 1)
        for name in names(50_000).dropLast() { name.withUnsafeBytes { _ = session.remove($0, now: now) } }
        let work = FirstKeyWork()
        _ = finish(work, session, steps: 1, overrun: KeyBatch.keysMax * 10 + 1)
        #expect(bulks(answer(work)) == ["key:49999"])
        names(50_000).last!.withUnsafeBytes { _ = session.remove($0, now: now) }
        let none = FirstKeyWork()
        _ = finish(none, session, steps: 1_000_000, overrun: 1)
        #expect(answer(none) == Array("$-1\r\n".utf8))
        #expect(walks(session) == 0)
    }

    @Test(arguments: [0, 1, 127, 128, 129, 3_000]) func rulesInOrder(count: Int) throws {
        var random = SeededGenerator(seed: 5)
        let session = KeyspaceSession(engine: Engine(shards: 1))
        func name() -> [UInt8]? { random.below(4) == 0 ? nil : Array("n\(random.below(400))".utf8) }
        var subjects: Set<[String]> = []
        try session.engine.policies.edit(now: now) { draft throws(PolicyError) in
            for number in 0..<20 {
                let limit = try! Limit(.gcra, units: 10, period: 60_000_000_000)
                try draft.set(Policy(name: Array("p\(number)".utf8), limit: limit))
            }
            while subjects.count < count {
                let names = (name(), name(), name())
                let subject = RuleSubject(tenant: names.0, client: names.1, action: names.2)
                try draft.set(Rule(subject, policy: Array("p\(random.below(20))".utf8)))
                subjects.insert([names.0, names.1, names.2].map { String(decoding: $0 ?? [0x21], as: UTF8.self) })
            }
        }
        let work = RuleListWork(session.policies, version: .resp2)
        let slices = finish(work, session, steps: 100_000, overrun: 70_000)
        #expect(slices >= count * 2_000 / 100_000)
        let words = bulks(answer(work))
        var listed: [[String]] = []
        for start in stride(from: 0, to: words.count, by: 10) {
            listed.append([words[start + 1], words[start + 3], words[start + 5]])
        }
        // `!` sorts as the wildcard, before all names; the answer shows it as `*`.
        let order = subjects.sorted { $0.lexicographicallyPrecedes($1) }
        let expected = order.map { names in names.map { $0 == "!" ? "*" : $0 } }
        #expect(listed == expected)
        let policies = PolicyListWork(session.policies, version: .resp2)
        #expect(finish(policies, session, steps: 1_500, overrun: 1_000) == 10)
        #expect(answer(policies).starts(with: Array("*20\r\n".utf8)))
    }

    @Test func aLongAnswerIsStoredInPieces() {
        let pieces = ReplyPieces()
        var expected: [UInt8] = []
        for number in 0..<20_000 {
            pieces.buffer.bulk("element \(number)")
            pieces.endElement()
            let text = "element \(number)"
            expected += Array("$\(text.utf8.count)\r\n\(text)\r\n".utf8)
        }
        #expect(pieces.count == expected.count)
        #expect(pieces.pieces.flatMap { $0 } + Array(pieces.buffer.bytes) == expected)
        #expect(pieces.pieces.allSatisfy { $0.count < OutputQueue.pieceSize + 100 })
    }
}
