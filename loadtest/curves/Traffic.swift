// When a client calls: traffics that are identical on every machine, computed from integers and seeds alone. No
// logarithm or other function of the C library is involved, since two versions may round differently.

/// The instants at which one client calls, in nanoseconds of engine time, never decreasing.
public struct Traffic: Sendable {
    /// A description of the traffic, for tables.
    public let name: String
    /// The calls.
    public let calls: [Int64]

    /// A traffic with these calls.
    public init(name: String, calls: [Int64]) {
        self.name = name
        self.calls = calls
    }

    /// A window boundary long after engine time 0, so that no algorithm comes near the epoch.
    public static func origin(period: Int64) -> Int64 { 1000 * period }

    /// Evenly spaced calls, the first one half an interval after `start`.
    static func even(_ count: Int64, from start: Int64, length: Int64) -> [Int64] {
        (0..<count).map { start + (2 * $0 + 1) * length / (2 * count) }
    }

    /// Random calls: `count` of them, each at a uniformly random instant in the span. That is a Poisson process
    /// conditioned on its number of calls.
    static func random(_ count: Int64, from start: Int64, length: Int64, _ random: inout SeededNumbers) -> [Int64] {
        (0..<count).map { _ in start + random.below(length) }.sorted()
    }
}

/// SplitMix64: pseudorandom numbers that are the same everywhere.
public struct SeededNumbers: Sendable {
    private var state: UInt64

    /// The sequence of a seed.
    public init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }

    /// A number in 0 ..< `bound`, which is 1 or more.
    public mutating func below(_ bound: Int64) -> Int64 { Int64(next().multipliedFullWidth(by: UInt64(bound)).high) }
}
