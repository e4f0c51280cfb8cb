// A length of time. Its unit is visible where one is made (`.seconds(5)`) and where one leaves the program
// (`millisecondsRoundedUp`), and nowhere else.

public import Synchronization

/// A length of time in whole nanoseconds; negative when it leads back in time.
///
/// Arithmetic saturates: what is longer than 292 years is `.forever`. So no sum of times wraps or stops the process,
/// and `.forever` plus anything positive is still forever.
@frozen
public struct Nanoseconds: Comparable, Hashable, Sendable {
    /// The number of nanoseconds.
    public var nanoseconds: Int64

    /// A length of `nanoseconds`.
    @inlinable
    public init(_ nanoseconds: Int64) { self.nanoseconds = nanoseconds }

    /// No time.
    @inlinable
    public static var zero: Nanoseconds { Nanoseconds(0) }

    /// The longest time that can be written down, taken as: never over.
    @inlinable
    public static var forever: Nanoseconds { Nanoseconds(Int64.max) }

    /// A length of `count` microseconds; saturates.
    @inlinable
    public static func microseconds(_ count: some BinaryInteger) -> Nanoseconds {
        Nanoseconds(1000) * Int64(clamping: count)
    }

    /// A length of `count` milliseconds; saturates.
    @inlinable
    public static func milliseconds(_ count: some BinaryInteger) -> Nanoseconds {
        Nanoseconds(1_000_000) * Int64(clamping: count)
    }

    /// A length of `count` seconds; saturates.
    @inlinable
    public static func seconds(_ count: some BinaryInteger) -> Nanoseconds {
        Nanoseconds(1_000_000_000) * Int64(clamping: count)
    }

    /// A length of `count` milliseconds; nil where nanoseconds cannot express it.
    @inlinable
    public static func milliseconds(exactly count: Int64) -> Nanoseconds? {
        let (product, overflows) = count.multipliedReportingOverflow(by: 1_000_000)
        return overflows ? nil : Nanoseconds(product)
    }

    // MARK: In other units

    /// The whole microseconds in it.
    @inlinable
    public var microsecondsRoundedDown: Int64 { roundedDown(1000) }

    /// The whole milliseconds in it.
    @inlinable
    public var millisecondsRoundedDown: Int64 { roundedDown(1_000_000) }

    /// The fewest milliseconds that are no shorter: one nanosecond is 1.
    @inlinable
    public var millisecondsRoundedUp: Int64 { roundedUp(1_000_000) }

    /// The whole seconds in it.
    @inlinable
    public var secondsRoundedDown: Int64 { roundedDown(1_000_000_000) }

    /// The fewest seconds that are no shorter: one nanosecond is 1.
    @inlinable
    public var secondsRoundedUp: Int64 { roundedUp(1_000_000_000) }

    /// Seconds with a fraction, as near as a double comes to it.
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

    /// As long, and not negative; saturates.
    @inlinable
    public var magnitude: Nanoseconds { self < .zero ? -self : self }

    // MARK: Arithmetic

    /// Whether one is shorter.
    @inlinable
    public static func < (left: Nanoseconds, right: Nanoseconds) -> Bool { left.nanoseconds < right.nanoseconds }

    /// Both together; saturates.
    @inlinable
    public static func + (left: Nanoseconds, right: Nanoseconds) -> Nanoseconds {
        Nanoseconds(left.nanoseconds.addingSaturated(right.nanoseconds))
    }

    /// What one is longer; saturates.
    @inlinable
    public static func - (left: Nanoseconds, right: Nanoseconds) -> Nanoseconds {
        Nanoseconds(left.nanoseconds.subtractingSaturated(right.nanoseconds))
    }

    /// As long in the other direction; saturates.
    @inlinable
    public static prefix func - (length: Nanoseconds) -> Nanoseconds { .zero - length }

    /// Makes one longer by another; saturates.
    @inlinable
    public static func += (left: inout Nanoseconds, right: Nanoseconds) { left = left + right }

    /// Makes one shorter by another; saturates.
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

    /// An equal part of it, rounded towards zero. `divisor` is above 0.
    @inlinable
    public static func / (length: Nanoseconds, divisor: Int64) -> Nanoseconds {
        assert(divisor > 0)
        return Nanoseconds(length.nanoseconds / divisor)
    }
}

extension Nanoseconds: AtomicRepresentable {
    /// As the number that it is.
    public typealias AtomicRepresentation = Int64.AtomicRepresentation

    /// As the number that it is.
    @inlinable
    public static func encodeAtomicRepresentation(_ value: consuming Nanoseconds) -> AtomicRepresentation {
        Int64.encodeAtomicRepresentation(value.nanoseconds)
    }

    /// From the number that it is.
    @inlinable
    public static func decodeAtomicRepresentation(_ storage: consuming AtomicRepresentation) -> Nanoseconds {
        Nanoseconds(Int64.decodeAtomicRepresentation(storage))
    }
}

extension Int64 {
    /// The sum, or the nearest number to it that there is.
    @inlinable
    func addingSaturated(_ other: Int64) -> Int64 {
        let (sum, overflows) = addingReportingOverflow(other)
        return overflows ? (other < 0 ? Int64.min : Int64.max) : sum
    }

    /// The difference, or the nearest number to it that there is.
    @inlinable
    func subtractingSaturated(_ other: Int64) -> Int64 {
        let (difference, overflows) = subtractingReportingOverflow(other)
        return overflows ? (other < 0 ? Int64.max : Int64.min) : difference
    }
}
