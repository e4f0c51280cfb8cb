// Points in time on the two clocks of the operating system. The types cannot be mixed up: the monotonic clock measures
// how long something took and when something is due, the wall clock is for people and other machines.

import CLinux
import Glibc
public import Synchronization

/// A point in time on the machine's monotonic clock (CLOCK_BOOTTIME): it never steps, and runs on while the machine
/// sleeps. Means nothing on another machine, or after a reboot.
@frozen
public struct SteadyInstant: Comparable, Hashable, Sendable {
    /// Nanoseconds since the machine was booted.
    public var nanoseconds: Int64

    /// The instant `nanoseconds` after the machine was booted.
    @inlinable
    public init(nanoseconds: Int64) { self.nanoseconds = nanoseconds }

    /// The present. About 20 ns.
    public static func now() -> SteadyInstant {
        let time = readClock(CLOCK_BOOTTIME)
        // A machine that has been up for 292 years is not a case.
        return SteadyInstant(nanoseconds: Int64(time.tv_sec) &* 1_000_000_000 &+ Int64(time.tv_nsec))
    }

    /// When the machine was booted: before anything that this process has measured.
    @inlinable
    public static var boot: SteadyInstant { SteadyInstant(nanoseconds: 0) }

    /// Later than everything: never.
    @inlinable
    public static var distantFuture: SteadyInstant { SteadyInstant(nanoseconds: Int64.max) }

    /// Earlier than everything.
    @inlinable
    public static var distantPast: SteadyInstant { SteadyInstant(nanoseconds: Int64.min) }

    /// Which of two instants is earlier.
    @inlinable
    public static func < (left: SteadyInstant, right: SteadyInstant) -> Bool { left.nanoseconds < right.nanoseconds }

    /// The time from `right` to `left`; saturates.
    @inlinable
    public static func - (left: SteadyInstant, right: SteadyInstant) -> Nanoseconds {
        Nanoseconds(left.nanoseconds.subtractingSaturated(right.nanoseconds))
    }

    /// The instant so much later: the distant future at most.
    @inlinable
    public static func + (instant: SteadyInstant, length: Nanoseconds) -> SteadyInstant {
        SteadyInstant(nanoseconds: instant.nanoseconds.addingSaturated(length.nanoseconds))
    }

    /// The instant so much earlier: the distant past at least.
    @inlinable
    public static func - (instant: SteadyInstant, length: Nanoseconds) -> SteadyInstant {
        SteadyInstant(nanoseconds: instant.nanoseconds.subtractingSaturated(length.nanoseconds))
    }

    /// Moves an instant so much later; saturates.
    @inlinable
    public static func += (instant: inout SteadyInstant, length: Nanoseconds) { instant = instant + length }
}

/// A point in time on the wall clock, which people and other machines know and administrators step.
@frozen
public struct WallInstant: Comparable, Hashable, Sendable {
    /// Nanoseconds since 1970-01-01 00:00 UTC.
    public var nanoseconds: Int64

    /// The instant `nanoseconds` after the epoch.
    @inlinable
    public init(nanoseconds: Int64) { self.nanoseconds = nanoseconds }

    /// The present; 1970 where the clock is set before it, and `latest` after that. Never for decisions.
    public static func now() -> WallInstant {
        max(WallInstant(nanoseconds: 0), WallInstant(readClock(CLOCK_REALTIME)))
    }

    /// The last instant, in the year 2262: one nanosecond before what 64 bits can hold, which means never.
    @inlinable
    public static var latest: WallInstant { WallInstant(nanoseconds: Int64.max - 1) }

    /// As the kernel represents it: `latest` at most.
    init(_ time: timespec) {
        let (seconds, overflows) = Int64(time.tv_sec).multipliedReportingOverflow(by: 1_000_000_000)
        guard !overflows else {
            nanoseconds = time.tv_sec < 0 ? Int64.min : WallInstant.latest.nanoseconds
            return
        }
        nanoseconds = min(seconds.addingSaturated(Int64(time.tv_nsec)), WallInstant.latest.nanoseconds)
    }

    /// Whole milliseconds since the epoch.
    @inlinable
    public var millisecondsRoundedDown: Int64 { Nanoseconds(nanoseconds).millisecondsRoundedDown }

    /// Which of two instants is earlier.
    @inlinable
    public static func < (left: WallInstant, right: WallInstant) -> Bool { left.nanoseconds < right.nanoseconds }

    /// The time from `right` to `left`; saturates.
    @inlinable
    public static func - (left: WallInstant, right: WallInstant) -> Nanoseconds {
        Nanoseconds(left.nanoseconds.subtractingSaturated(right.nanoseconds))
    }

    /// The instant so much later; saturates.
    @inlinable
    public static func + (instant: WallInstant, length: Nanoseconds) -> WallInstant {
        WallInstant(nanoseconds: instant.nanoseconds.addingSaturated(length.nanoseconds))
    }

    /// The instant so much earlier; saturates.
    @inlinable
    public static func - (instant: WallInstant, length: Nanoseconds) -> WallInstant {
        WallInstant(nanoseconds: instant.nanoseconds.subtractingSaturated(length.nanoseconds))
    }
}

/// The wall clock as people read it, in every year: seconds, and nanoseconds in that second.
@frozen
public struct CalendarSecond: Hashable, Sendable {
    /// Seconds since 1970-01-01 00:00 UTC.
    public var unixSeconds: Int64
    /// Nanoseconds in that second.
    public var nanosecond: Int64

    /// The present. For replies and log lines alone.
    public static func now() -> CalendarSecond {
        let time = readClock(CLOCK_REALTIME)
        return CalendarSecond(unixSeconds: Int64(time.tv_sec), nanosecond: Int64(time.tv_nsec))
    }
}

/// The only place that reads a clock.
private func readClock(_ clock: clockid_t) -> timespec {
    var time = timespec()
    clock_gettime(clock, &time)
    return time
}

extension SteadyInstant: AtomicRepresentable {
    /// As the number that it is.
    public typealias AtomicRepresentation = Int64.AtomicRepresentation

    /// As the number that it is.
    @inlinable
    public static func encodeAtomicRepresentation(_ value: consuming SteadyInstant) -> AtomicRepresentation {
        Int64.encodeAtomicRepresentation(value.nanoseconds)
    }

    /// From the number that it is.
    @inlinable
    public static func decodeAtomicRepresentation(_ storage: consuming AtomicRepresentation) -> SteadyInstant {
        SteadyInstant(nanoseconds: Int64.decodeAtomicRepresentation(storage))
    }
}
