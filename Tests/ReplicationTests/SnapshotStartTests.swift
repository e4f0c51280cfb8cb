// What a snapshot must not do to the next start: neither one that was begun on a disk that fails, nor one that takes
// the place of files whose journal had gone further.

import Glibc
import LimiterEngine
import Persistence
import TestSupport
import Testing

@testable import Replication

@Suite struct SnapshotStartTests {
    private let files = SimulatedFileSystem()
    private let time = EngineTime(nanoseconds: TestStream.start)

    /// A start with these files; throws where it refuses.
    private func start(_ files: SimulatedFileSystem) throws -> RecoveryReport {
        try Recovery(files: files, path: "data", engine: Engine(shards: 1), horizon: EngineTime(nanoseconds: 0))
            .run(history: TestStream.id("a").text, cutsTornTail: true)
    }

    /// Neither the files nor what a loss of power would leave of them at the worst are a state.
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

    /// A full sync may put the journal back to a lower offset. The mark of the old one, that the kernel has long
    /// brought to disk, must not be held against it.
    @Test func aJournalMayGoOnAtALowerOffset() throws {
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

    /// The first snapshot of a directory without a log: it stands beside no manifest unless that comes first.
    @Test(arguments: [(true, false), (false, true), (true, true)])
    func aSnapshotThatWasBegunAndNotFinishedIsNoObstacle(writes: Bool, syncs: Bool) throws {
        let log = LogDirectory(files: files, path: "data", recovered: try start(files))
        files.failureCodes = [ENOSPC]
        files.failing = (writes ? SystemCall.writing : []).union(syncs ? SystemCall.syncing : [])
        #expect(throws: StorageError.self) { try beginSnapshot(log) }
        // There is room again, for a snapshot that the process does not live to finish.
        files.failing = []
        try expectNothing()
        try beginSnapshot(log)
        try expectNothing()
    }
}
