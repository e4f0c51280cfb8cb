// From an engine to files and back on the real file system.

import Glibc
import LimiterEngine
import Persistence
import TestSupport
import Testing

@Suite struct RoundTripTests {
    private static let history = String(repeating: "a", count: 40)
    private let directory = TemporaryDirectory("round-trip")
    private let now = EngineTime(nanoseconds: 1_700_000_000_000_000_000)

    private func fresh() throws -> (path: String, engine: Engine, journal: Journal, log: LogDirectory) {
        let path = directory.path
        let engine = Engine(shards: 16)
        let report = try Recovery(files: RealFileSystem(), path: path, engine: engine, horizon: now)
            .run(history: Self.history, cutsTornTail: true)
        let log = LogDirectory(files: RealFileSystem(), path: path, recovered: report)
        try log.roll(at: report.end, time: now, continues: true)
        engine.setJournaling(true)
        return (path, engine, Journal(engine: engine, offset: report.end), log)
    }

    private func state(of engine: Engine) -> [String: KeyState] {
        let session = KeyspaceSession(engine: engine)
        var states: [String: KeyState] = [:]
        session.forEachKey(now: now) { key, _ in
            states[String(decoding: key, as: UTF8.self)] = KeyState(kind: .gcra, word: 0)
        }
        for key in states.keys {
            states[key] = Array(key.utf8).withUnsafeBytes { session.state(of: $0, now: now) }
        }
        return states
    }

    private func recovered(_ path: String, workers: Int) throws -> (Engine, RecoveryReport) {
        let engine = Engine(shards: 4)
        let report = try Recovery(files: RealFileSystem(), path: path, engine: engine, horizon: now, workers: workers)
            .run(history: Self.history, cutsTornTail: true)
        #expect(engine.violatedInvariants() == [])
        return (engine, report)
    }

    @Test func logAndSnapshotRestoreEverything() throws {
        let (path, engine, journal, log) = try fresh()
        let session = KeyspaceSession(engine: engine)
        func write(_ range: Range<Int>, word: Int64) throws {
            for number in range {
                let key = Array("key:\(number)".utf8)
                key.withUnsafeBytes {
                    _ = session.apply(
                        KeyState(kind: .gcra, word: now.nanoseconds + word + Int64(number)), to: $0, now: now)
                }
            }
            journal.collect(time: now)
            try log.append(journal.take(replacement: ByteBuffer()))
        }
        try write(0..<5000, word: 1)
        try write(100..<200, word: 1000)
        _ = Array("key:7".utf8).withUnsafeBytes { session.remove($0, now: now) }
        try write(0..<1, word: 5)
        try log.sync()
        for workers in [1, 4] {
            let (copy, report) = try recovered(path, workers: workers)
            #expect(state(of: copy) == state(of: engine))
            #expect(report.end == journal.offset)
            #expect(report.lastTime == now)
        }
        try log.roll(at: journal.offset, time: now, continues: true)
        let writer = try SnapshotWriter(
            files: RealFileSystem(), directory: path, number: try log.reserveSnapshot(), journalOffset: journal.offset,
            engine: engine, time: now)
        while try writer.step(time: now) { try write(3000..<3010, word: Int64(writer.keys) + 9) }
        try log.adopt(try writer.finish(time: now))
        try write(0..<10, word: 77)
        try log.sync()
        for workers in [1, 4] {
            let (copy, report) = try recovered(path, workers: workers)
            #expect(state(of: copy) == state(of: engine))
            #expect(report.manifest.logs.count == 1)
        }
        journal.record(.flushAll, time: now) { session.removeAll() }
        try write(0..<3, word: 99)
        try log.sync()
        let (copy, _) = try recovered(path, workers: 2)
        #expect(state(of: copy).count == 3)
    }
}
