// The journal driver, table-driven: the event at each millisecond, and the driver's actions. Here: tickets, syncs,
// and a failing disk.

import LimiterEngine
import TestSupport
import Testing

@testable import Persistence

@Suite struct JournalDriverTests {
    private func bench(
        _ sync: JournalDriver.Settings.Sync = .everysec, failsClosed: Bool = true, logs: Bool = true
    ) throws -> JournalBench {
        try JournalBench(JournalDriver.Settings(sync: sync, failsClosed: failsClosed), logs: logs)
    }

    // MARK: Tickets

    @Test func aTicketIsPublishedOnceItsCollectionIsOnDisk() throws {
        try bench(.always).run([
            (0, "turn", ""),
            (1, "tickets 3", ""),
            (1, "turn", "collect 1, append, sync here"),
            (3, "synced 2", "publish 1"),
            (4, "turn", ""),
            (5, "tickets", ""),
            (6, "turn", ""),
            (7, "turn", "collect 2, append, sync here"),
            (9, "synced 2", "publish 2"),
        ])
    }

    /// Clients released by the last sync send their next requests within moments, so the first reply does not get a
    /// sync to itself.
    @Test func repliesGatherForHalfTheDurationOfASync() throws {
        let bench = try bench(.always)
        bench.run([
            (1, "tickets 3", ""),
            (1, "turn", "collect 1, append, sync here"),
            (2, "synced 1", "publish 1"),
            (2, "tickets", ""),
            (2, "turn", ""),
        ])
        #expect(bench.driver.pause(now: 2_000_000) == 500_000)
        bench.run([
            (2, "tickets 2", ""),
            // As many as the previous sync released.
            (2, "turn", "collect 2, append, sync here"),
            // Never for more than a millisecond.
            (102, "synced 100", "publish 2"),
            (102, "tickets", ""),
            (102, "turn", ""),
        ])
        #expect(bench.driver.pause(now: 102_000_000) == 1_000_000)
        bench.run([(103, "turn", "collect 3, append, sync here")])
    }

    @Test func withoutSyncsATicketIsPublishedOnceWritten() throws {
        try bench(.no).run([
            (0, "tickets", ""),
            (0, "turn", "collect 1, append, publish 1"),
            (100, "turn", ""),
        ])
    }

    /// No sync however much time has passed: under `no` the kernel decides when to write back.
    @Test func withoutSyncsNothingIsEverForced() throws {
        try bench(.no).run([
            (20, "change", ""),
            (20, "turn", "collect 1, append, publish 1"),
            (1_500, "turn", ""),
            (100_000, "turn", ""),
        ])
    }

    @Test func changesWithoutWaitingRepliesAreCollectedAtAPace() throws {
        let bench = try bench(.no)
        bench.run([
            (20, "change", ""),
            (20, "turn", "collect 1, append, publish 1"),
            (21, "change", ""),
            (22, "turn", ""),
        ])
        #expect(bench.driver.pause(now: 22_000_000) == 8_000_000)
        bench.run([(30, "turn", "collect 2, append, publish 2")])
        #expect(bench.driver.pause(now: 30_000_000) == 100_000_000)
        // A slow collection is followed by a longer pause, up to a tenth of a second.
        bench.run([(50, "change", "")])
        bench.driver.handle(.turn, now: 50_000_000)
        bench.driver.worked(until: 51_000_000)
        bench.run([(52, "change", ""), (73, "turn", ""), (74, "turn", "collect 4, append, publish 4")])
        bench.run([(90, "change", "")])
        bench.driver.handle(.turn, now: 90_000_000)
        bench.driver.worked(until: 190_000_000)
        bench.run([(191, "change", ""), (191, "turn", "collect 6, append, publish 6")])
    }

    // MARK: everysec

    @Test func aSyncEverySecondRunsOnTheOtherThread() throws {
        let bench = try bench()
        bench.run([
            (1000, "change", ""),
            (1000, "turn", "collect 1, append, publish 1, sync elsewhere"),
            (1100, "change", ""),
            (1100, "turn", "collect 2, append, publish 2"),
            (1200, "syncedElsewhere 200", ""),
            (1300, "turn", ""),
            (2000, "turn", "sync elsewhere"),
            (3000, "change", ""),
            (3000, "turn", "collect 3, append, publish 3"),
            (4000, "turn", ""),
        ])
        #expect(bench.driver.delayedSyncs == 1 && bench.driver.syncs == 1)
        bench.run([(4100, "syncedElsewhere", ""), (4200, "turn", "sync elsewhere")])
    }

    // MARK: Disk failures

