// The journal driver, table-driven, continued: snapshots, switching the log on and off, other states and names,
// shutdown.

import LimiterEngine
import Testing

@testable import Persistence

@Suite struct JournalDriverChangeTests {
    private func bench(
        _ sync: JournalDriver.Settings.Sync = .everysec, failsClosed: Bool = true, logs: Bool = true
    ) throws -> JournalBench {
        try JournalBench(JournalDriver.Settings(sync: sync, failsClosed: failsClosed), logs: logs)
    }

    // MARK: Snapshots

    @Test func aSnapshotIsAdoptedOnceTheLogCoversIt() throws {
        let bench = try bench()
        bench.run([
            (1, "change", ""),
            (1, "save", "collect 1, append, publish 1, write snapshot, taken"),
            (2, "change", ""),
            // A snapshot begun before this request may lack the client's latest changes.
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

    @Test func aSnapshotIsNotAdoptedBeforeTheLogCoversIt() throws {
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

    @Test func aSaveRuleIsMetByTimeAndChanges() throws {
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

    /// A failed snapshot is retried after a pause, or at once if a client requests one.
    @Test func aFailedSnapshotIsRetriedLater() throws {
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

    // MARK: Switching the log on and off

    @Test func aLogThatIsSwitchedOnBeginsWithASnapshot() throws {
        let bench = try bench(.always, logs: false)
        bench.run([
            (0, "turn", ""),
            (1, "on", ""),
            (1, "tickets", ""),
            (2, "turn", "write snapshot"),
            // Collections would not bring the ticket any closer to its release.
            (3, "turn", ""),
            (4, "written", "collect 1, adopted, answer finished, publish 1"),
        ])
        #expect(bench.driver.recoverableOffset == bench.journal.offset)
    }

    @Test func aLogThatIsSwitchedOffGetsAllEarlierChanges() throws {
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

    /// A snapshot begun before the log ended has less than the log, so another one is taken.
    @Test func aSnapshotInProgressIsRetakenWhenTheLogEnds() throws {
        let bench = try bench()
        bench.run([
            (1, "save", "collect 1, publish 1, write snapshot, taken"),
            (2, "change", ""),
            (2, "off", ""),
            (3, "turn", "collect 2, append, publish 2, log ended, cancel snapshot, write snapshot"),
            (4, "written", ""),
        ])
        #expect(bench.driver.log.manifest.snapshot == nil)
        bench.run([(5, "written", "adopted, answer finished")])
        let (engine, report) = try PromiseCheck.recover(bench.files, wall: bench.engineTime)
        #expect(KeyspaceSession(engine: engine).count() == 1)
        // No offset identifies the snapshot's state.
        #expect(report.manifest.history == String(repeating: "f", count: 40))
    }

    @Test func offAndOnAgainBetweenTwoTurnsHasNoEffect() throws {
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
        // The old state is complete on disk, and nothing can be appended to it.
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

    @Test func aNameThatCannotBeWrittenIsRetried() throws {
        let bench = try bench(logs: false)
        let name = String(repeating: "c", count: 40)
        bench.run([
            (0, "save", "write snapshot, taken"),
            (1, "written", "adopted, answer finished"),
            (1, "fails rename", ""),
            // Without a log this is not a reason to refuse writes.
            (2, "rename \(name)", ""),
            (3, "works", ""),
            (1001, "turn", ""),
        ])
        #expect(bench.driver.log.manifest.history != name && bench.driver.breaker.state == .open)
        bench.run([(1002, "turn", "")])
        #expect(bench.driver.log.manifest.history == name && bench.driver.breaker.state == .closed)
    }

    /// Bytes under the new name must not follow the old name's bytes on disk.
    @Test func aLogWhoseNameCannotBeWrittenIsRestarted() throws {
        let bench = try bench()
        let name = String(repeating: "c", count: 40)
        bench.run([
            (1, "change", ""),
            (10, "turn", "collect 1, append, publish 1"),
            (12, "fails rename", ""),
            (12, "rename \(name)", "refusing"),
            (13, "works", ""),
        ])
        #expect(bench.driver.recoverableOffset == -1)
        bench.run([
            (1012, "turn", "write snapshot"),
            (1013, "written", "collect 2, adopted, answer finished, fine, publish 2"),
        ])
        #expect(bench.driver.log.manifest.history == name && bench.driver.log.manifest.snapshot != nil)
    }

    @Test func aRestoreIsRetriedUntilItSucceedsOrIsCancelled() throws {
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

    // MARK: Shutdown

    @Test func shutdownWritesEverythingToDisk() throws {
        let bench = try bench()
        bench.run([(1, "change", ""), (2, "stop", "collect 1, append, publish 1, publish 1, end safe")])
        #expect(bench.driver.log.synced == bench.journal.offset)
    }

    @Test func shutdownReportsADiskFailure() throws {
        try bench().run([
            (1, "change", ""), (1, "fails sync", ""),
            (2, "stop", "collect 1, append, publish 1, refusing, end unsafe"),
        ])
        // A log that failed earlier is restarted.
        try bench(.always).run([
            (1, "tickets", ""),
            (1, "turn", "collect 1, append, sync here"),
            (1, "fails sync", ""),
            (2, "synced", "refusing"),
            (2, "works", ""),
            (3, "stop", "collect 2, end safe"),
        ])
    }

    @Test func shutdownTakesASnapshotIfRequested() throws {
        let bench = try bench(logs: false)
        bench.run([(1, "change", ""), (2, "stop save", "end safe")])
        #expect(bench.driver.log.manifest.history == String(repeating: "f", count: 40))
        #expect(bench.driver.log.manifest.snapshot != nil)
        // The state in memory is part of another state.
        let detached = try self.bench(logs: false)
        detached.run([
            (1, "detach", "answer stateIsBeingReplaced"), (2, "change", ""), (2, "stop save", "end safe"),
        ])
        #expect(detached.driver.log.manifest.snapshot == nil)
    }

    /// A command that never ends holds locks: changes under them are in no file, and no snapshot is taken.
    @Test func shutdownIsNotSafeIfChangesWereLeftOut() throws {
        let bench = try bench(logs: false)
        bench.isAbandoningStuckLocks = true
        bench.run([(1, "change", ""), (2, "stop save", "end unsafe")])
        #expect(bench.driver.log.manifest.snapshot == nil)
    }
}
