// Instants and durations: units, rounding, and saturation at the limits of 64 bits.

import CLinux
import Glibc
import Synchronization
import TestSupport
import Testing

@testable import System

@Suite struct InstantTests {
    private func steady(_ nanoseconds: Int64) -> SteadyInstant { SteadyInstant(nanoseconds: nanoseconds) }
    private let most = Nanoseconds(Int64.max)
    private let least = Nanoseconds(Int64.min)

    // MARK: Durations

    @Test func unitsHaveTheirNamedLength() {
        #expect(Nanoseconds.microseconds(3).nanoseconds == 3000)
        #expect(Nanoseconds.milliseconds(3).nanoseconds == 3_000_000)
        #expect(Nanoseconds.seconds(3).nanoseconds == 3_000_000_000)
        #expect(Nanoseconds.seconds(-3) == -Nanoseconds.seconds(3))
        #expect(Nanoseconds.zero.nanoseconds == 0 && Nanoseconds.forever == most)
        #expect(
            Nanoseconds.seconds(1).fractionalSeconds == 1 && Nanoseconds.milliseconds(-1500).fractionalSeconds == -1.5)
    }

    @Test func unitsTooLargeSaturate() {
        #expect(Nanoseconds.seconds(Int64.max) == .forever && Nanoseconds.seconds(Int64.min) == least)
        #expect(Nanoseconds.milliseconds(UInt64.max) == .forever && Nanoseconds.microseconds(Int.min) == least)
        #expect(Nanoseconds.seconds(9_223_372_036).nanoseconds == 9_223_372_036_000_000_000)
        #expect(Nanoseconds.seconds(9_223_372_037) == .forever)
        #expect(Nanoseconds.milliseconds(exactly: 9_223_372_036_854)?.nanoseconds == 9_223_372_036_854_000_000)
        #expect(Nanoseconds.milliseconds(exactly: 9_223_372_036_855) == nil)
        #expect(Nanoseconds.milliseconds(exactly: Int64.min) == nil)
    }

    /// A row: nanoseconds, and the milliseconds rounded down and up.
    @Test(
        arguments: [
            (0, 0, 0), (1, 0, 1), (999_999, 0, 1), (1_000_000, 1, 1), (1_000_001, 1, 2), (-1, -1, 0),
            (-1_000_000, -1, -1),
            (-1_000_001, -2, -1), (Int64.max, 9_223_372_036_854, 9_223_372_036_855),
            (Int64.min, -9_223_372_036_855, -9_223_372_036_854),
        ] as [(Int64, Int64, Int64)])
    func millisecondsAreRoundedAsNamed(nanoseconds: Int64, down: Int64, up: Int64) {
        #expect(Nanoseconds(nanoseconds).millisecondsRoundedDown == down)
        #expect(Nanoseconds(nanoseconds).millisecondsRoundedUp == up)
    }

    @Test func otherUnitsAreRoundedAlike() {
        #expect(Nanoseconds(1999).microsecondsRoundedDown == 1 && Nanoseconds(-1).microsecondsRoundedDown == -1)
        #expect(Nanoseconds.milliseconds(1999).secondsRoundedDown == 1)
    }

    @Test func durationsAddUpAndSaturate() {
        #expect(
            Nanoseconds(5) + Nanoseconds(7) == Nanoseconds(12) && Nanoseconds(5) - Nanoseconds(7) == Nanoseconds(-2))
        #expect(most + Nanoseconds(1) == most && least + Nanoseconds(-1) == least)
        #expect(least - Nanoseconds(1) == least && most - Nanoseconds(-1) == most)
        #expect(Nanoseconds.zero - least == most && -least == most && -most == Nanoseconds(-Int64.max))
        #expect(least.magnitude == most && Nanoseconds(-3).magnitude == Nanoseconds(3))
        var sum = Nanoseconds(1)
        sum += Nanoseconds(2)
        sum -= Nanoseconds(5)
        #expect(sum == Nanoseconds(-2))
        sum += most
        sum += most
        #expect(sum == .forever)
    }

    @Test func durationsMultiplyAndSaturate() {
        #expect(Nanoseconds(6) * 7 == Nanoseconds(42) && 7 * Nanoseconds(6) == Nanoseconds(42))
        #expect(most * 2 == most && most * -2 == least && least * 2 == least && least * -1 == most)
        #expect(most * 0 == .zero && Nanoseconds(7) / 2 == Nanoseconds(3) && Nanoseconds(-7) / 2 == Nanoseconds(-3))
    }

    // MARK: Steady instants

    @Test func instantsMoveAndSaturate() {
        #expect(steady(5) + Nanoseconds(7) == steady(12) && steady(5) - Nanoseconds(7) == steady(-2))
        #expect(steady(12) - steady(5) == Nanoseconds(7) && steady(5) - steady(12) == Nanoseconds(-7))
        #expect(steady(5) + .forever == .distantFuture && SteadyInstant.distantFuture + .seconds(1) == .distantFuture)
        #expect(steady(-5) - .forever - .forever == .distantPast)
        #expect(SteadyInstant.distantFuture - SteadyInstant.distantPast == .forever)
        #expect(SteadyInstant.distantPast - steady(1) == least && steady(0) - SteadyInstant.distantPast == .forever)
        var instant = SteadyInstant.boot
        instant += .seconds(2)
        #expect(instant == steady(2_000_000_000))
        instant += .forever
        #expect(instant == .distantFuture)
    }

    @Test func instantsAreInOrder() {
        #expect(SteadyInstant.distantPast < .boot && SteadyInstant.boot < steady(1) && steady(1) < .distantFuture)
        #expect(max(steady(3), steady(4)) == steady(4) && Nanoseconds(-1) < .zero && Nanoseconds.zero < .forever)
    }

    @Test func theSteadyClockRuns() {
        let before = SteadyInstant.now()
        Thread.sleep(.milliseconds(2))
        let after = SteadyInstant.now()
        // Agrees with the kernel's clock, and the sleep lasted at least as long as requested.
        #expect(after - before >= .milliseconds(2))
        var time = timespec()
        clock_gettime(CLOCK_BOOTTIME, &time)
        let kernel = Nanoseconds.seconds(time.tv_sec) + Nanoseconds(Int64(time.tv_nsec))
        #expect(after <= .boot + kernel && before > .boot)
    }

    @Test func sleepingForNoTimeReturnsAtOnce() {
        let before = SteadyInstant.now()
        Thread.sleep(.zero)
        Thread.sleep(.seconds(-3600))
        #expect(SteadyInstant.now() - before < .seconds(1800))
    }

    // MARK: The wall clock

    @Test func wallTimesThatNanosecondsCannotExpressSaturate() {
        func nanoseconds(_ seconds: Int, _ rest: Int = 0) -> Int64 {
            WallInstant(timespec(tv_sec: seconds, tv_nsec: rest)).nanoseconds
        }
        #expect(nanoseconds(5, 7) == 5_000_000_007 && nanoseconds(-5, 7) == -4_999_999_993)
        let end = WallInstant.latest.nanoseconds
        #expect(end == Int64.max - 1)
        #expect(nanoseconds(9_223_372_036, 854_775_806) == end && nanoseconds(9_223_372_036, 999_999_999) == end)
        #expect(nanoseconds(9_223_372_037) == end && nanoseconds(Int.max) == end && nanoseconds(Int.min) == Int64.min)
    }

    @Test func wallInstantsMoveAndSaturate() {
        let instant = WallInstant(nanoseconds: 5_000_000)
        #expect(instant + .milliseconds(2) - .milliseconds(7) == WallInstant(nanoseconds: 0))
        #expect(instant.millisecondsRoundedDown == 5 && WallInstant(nanoseconds: -1).millisecondsRoundedDown == -1)
        #expect(instant + .forever == WallInstant(nanoseconds: Int64.max))
        #expect(WallInstant(nanoseconds: -5) - .forever - .forever == WallInstant(nanoseconds: Int64.min))
        #expect(WallInstant(nanoseconds: 7) - WallInstant(nanoseconds: 5) == Nanoseconds(2))
        #expect(WallInstant.latest > instant)
    }

    @Test func theWallClocksAgree() {
        let before = WallInstant.now()
        let second = CalendarSecond.now()
        #expect((0..<1_000_000_000).contains(second.nanosecond))
        // Unless the clock is stepped between the two reads.
        let shown = WallInstant(nanoseconds: second.unixSeconds * 1_000_000_000 + second.nanosecond)
        #expect((shown - before).magnitude < .seconds(3600))
    }

    // MARK: Shared between threads

    @Test func theyAreAtomic() {
        let instant = Atomic<SteadyInstant>(.distantFuture)
        #expect(instant.load(ordering: .relaxed) == .distantFuture)
        instant.store(steady(-7), ordering: .relaxed)
        #expect(instant.load(ordering: .relaxed) == steady(-7))
        let length = Atomic<Nanoseconds>(.zero)
        #expect(length.exchange(.forever, ordering: .relaxed) == .zero && length.load(ordering: .relaxed) == .forever)
    }
}
