// Full syncs in the middle of other events, and what replicas are sent.

import LimiterEngine
import Persistence
import System
import Testing

@testable import Replication

extension NodeDriverTests {
    // MARK: Full syncs

    /// A replica that a snapshot has begun to come to.
    func receiving() -> (FakeEnvironment, NodeDriver) {
        let world = FakeEnvironment(.replica(of: other))
        answer(world, ["+PONG", "+OK", "+OK", "+FULLRESYNC \(TestStream.id("b")) 0"])
        _ = world.take()
        let snapshot = TestStream().snapshot()
        snapshot.prefix(FileHeader.size).withUnsafeBytes { world.driver.upstreamReceived($0) }
        return (world, world.driver)
    }

    @Test func aFullSyncTakesTheStateAwayOnlyWhenReadersAndDiskAreDone() {
        let (world, driver) = receiving()
        #expect(world.take() == ["close: receiving", "detach", "wait for readers", "journal at 0"])
        #expect(driver.role.dataset == .none)
    }

    @Test func promotedInsideAFullSyncItGoesBackBeforeItLeads() {
        let (world, driver) = receiving()
        _ = world.take()
        driver.lead()
        #expect(world.take() == ["disconnect", "save", "close: restoring", "wait for readers", "restore 1"])
        #expect(world.gates.isReplica && world.gates.isReceiving && !driver.role.leads)
        driver.restored(1, FakeEnvironment.recovered())
        let calls = world.take()
        #expect(calls.first == "journal at 0" && calls.contains("resume log"))
        #expect(driver.role.leads && !world.gates.isReplica && !world.gates.isReceiving && !world.gates.isRestoring)
    }

    /// Nothing is known of the clock that the state on disk was kept by: so the wall clock counts, as at a start, and
    /// not that of the full sync's primary, which is an hour ahead.
    @Test func whatIsReadBackGoesOnByItsOwnClock() {
        let (world, driver) = receiving()
        world.wall = WallInstant(nanoseconds: TestStream.start) - 3600 * NodeDriverTests.second
        driver.lead()
        #expect(world.restoreHorizon! <= EngineTime(world.wall))
        driver.restored(1, FakeEnvironment.recovered())
        #expect(driver.clock.now(world.steady) == EngineTime(world.wall))
    }

    /// It is told to follow, and promoted again, before the state is back: only the last restore counts.
    @Test func aRestoreThatIsNotWantedAnyMoreChangesNothing() {
        let (world, driver) = receiving()
        driver.lead()
        driver.follow(third, asker: 0)
        #expect(world.take().contains("stop restoring"))
        driver.restored(1, FakeEnvironment.recovered())
        #expect(driver.role.isReplica && world.take() == [])
        driver.lead()
        _ = world.take()
        driver.restored(1, FakeEnvironment.recovered())
        #expect(!driver.role.leads && world.take() == [])
        driver.restored(2, FakeEnvironment.recovered())
        #expect(driver.role.leads)
    }

    /// Whichever node is followed next, clients cannot read a partial state, and replicas are not given it.
    @Test func aPartialStateIsNeverServed() {
        let (world, driver) = receiving()
        driver.follow(third, asker: 0)
        #expect(world.gates.isReceiving)
        _ = world.take()
        serve(1, world)
        #expect(world.take().contains("close 1 after -NOMASTE"))
        #expect(driver.served.isEmpty)
    }

    /// Nor does a node with one take over where a primary asks it to.
    @Test func aPartialStateDoesNotTakeOver() {
        let (world, driver) = receiving()
        _ = world.take()
        serve(1, world, SyncRequest(position: StreamPosition(id: TestStream.id("b"), offset: 0), takesOver: true))
        #expect(world.take() == ["close 1 after -NOMASTE"])
        #expect(driver.role.isReplica)
    }

    // MARK: Replicas

    @Test func aReplicaThatSpeaksOutOfTurnIsClosed() {
        for words in [["PING"], ["REPLCONF", "ACK", "999999"], ["REPLCONF", "ack"], []] {
            let (world, driver) = primaryWithReplica()
            driver.said(words, by: 1)
            #expect(world.take() == ["close 1"] && driver.served.isEmpty, "\(words)")
            // Nothing of it is heard any more.
            driver.said(["REPLCONF", "ACK", "0"], by: 1)
            driver.lost(1)
            #expect(world.take() == [])
        }
    }

    @Test func whatAReplicaIsSentHasALimit() {
        let (world, driver) = primaryWithReplica()
        for number in 0..<100 { world.write("key-\(number)") }
        world.collect()
        var sent = 0
        let hasMore = driver.send(to: 1, limit: 100) { bytes in
            sent += min(bytes.count, 60)
            return min(bytes.count, 60)
        }
        #expect(hasMore && sent == 120)
        // A socket that is full is tried once.
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

    /// Changes that no journal has: replicas get a history that begins with them.
    @Test func changesThatWereNotKeptBeginAHistory() {
        let world = FakeEnvironment(.primary)
        let before = world.driver.role.identity.id
        world.hasUncountedChanges = true
        serve(1, world, SyncRequest(position: StreamPosition(id: before, offset: 0)))
        #expect(world.driver.role.identity.id != before && world.driver.role.identity.past == nil)
        #expect(world.take().contains("attach false"))
        #expect(world.driver.fullSyncs == 1 && world.driver.refusedPartialSyncs == 1)
    }
}
