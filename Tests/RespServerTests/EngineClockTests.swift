// The clocks' differences as clients see them, and times beyond those that nanoseconds can say.

import CLinux
import Glibc
import LimiterEngine
import Replication
import Testing

@testable import RespServer

@Suite struct EngineClockTests {
    private let second: Int64 = 1_000_000_000

    private func skew(_ measured: Int64, known: Int64 = 0, error: Int64 = 0) -> Int64 {
        EngineClock.skewForClients(measured: measured, known: known, error: error)
    }

    @Test func clocksThatAreNearAreTheSame() {
        #expect(skew(0) == 0 && skew(99_000_000) == 0 && skew(-99_000_000) == 0)
        #expect(skew(3600 * second + 17, known: 3600 * second) == 3600 * second)
        // A measurement that was interrupted says less.
        #expect(skew(400_000_000, error: 350_000_000) == 0)
    }

    @Test func aStepIsTakenOverAndUndone() {
        let stepped = skew(3600 * second + 250)
        #expect(stepped == 3600 * second)
        #expect(skew(-300, known: stepped) == 0)
        #expect(skew(-3600 * second - 250) == -3600 * second)
        #expect(skew(1_234_567_890) == 1_235_000_000 && skew(-1_234_567_890) == -1_235_000_000)
        #expect(skew(Int64.max, known: Int64.min) > 0)
    }

    @Test func timesThatNanosecondsCannotSaySaturate() {
        func nanoseconds(_ seconds: Int, _ rest: Int = 0) -> Int64 {
            EngineClock.nanoseconds(timespec(tv_sec: seconds, tv_nsec: rest))
        }
        #expect(nanoseconds(5, 7) == 5_000_000_007 && nanoseconds(-5, 7) == -4_999_999_993)
        let end = EngineTime.latest.nanoseconds
        #expect(nanoseconds(9_223_372_036, 854_775_806) == end && nanoseconds(9_223_372_036, 999_999_999) == end)
        #expect(nanoseconds(9_223_372_037) == end && nanoseconds(Int.max) == end && nanoseconds(Int.min) == Int64.min)
    }

    @Test func engineTimeStopsAtItsEnd() {
        let clock = EngineClock()
        clock.advance(to: .latest)
        #expect(clock.now() == .latest)
        usleep(2000)
        #expect(clock.now() == .latest && clock.skew() > 0)
        let steady = EngineClock.steady()
        let stream = StreamClock(leadingFrom: .latest, steady: steady)
        #expect(stream.now(steady + second) == .latest)
    }

    /// On a replica engine time stands still between batches; what clients are shown goes by the primary's clock.
    @Test func aReplicaShowsInstantsByItsPrimarysClock() {
        let clock = EngineClock()
        let (steady, wall) = (EngineClock.steady(), EngineClock.wall())
        var stream = StreamClock(followingFrom: EngineTime(nanoseconds: wall - 7200 * second))
        clock.show(stream)
        // Nothing was heard: as if it began to lead now.
        #expect(clock.skewForClients() == 0)
        stream.heard(EngineTime(nanoseconds: wall + 3600 * second), at: steady)
        clock.show(stream)
        let still = clock.now()
        usleep(2000)
        #expect(clock.now() == still && clock.skewForClients() == 3600 * second)
        // Heard a good while ago, it is as far ahead as before.
        var old = StreamClock(followingFrom: EngineTime(nanoseconds: 0))
        old.heard(EngineTime(nanoseconds: wall - 50 * second), at: steady - 50 * second)
        clock.show(old)
        #expect(clock.skewForClients() == 0)
    }
}
