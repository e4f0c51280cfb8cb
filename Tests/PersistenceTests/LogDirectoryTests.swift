// What LogDirectory promises in its header, one broken call at a time, and the machines on which it once was not true.

import Glibc
import LimiterEngine
import TestSupport
import Testing

@testable import Persistence

@Suite struct LogDirectoryTests {
    private let now = EngineTime.seconds(1_000_000)
    private let files = SimulatedFileSystem()
    private let session: KeyspaceSession
    private let journal: Journal
    private let log: LogDirectory

    init() throws {
        (session, journal, log) = try PromiseCheck.start(files, now: now)
        try log.roll(at: 0, time: now, continues: true)
    }

    /// A part of the journal that gives these keys a state.
    private func part(_ keys: String...) -> Journal.Part { part(keys, session, journal) }

    private func part(_ keys: [String], _ session: KeyspaceSession, _ journal: Journal) -> Journal.Part {
        for key in keys { session.throttle(key, burst: 99, count: 1, period: 1000, now: now) }
        journal.collect(time: now)
        return journal.take(replacement: ByteBuffer())
    }

    private func snapshot(at offset: Int64) throws -> FinishedSnapshot {
        let writer = try SnapshotWriter(
            files: files, directory: simulatedDirectory, number: try log.reserveSnapshot(), journalOffset: offset,
            engine: session.engine, time: now)
        while try writer.step(time: now) {}
        return try writer.finish(time: now)
    }

    /// Keys and end of a recovery from a disk.
    private func recovered(_ image: DiskImage) throws -> (keys: Set<String>, report: RecoveryReport) {
        let (engine, report) = try PromiseCheck.recover(SimulatedFileSystem(image: image), wall: now)
        return (Set(KeyspaceSession(engine: engine).allStates().keys), report)
    }

    /// Loses power now, forty times with other luck; these keys are left every time.
    private func expect(_ keys: Set<String>, afterPowerLossOf files: SimulatedFileSystem) throws {
        var random = SeededGenerator(seed: 11)
        for number in 0..<40 {
            let image = files.image.afterPowerLoss(DiskImage.Metadata.allCases[number % 2], &random)
            #expect(try recovered(image).keys == keys)
        }
    }

    private func failing<Result>(
        _ calls: Set<SystemCall>, _ code: Int32 = EIO, _ body: () throws -> Result
    ) rethrows -> Result {
        files.failing = calls
        files.failureCodes = [code]
        defer { files.failing = [] }
        return try body()
    }

    // MARK: What is appended

    @Test func appendedAndSyncedSayWhatIsThere() throws {
        let first = part("a")
        try log.append(first)
        #expect(log.appended == first.end && log.synced == 0)
        #expect(log.beginSync() != nil)
        try log.sync()
        #expect(log.synced == first.end)
        #expect(log.beginSync() == nil)
        #expect(log.bytes == files.image.size(files.image.inode("/data/log-1")!))
        try expect(["a"], afterPowerLossOf: files)
    }

    @Test func aSyncInTheBackgroundCoversWhatWasAppendedBeforeIt() throws {
        try log.append(part("a"))
        let job = try #require(log.beginSync())
        let end = log.appended
        try log.append(part("b"))
        try log.finishSync(job, job.run())
        #expect(log.synced == end && log.appended > end)
    }

    @Test func aFailedAppendCanBeTriedAgain() throws {
        try log.append(part("a"))
        let appended = log.appended
        let torn = part("b")
        files.failureOdds = 1
        for _ in 0..<20 {
            #expect(throws: StorageError.self) { try failing([.write], ENOSPC) { try log.append(torn) } }
            #expect(log.appended == appended)
            #expect(try recovered(files.image).keys == ["a"])
        }
        try log.append(torn)
        try log.sync()
        try expect(["a", "b"], afterPowerLossOf: files)
    }

    @Test func aSegmentNeverFollowsTornBytes() throws {
        try log.append(part("a"))
        let torn = part("b")
        let size = FileHeader.size + Int(log.appended)
        // Until some of it got through before the disk was full.
        for _ in 0..<100 where files.image.size(files.image.inode("/data/log-1")!) == size {
            #expect(throws: StorageError.self) { try failing([.write], ENOSPC) { try log.append(torn) } }
        }
        try #require(files.image.size(files.image.inode("/data/log-1")!) > size)
        try log.roll(at: torn.offset, time: now, continues: true)
        try log.append(torn)
        try log.sync()
        try expect(["a", "b"], afterPowerLossOf: files)
    }

    // MARK: What a sync says

    @Test func aFailedSyncStaysUntilASnapshotIsAdopted() throws {
        try log.append(part("a"))
        try log.sync()
        let safe = log.synced
        try log.append(part("b"))
        #expect(throws: StorageError.self) { try failing([.sync]) { try log.sync() } }
        #expect(log.isDamaged && log.isSegmentDamaged && log.synced == safe)
        // The kernel would say that all is well now.
        #expect(throws: StorageError.self) { try log.sync() }
        #expect(log.synced == safe)

        _ = part("c")
        try log.roll(at: journal.offset, time: now, continues: false)
        #expect(log.isDamaged && !log.isSegmentDamaged && !log.isPublished)
        #expect(try recovered(files.image).report.manifest.logs.map(\.number) == [1])
        try log.append(part("d"))
        try log.adopt(try snapshot(at: log.appended))
        #expect(!log.isDamaged && log.isPublished && log.synced == log.appended)
        try log.append(part("e"))
        try log.sync()
        try expect(["a", "b", "c", "d", "e"], afterPowerLossOf: files)
    }

