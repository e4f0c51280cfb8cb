// The journal thread and a failing disk: buffered memory is bounded, and no thread does useless work.

import Glibc
import LimiterEngine
import Persistence
import TestSupport
import Testing

@testable import RespServer

@Suite struct JournalThreadTests {
    /// A node under `fail-mode open` whose disk has just failed.
    private func failing() throws -> JournalNode {
        let node = try JournalNode { $0.failMode = .open }
        node.start()
        node.add("before")
        node.eventually("the change is on disk") { node.status.syncedOffset > 0 }
        node.files.fail("write", "log-")
        node.add("first")
        node.eventually("the disk fails") { node.durability.health == .memoryOnly }
        return node
    }

    /// A key that was changed and deleted stays as a tombstone until the next collection.
    @Test func deletedKeysUseNoMemoryWhileTheDiskFails() throws {
        let node = try failing()
        let before = node.memory
        for turn in 0..<20 { node.churn(turn * 1000..<turn * 1000 + 1000) }
        node.eventually("deleted keys use no memory") { node.memory < before + 100_000 }
        #expect(node.status.breaker != .closed)
        node.files.work()
        node.eventually("the disk works again") { node.status.breaker == .closed }
        #expect(node.stop() == true)
    }

    /// Policies are journaled without a collection. Their bytes are counted, and the same limit applies.
    @Test func directlyJournaledRecordsAreCountedAndBounded() throws {
        let node = try failing()
        let journal = node.durability.journal
        let body = [UInt8](repeating: 7, count: 1 << 20)
        func record(_ megabytes: Int) {
            for _ in 0..<megabytes {
                body.withUnsafeBytes { journal.record(.policy, body: $0, time: node.server.clock.now()) {} }
            }
            node.durability.noteChanges()
        }
        record(30)
        node.eventually("the bytes are counted") { node.status.unsyncedBytes >= 30 << 20 }
        record(40)
        node.eventually("the backlog is dropped") { node.status.unsyncedBytes < 30 << 20 && journal.pendingBytes == 0 }
        #expect(node.status.breaker != .closed && node.stop() == false)
    }

    /// An idle iteration blocks until there is work.
    @Test(arguments: [true, false]) func aLogThatCannotBeOpenedCausesNoBusyLoop(isOpen: Bool) throws {
        let node = try JournalNode { $0.failMode = isOpen ? .open : .closed }
        node.files.fail("create", "log-")
        node.start()
        node.eventually("beginning the log fails") { node.status.breaker == .open }
        node.add("a")
        node.durability.noteChanges()
        node.eventually("the thread is idle") { node.rests() }
        node.files.work()
        node.eventually("the disk works again") { node.status.breaker == .closed }
        #expect(node.stop() == true)
    }

    /// A reply that waits for a snapshot to begin the log is not released by collections, so none must run for it.
    @Test func aReplyHeldForASnapshotCausesNoBusyLoop() throws {
        let node = try JournalNode {
            $0.appendonly = false
            $0.appendfsync = .always
        }
        node.start()
        node.add("a")
        node.files.wait("fsync", "snapshot-")
        node.set { $0.appendonly = true }
        node.durability.switchLogging(true, engine: node.server.engine)
        node.eventually("the snapshot is running") { node.status.isSnapshotRunning }
        node.add("b")
        let ticket = node.durability.takeTicket()
        let before = node.status.collections
        node.eventually("the thread is idle") { node.rests() }
        #expect(node.status.collections - before < 10)
        #expect(node.durability.durableTicket < ticket)
        node.files.work()
        node.eventually("the change is on disk") { node.durability.durableTicket >= ticket }
        #expect(node.stop() == true)
    }

    /// Nor is a log begun when none is configured: its later contents would carry the name of an earlier state.
    @Test func withoutALogTheHistoryNameIsRetriedAndNoLogBegun() throws {
        let node = try JournalNode { $0.appendonly = false }
        node.start()
        node.add("a")
        node.durability.ask(.snapshot(.save, waiter: nil))
        node.eventually("a snapshot is taken") { node.status.snapshots == 1 }
        node.files.fail("rename", "manifest")
        let (answer, name) = (DiskAnswer(), String(repeating: "e", count: 40))
        node.durability.ask(.rename(from: nil, to: name, answer))
        answer.wait()
        #expect(node.durability.health == .fine && node.status.breaker == .open)
        node.files.work()
        node.eventually("the disk works again") { node.status.breaker == .closed }
        #expect(node.names("log-") == [] && !node.durability.isJournaling)
        let manifest = try RealFileSystem().contents(of: "\(node.directory)/manifest", limit: 4096)
        #expect(String(decoding: manifest, as: UTF8.self).contains("history \(name)\n"))
        #expect(node.stop() == true)
    }

    // MARK: Snapshots

    /// Requests one snapshot, which fails.
    private func failSnapshot(_ node: JournalNode) {
        let before = node.files.failed
        node.files.fail("write", "snapshot-")
        node.durability.ask(.snapshot(.save, waiter: nil))
        node.eventually("a snapshot fails") { node.files.failed > before && !node.status.isSnapshotUnderWay }
    }

    @Test func failedSnapshotsLeaveNoFiles() throws {
        let node = try JournalNode()
        node.start()
        for number in 0..<10 {
            node.add("k\(number)")
            failSnapshot(node)
        }
        #expect(node.names("snapshot-") == [] && node.names("log-").count <= 2)
        node.files.work()
        node.durability.ask(.snapshot(.save, waiter: nil))
        node.eventually("a snapshot is taken") { node.status.snapshots > 0 && !node.status.isSnapshotUnderWay }
        #expect(node.names("snapshot-").count == 1 && node.stop() == true)
    }

    /// While writes are refused nothing changes, so no save rule would ever trigger the next snapshot.
    @Test func aFailedSnapshotIsRetriedWhileWritesAreRefused() throws {
        let node = try JournalNode {
            $0.appendonly = false
            $0.save = SaveRules("3600 1000")!
        }
        node.start()
        node.add("k")
        failSnapshot(node)
        node.eventually("writes are refused") { node.durability.health == .refusing }
        node.files.work()
        node.eventually("the snapshot is retried") { node.durability.health == .fine && node.status.snapshots == 1 }
        #expect(node.stop() == true)
    }

    /// A snapshot that began in the middle of a segment keeps that segment; it counts as growth, and the next one
    /// removes it.
    @Test func aSegmentThatOutlivedItsSnapshotIsReplacedByTheNext() throws {
        let node = try JournalNode()
        node.start()
        node.add("k")
        failSnapshot(node)
        node.churn(0..<2000)
        node.eventually("the log is written") { node.status.logBytes > 100_000 && node.status.unsyncedBytes == 0 }
        node.files.work()
        node.durability.ask(.snapshot(.save, waiter: nil))
        node.eventually("a snapshot is taken") { node.status.snapshots == 1 }
        #expect(node.status.logBytes > 100_000 && node.status.baseBytes < 10_000)
        node.set {
            $0.autoAofRewritePercentage = 100
            $0.autoAofRewriteMinSizeBytes = 1
        }
        node.eventually("the log is short") { node.status.logBytes < 10_000 }
        #expect(node.stop() == true)
    }
}
