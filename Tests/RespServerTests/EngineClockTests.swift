// The offset between engine time and the wall clock as clients see it, and the end of engine time.

import Glibc
import LimiterEngine
import Replication
import System
import TestSupport
import Testing

@testable import RespServer

@Suite struct EngineClockTests {
    private let second = Nanoseconds.seconds(1)

    private func skew(
        _ measured: Nanoseconds, known: Nanoseconds = .zero, error: Nanoseconds = .zero
    ) -> Nanoseconds {
        EngineClock.skewForClients(measured: measured, known: known, error: error)
    }

    @Test func smallClockDifferencesAreIgnored() {
        #expect(skew(0) == 0 && skew(99_000_000) == 0 && skew(-99_000_000) == 0)
        #expect(skew(3600 * second + 17, known: 3600 * second) == 3600 * second)
        // An interrupted measurement is less precise.
        #expect(skew(400_000_000, error: 350_000_000) == 0)
    }

    @Test func aClockStepIsFollowedAndReversed() {
        let stepped = skew(3600 * second + 250)
        #expect(stepped == 3600 * second)
        #expect(skew(-300, known: stepped) == 0)
        #expect(skew(-3600 * second - 250) == -3600 * second)
        #expect(skew(1_234_567_890) == 1_235_000_000 && skew(-1_234_567_890) == -1_235_000_000)
        #expect(skew(.forever, known: -.forever) > 0)
    }

    @Test func engineTimeStopsAtItsEnd() {
        let clock = EngineClock()
        clock.advance(to: .latest)
        #expect(clock.now() == .latest)
        usleep(2000)
        #expect(clock.now() == .latest && clock.skew() > .zero)
        let steady = SteadyInstant.now()
        let stream = StreamClock(leadingFrom: .latest, steady: steady)
        #expect(stream.now(steady + second) == .latest)
    }

    /// On a replica, engine time stops between batches; instants shown to clients follow the primary's clock.
    @Test func aReplicaShowsInstantsByItsPrimarysClock() {
        let clock = EngineClock()
        let (steady, wall, _) = EngineClock.readBothClocks()
        var stream = StreamClock(followingFrom: EngineTime(wall - 7200 * second))
        clock.show(stream)
        // No heartbeat received yet: the same as on a primary.
        #expect(clock.skewForClients() == 0)
        stream.heard(EngineTime(wall + 3600 * second), at: steady)
        clock.show(stream)
        let still = clock.now()
        usleep(2000)
        #expect(clock.now() == still && clock.skewForClients() == 3600 * second)
        // The offset does not shrink with the age of the last heartbeat.
        var old = StreamClock(followingFrom: EngineTime(nanoseconds: 0))
        old.heard(EngineTime(wall - 50 * second), at: steady - 50 * second)
        clock.show(old)
        #expect(clock.skewForClients() == 0)
    }
}
