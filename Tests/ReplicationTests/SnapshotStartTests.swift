// What a snapshot must not break for the next start: a snapshot begun on a failing disk, or one that replaces files
// whose journal extended further.

import Glibc
import LimiterEngine
import Persistence
import TestSupport
import Testing

@testable import Replication

@Suite struct SnapshotStartTests {
    private let files = SimulatedFileSystem()
    private let time = EngineTime(nanoseconds: TestStream.start)

    /// Recovers from these files; throws if they are refused.
    private func start(_ files: SimulatedFileSystem) throws -> RecoveryReport {
        try Recovery(files: files, path: "data", engine: Engine(shards: 1), horizon: EngineTime(nanoseconds: 0))
            .run(history: TestStream.id("a").text, cutsTornTail: true)
    }

    /// Recovery finds nothing, neither in the files nor in the worst case after a power loss.
    private func expectNothing() throws {
        for files in [files, SimulatedFileSystem(image: files.image.atWorst)] {
            #expect(try !start(files).foundState)
        }
    }

    private func beginSnapshot(_ log: LogDirectory) throws {
        let writer = try SnapshotWriter(
            files: files, directory: "data", number: try log.reserveSnapshot(), journalOffset: 0,
            engine: Engine(shards: 1), time: time)
        _ = try writer.step(time: time)
    }

    /// A full sync may restart the journal at a lower offset. The old journal's sync mark, long since on disk, must
    /// not be applied to the new one.
    @Test func aJournalMayRestartAtALowerOffset() throws {
        let log = LogDirectory(files: files, path: "data", recovered: try start(files))
        try log.roll(at: 0, time: time, continues: true)
        let own = TestStream()
        own.write(0..<20)
        own.journal.collect(time: time)
        try log.append(own.journal.take(replacement: ByteBuffer()))
        try log.sync()
        files.image.writeBack()
        #expect(log.synced > 100)

        try log.roll(at: 100, time: time, continues: false)
        let writer = try SnapshotWriter(
            files: files, directory: "data", number: try log.reserveSnapshot(), journalOffset: 100,
            engine: own.engine, time: time)
        while try writer.step(time: time) {}
        try log.adopt(try writer.finish(time: time), history: TestStream.id("b").text)
        for files in [files, SimulatedFileSystem(image: files.image.atWorst)] {
            let report = try start(files)
            #expect(report.manifest.history == TestStream.id("b").text && report.end == 100)
        }
    }

    /// The first snapshot of a directory without a log: its file would have no manifest unless the manifest is
    /// written first.
    @Test(arguments: [(true, false), (false, true), (true, true)])
    func anUnfinishedSnapshotDoesNotPreventAStart(writes: Bool, syncs: Bool) throws {
        let log = LogDirectory(files: files, path: "data", recovered: try start(files))
        files.failureCodes = [ENOSPC]
        files.failing = (writes ? SystemCall.writing : []).union(syncs ? SystemCall.syncing : [])
        #expect(throws: StorageError.self) { try beginSnapshot(log) }
        // The disk has space again, for a snapshot that a crash interrupts.
        files.failing = []
        try expectNothing()
        try beginSnapshot(log)
        try expectNothing()
    }
}