    @Test func aFailedWriteIsRetriedAndPromisesNothingBefore() throws {
        let bench = try bench(.always)
        bench.run([
            (0, "fails write", ""),
            (1, "tickets", ""),
            (1, "turn", "collect 1, refusing"),
            (2, "tickets", ""),
            (500, "turn", "collect 2"),
            (1001, "turn", "collect 3"),
            (1002, "works", ""),
            // Twice the previous pause.
            (3000, "turn", ""),
            (3001, "turn", "collect 4, append, append, sync here"),
            (3003, "synced", "publish 4, fine"),
        ])
        #expect(bench.driver.breaker.state == .closed && bench.driver.failures == 2 && !bench.driver.hasGap)
    }

    @Test func underFailModeOpenDecisionsContinueInMemory() throws {
        try bench(.always, failsClosed: false).run([
            (0, "fails write", ""),
            (1, "tickets", ""),
            (1, "turn", "collect 1, memoryOnly"),
            (2, "set closed", ""),
            (2, "turn", "refusing"),
        ])
    }

    /// Only a snapshot taken afterwards proves what is on disk.
    @Test func aFailedSyncIsFinal() throws {
        let bench = try bench(.always)
        bench.run([
            (1, "tickets", ""),
            (1, "turn", "collect 1, append, sync here"),
            (1, "fails sync", ""),
            (2, "synced", "refusing"),
            (2, "works", ""),
            (900, "turn", ""),
            (1002, "turn", "write snapshot"),
            (1003, "tickets", ""),
            // A segment that recovery would not read promises nothing.
            (1020, "turn", "collect 2, append, sync here"),
            (1021, "synced", ""),
            (1030, "written", "collect 3, adopted, answer finished, fine, publish 3"),
        ])
        #expect(bench.driver.breaker.state == .closed && bench.driver.recoverableOffset == bench.journal.offset)
    }

    @Test func aFailedSyncOnTheOtherThreadIsFinal() throws {
        try bench().run([
            (1000, "change", ""),
            (1000, "turn", "collect 1, append, publish 1, sync elsewhere"),
            (1001, "fails sync", ""),
            (1002, "syncedElsewhere", "refusing"),
            (1003, "works", ""),
            (2001, "turn", ""),
            (2002, "turn", "write snapshot"),
            (2003, "written", "collect 2, adopted, answer finished, fine, publish 2"),
        ])
    }

    /// A failed repair is retried later, and the files it wrote are discarded.
    @Test func aFailedRepairIsRetried() throws {
        let bench = try bench(.always)
        bench.run([
            (1, "tickets", ""),
            (1, "turn", "collect 1, append, sync here"),
            (1, "fails sync", ""),
            (2, "synced", "refusing"),
            // Syncing the directory fails too.
            (1002, "turn", ""),
            (1003, "fails write", ""),
            (3001, "turn", ""),
            (3002, "turn", ""),
            (3003, "works", ""),
            (7002, "turn", "write snapshot"),
            (7003, "fails write", ""),
            (7004, "written", "taken, answer failed"),
            (7005, "works", ""),
            (15004, "turn", "write snapshot"),
            (15005, "written", "collect 2, adopted, answer finished, fine, publish 2"),
        ])
        let names = try bench.files.list(simulatedDirectory)
        #expect(names.filter { $0.hasPrefix("snapshot-") }.count == 1, "\(names)")
    }

    /// A snapshot begun before the gap has less than the repair, and leaves no file.
    @Test func aRepairSupersedesTheSnapshotInProgress() throws {
        let bench = try bench()
        bench.run([
            (1, "change", ""),
            (1, "save", "collect 1, append, publish 1, write snapshot, taken"),
            (1000, "change", ""),
            (1000, "turn", "collect 2, append, publish 2, sync elsewhere"),
            (1001, "fails sync", ""),
            (1002, "syncedElsewhere", "refusing"),
            (1003, "works", ""),
            (2002, "turn", "cancel snapshot, write snapshot"),
            (2003, "written", ""),
        ])
        #expect(bench.driver.run?.kind == .repair && bench.driver.outcomes.saves == 0)
        #expect(try bench.files.list(simulatedDirectory).filter { $0.hasPrefix("snapshot-") }.count == 1)
        bench.run([(2004, "written", "collect 3, adopted, answer finished, fine, publish 3")])
    }

    /// The bytes waiting for a disk are bounded; beyond that a snapshot replaces them.
    @Test func aWriteBacklogOverTheLimitIsDropped() throws {
        let bench = try bench(.always)
        bench.run([
            (0, "fails write", ""),
            (1, "tickets", ""),
            (1, "turn", "collect 1, refusing"),
            (50, "change 100", ""),
            (50, "turn", "collect 2"),
        ])
        #expect(bench.driver.bytesWaiting == 0 && bench.driver.hasGap)
        bench.run([
            (60, "works", ""),
            (1001, "turn", "write snapshot"),
            (1002, "written", "collect 3, adopted, answer finished, fine, publish 3"),
        ])
        #expect(!bench.driver.hasGap)
    }
}
