// A duration. Its unit is visible where one is created (`.seconds(5)`) and where one leaves the program
// (`millisecondsRoundedUp`), and nowhere else.

public import Synchronization

/// A duration in whole nanoseconds; negative for a duration backwards in time.
///
/// Arithmetic saturates: anything longer than 292 years is `.forever`. So no sum of times wraps or traps, and
/// `.forever` plus anything positive is still forever.
@frozen
public struct Nanoseconds: Comparable, Hashable, Sendable {
    /// The number of nanoseconds.
    public var nanoseconds: Int64

    /// A duration of `nanoseconds`.
    @inlinable
    public init(_ nanoseconds: Int64) { self.nanoseconds = nanoseconds }

    /// The empty duration.
    @inlinable
    public static var zero: Nanoseconds { Nanoseconds(0) }

    /// The longest representable duration, which means: without end.
    @inlinable
    public static var forever: Nanoseconds { Nanoseconds(Int64.max) }

    /// A duration of `count` microseconds; saturates.
    @inlinable
    public static func microseconds(_ count: some BinaryInteger) -> Nanoseconds {
        Nanoseconds(1000) * Int64(clamping: count)
    }

    /// A duration of `count` milliseconds; saturates.
    @inlinable
    public static func milliseconds(_ count: some BinaryInteger) -> Nanoseconds {
        Nanoseconds(1_000_000) * Int64(clamping: count)
    }

    /// A duration of `count` seconds; saturates.
    @inlinable
    public static func seconds(_ count: some BinaryInteger) -> Nanoseconds {
        Nanoseconds(1_000_000_000) * Int64(clamping: count)
    }

    /// A duration of `count` milliseconds; nil if nanoseconds cannot represent it.
    @inlinable
    public static func milliseconds(exactly count: Int64) -> Nanoseconds? {
        let (product, overflows) = count.multipliedReportingOverflow(by: 1_000_000)
        return overflows ? nil : Nanoseconds(product)
    }

    // MARK: In other units

    /// Whole microseconds, rounded down.
    @inlinable
    public var microsecondsRoundedDown: Int64 { roundedDown(1000) }

    /// Whole milliseconds, rounded down.
    @inlinable
    public var millisecondsRoundedDown: Int64 { roundedDown(1_000_000) }

    /// Whole milliseconds, rounded up: one nanosecond is 1.
    @inlinable
    public var millisecondsRoundedUp: Int64 { roundedUp(1_000_000) }

    /// Whole seconds, rounded down.
    @inlinable
    public var secondsRoundedDown: Int64 { roundedDown(1_000_000_000) }

    /// Seconds with a fraction, to the precision of a double.
    @inlinable
    public var fractionalSeconds: Double { Double(nanoseconds) / 1e9 }

    @inlinable
    func roundedDown(_ unit: Int64) -> Int64 {
        let whole = nanoseconds / unit
        return whole &* unit > nanoseconds ? whole &- 1 : whole
    }

    @inlinable
    func roundedUp(_ unit: Int64) -> Int64 {
        let whole = nanoseconds / unit
        return whole &* unit < nanoseconds ? whole &+ 1 : whole
    }

    /// The absolute value; saturates.
    @inlinable
    public var magnitude: Nanoseconds { self < .zero ? -self : self }

    // MARK: Arithmetic

    /// Whether one is shorter.
    @inlinable
    public static func < (left: Nanoseconds, right: Nanoseconds) -> Bool { left.nanoseconds < right.nanoseconds }

    /// The sum; saturates.
    @inlinable
    public static func + (left: Nanoseconds, right: Nanoseconds) -> Nanoseconds {
        Nanoseconds(left.nanoseconds.addingSaturated(right.nanoseconds))
    }

    /// The difference; saturates.
    @inlinable
    public static func - (left: Nanoseconds, right: Nanoseconds) -> Nanoseconds {
        Nanoseconds(left.nanoseconds.subtractingSaturated(right.nanoseconds))
    }

    /// The negated duration; saturates.
    @inlinable
    public static prefix func - (length: Nanoseconds) -> Nanoseconds { .zero - length }

    /// Adds a duration; saturates.
    @inlinable
    public static func += (left: inout Nanoseconds, right: Nanoseconds) { left = left + right }

    /// Subtracts a duration; saturates.
    @inlinable
    public static func -= (left: inout Nanoseconds, right: Nanoseconds) { left = left - right }

    /// `factor` times as long; saturates.
    @inlinable
    public static func * (length: Nanoseconds, factor: Int64) -> Nanoseconds {
        let (product, overflows) = length.nanoseconds.multipliedReportingOverflow(by: factor)
        guard overflows else { return Nanoseconds(product) }
        return (length.nanoseconds < 0) == (factor < 0) ? .forever : Nanoseconds(Int64.min)
    }

    /// `factor` times as long; saturates.
    @inlinable
    public static func * (factor: Int64, length: Nanoseconds) -> Nanoseconds { length * factor }

    /// The quotient, rounded towards zero. `divisor` must be positive.
    @inlinable
    public static func / (length: Nanoseconds, divisor: Int64) -> Nanoseconds {
        assert(divisor > 0)
        return Nanoseconds(length.nanoseconds / divisor)
    }
}

extension Nanoseconds: AtomicRepresentable {
    /// The representation of `nanoseconds`.
    public typealias AtomicRepresentation = Int64.AtomicRepresentation

    /// Encodes `nanoseconds`.
    @inlinable
    public static func encodeAtomicRepresentation(_ value: consuming Nanoseconds) -> AtomicRepresentation {
        Int64.encodeAtomicRepresentation(value.nanoseconds)
    }

    /// Decodes `nanoseconds`.
    @inlinable
    public static func decodeAtomicRepresentation(_ storage: consuming AtomicRepresentation) -> Nanoseconds {
        Nanoseconds(Int64.decodeAtomicRepresentation(storage))
    }
}

extension Int64 {
    /// The sum, saturated to the range of the type.
    @inlinable
    func addingSaturated(_ other: Int64) -> Int64 {
        let (sum, overflows) = addingReportingOverflow(other)
        return overflows ? (other < 0 ? Int64.min : Int64.max) : sum
    }

    /// The difference, saturated to the range of the type.
    @inlinable
    func subtractingSaturated(_ other: Int64) -> Int64 {
        let (difference, overflows) = subtractingReportingOverflow(other)
        return overflows ? (other < 0 ? Int64.max : Int64.min) : difference
    }
}
