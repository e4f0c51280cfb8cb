// Points in time on the two clocks of the operating system, as types that cannot be confused: the monotonic clock
// measures durations and deadlines, the wall clock is for people and other machines.

import CLinux
import Glibc
public import Synchronization

/// A point in time on the machine's monotonic clock (CLOCK_BOOTTIME): it never steps, and continues while the machine
/// sleeps. Meaningless on another machine, or after a reboot.
@frozen
public struct SteadyInstant: Comparable, Hashable, Sendable {
    /// Nanoseconds since the machine booted.
    public var nanoseconds: Int64

    /// The instant `nanoseconds` after the machine booted.
    @inlinable
    public init(nanoseconds: Int64) { self.nanoseconds = nanoseconds }

    /// The current time. About 20 ns.
    public static func now() -> SteadyInstant {
        let time = readClock(CLOCK_BOOTTIME)
        // Overflows only after an uptime of 292 years.
        return SteadyInstant(nanoseconds: Int64(time.tv_sec) &* 1_000_000_000 &+ Int64(time.tv_nsec))
    }

    /// When the machine was booted: before anything that this process has measured.
    @inlinable
    public static var boot: SteadyInstant { SteadyInstant(nanoseconds: 0) }

    /// Later than every other instant: never.
    @inlinable
    public static var distantFuture: SteadyInstant { SteadyInstant(nanoseconds: Int64.max) }

    /// Earlier than every other instant.
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

    /// The instant `length` later; at most the distant future.
    @inlinable
    public static func + (instant: SteadyInstant, length: Nanoseconds) -> SteadyInstant {
        SteadyInstant(nanoseconds: instant.nanoseconds.addingSaturated(length.nanoseconds))
    }

    /// The instant `length` earlier; at least the distant past.
    @inlinable
    public static func - (instant: SteadyInstant, length: Nanoseconds) -> SteadyInstant {
        SteadyInstant(nanoseconds: instant.nanoseconds.subtractingSaturated(length.nanoseconds))
    }

    /// Moves an instant later by `length`; saturates.
    @inlinable
    public static func += (instant: inout SteadyInstant, length: Nanoseconds) { instant = instant + length }
}

/// A point in time on the wall clock, which people and other machines use and administrators step.
@frozen
public struct WallInstant: Comparable, Hashable, Sendable {
    /// Nanoseconds since 1970-01-01 00:00 UTC.
    public var nanoseconds: Int64

    /// The instant `nanoseconds` after the epoch.
    @inlinable
    public init(nanoseconds: Int64) { self.nanoseconds = nanoseconds }

    /// The current time; 1970 if the clock is set before it, and `latest` after that. Never for decisions.
    public static func now() -> WallInstant {
        max(WallInstant(nanoseconds: 0), WallInstant(readClock(CLOCK_REALTIME)))
    }

    /// The last instant, in the year 2262: one nanosecond before the largest 64-bit value, which means never.
    @inlinable
    public static var latest: WallInstant { WallInstant(nanoseconds: Int64.max - 1) }

    /// From the kernel's representation; at most `latest`.
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

    /// The instant `length` later; saturates.
    @inlinable
    public static func + (instant: WallInstant, length: Nanoseconds) -> WallInstant {
        WallInstant(nanoseconds: instant.nanoseconds.addingSaturated(length.nanoseconds))
    }

    /// The instant `length` earlier; saturates.
    @inlinable
    public static func - (instant: WallInstant, length: Nanoseconds) -> WallInstant {
        WallInstant(nanoseconds: instant.nanoseconds.subtractingSaturated(length.nanoseconds))
    }
}

/// The wall clock for display, valid in every year: seconds, and nanoseconds within that second.
@frozen
public struct CalendarSecond: Hashable, Sendable {
    /// Seconds since 1970-01-01 00:00 UTC.
    public var unixSeconds: Int64
    /// Nanoseconds within that second.
    public var nanosecond: Int64

    /// The current time. Only for replies and log lines.
    public static func now() -> CalendarSecond {
        let time = readClock(CLOCK_REALTIME)
        return CalendarSecond(unixSeconds: Int64(time.tv_sec), nanosecond: Int64(time.tv_nsec))
    }
}

/// The only function that reads a clock.
private func readClock(_ clock: clockid_t) -> timespec {
    var time = timespec()
    clock_gettime(clock, &time)
    return time
}

extension SteadyInstant: AtomicRepresentable {
    /// The representation of `nanoseconds`.
    public typealias AtomicRepresentation = Int64.AtomicRepresentation

    /// Encodes `nanoseconds`.
    @inlinable
    public static func encodeAtomicRepresentation(_ value: consuming SteadyInstant) -> AtomicRepresentation {
        Int64.encodeAtomicRepresentation(value.nanoseconds)
    }

    /// Decodes `nanoseconds`.
    @inlinable
    public static func decodeAtomicRepresentation(_ storage: consuming AtomicRepresentation) -> SteadyInstant {
        SteadyInstant(nanoseconds: Int64.decodeAtomicRepresentation(storage))
    }
}
