// Tests of machines that are handed the time move a clock by hand and count its ticks: `now: 99` is its 99th
// nanosecond.

public import System

extension SteadyInstant: ExpressibleByIntegerLiteral {
    /// The tick of a test's clock.
    public init(integerLiteral ticks: Int64) { self.init(nanoseconds: ticks) }
}

extension Nanoseconds: ExpressibleByIntegerLiteral {
    /// Ticks of a test's clock.
    public init(integerLiteral ticks: Int64) { self.init(ticks) }
}
