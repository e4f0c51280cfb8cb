// Full syncs interrupted by other events, and what replicas are sent.

import LimiterEngine
import Persistence
import System
import Testing

@testable import Replication

extension NodeDriverTests {
    // MARK: Full syncs

    /// A replica in the middle of receiving a snapshot.
    func receiving() -> (FakeEnvironment, NodeDriver) {
        let world = FakeEnvironment(.replica(of: other))
        answer(world, ["+PONG", "+OK", "+OK", "+FULLRESYNC \(TestStream.id("b")) 0"])
        _ = world.drainCalls()
        let snapshot = TestStream().snapshot()
        snapshot.prefix(FileHeader.size).withUnsafeBytes { world.driver.upstreamReceived($0) }
        return (world, world.driver)
    }

    @Test func aFullSyncDropsTheStateOnlyAfterReadersAndDiskAreDone() {
        let (world, driver) = receiving()
        #expect(world.drainCalls() == ["close: receiving", "detach", "wait for readers", "journal at 0"])
        #expect(driver.role.dataset == .none)
    }

    @Test func aPromotionDuringAFullSyncRestoresTheOldStateBeforeItLeads() {
        let (world, driver) = receiving()
        _ = world.drainCalls()
        driver.lead()
        #expect(world.drainCalls() == ["disconnect", "save", "close: restoring", "wait for readers", "restore 1"])
        #expect(world.gates.isReplica && world.gates.isReceiving && !driver.role.leads)
        driver.restored(1, FakeEnvironment.recovered())
        let calls = world.drainCalls()
        #expect(calls.first == "journal at 0" && calls.contains("resume log"))
        #expect(driver.role.leads && !world.gates.isReplica && !world.gates.isReceiving && !world.gates.isRestoring)
    }

    /// The clock of the state on disk is unknown, so the wall clock applies, as after a restart, and not the clock of
    /// the full sync's primary, which is an hour ahead.
    @Test func aRestoredStateDoesNotUseTheFullSyncsClock() {
        let (world, driver) = receiving()
        world.wall = WallInstant(nanoseconds: TestStream.start) - 3600 * NodeDriverTests.second
        driver.lead()
        #expect(world.restoreHorizon! <= EngineTime(world.wall))
        driver.restored(1, FakeEnvironment.recovered())
        #expect(driver.clock.now(world.steady) == EngineTime(world.wall))
    }

    /// The node is told to follow and promoted again before the restore ends: only the last restore takes effect.
    @Test func aCancelledRestoreChangesNothing() {
        let (world, driver) = receiving()
        driver.lead()
        driver.follow(third, asker: 0)
        #expect(world.drainCalls().contains("stop restoring"))
        driver.restored(1, FakeEnvironment.recovered())
        #expect(driver.role.isReplica && world.drainCalls() == [])
        driver.lead()
        _ = world.drainCalls()
        driver.restored(1, FakeEnvironment.recovered())
        #expect(!driver.role.leads && world.drainCalls() == [])
        driver.restored(2, FakeEnvironment.recovered())
        #expect(driver.role.leads)
    }

    /// Whichever node is followed next, a partial state is neither readable by clients nor sent to replicas.
    @Test func aPartialStateIsNeverServed() {
        let (world, driver) = receiving()
        driver.follow(third, asker: 0)
        #expect(world.gates.isReceiving)
        _ = world.drainCalls()
        serve(1, world)
        #expect(world.drainCalls().contains("close 1 after -NOMASTE"))
        #expect(driver.served.isEmpty)
    }

    /// A node with a partial state also refuses to take over at a primary's request.
    @Test func aPartialStateDoesNotTakeOver() {
        let (world, driver) = receiving()
        _ = world.drainCalls()
        serve(1, world, SyncRequest(position: StreamPosition(id: TestStream.id("b"), offset: 0), takesOver: true))
        #expect(world.drainCalls() == ["close 1 after -NOMASTE"])
        #expect(driver.role.isReplica)
    }

    // MARK: Replicas

    @Test func aReplicaThatSendsCommandsOutOfOrderIsClosed() {
        for words in [["PING"], ["REPLCONF", "ACK", "999999"], ["REPLCONF", "ack"], []] {
            let (world, driver) = primaryWithReplica()
            driver.said(words, by: 1)
            #expect(world.drainCalls() == ["close 1"] && driver.served.isEmpty, "\(words)")
            // Its further input is ignored.
            driver.said(["REPLCONF", "ACK", "0"], by: 1)
            driver.lost(1)
            #expect(world.drainCalls() == [])
        }
    }

    @Test func theBytesSentAtOnceAreBounded() {
        let (world, driver) = primaryWithReplica()
        for number in 0..<100 { world.write("key-\(number)") }
        world.collect()
        var sent = 0
        let hasMore = driver.send(to: 1, limit: 100) { bytes in
            sent += min(bytes.count, 60)
            return min(bytes.count, 60)
        }
        #expect(hasMore && sent == 120)
        // A full socket is tried once per call.
        var tries = 0
        #expect(
            driver.send(to: 1, limit: 100) { _ in
                tries += 1
                return -1
            })
        #expect(tries == 1)
        sendAll(1, world)
        #expect(!driver.send(to: 1, limit: 100) { $0.count })
    }

    /// Changes that no journal contains: replicas get a new history that begins after them.
    @Test func unjournaledChangesBeginAHistory() {
        let world = FakeEnvironment(.primary)
        let before = world.driver.role.identity.id
        world.hasUncountedChanges = true
        serve(1, world, SyncRequest(position: StreamPosition(id: before, offset: 0)))
        #expect(world.driver.role.identity.id != before && world.driver.role.identity.past == nil)
        #expect(world.drainCalls().contains("attach false"))
        #expect(world.driver.fullSyncs == 1 && world.driver.refusedPartialSyncs == 1)
    }
}
