// The engine's idea of time: a parameter, never something it reads.

public import System

/// An instant of engine time: nanoseconds since the Unix epoch, on a clock that never steps back.
///
/// The engine never reads a clock; every call that depends on time is handed one of these. Who makes them promises
/// that later calls see no earlier instant; if one does, limiters only get stricter, never laxer.
@frozen
public struct EngineTime: Comparable, Hashable, Sendable {
    /// Nanoseconds since 1970-01-01 00:00 UTC, 0 or more; 64 bits last until the year 2262.
    public var nanoseconds: Int64

    /// The instant `nanoseconds` after the epoch.
    @inlinable
    public init(nanoseconds: Int64) { self.nanoseconds = nanoseconds }

    /// The last instant, in the year 2262: time stops there, and what would come later is said to come then. One
    /// nanosecond below the largest number, which means never.
    public static let latest = EngineTime(nanoseconds: Int64.max - 1)

    /// The instant `duration` nanoseconds later, or earlier where that is negative: the last one at most.
    @inlinable
    public func advanced(by duration: Int64) -> EngineTime {
        let (sum, overflows) = nanoseconds.addingReportingOverflow(duration)
        if overflows { return duration < 0 ? EngineTime(nanoseconds: Int64.min) : .latest }
        return min(EngineTime(nanoseconds: sum), .latest)
    }

    /// Which of two instants is earlier.
    @inlinable
    public static func < (left: EngineTime, right: EngineTime) -> Bool { left.nanoseconds < right.nanoseconds }
}

// MARK: Other clocks

extension EngineTime {
    /// The instant so much later, or earlier where that is negative: the last one at most.
    @inlinable
    public static func + (time: EngineTime, length: Nanoseconds) -> EngineTime {
        time.advanced(by: length.nanoseconds)
    }

    /// The time from `right` to `left`; saturates.
    @inlinable
    public static func - (left: EngineTime, right: EngineTime) -> Nanoseconds {
        Nanoseconds(left.nanoseconds) - Nanoseconds(right.nanoseconds)
    }

    /// Engine time where it begins with what the wall clock shows.
    @inlinable
    public init(_ wall: WallInstant) { self.init(nanoseconds: wall.nanoseconds) }

    /// Engine time at a steady time, `offset` ahead of it: between 1970 and the last instant.
    @inlinable
    public init(at steady: SteadyInstant, offset: Nanoseconds) {
        self = max(EngineTime(nanoseconds: steady.nanoseconds) + offset, EngineTime(nanoseconds: 0))
    }

    /// How far this is ahead of steady time, so that `EngineTime(at: steady, offset:)` is this again.
    @inlinable
    public func offset(from steady: SteadyInstant) -> Nanoseconds {
        Nanoseconds(nanoseconds) - Nanoseconds(steady.nanoseconds)
    }

    /// How far this is ahead of the wall clock; negative where it is behind it.
    @inlinable
    public func skew(from wall: WallInstant) -> Nanoseconds {
        Nanoseconds(nanoseconds) - Nanoseconds(wall.nanoseconds)
    }
}

/// Whole units of `unit` nanoseconds that cover `nanoseconds`: a true ceiling, so 1 ns is one second and exactly ten
/// seconds are ten. `nanoseconds` is 0 or more.
@inlinable
public func ceilingUnits(_ nanoseconds: Int64, unit: Int64) -> Int64 {
    let whole = nanoseconds / unit
    return nanoseconds > whole &* unit ? whole &+ 1 : whole
}
