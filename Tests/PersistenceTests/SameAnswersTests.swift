// The same requests to several engines: one that never stopped, one recovered from the log, one recovered from a
// snapshot plus the log after it, replayed twice. Their answers are indistinguishable.

import LimiterEngine
import TestSupport
import Testing

@testable import Persistence

@Suite struct SameAnswersTests {
    /// A consumer of the journal with its own disk.
    private struct Reader {
        let files = SimulatedFileSystem()
        let log: LogDirectory

        init(now: EngineTime) throws {
            let (_, report) = try PromiseCheck.recover(files, wall: now)
            log = LogDirectory(files: files, path: simulatedDirectory, recovered: report)
            try log.roll(at: 0, time: now, continues: true)
        }
    }

    private func collect(_ journal: Journal, into readers: [Reader], now: EngineTime) throws {
        journal.collect(time: now)
        let part = journal.take(replacement: ByteBuffer())
        for reader in readers { try reader.log.append(part) }
    }

    private func takeSnapshot(_ reader: Reader, _ engine: Engine, _ journal: Journal, now: EngineTime) throws {
        try reader.log.roll(at: journal.offset, time: now, continues: true)
        let writer = try SnapshotWriter(
            files: reader.files, directory: simulatedDirectory, number: try reader.log.reserveSnapshot(),
            journalOffset: journal.offset, engine: engine, time: now)
        while try writer.step(time: now) {}
        try reader.log.adopt(try writer.finish(time: now))
    }

    @Test(arguments: 1...20)
    func neverStoppedRecoveredAndReplayedTwice(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        var now = EngineTime.seconds(1_000_000)
        let engine = Engine(shards: 8)
        engine.setJournaling(true)
        let session = KeyspaceSession(engine: engine)
        let journal = Journal(engine: engine, offset: 0)
        let logAlone = try Reader(now: now)
        let withSnapshot = try Reader(now: now)
        for step in 0..<600 {
            Question(&random, keys: 40).ask(session, journal: journal, now: now)
            if random.below(5) == 0 { try collect(journal, into: [logAlone, withSnapshot], now: now) }
            if step == 200 { journal.record(.flushAll, time: now) { session.removeAll() } }
            if step == 400 {
                try collect(journal, into: [logAlone, withSnapshot], now: now)
                try takeSnapshot(withSnapshot, engine, journal, now: now)
            }
            now = now.adding(Int64(random.below(400_000_000)))
        }
        try collect(journal, into: [logAlone, withSnapshot], now: now)

        let fromLog = try PromiseCheck.recover(logAlone.files, wall: now, workers: 2)
        #expect(fromLog.report.manifest.snapshot == nil)
        let twice = try PromiseCheck.recover(withSnapshot.files, wall: now, workers: 4)
        #expect(twice.report.manifest.snapshot != nil)
        _ = try Recovery(files: withSnapshot.files, path: simulatedDirectory, engine: twice.engine, horizon: now)
            .run(history: simulatedHistory, cutsTornTail: true)
        let copies = [KeyspaceSession(engine: fromLog.engine), KeyspaceSession(engine: twice.engine)]
        let states = session.allStates().alive(after: now)
        #expect(Set(states.values.map(\.kind)) == Set(StateKind.allCases), "every kind occurs")
        #expect(Set(engine.policies.table.records.map(\.kind)) == [.policy, .rule])
        for copy in copies {
            #expect(copy.allStates().alive(after: now) == states, "seed \(seed)")
            #expect(copy.engine.policyBytes == engine.policyBytes, "seed \(seed)")
        }
        for step in 0..<600 {
            let question = Question(&random, keys: 40)
            let answer = question.ask(session, now: now)
            for (number, copy) in copies.enumerated() {
                let same = question.ask(copy, now: now)
                try #require(same == answer, "seed \(seed), step \(step), copy \(number), \(question)")
            }
            now = now.adding(Int64(random.below(400_000_000)))
        }
    }
}
