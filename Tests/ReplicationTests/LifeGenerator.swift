// The draws of a life. How a number is made of the generator's bits must not change: only with these draws do the
// seeds of `SimulationTests.regressions` give the lives in which something was wrong once.

import System
import TestSupport

/// Random numbers that come again with the same seed.
struct LifeGenerator: RandomNumberGenerator {
    private var base: SeededGenerator

    /// Neighbouring seeds must not give the same numbers one place apart: so it begins at a number made from the seed.
    init(seed: UInt64) {
        var first = SeededGenerator(seed: ~seed)
        base = SeededGenerator(seed: first.next())
    }

    mutating func next() -> UInt64 { base.next() }

    /// True once in `times`.
    mutating func once(in times: Int) -> Bool { below(times) == 0 }

    mutating func below(_ limit: Int) -> Int { Int(next() >> 33) % max(1, limit) }

    mutating func between(_ low: Nanoseconds, _ high: Nanoseconds) -> Nanoseconds {
        Nanoseconds(between(low.nanoseconds, high.nanoseconds))
    }

    mutating func between(_ low: Int64, _ high: Int64) -> Int64 { low + Int64(below(Int(high - low + 1))) }
}
