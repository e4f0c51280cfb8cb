// Changes of the directory's manifest, and what it names if a change fails midway.

import Glibc
import LimiterEngine
import TestSupport
import Testing

@testable import Persistence

@Suite struct ManifestChangeTests {
    private let now = EngineTime.seconds(1_000_000)
    private let files = SimulatedFileSystem()
    private let session: KeyspaceSession
    private let journal: Journal
    private let log: LogDirectory

    init() throws {
        (session, journal, log) = try PromiseCheck.start(files, now: now)
        try log.roll(at: 0, time: now, continues: true)
    }

    private func append(_ key: String) throws {
        session.throttle(key, burst: 99, count: 1, period: 1000, now: now)
        journal.collect(time: now)
        try log.append(journal.take(replacement: ByteBuffer()))
    }

    private func snapshot() throws -> FinishedSnapshot {
        let writer = try SnapshotWriter(
            files: files, directory: simulatedDirectory, number: try log.reserveSnapshot(),
            journalOffset: journal.offset, engine: session.engine, time: now)
        while try writer.step(time: now) {}
        return try writer.finish(time: now)
    }

    private func keys(_ image: DiskImage? = nil) throws -> Set<String> {
        let copy = SimulatedFileSystem(image: image ?? files.image)
        let (engine, _) = try PromiseCheck.recover(copy, wall: now)
        return Set(KeyspaceSession(engine: engine).allStates().keys)
    }

    /// The second of the two directory syncs fails: the new name exists, but may not survive a power loss.
    private func failingAfterTheRename(_ body: () throws -> Void) {
        files.observer = { call, _ in if call == .rename { files.failing = [.syncDirectory] } }
        #expect(throws: StorageError.self, performing: body)
        files.observer = nil
        files.failing = []
    }

