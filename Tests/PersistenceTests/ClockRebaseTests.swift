// Rebasing a directory whose time is years ahead of the clock.

import Glibc
import LimiterEngine
import System
import TestSupport
import Testing

@testable import Persistence

@Suite struct ClockRebaseTests {
    private let directory = GoldenDirectory.directory
    private let history = String(repeating: "ef", count: 20)
    private let year: Int64 = 31_536_000_000_000_000

    private func check(_ files: SimulatedFileSystem) -> DirectoryCheck {
        DirectoryCheck(files: files, directory: directory)
    }

    private func kinds() throws -> SimulatedFileSystem {
        try GoldenDirectory.inMemory(String(GoldenDirectory.path.dropLast("v1".count)) + "v1-kinds")
    }

    /// Rebases the directory to `now`.
    private func rebase(_ files: SimulatedFileSystem, to now: Int64) throws -> ClockRebase? {
        try ClockRebase(files: files, check: check(files), now: EngineTime(nanoseconds: now), history: history)
    }

    private func recover(_ files: SimulatedFileSystem) throws -> (engine: Engine, report: RecoveryReport) {
        let engine = Engine(shards: 4, seed: HashSeed(1, 2, 3))
        let report = try Recovery(files: files, path: directory, engine: engine, horizon: EngineTime(nanoseconds: 0))
            .run(history: GoldenDirectory.history, cutsTornTail: true)
        #expect(engine.violatedInvariants() == [])
        return (engine, report)
    }

    private func movedBack(_ states: States, by shift: Int64) -> States {
        states.mapValues { state in
            var state = state
            let kind = state.kind
            state.bytes.withUnsafeMutableBytes { StateView.moveBack(kind, $0, by: shift) }
            state.deadline = state.deadline.map { StateView.moveBack(deadline: $0, by: shift) }
            return state
        }
    }

