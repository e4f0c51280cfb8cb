// Random numbers that repeat: every random test draws from one of these and prints the seed it began with.

import Glibc

/// SplitMix64: small, quick, good enough to find trouble with.
public struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64

    /// The numbers of this seed.
    public init(seed: UInt64) { state = seed }

    /// A generator for the named test: from `ESCAPEMENT_SEED` when that is set, else a new seed. Prints which.
    public init(for test: String) {
        let seed = environmentNumber("ESCAPEMENT_SEED") ?? UInt64.random(in: 1...UInt64.max)
        print("\(test): ESCAPEMENT_SEED=\(seed)")
        self.init(seed: seed)
    }

    /// The next number.
    public mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }

    /// A number from 0 up to, but not including, `bound`, which is above 0.
    public mutating func below(_ bound: Int) -> Int { Int(next() % UInt64(bound)) }
}

/// The number in an environment variable; nil when it is not set.
public func environmentNumber(_ name: String) -> UInt64? { getenv(name).flatMap { UInt64(String(cString: $0)) } }
