// The journal's driver by table: what happens at which millisecond, and what it does about it.

import LimiterEngine
import Testing

@testable import Persistence

@Suite struct JournalDriverTests {
    private func bench(
        _ sync: JournalDriver.Settings.Sync = .everysec, failsClosed: Bool = true, logs: Bool = true
    ) throws -> JournalBench {
        try JournalBench(JournalDriver.Settings(sync: sync, failsClosed: failsClosed), logs: logs)
    }

    // MARK: Tickets

    @Test func aTicketIsGoodWhenItsCollectionIsOnDisk() throws {
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

    /// Those that the last sync released are back in a moment, so the first of them does not get a sync for itself.
    @Test func repliesAreGatheredForHalfOfWhatASyncTakes() throws {
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
            // As many as the last time.
            (2, "turn", "collect 2, append, sync here"),
            // Never longer than a millisecond.
            (102, "synced 100", "publish 2"),
            (102, "tickets", ""),
            (102, "turn", ""),
        ])
        #expect(bench.driver.pause(now: 102_000_000) == 1_000_000)
        bench.run([(103, "turn", "collect 3, append, sync here")])
    }

    @Test func withoutSyncsATicketIsGoodWhenItIsWritten() throws {
        try bench(.no).run([
            (0, "tickets", ""),
            (0, "turn", "collect 1, append, publish 1"),
            (100, "turn", ""),
        ])
    }

    @Test func whatIsNotWaitedForIsCollectedAtAPace() throws {
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
        // A collection that took long is followed by a longer pause, up to a tenth of a second.
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

    @Test func aSyncEverySecondRunsElsewhere() throws {
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

    // MARK: The disk fails

    @Test func aFailedWriteIsRepeatedAndNothingIsPromisedBefore() throws {
        let bench = try bench(.always)
        bench.run([
            (0, "fails write", ""),
            (1, "tickets", ""),
            (1, "turn", "collect 1, refusing"),
            (2, "tickets", ""),
            (500, "turn", "collect 2"),
            (1001, "turn", "collect 3"),
            (1002, "works", ""),
            // Twice as long as before.
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
            // A segment that no start reads promises nothing.
            (1020, "turn", "collect 2, append, sync here"),
            (1021, "synced", ""),
            (1030, "written", "collect 3, adopted, answer finished, fine, publish 3"),
        ])
        #expect(bench.driver.breaker.state == .closed && bench.driver.recoverableOffset == bench.journal.offset)
    }

    @Test func aFailedSyncElsewhereIsFinal() throws {
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

    /// A repair that fails is tried again later, and what it wrote is of no use.
    @Test func aRepairThatFailsIsRepeated() throws {
        let bench = try bench(.always)
        bench.run([
            (1, "tickets", ""),
            (1, "turn", "collect 1, append, sync here"),
            (1, "fails sync", ""),
            (2, "synced", "refusing"),
            // The directory cannot be synced either.
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

    /// A snapshot that began before the gap has less than the repair, and leaves no file.
    @Test func aRepairOvertakesTheSnapshotUnderWay() throws {
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

    /// What waits for a disk is bounded; then a snapshot takes its place.
    @Test func tooMuchThatWaitsIsDropped() throws {
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

    // MARK: Snapshots

    @Test func aSnapshotIsAdoptedWhenTheLogHasAllOfIt() throws {
        let bench = try bench()
        bench.run([
            (1, "change", ""),
            (1, "save", "collect 1, append, publish 1, write snapshot, taken"),
            (2, "change", ""),
            // One that began before this request may miss what the client has just done.
            (2, "rewrite", "taken"),
        ])
        #expect(bench.driver.scheduled == .rewrite)
        bench.run([
            (
                3, "written",
                "collect 2, append, publish 2, adopted, answer finished, publish 2, collect 3, publish 3, "
                    + "write snapshot"
            ),
            (4, "written", "collect 4, publish 4, adopted, answer finished, publish 4"),
        ])
        #expect(bench.driver.outcomes.saves == 1 && bench.driver.outcomes.rewrites == 1)
        #expect(bench.driver.log.synced == bench.journal.offset)
    }

    @Test func aSnapshotIsNotAdoptedWhenTheLogHasNotAllOfIt() throws {
        let bench = try bench()
        bench.run([
            (1, "change", ""),
            (1, "save", "collect 1, append, publish 1, write snapshot, taken"),
        ])
        let before = bench.driver.log.manifest
        bench.run([
            (2, "change", ""),
            (3, "fails rename", ""),
            (3, "written", "collect 2, append, publish 2, refusing, taken, answer failed"),
        ])
        #expect(bench.driver.log.manifest == before && bench.driver.outcomes.saves == 0)
    }

    @Test func aRuleOfSaveIsMetByTimeAndChanges() throws {
        let bench = try bench(.no)
        bench.run([
            (0, "set save", ""),
            (10, "change 2", ""),
            (10, "turn", "collect 1, append, publish 1"),
            (10_000, "turn", ""),
            (10_001, "change", ""),
            (10_020, "turn", "collect 2, append, publish 2, collect 3, publish 3, write snapshot"),
            (10_021, "written", "collect 4, publish 4, adopted, answer finished, publish 4"),
            (10_022, "change 3", ""),
            (20_020, "turn", "collect 5, append, publish 5"),
            (20_021, "turn", "collect 6, publish 6, write snapshot"),
        ])
    }

    @Test func aLogThatHasGrownIsReplaced() throws {
        let bench = try bench(.no)
        bench.run([
            (0, "set growth", ""),
            (10, "change", ""),
            (10, "turn", "collect 1, append, publish 1"),
            (11, "change 20", ""),
            (20, "turn", "collect 2, append, publish 2, collect 3, publish 3, write snapshot"),
            (21, "written", "collect 4, publish 4, adopted, answer finished, publish 4"),
            (22, "turn", ""),
        ])
        #expect(bench.driver.outcomes.rewrites == 1)
    }

    /// One that fails is tried again after a pause, unless a client asks.
    @Test func aSnapshotThatFailsIsTriedAgainLater() throws {
        let bench = try bench(.no, logs: false)
        bench.run([
            (0, "set save", ""),
            (1, "change 5", ""),
            (10_000, "turn", "collect 1, publish 1, write snapshot"),
            (10_001, "fails write", ""),
            (10_002, "written", "taken, answer failed, refusing"),
            (11_001, "turn", ""),
            (11_002, "works", ""),
            (11_003, "turn", "write snapshot"),
            (11_004, "written", "adopted, answer finished, fine"),
        ])
    }

    // MARK: The log is switched on and off

    @Test func aLogThatIsSwitchedOnBeginsWithASnapshot() throws {
        let bench = try bench(.always, logs: false)
        bench.run([
            (0, "turn", ""),
            (1, "on", ""),
            (1, "tickets", ""),
            (2, "turn", "write snapshot"),
            // Collections would not bring the ticket any nearer.
            (3, "turn", ""),
            (4, "written", "collect 1, adopted, answer finished, publish 1"),
        ])
        #expect(bench.driver.recoverableOffset == bench.journal.offset)
    }

    @Test func aLogThatIsSwitchedOffGetsWhatHadChanged() throws {
        let bench = try bench(.always)
        bench.run([
            (1, "tickets", ""),
            (1, "off", ""),
            (1, "turn", "collect 1, append, log ended, collect 2, publish 2"),
        ])
        #expect(bench.driver.recoverableOffset == -1)
        let (engine, report) = try PromiseCheck.recover(bench.files, wall: bench.engineTime)
        #expect(KeyspaceSession(engine: engine).count() == 1 && report.end == bench.journal.offset)
    }

    @Test func offAndOnAgainBetweenTwoTurnsIsNothing() throws {
        try bench(.no).run([
            (1, "change", ""),
            (1, "off", ""),
            (1, "on", ""),
            (10, "turn", "collect 1, append, publish 1"),
        ])
    }

    // MARK: Other states and names

    @Test func nothingIsWrittenWhileTheStateIsReplaced() throws {
        let bench = try bench(.no)
        bench.run([
            (1, "change", ""),
            (2, "detach", "collect 1, append, publish 1, answer stateIsBeingReplaced"),
        ])
        // The old state is whole on disk, and nothing can be added to it.
        #expect(!bench.driver.log.isOpen && bench.driver.log.synced == bench.journal.offset)
        bench.run([
            (3, "change", ""),
            (20, "turn", "collect 2"),
            (21, "save", "taken, answer stateIsBeingReplaced"),
            (30, "attach \(String(repeating: "b", count: 40))", "write snapshot"),
        ])
        #expect(!bench.driver.filesAreCurrent && bench.driver.recoverableOffset == -1)
        bench.run([(31, "written", "collect 3, adopted, answer finished, publish 3")])
        #expect(bench.driver.log.manifest.history == String(repeating: "b", count: 40))
        #expect(bench.driver.filesAreCurrent && bench.driver.recoverableOffset == bench.journal.offset)
    }

    @Test func aNameThatTheDiskDoesNotTakeIsTriedAgain() throws {
        let bench = try bench(logs: false)
        let name = String(repeating: "c", count: 40)
        bench.run([
            (0, "save", "write snapshot, taken"),
            (1, "written", "adopted, answer finished"),
            (1, "fails rename", ""),
            // Without a log that is not a reason to refuse writes.
            (2, "rename \(name)", ""),
            (3, "works", ""),
            (1001, "turn", ""),
        ])
        #expect(bench.driver.log.manifest.history != name && bench.driver.breaker.state == .open)
        bench.run([(1002, "turn", "")])
        #expect(bench.driver.log.manifest.history == name && bench.driver.breaker.state == .closed)
    }

    @Test func theStateOnDiskIsReadBackUntilThatWorksOrIsNotWanted() throws {
        let bench = try bench(.no)
        bench.run([
            (1, "change", ""),
            (2, "detach", "collect 1, append, publish 1, answer stateIsBeingReplaced"),
            (3, "fails read", ""),
            (4, "restore 1", ""),
            (4, "turn", "read back"),
            (5, "readBack", ""),
            (1004, "turn", ""),
            (1005, "works", ""),
            (1005, "turn", "read back"),
            (1006, "unwanted", ""),
            (1006, "readBack", ""),
            (9000, "turn", ""),
            (9001, "restore 2", ""),
            (9001, "turn", "read back"),
            (9002, "readBack", "restored"),
            (9003, "resume", ""),
            (9004, "change", ""),
            (9020, "turn", "collect 2, append, publish 2"),
        ])
        #expect(bench.driver.recoverableOffset == bench.driver.log.synced && !bench.driver.hasGap)
    }

    // MARK: The end

    @Test func theEndBringsEverythingToDisk() throws {
        let bench = try bench()
        bench.run([(1, "change", ""), (2, "stop", "collect 1, append, publish 1, publish 1, end safe")])
        #expect(bench.driver.log.synced == bench.journal.offset)
    }

    @Test func theEndSaysWhenTheDiskFails() throws {
        try bench().run([
            (1, "change", ""), (1, "fails sync", ""),
            (2, "stop", "collect 1, append, publish 1, refusing, end unsafe"),
        ])
        // A log that failed before is begun anew.
        try bench(.always).run([
            (1, "tickets", ""),
            (1, "turn", "collect 1, append, sync here"),
            (1, "fails sync", ""),
            (2, "synced", "refusing"),
            (2, "works", ""),
            (3, "stop", "collect 2, end safe"),
        ])
    }

    @Test func theEndTakesASnapshotIfAsked() throws {
        let bench = try bench(logs: false)
        bench.run([(1, "change", ""), (2, "stop save", "end safe")])
        #expect(bench.driver.log.manifest.history == String(repeating: "f", count: 40))
        #expect(bench.driver.log.manifest.snapshot != nil)
        // What is in memory is a part of another state.
        let detached = try self.bench(logs: false)
        detached.run([
            (1, "detach", "answer stateIsBeingReplaced"), (2, "change", ""), (2, "stop save", "end safe"),
        ])
        #expect(detached.driver.log.manifest.snapshot == nil)
    }

    /// A command that never ends holds locks: the changes under them are in no file, and no snapshot is taken.
    @Test func theEndIsNotSafeWhenChangesWereLeftOut() throws {
        let bench = try bench(logs: false)
        bench.isAbandoningStuckLocks = true
        bench.run([(1, "change", ""), (2, "stop save", "end unsafe")])
        #expect(bench.driver.log.manifest.snapshot == nil)
    }
}