    /// Every kind of record is shifted; nothing else in the files changes.
    @Test(arguments: [1, 10, 53] as [Int64], ["v1-kinds", "v1-calendar"])
    func everyStateIsShiftedByTheSameAmount(years: Int64, directory: String) throws {
        let files = try GoldenDirectory.inMemory(String(GoldenDirectory.path.dropLast("v1".count)) + directory)
        let (before, report) = try recover(files)
        let now = report.lastTime.nanoseconds - years * year
        let rebase = try #require(try rebase(files, to: now))
        #expect(rebase.shift.nanoseconds == years * year)
        let found = check(files)
        #expect(
            found.isClean && found.lastTime.nanoseconds == now && found.manifest?.history == history, "\(found.text)")
        let (after, moved) = try recover(files)
        #expect(moved.end == report.end && moved.records == report.records)
        #expect(moved.snapshotBytes == report.snapshotBytes && moved.logBytes == report.logBytes)
        let states = KeyspaceSession(engine: before).allStates()
        let later: Set<StateKind> = [.calendar]
        #expect(
            Set(states.values.map(\.kind))
                == (directory == "v1-calendar" ? later : Set(StateKind.allCases).subtracting(later)))
        #expect(KeyspaceSession(engine: after).allStates() == movedBack(states, by: rebase.shift.nanoseconds))
        let policies = before.policyBytes.mapValues { value in
            var value = value
            value.withUnsafeMutableBytes { PolicyRecord.moveBack(.policy, $0, by: rebase.shift.nanoseconds) }
            return value
        }
        for (key, value) in after.policyBytes where key[0] == PolicyRecord.Kind.policy.rawValue {
            #expect(value == policies[key])
        }
        #expect(
            after.policyBytes.keys.sorted { $0.lexicographicallyPrecedes($1) }
                == before.policyBytes.keys.sorted { $0.lexicographicallyPrecedes($1) })
        // A second rebase does nothing.
        #expect(try self.rebase(files, to: now) == nil)
        #expect(try self.rebase(files, to: now - 999_999_999) == nil)
    }

    @Test func theOldFilesAreKept() throws {
        let files = try kinds()
        let old = files.contents
        let rebase = try #require(try rebase(files, to: GoldenDirectory.time - year))
        let names = ["manifest", "snapshot-1", "log-2", "log-3"]
        #expect(rebase.copies == names.map { $0 + ".before-rebase-1" })
        for name in names { #expect(files["\(name).before-rebase-1"] == old["\(directory)/\(name)"]) }
        // The next start does not remove the old files, and reads only the new ones.
        #expect(check(files).stateFiles.map(\.name) == ["snapshot-4", "log-5", "log-6"])
        #expect(!check(files).files.contains { $0.role == .leftover })
        #expect(try self.rebase(files, to: GoldenDirectory.time - 2 * year)?.copies.first == "manifest.before-rebase-2")
    }

    @Test func aTornTailIsDropped() throws {
        let files = try kinds()
        let (_, report) = try recover(files)
        files["log-3"] += [1, 2, 3]
        _ = try #require(try rebase(files, to: GoldenDirectory.time - year))
        #expect(check(files).stateFiles.allSatisfy { $0.condition == .sound })
        #expect(try recover(files).report.end == report.end)
    }

    @Test func aDamagedDirectoryIsNotChanged() throws {
        let files = try kinds()
        files["log-2"][100] ^= 1
        let old = files.contents
        #expect(throws: ClockRebase.Failure.self) { try rebase(files, to: GoldenDirectory.time - year) }
        #expect(files.contents == old)
        // Without a state there is no time to rebase.
        #expect(try rebase(SimulatedFileSystem(["\(directory)/x": []]), to: 0) == nil)
    }

    /// Times near the maximum are shifted like others, but a deadline at the maximum stands for any later one.
    @Test func timesNearTheMaximumAreShifted() throws {
        let files = SimulatedFileSystem()
        let encoder = BatchEncoder(offset: 0)
        encoder.setTime(.latest)
        for (name, deadline) in [("a", Int64.max - 1), ("b", Int64.max - 2)] {
            withUnsafeBytes(of: Int64(7).littleEndian) { value in
                let state = StateView(kind: .counter, value: value, deadline: deadline)
                name.withBytes { encoder.add(state, KeyName($0)) }
            }
        }
        encoder.end()
        files["log-1"] = GoldenDirectory.header(.log, 1, 0) + GoldenDirectory.taken(encoder)
        files["manifest"] = Manifest(history: history, logs: [Manifest.Entry(number: 1, offset: 0)]).encoded()
        let now = GoldenDirectory.time
        let rebase = try #require(try rebase(files, to: now))
        #expect(check(files).lastTime.nanoseconds == now)
        let states = KeyspaceSession(engine: try recover(files).engine).allStates()
        #expect(
            states["a"]?.deadline == Int64.max - 1 && states["b"]?.deadline == Int64.max - 2 - rebase.shift.nanoseconds)
    }

    /// After a failure at any call, the directory holds either the old or the new state, complete, and the rebase can
    /// be repeated.
    @Test func aFailureAtAnyCallLeavesTheOldOrTheNewState() throws {
        let whole = try kinds()
        let now = GoldenDirectory.time - year
        let old = KeyspaceSession(engine: try recover(whole).engine).allStates()
        let rebase = try #require(try rebase(whole, to: now))
        let new = movedBack(old, by: rebase.shift.nanoseconds)
        let calls = whole.calls
        #expect(calls > 20)
        var news = 0
        for call in 1...calls {
            let files = try kinds()
            files.failure = (call, EIO)
            #expect(throws: ClockRebase.Failure.self) { try self.rebase(files, to: now) }
            #expect(check(files).isClean, "call \(call): \(check(files).text)")
            let found = KeyspaceSession(engine: try recover(files).engine).allStates()
            #expect(found == old || found == new, "call \(call)")
            if found == new { news += 1 }
            files.failure = nil
            _ = try self.rebase(files, to: now)
            #expect(check(files).isClean && check(files).lastTime.nanoseconds == now)
            #expect(KeyspaceSession(engine: try recover(files).engine).allStates() == new)
        }
        #expect(news > 0)
    }
}
