// Failed snapshots and segments, and what they must not leave: files, an unbounded number of segments, or a sync mark
// that refers to a removed log.

import Glibc
import LimiterEngine
import TestSupport
import Testing

@testable import Persistence

@Suite struct FailedSnapshotTests {
    private let now = EngineTime.seconds(1_000_000)
    private let files = SimulatedFileSystem()
    private let session: KeyspaceSession
    private let journal: Journal
    private let log: LogDirectory

    init() throws {
        (session, journal, log) = try PromiseCheck.start(files, now: now)
        try log.roll(at: 0, time: now, continues: true)
    }

    private func append(_ keys: String...) throws {
        for key in keys { session.throttle(key, burst: 99, count: 1, period: 1000, now: now) }
        journal.collect(time: now)
        try log.append(journal.take(replacement: ByteBuffer()))
    }

    private func writer() throws -> SnapshotWriter {
        try SnapshotWriter(
            files: files, directory: simulatedDirectory, number: try log.reserveSnapshot(),
            journalOffset: log.appended, engine: session.engine, time: now)
    }

    private func snapshot() throws -> FinishedSnapshot {
        let writer = try writer()
        while try writer.step(time: now) {}
        return try writer.finish(time: now)
    }

    private func states(_ files: SimulatedFileSystem) throws -> [String: String] {
        let (engine, _) = try PromiseCheck.recover(files, wall: now)
        return KeyspaceSession(engine: engine).allStates().mapValues { "\($0)" }
    }

    private var names: [String] { get throws { try files.list(simulatedDirectory).sorted() } }

    // MARK: Segments

    /// Repeated failures of snapshots add one segment in total, not one each.
    @Test func failedSnapshotsShareASegment() throws {
        for turn in 0..<20 {
            try append("k\(turn)")
            try log.rollForSnapshot(time: now)
            files.failing = [.write]
            #expect(throws: StorageError.self) { try writer() }
            files.failing = []
        }
        #expect(log.manifest.logs.count == 2)
        #expect(try states(files).count == 20)
        // The successful snapshot lies in the middle of a segment; the next one again starts its own segment.
        try log.adopt(try snapshot())
        #expect(log.manifest.logs.count == 1)
        try append("behind")
        try log.rollForSnapshot(time: now)
        #expect(log.manifest.logs.count == 2)
        try log.adopt(try snapshot())
        #expect(log.manifest.logs.count == 1 && log.manifest.logs[0].offset == log.manifest.snapshot?.offset)
    }

    /// Replaying a segment over a snapshot newer than its beginning yields the original state.
    @Test func aSegmentMayBeginBeforeItsSnapshot() throws {
        try append("old", "gone", "flushed")
        try log.rollForSnapshot(time: now)
        try append("old", "new", "gone")
        session.remove("gone", now: now)
        try append("new")
        journal.record(.flushAll, time: now) { session.removeAll() }
        try append("new", "again")
        session.remove("again", now: now)
        try append("new")
        try log.rollForSnapshot(time: now)
        #expect(log.manifest.logs.count == 2)
        try log.adopt(try snapshot())
        try append("behind", "new")
        session.remove("flushed", now: now)
        try append("old")
        try log.sync()
        let expected = session.allStates().mapValues { "\($0)" }
        #expect(Set(expected.keys) == ["new", "behind", "old"])
        var random = SeededGenerator(seed: 3)
        for number in 0..<20 {
            let image = files.image.afterPowerLoss(DiskImage.Metadata.allCases[number % 2], &random)
            #expect(try states(SimulatedFileSystem(image: image)) == expected)
        }
    }