    @Test func aFailureReportedToAnotherThreadIsNotMissed() throws {
        try log.append(part("a"))
        let job = try #require(log.beginSync())
        let result = failing([.sync]) { job.run() }
        // The other thread has the kernel's only report, and this one does not know of it yet.
        #expect(throws: StorageError.self) { try log.roll(at: log.appended, time: now, continues: true) }
        #expect(throws: StorageError.self) { try log.adopt(try snapshot(at: 0)) }
        #expect(log.isDamaged && log.manifest.logs.map(\.number) == [1])
        #expect(throws: StorageError.self) { try log.finishSync(job, result) }
        #expect(log.synced == 0)
    }

    @Test func aSegmentWhoseSyncFailedIsNotAdopted() throws {
        _ = part("a")
        try log.roll(at: journal.offset, time: now, continues: false)
        try log.append(part("b"))
        #expect(throws: StorageError.self) { try failing([.sync]) { try log.sync() } }
        #expect(log.isSegmentDamaged)
        #expect(throws: StorageError.self) { try log.adopt(try snapshot(at: journal.offset)) }
        #expect(!log.isPublished)
        try log.roll(at: journal.offset, time: now, continues: false)
        try log.adopt(try snapshot(at: journal.offset))
        try expect(["a", "b"], afterPowerLossOf: files)
    }

    @Test func aLogThatCannotBeSyncedIsClosedAllTheSame() throws {
        try log.append(part("a"))
        try log.sync()
        try log.append(part("b"))
        #expect(throws: StorageError.self) { try failing([.sync]) { try log.close() } }
        #expect(!log.isOpen && !log.isPublished)
        // Nothing goes on behind it, and what it has is what a start finds.
        #expect(throws: StorageError.self) { try log.roll(at: log.appended, time: now, continues: true) }
        #expect(try recovered(files.image).keys == ["a", "b"])
    }

    @Test func theSyncOfAnOlderSegmentSaysNothing() throws {
        try log.append(part("a"))
        let job = try #require(log.beginSync())
        try log.roll(at: log.appended, time: now, continues: true)
        try log.append(part("b"))
        let synced = log.synced
        try log.finishSync(job, .failure(StorageError("fsync", "log-1", code: EIO)))
        try log.finishSync(job, .success(()))
        #expect(log.synced == synced && !log.isDamaged)
    }

    // MARK: What recovery read

    @Test func whatARecoveryReadIsBuiltUponOnlyOnDisk() throws {
        try log.append(part("a"))
        // Killed, and started again on what only the kernel had.
        let second = SimulatedFileSystem(image: files.image)
        let (again, going, next) = try PromiseCheck.start(second, now: now)
        try next.roll(at: going.offset, time: now, continues: true)
        try next.append(part(["b"], again, going))
        try next.sync()
        try expect(["a", "b"], afterPowerLossOf: second)
    }

    @Test func norOnWhatAFailedSyncLeftInMemory() throws {
        try log.append(part("a"))
        #expect(throws: StorageError.self) { try failing([.sync]) { try log.sync() } }
        let second = SimulatedFileSystem(image: files.image)
        let (again, going, next) = try PromiseCheck.start(second, now: now)
        try next.roll(at: going.offset, time: now, continues: true)
        try next.append(part(["b"], again, going))
        try next.sync()
        try expect(["a", "b"], afterPowerLossOf: second)
    }

    @Test func norOnACutThatIsInMemoryAlone() throws {
        try log.append(part("a"))
        try log.sync()
        let torn = part("b")
        let inode = try #require(files.image.inode("/data/log-1"))
        let size = files.image.size(inode)
        for _ in 0..<100 where files.image.size(inode) == size {
            #expect(throws: StorageError.self) { try failing([.write], ENOSPC) { try log.append(torn) } }
        }
        // The next try cuts, and gets no further.
        files.stop = (files.calls + 2, 0)
        #expect(throws: StorageError.self) { try log.append(torn) }
        #expect(files.image.size(inode) == size)
        let second = SimulatedFileSystem(image: files.image)
        let (_, going, next) = try PromiseCheck.start(second, now: now)
        try next.roll(at: going.offset, time: now, continues: true)
        try expect(["a"], afterPowerLossOf: second)
    }

    @Test func leftoversGoOnlyWhenTheManifestIsOnDisk() throws {
        try log.append(part("a"))
        try log.roll(at: log.appended, time: now, continues: true)
        let finished = try snapshot(at: log.appended)
        // The process ends when the new manifest has its name, and the directory has not been synced.
        files.observer = { call, _ in if call == .rename { files.stop = (files.calls + 2, 0) } }
        #expect(throws: StorageError.self) { try log.adopt(finished) }
        let second = SimulatedFileSystem(image: files.image)
        let (_, _, next) = try PromiseCheck.start(second, now: now)
        #expect(next.manifest.snapshot != nil)
        second.failing = [.syncDirectory]
        next.removeLeftovers()
        #expect(second.image.inode("/data/log-1") != nil)
        second.failing = []
        next.removeLeftovers()
        #expect(second.image.inode("/data/log-1") == nil)
        try expect(["a"], afterPowerLossOf: second)
    }
}
