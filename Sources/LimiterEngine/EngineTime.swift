// Engine time: always a parameter, never something the engine reads.

public import System

/// An instant of engine time: nanoseconds since the Unix epoch, on a clock that never steps back.
///
/// The engine never reads a clock; every call that depends on time takes one of these. The caller guarantees that later
/// calls see no earlier instant; if one does, limiters only become stricter, never laxer.
@frozen
public struct EngineTime: Comparable, Hashable, Sendable {
    /// Nanoseconds since 1970-01-01 00:00 UTC, 0 or more; 64 bits last until the year 2262.
    public var nanoseconds: Int64

    /// The instant `nanoseconds` after the epoch.
    @inlinable
    public init(nanoseconds: Int64) { self.nanoseconds = nanoseconds }

    /// The last instant, in the year 2262: time stops there, and later instants are clamped to it. One nanosecond below
    /// the largest number, which means never.
    public static let latest = EngineTime(nanoseconds: Int64.max - 1)

    /// The instant `duration` nanoseconds later, or earlier if negative; at most the last one.
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
    /// The instant `duration` later, or earlier if negative; at most the last one.
    @inlinable
    public static func + (time: EngineTime, length: Nanoseconds) -> EngineTime {
        time.advanced(by: length.nanoseconds)
    }

    /// The time from `right` to `left`; saturates.
    @inlinable
    public static func - (left: EngineTime, right: EngineTime) -> Nanoseconds {
        Nanoseconds(left.nanoseconds) - Nanoseconds(right.nanoseconds)
    }

    /// Engine time initialized from the wall clock.
    @inlinable
    public init(_ wall: WallInstant) { self.init(nanoseconds: wall.nanoseconds) }

    /// Engine time at a steady time plus `offset`, clamped between 1970 and the last instant.
    @inlinable
    public init(at steady: SteadyInstant, offset: Nanoseconds) {
        self = max(EngineTime(nanoseconds: steady.nanoseconds) + offset, EngineTime(nanoseconds: 0))
    }

    /// How far this is ahead of steady time, so that `EngineTime(at: steady, offset:)` yields this again.
    @inlinable
    public func offset(from steady: SteadyInstant) -> Nanoseconds {
        Nanoseconds(nanoseconds) - Nanoseconds(steady.nanoseconds)
    }

    /// How far this is ahead of the wall clock; negative if behind.
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
