// Reproducible random numbers: every random test draws from one of these and prints its initial seed.
//
// The seed is chosen in this order: `ESCAPEMENT_SEED`, if set; a hash of the test's name, if `ESCAPEMENT_FIXED_SEEDS`
// is set, as in `make test`, whose verdict must not depend on a draw; otherwise at random.

import Glibc

/// SplitMix64: small, fast, and good enough for tests.
package struct SeededGenerator: RandomNumberGenerator, Sendable {
    /// The initial seed.
    package let seed: UInt64
    private var state: UInt64

    /// A generator with this seed.
    package init(seed: UInt64) {
        self.seed = seed
        state = seed
    }

    /// A generator for the named test. Prints its seed.
    package init(for test: String) {
        let seed = environmentNumber("ESCAPEMENT_SEED") ?? newSeed(for: test)
        print("\(test): ESCAPEMENT_SEED=\(seed)")
        self.init(seed: seed)
    }

    /// The next number.
    package mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }

    /// A number from 0 up to, but not including, `bound`, which is above 0.
    package mutating func below(_ bound: Int) -> Int { Int(next() % UInt64(bound)) }
}

/// Whether every run draws the same numbers.
package let seedsAreFixed = getenv("ESCAPEMENT_FIXED_SEEDS") != nil

/// A seed for the named test: derived from its name if seeds are fixed, otherwise random. Below 2^63, so that callers
/// can count up from it.
package func newSeed(for test: String) -> UInt64 {
    guard seedsAreFixed else { return UInt64.random(in: 1...UInt64.max / 2) }
    // FNV-1a.
    let hash = test.utf8.reduce(0xCBF2_9CE4_8422_2325 as UInt64) { ($0 ^ UInt64($1)) &* 0x0000_0100_0000_01B3 }
    return hash >> 1
}

/// The number in an environment variable; nil if it is not set.
package func environmentNumber(_ name: String) -> UInt64? { getenv(name).flatMap { UInt64(String(cString: $0)) } }
