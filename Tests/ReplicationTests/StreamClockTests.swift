// Stream time on a replica, and when a primary sends heartbeats.

import LimiterEngine
import System
import TestSupport
import Testing

@testable import Replication

@Suite struct StreamClockTests {
    private func time(_ nanoseconds: Int64) -> EngineTime { EngineTime(nanoseconds: nanoseconds) }
    private func wall(_ nanoseconds: Int64) -> WallInstant { WallInstant(nanoseconds: nanoseconds) }

    @Test func theClockRunsOnALeaderAndStopsOnAFollower() {
        var clock = StreamClock(leadingFrom: time(1000), steady: 50)
        #expect(clock.now(60) == time(1010))
        clock.follow(60)
        #expect(clock.now(90) == time(1010))
        clock.heard(time(1005), at: 95)
        #expect(clock.now(95) == time(1010))
        clock.heard(time(1020), at: 100)
        #expect(clock.now(200) == time(1020))
    }

    @Test func aPromotedNodeContinuesItsPrimarysClock() {
        var clock = StreamClock(followingFrom: time(100))
        // Received with delays of 30 and 5: the shorter delay is the better estimate of the primary's clock.
        clock.heard(time(1000), at: 530)
        clock.heard(time(1100), at: 605)
        clock.heard(time(1200), at: 790)
        clock.lead(wall: wall(999_999), at: 800)
        #expect(clock.now(800) == time(1295))
        #expect(clock.now(810) == time(1305))
    }

    /// A node promoted during a full sync returns to its earlier state and to that state's clock: the other primary's
    /// clock, ahead or behind, neither replenishes limits early nor blocks any client longer.
    @Test(arguments: [-900, 0, 100_000]) func duringAFullSyncThePreviousClockIsKept(ahead: Int64) {
        var clock = StreamClock(followingFrom: time(100))
        clock.heard(time(1000), at: 500)
        clock.replaced(at: time(1050 + ahead), 550, filesAreCurrent: true)
        // The link broke, and the full sync restarts.
        clock.heard(time(1060 + ahead), at: 560)
        clock.replaced(at: time(1070 + ahead), 570, filesAreCurrent: true)
        clock.goBack()
        #expect(clock.now(600) == time(1000))
        clock.recovered(time(990))
        clock.lead(wall: wall(999_999), at: 700)
        #expect(clock.now(700) == time(1200))
    }

    @Test func aCompleteStateBringsItsClock() {
        var clock = StreamClock(followingFrom: time(100))
        clock.heard(time(1000), at: 500)
        clock.replaced(at: time(5050), 550, filesAreCurrent: true)
        clock.becameWhole()
        clock.goBack()
        clock.lead(wall: wall(999_999), at: 700)
        #expect(clock.now(700) == time(5200))
    }

    /// A full sync completed the state, and another began before it was on disk: the files hold the first state.
    @Test(arguments: [false, true]) func theClockMatchesTheFiles(isSaved: Bool) {
        var clock = StreamClock(followingFrom: time(100))
        clock.heard(time(1000), at: 500)
        clock.replaced(at: time(5050), 550, filesAreCurrent: true)
        clock.becameWhole()
        clock.replaced(at: time(9050), 560, filesAreCurrent: isSaved)
        clock.goBack()
        clock.lead(wall: wall(999_999), at: 700)
        #expect(clock.now(700) == time(isSaved ? 5200 : 1200))
    }

    @Test func filesMayBeAheadOfTheLastHeartbeat() {
        var clock = StreamClock(followingFrom: time(100))
        clock.replaced(at: time(50), 550, filesAreCurrent: true)
        clock.goBack()
        clock.recovered(time(2000))
        // The earlier state received no heartbeat: the wall clock tells how long the process was down.
        clock.lead(wall: wall(1500), at: 700)
        #expect(clock.now(700) == time(2000))
    }

    @Test func withoutAHeartbeatTheWallClockApplies() {
        var ahead = StreamClock(followingFrom: time(100))
        ahead.lead(wall: wall(5000), at: 10)
        #expect(ahead.now(20) == time(5010))
        var behind = StreamClock(followingFrom: time(100))
        behind.lead(wall: wall(50), at: 10)
        #expect(behind.now(20) == time(110))
    }

    @Test func aFullSyncMaySetTheClockBack() {
        var clock = StreamClock(leadingFrom: time(9000), steady: 0)
        clock.follow(0)
        clock.replaced(at: time(500), 100, filesAreCurrent: true)
        #expect(clock.now(100) == time(500))
        clock.lead(wall: wall(9000), at: 110)
        #expect(clock.now(110) == time(510))
    }

    @Test func anotherStreamIsMeasuredAfresh() {
        var clock = StreamClock(followingFrom: time(0))
        clock.heard(time(1000), at: 0)
        clock.follow(10)
        clock.heard(time(1001), at: 20)
        clock.lead(wall: wall(0), at: 30)
        #expect(clock.now(30) == time(1011))
    }

    @Test func anEmptyBatchIsDueInSilenceOrOnDemand() {
        #expect([1, 2, 3, 60].map { lifeSignInterval(timeout: Nanoseconds($0 * 999)) } == [333, 666, 999, 19_980])
        #expect(lifeSignInterval(timeout: 60_000_000_000) == 1_000_000_000)
        var asking = KeepAlive(interval: 100)
        asking.askInterval = 30
        // Batches are sent continuously.
        let due = (0..<100).filter {
            asking.isDue(end: Int64($0), hasLinks: true, now: SteadyInstant(nanoseconds: Int64($0)))
        }
        #expect(due == [30, 60, 90])
        var keepAlive = KeepAlive(interval: 100)
        #expect(keepAlive.isDue(end: 0, hasLinks: true, now: 1000) == false)
        #expect(keepAlive.isDue(end: 0, hasLinks: true, now: 1099) == false)
        #expect(keepAlive.isDue(end: 0, hasLinks: false, now: 1100) == false)
        #expect(keepAlive.isDue(end: 0, hasLinks: true, now: 1100) == true)
        #expect(keepAlive.isDue(end: 24, hasLinks: true, now: 1150) == false)
        #expect(keepAlive.isDue(end: 24, hasLinks: true, now: 1249) == false)
        keepAlive.want()
        keepAlive.isSuspended = true
        #expect(keepAlive.isDue(end: 24, hasLinks: true, now: 9000) == false)
        keepAlive.isSuspended = false
        #expect(keepAlive.isDue(end: 24, hasLinks: true, now: 9000) == true)
        #expect(keepAlive.isDue(end: 48, hasLinks: true, now: 9001) == false)
    }
}