    @Test func theLogContinuesWhereTheManifestOnDiskPoints() throws {
        try append("a")
        failingAfterTheRename { try log.roll(at: log.appended, time: now, continues: true) }
        #expect(log.manifest.logs.count == 1)
        #expect(try keys() == ["a"])
        try append("b")
        #expect(try keys() == ["a", "b"])
        try log.sync()
        var random = SeededGenerator(seed: 3)
        for _ in 0..<40 { #expect(try keys(files.image.afterPowerLoss(.unordered, &random)) == ["a", "b"]) }
    }

    @Test func namesAreOnDiskBeforeTheManifestThatNamesThem() throws {
        try append("a")
        files.observer = { call, _ in if call == .rename { files.stop = (files.calls + 2, 0) } }
        #expect(throws: StorageError.self) { try log.roll(at: log.appended, time: now, continues: true) }
        var random = SeededGenerator(seed: 3)
        for _ in 0..<40 { #expect(try keys(files.image.afterPowerLoss(.unordered, &random)) == ["a"]) }
    }

    @Test func damageBeforeTheMarkIsNotATornTail() throws {
        try append("a")
        let first = FileHeader.size + Int(log.appended)
        try append("b")
        try log.sync()
        try append("c")
        let inode = try #require(files.image.inode("/data/log-1"))
        let synced = FileHeader.size + Int(log.synced)
        for byte in FileHeader.size..<files.image.size(inode) {
            var image = files.image
            image.flip(bit: byte % 8, ofByte: byte, inode)
            if byte >= synced {
                #expect(try keys(image) == ["a", "b"])
            } else {
                let error = #expect(throws: RecoveryError.self) { _ = try keys(image) }
                #expect(error?.path == "/data/log-1")
                #expect(error?.position == (byte < first ? FileHeader.size : first))
            }
        }
    }

    @Test func nothingIsAppendedWhileTheManifestIsInDoubt() throws {
        try append("a")
        failingAfterTheRename { try log.roll(at: log.appended, time: now, continues: true) }
        let appended = log.appended
        session.throttle("b", burst: 99, count: 1, period: 1000, now: now)
        journal.collect(time: now)
        let part = journal.take(replacement: ByteBuffer())
        files.failing = [.rename]
        #expect(throws: StorageError.self) { try log.append(part) }
        #expect(log.appended == appended)
        files.failing = []
        try log.append(part)
        #expect(try keys() == ["a", "b"])
    }

    @Test func aSnapshotThatTheManifestMayNameIsNotRemoved() throws {
        try append("a")
        try log.roll(at: log.appended, time: now, continues: true)
        let finished = try snapshot()
        failingAfterTheRename { try log.adopt(finished) }
        log.abandon(snapshot: finished.number)
        #expect(try keys() == ["a"])
        try append("b")
        log.abandon(snapshot: finished.number)
        #expect(try keys() == ["a", "b"])
    }

    @Test func anEmptySegmentIsReplaced() throws {
        for _ in 0..<5 { try log.roll(at: log.appended, time: now, continues: true) }
        #expect(log.manifest.logs.count == 1)
        #expect(files.image.paths.filter { $0.contains("log-") }.count == 1)
        try append("a")
        try log.roll(at: log.appended, time: now, continues: true)
        #expect(log.manifest.logs.count == 2)
        #expect(try keys() == ["a"])
    }

    @Test func adoptingKeepsOnlyTheLogsAfterTheSnapshot() throws {
        try append("a")
        try log.roll(at: log.appended, time: now, continues: true)
        let finished = try snapshot()
        try append("b")
        // A new segment begins while the snapshot is being written.
        try log.roll(at: log.appended, time: now, continues: true)
        try append("c")
        try log.adopt(finished)
        #expect(log.manifest.snapshot?.number == finished.number)
        #expect(log.manifest.logs.count == 2)
        let names = files.image.paths.map { String($0.dropFirst("/data/".count)) }
        #expect(Set(names) == Set(log.manifest.fileNames + ["manifest", "synced"]))
        #expect(try keys() == ["a", "b", "c"])
    }

    @Test func aSnapshotFromBeforeAGapIsRefused() throws {
        try append("a")
        try log.roll(at: log.appended, time: now, continues: true)
        let finished = try snapshot()
        session.throttle("lost", burst: 99, count: 1, period: 1000, now: now)
        journal.collect(time: now)
        _ = journal.take(replacement: ByteBuffer())
        try log.roll(at: journal.offset, time: now, continues: false)
        let error = #expect(throws: StorageError.self) { try log.adopt(finished) }
        #expect(error?.code == ESTALE)
        log.abandon(snapshot: finished.number)
        #expect(try keys() == ["a"])
        try log.adopt(try snapshot())
        #expect(try keys() == ["a", "lost"])
    }

    @Test func withoutALogTheSnapshotIsTheWholeState() throws {
        try append("a")
        try log.close()
        #expect(!log.isOpen)
        #expect(try keys() == ["a"])
        try append("ignored")
        try log.adopt(try snapshot())
        #expect(log.manifest.logs.isEmpty)
        #expect(try keys() == ["a", "ignored"])
    }

    @Test func theFirstSnapshotOfAServerWithoutALogMayFail() throws {
        let files = SimulatedFileSystem()
        let (engine, report) = try PromiseCheck.recover(files, wall: now)
        let session = KeyspaceSession(engine: engine)
        for number in 0..<50 { session.throttle("k\(number)", burst: 9, count: 1, period: 60, now: now) }
        let log = LogDirectory(files: files, path: simulatedDirectory, recovered: report)
        let writer = try SnapshotWriter(
            files: files, directory: simulatedDirectory, number: try log.reserveSnapshot(), journalOffset: report.end,
            engine: engine, time: now)
        while try writer.step(time: now) {}
        let finished = try writer.finish(time: now)
        // If the process ends here, a complete snapshot exists that no manifest names: a leftover.
        #expect(try keys(files.image).isEmpty)
        try log.adopt(finished)
        #expect(try keys(files.image).count == 50)
    }

    @Test func stateWithoutAManifestIsRefused() throws {
        try append("a")
        try files.remove("/data/manifest")
        let error = #expect(throws: RecoveryError.self) { _ = try keys() }
        #expect(error?.path == "/data/log-1")
    }

    @Test func missingFilesAreNamed() throws {
        try append("a")
        try log.roll(at: log.appended, time: now, continues: true)
        try files.remove("/data/log-1")
        let error = #expect(throws: RecoveryError.self) { _ = try keys() }
        #expect(error?.path == "/data/log-1")
    }

    @Test func unreadableFilesAreNamed() throws {
        try append("a")
        for call in [SystemCall.read, .open] {
            files.failing = [call]
            let error = #expect(throws: RecoveryError.self) { _ = try PromiseCheck.recover(files, wall: now) }
            #expect(error?.path.hasPrefix("/data/") == true)
            #expect(error?.reason.contains("Input/output error") == true || error?.reason.contains("space") == true)
        }
    }

    @Test func aTornTailIsCutOnlyIfAllowed() throws {
        try append("a")
        try log.sync()
        let inode = try #require(files.image.inode("/data/log-1"))
        files.image.write([1, 2, 3], at: files.image.size(inode), inode)
        let error = #expect(throws: RecoveryError.self) {
            try Recovery(files: files, path: simulatedDirectory, engine: Engine(shards: 1), horizon: now)
                .run(history: simulatedHistory, cutsTornTail: false)
        }
        #expect(error?.position == files.image.size(inode) - 3)
        let (_, report) = try PromiseCheck.recover(files, wall: now)
        #expect(report.cut?.bytes == 3)
        #expect(try PromiseCheck.recover(files, wall: now).report.cut == nil)
    }

    @Test func twoServersDoNotShareADirectory() throws {
        var first = try files.lock("/data/lock")
        #expect(first != nil)
        #expect(try files.lock("/data/lock") == nil)
        first = nil
        #expect(try files.lock("/data/lock") != nil)
    }
}
