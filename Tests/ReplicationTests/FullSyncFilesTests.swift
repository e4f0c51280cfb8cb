// A full sync written to a replica's disk: what recovery finds before it, during it and afterwards.

import Glibc
import LimiterEngine
import Persistence
import TestSupport
import Testing

@testable import Replication

@Suite struct FullSyncFilesTests {
    private let directory = TemporaryDirectory("sync")
    private let a = TestStream.id("a").text
    private let b = TestStream.id("b").text

    private func recover(_ path: String) throws -> (state: StreamState, report: RecoveryReport) {
        let engine = Engine(shards: 4)
        let report = try Recovery(
            files: RealFileSystem(), path: path, engine: engine, horizon: EngineTime(nanoseconds: 0)
        ).run(history: a, cutsTornTail: true)
        return (StreamTruth.dump(engine), report)
    }

    /// Receives a stream as a replica does.
    private func receive(
        _ bytes: [UInt8], into log: LogDirectory, path: String, beforeAdopting: () throws -> Void
    ) throws {
        let decoder = StreamDecoder()
        let journal = Journal(engine: Engine(shards: 1), offset: 0)
        var receiver: SnapshotReceiver?
        var finished: FinishedSnapshot?
        try bytes.withUnsafeBytes { buffer in
            var rest = buffer
            while let event = try decoder.next(&rest) {
                switch event {
                case .header(let header):
                    try log.roll(at: header.journalOffset, time: header.time, continues: false)
                    receiver = try SnapshotReceiver(
                        files: RealFileSystem(), directory: path, number: try log.reserveSnapshot(), header: header)
                    journal.restart(at: header.journalOffset, time: header.time)
                case .snapshotBatch(_, let bytes): try receiver!.append(bytes)
                case .snapshotEnd(let keys, _): finished = try receiver!.finish(keys: keys)
                case .batch(let batch, let bytes):
                    journal.append(batch, bytes)
                    try log.append(journal.take(replacement: ByteBuffer()))
                }
            }
        }
        try beforeAdopting()
        try log.adopt(finished!, history: b)
        #expect(journal.offset == decoder.offset)
    }

    @Test func theOldStateStaysUntilTheNewOneIsComplete() throws {
        let path = directory.path
        // First, a history of its own.
        let own = TestStream()
        let log = LogDirectory(
            files: RealFileSystem(), path: path, recovered: try recover(path).report)
        try log.roll(at: 0, time: own.time, continues: true)
        own.write(100..<110)
        own.journal.collect(time: own.time)
        try log.append(own.journal.take(replacement: ByteBuffer()))
        try log.sync()
        let before = try recover(path)
        #expect(before.state == StreamTruth.dump(own.engine))

        let primary = TestStream()
        _ = primary.batch(0..<500)
        var stream = primary.snapshot { primary.write(3..<40) }
        stream += primary.drain() + primary.batch(7..<9) + primary.emptyBatch()
        try receive(stream, into: log, path: path) {
            let between = try recover(path)
            #expect(between.state == before.state && between.report.manifest.history == a)
        }
        let after = try recover(path)
        #expect(after.state == StreamTruth.dump(primary.engine) && after.state.count == 500)
        #expect(after.report.end == primary.journal.offset)
        #expect(after.report.manifest.history == b)

        // A promotion renames the history. If the old name is not on disk, the rename is left to the snapshot that
        // brings it.
        try log.rename(history: a, to: String(repeating: "c", count: 40))
        #expect(try recover(path).report.manifest.history == b)
        try log.rename(history: b, to: String(repeating: "c", count: 40))
        let renamed = try recover(path)
        #expect(renamed.report.manifest.history == String(repeating: "c", count: 40))
        #expect(renamed.state == after.state && renamed.report.end == after.report.end)
    }

    @Test func aReplicasJournalEqualsItsPrimarys() {
        let primary = TestStream(offset: 40)
        let copy = Journal(engine: Engine(shards: 1), offset: 40)
        let bytes = primary.batch(0..<5) + primary.emptyBatch() + primary.batch(2..<3)
        bytes.withUnsafeBytes { TestStream.forEachBatch($0) { copy.append($0, $1) } }
        #expect(TestStream.drain(copy) == bytes)
        #expect(copy.offset == primary.journal.offset)
        // After its promotion it continues from the primary's last byte, and never at an earlier time.
        copy.recordTime(EngineTime(nanoseconds: 5))
        let next = TestStream.drain(copy)
        let batch = next.withUnsafeBytes { JournalBatch($0)! }
        #expect(batch.offset == primary.journal.offset && batch.time == primary.time && batch.payloadCount == 0)
        copy.restart(at: 7, time: EngineTime(nanoseconds: 3))
        #expect(copy.offset == 7 && copy.pendingBytes == 0)
    }
}
