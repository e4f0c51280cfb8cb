// Tests of state machines that are passed the time advance a clock by hand and count its ticks: `now: 99` is the 99th
// nanosecond.

package import System

extension SteadyInstant: ExpressibleByIntegerLiteral {
    /// A tick of a test's clock.
    package init(integerLiteral ticks: Int64) { self.init(nanoseconds: ticks) }
}

extension Nanoseconds: ExpressibleByIntegerLiteral {
    /// Ticks of a test's clock.
    package init(integerLiteral ticks: Int64) { self.init(ticks) }
}
