// Random draws for simulation runs. How a number is derived from the generator's bits must not change: the seeds in
// `SimulationTests.regressions` reproduce their runs only with exactly these draws.

import System
import TestSupport

/// Random numbers that are reproducible from a seed.
struct LifeGenerator: RandomNumberGenerator {
    private var base: SeededGenerator

    /// Starts at a hash of the seed; otherwise neighbouring seeds would yield the same sequence shifted by one.
    init(seed: UInt64) {
        var first = SeededGenerator(seed: ~seed)
        base = SeededGenerator(seed: first.next())
    }

    mutating func next() -> UInt64 { base.next() }

    /// True with probability 1 in `times`.
    mutating func once(in times: Int) -> Bool { below(times) == 0 }

    mutating func below(_ limit: Int) -> Int { Int(next() >> 33) % max(1, limit) }

    mutating func between(_ low: Nanoseconds, _ high: Nanoseconds) -> Nanoseconds {
        Nanoseconds(between(low.nanoseconds, high.nanoseconds))
    }

    mutating func between(_ low: Int64, _ high: Int64) -> Int64 { low + Int64(below(Int(high - low + 1))) }
}
