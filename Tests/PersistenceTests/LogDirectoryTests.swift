// The guarantees in LogDirectory's header, with one failing call at a time, and regressions of faults in them.

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

    /// A journal part that sets the state of these keys.
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

    /// The keys and end offset recovered from a disk.
    private func recovered(_ image: DiskImage) throws -> (keys: Set<String>, report: RecoveryReport) {
        let (engine, report) = try PromiseCheck.recover(SimulatedFileSystem(image: image), wall: now)
        return (Set(KeyspaceSession(engine: engine).allStates().keys), report)
    }

    /// Simulates forty different power losses at this moment; these keys survive each of them.
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

    // MARK: Appending

    @Test func appendedAndSyncedReportTheirOffsets() throws {
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

    @Test func aFailedAppendCanBeRetried() throws {
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
        // Until part of it was written before the disk was full.
        for _ in 0..<100 where files.image.size(files.image.inode("/data/log-1")!) == size {
            #expect(throws: StorageError.self) { try failing([.write], ENOSPC) { try log.append(torn) } }
        }
        try #require(files.image.size(files.image.inode("/data/log-1")!) > size)
        try log.roll(at: torn.offset, time: now, continues: true)
        try log.append(torn)
        try log.sync()
        try expect(["a", "b"], afterPowerLossOf: files)
    }

    // MARK: Sync results

    @Test func aFailedSyncStaysUntilASnapshotIsAdopted() throws {
        try log.append(part("a"))
        try log.sync()
        let safe = log.synced
        try log.append(part("b"))
        #expect(throws: StorageError.self) { try failing([.sync]) { try log.sync() } }
        #expect(log.isDamaged && log.isSegmentDamaged && log.synced == safe)
        // A further fsync would report success now.
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
        // The other thread received the kernel's only report, and this thread does not know of it yet.
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

    @Test func aLogThatCannotBeSyncedIsStillClosed() throws {
        try log.append(part("a"))
        try log.sync()
        try log.append(part("b"))
        #expect(throws: StorageError.self) { try failing([.sync]) { try log.close() } }
        #expect(!log.isOpen && !log.isPublished)
        // Nothing continues it, and recovery finds its contents.
        #expect(throws: StorageError.self) { try log.roll(at: log.appended, time: now, continues: true) }
        #expect(try recovered(files.image).keys == ["a", "b"])
    }

    @Test func theSyncOfAnOlderSegmentPromisesNothing() throws {
        try log.append(part("a"))
        let job = try #require(log.beginSync())
        try log.roll(at: log.appended, time: now, continues: true)
        try log.append(part("b"))
        let synced = log.synced
        try log.finishSync(job, .failure(StorageError("fsync", "log-1", code: EIO)))
        try log.finishSync(job, .success(()))
        #expect(log.synced == synced && !log.isDamaged)
    }

    // MARK: Continuing after recovery

    @Test func recoveredBytesAreSyncedBeforeTheLogContinues() throws {
        try log.append(part("a"))
        // The process is killed and restarted on bytes that were only in the page cache.
        let second = SimulatedFileSystem(image: files.image)
        let (again, going, next) = try PromiseCheck.start(second, now: now)
        try next.roll(at: going.offset, time: now, continues: true)
        try next.append(part(["b"], again, going))
        try next.sync()
        try expect(["a", "b"], afterPowerLossOf: second)
    }

    @Test func bytesOfAFailedSyncAreSyncedBeforeTheLogContinues() throws {
        try log.append(part("a"))
        #expect(throws: StorageError.self) { try failing([.sync]) { try log.sync() } }
        let second = SimulatedFileSystem(image: files.image)
        let (again, going, next) = try PromiseCheck.start(second, now: now)
        try next.roll(at: going.offset, time: now, continues: true)
        try next.append(part(["b"], again, going))
        try next.sync()
        try expect(["a", "b"], afterPowerLossOf: second)
    }

    @Test func aCutInThePageCacheIsSyncedBeforeTheLogContinues() throws {
        try log.append(part("a"))
        try log.sync()
        let torn = part("b")
        let inode = try #require(files.image.inode("/data/log-1"))
        let size = files.image.size(inode)
        for _ in 0..<100 where files.image.size(inode) == size {
            #expect(throws: StorageError.self) { try failing([.write], ENOSPC) { try log.append(torn) } }
        }
        // The next attempt truncates the file, and the process ends there.
        files.stop = (files.calls + 2, 0)
        #expect(throws: StorageError.self) { try log.append(torn) }
        #expect(files.image.size(inode) == size)
        let second = SimulatedFileSystem(image: files.image)
        let (_, going, next) = try PromiseCheck.start(second, now: now)
        try next.roll(at: going.offset, time: now, continues: true)
        try expect(["a"], afterPowerLossOf: second)
    }

    @Test func leftoversAreRemovedOnlyOnceTheManifestIsOnDisk() throws {
        try log.append(part("a"))
        try log.roll(at: log.appended, time: now, continues: true)
        let finished = try snapshot(at: log.appended)
        // The process ends after the new manifest has been renamed into place, before the directory is synced.
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
