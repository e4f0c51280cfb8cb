// The journal thread restoring the state on disk: when the disk cannot be read or written, and when the restore is
// cancelled.

import LimiterEngine
import Persistence
import System
import TestSupport
import Testing

@testable import RespServer

@Suite struct JournalRestoreTests {
    /// A node with two keys on disk and part of another state in memory, as in the middle of a full sync.
    private func detached() throws -> JournalNode {
        let node = try JournalNode()
        node.start()
        node.add("a")
        node.add("b")
        node.durability.journal.collect(time: node.server.clock.now())
        node.durability.stream.drain()
        node.durability.set(isPrimary: false, engine: node.server.engine)
        let answer = DiskAnswer()
        node.durability.ask(.detach(answer))
        answer.wait()
        node.server.engine.removeState()
        node.add("theirs")
        return node
    }

    private func restore(_ node: JournalNode, number: Int = 1) {
        node.durability.want(restore: number)
        node.durability.ask(.restore(number: number, horizon: EngineTime(nanoseconds: 0)))
    }

    /// The recovery report, once it has reached the replication thread.
    private func report(of node: JournalNode, number: Int = 1) throws -> RecoveryReport {
        var found: RecoveryReport?
        node.eventually("the state is restored") {
            for case .restored(number, let report) in node.server.replication.requests.drain() { found = report }
            return found != nil
        }
        return try #require(found)
    }

    /// The replication thread's next step.
    private func resume(_ node: JournalNode, _ report: RecoveryReport) {
        node.durability.stream.restart(at: report.end, time: report.lastTime)
        let answer = DiskAnswer()
        node.durability.ask(.resume(answer))
        answer.wait()
        node.durability.set(isPrimary: true, engine: node.server.engine)
    }

    private func keys(_ engine: Engine, _ names: String...) -> [Bool] {
        let session = KeyspaceSession(engine: engine)
        return names.map { name in
            Array(name.utf8).withUnsafeBytes { session.exists($0, now: EngineTime(nanoseconds: 0)) }
        }
    }

    /// Whether recovery from disk would find these keys.
    private func keysOnDisk(_ node: JournalNode, _ names: String...) throws -> [Bool] {
        let engine = Engine(shards: 4)
        _ = try Recovery(
            files: RealFileSystem(), path: node.directory, engine: engine, horizon: EngineTime(nanoseconds: 0)
        ).run(history: node.server.runID, cutsTornTail: false)
        let session = KeyspaceSession(engine: engine)
        return names.map { name in
            Array(name.utf8).withUnsafeBytes { session.exists($0, now: EngineTime(nanoseconds: 0)) }
        }
    }

    @Test func theLogContinuesWhereItEnded() throws {
        let node = try detached()
        restore(node)
        let report = try report(of: node)
        #expect(keys(node.server.engine, "a", "b", "theirs") == [true, true, false])
        resume(node, report)
        node.add("c")
        #expect(node.stop() == true)
        #expect(try keysOnDisk(node, "a", "b", "c", "theirs") == [true, true, true, false])
        // The log was continued, so no snapshot was needed.
        #expect(node.names("snapshot-").isEmpty)
    }

    @Test func readingAFailedDiskIsRetried() throws {
        let node = try detached()
        node.files.fail("read", "log-", code: 5)
        restore(node)
        node.eventually("the disk fails") { node.files.failed > 0 }
        #expect(node.status.restoreBegan != nil)
        #expect(node.server.replication.requests.drain().isEmpty)
        node.files.work()
        resume(node, try report(of: node))
        #expect(keys(node.server.engine, "a", "b", "theirs") == [true, true, false])
        #expect(node.status.restoreBegan == nil && node.stop() == true)
    }

    /// With no log to append to, writes are refused until a snapshot of the old state is on disk.
    @Test func writesAreRefusedWhileTheDiskCannotBeWritten() throws {
        let node = try detached()
        restore(node)
        let report = try report(of: node)
        node.files.fail("create", "log-")
        resume(node, report)
        #expect(node.durability.health == .refusing)
        node.files.work()
        node.eventually("the disk works again") { node.durability.health == .fine }
        node.add("c")
        #expect(node.stop() == true)
        #expect(try keysOnDisk(node, "a", "b", "c", "theirs") == [true, true, true, false])
    }

    @Test func aCancelledRestoreEndsWithoutAReport() throws {
        let node = try detached()
        node.files.wait("read", "log-")
        restore(node)
        node.eventually("the restore has begun") { node.status.restoreBegan != nil }
        node.durability.want(restore: 0)
        node.files.work()
        let answer = DiskAnswer()
        node.durability.ask(.stopRestoring(answer))
        answer.wait()
        #expect(node.server.replication.requests.drain().isEmpty && node.status.restoreBegan == nil)
        // The next restore is reported.
        restore(node, number: 2)
        resume(node, try report(of: node, number: 2))
        #expect(keys(node.server.engine, "a", "b") == [true, true] && node.stop() == true)
    }

    /// The state on disk is complete.
    @Test func shutdownDoesNotWaitForTheRestore() throws {
        let node = try detached()
        node.files.fail("read", "log-", code: 5)
        restore(node)
        node.eventually("the disk fails") { node.files.failed > 0 }
        node.durability.want(restore: 0)
        #expect(node.stop() == true)
        node.files.work()
        #expect(try keysOnDisk(node, "a", "b", "theirs") == [true, true, false])
    }
}