    @Test func aFailedStartOfASegmentLeavesNoFile() throws {
        try append("a")
        try log.sync()
        let before = try names
        for calls: Set<SystemCall> in [[.write], [.sync], [.rename], [.syncDirectory]] {
            files.failing = calls
            #expect(throws: StorageError.self) { try log.roll(at: log.appended, time: now, continues: true) }
            files.failing = []
            // After a failed rename or directory sync it is unknown which manifest is on disk, so files stay.
            if calls == [.write] || calls == [.sync] { #expect(try names.filter { $0 != "manifest.tmp" } == before) }
        }
        #expect(try states(files).keys.sorted() == ["a"])
    }

    @Test func aLogThatCannotBeCompletedIsStillClosed() throws {
        try append("a")
        files.failing = [.write, .truncate]
        #expect(throws: StorageError.self) { try append("b") }
        #expect(throws: StorageError.self) { try log.close() }
        #expect(!log.isOpen)
        files.failing = []
        #expect(try states(files).keys.sorted() == ["a"])
    }

    // MARK: The mark

    /// A snapshot taken without a log may belong to a history with lower offsets than the last log.
    private func leaveSnapshotInPlaceOfALog() throws {
        for turn in 0..<20 { try append("k\(turn)") }
        try log.sync()
        journal.restart(at: 10, time: now)
        try log.roll(at: 10, time: now, continues: false)
        try log.close()
        try log.adopt(try snapshot(), history: String(repeating: "b", count: 40))
    }

    /// Ends the process in each call of a start that begins a log; the next start must find the whole state.
    private func expectStarts(_ image: DiskImage) throws {
        for call in 1..<100 {
            let files = SimulatedFileSystem(image: image)
            let (_, _, log) = try PromiseCheck.start(files, now: now)
            files.stop = (call, 0)
            _ = try? log.roll(at: log.appended, time: now, continues: true)
            #expect(try states(SimulatedFileSystem(image: files.image)).count == 20, "ended in call \(call)")
            if !files.isStopped { return }
        }
        Issue.record("a start never completes")
    }

    @Test func theMarkIsResetWithItsLog() throws {
        try leaveSnapshotInPlaceOfALog()
        let layout = try DirectoryLayout(files: files, path: simulatedDirectory)
        #expect((layout.mark ?? 0) <= 10)
        #expect(try names == ["manifest", "snapshot-3", "synced"], "no unpublished segment either")
        try expectStarts(files.image)
    }

    /// Even if an earlier version left the mark, or it reappeared after a power loss.
    @Test func aMarkAheadOfTheLogDoesNotApplyToANewLog() throws {
        try leaveSnapshotInPlaceOfALog()
        let file = try files.open("\(simulatedDirectory)/\(SyncMark.fileName)", .create)
        try SyncMark.encoded(100_000).withUnsafeBytes { try file.writeAll($0, at: 0) }
        try file.syncAll()
        try expectStarts(files.image)
    }

    // MARK: Start

    /// There may be more files than a process may have open.
    @Test func aStartOpensOneFileAtATime() throws {
        let files = SimulatedFileSystem()
        let engine = Engine(shards: 1)
        engine.setJournaling(true)
        let journal = Journal(engine: engine, offset: 0)
        let recovery = Recovery(files: files, path: "/d", engine: Engine(shards: 1), horizon: now)
        let report = try recovery.run(history: String(repeating: "a", count: 40), cutsTornTail: true)
        let log = LogDirectory(files: files, path: "/d", recovered: report)
        for _ in 0..<50 {
            try log.roll(at: log.appended, time: now, continues: true)
            journal.recordTime(now)
            try log.append(journal.take(replacement: ByteBuffer()))
        }
        try log.close()
        files.mostOpenFiles = 0
        let again = Recovery(files: files, path: "/d", engine: Engine(shards: 1), horizon: now)
        #expect(try again.run(history: "", cutsTornTail: true).manifest.logs.count == 50)
        // The server that wrote the directory still has its segment and its mark open.
        #expect(files.mostOpenFiles <= files.openFiles + 1, "\(files.mostOpenFiles)")
        files.mostOpenFiles = 0
        #expect(DirectoryCheck(files: files, directory: "/d").isClean)
        #expect(files.mostOpenFiles <= files.openFiles + 1, "\(files.mostOpenFiles)")
    }

    @Test(arguments: [Manifest.numberMax, Manifest.numberMax - 1000])
    func aNumberThatLeavesNoFurtherOnesIsRefused(number: Int) throws {
        let files = try GoldenDirectory.inMemory()
        let path = "\(GoldenDirectory.directory)/log-\(number)"
        files.contents[path] = []
        let recovery = Recovery(
            files: files, path: GoldenDirectory.directory, engine: Engine(shards: 1), horizon: now)
        let error = #expect(throws: RecoveryError.self) { try recovery.run(history: "", cutsTornTail: true) }
        #expect(error?.path == path)
        #expect(!DirectoryCheck(files: files, directory: GoldenDirectory.directory).isClean)
    }
}
