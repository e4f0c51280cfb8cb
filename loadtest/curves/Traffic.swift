// When a client calls: traffics whose calls are the same on every machine, from whole numbers and seeds alone. No
// logarithm and no other function of the C library has a part in them, since two versions may round differently.

/// The instants at which one client calls, in nanoseconds of engine time, never falling.
public struct Traffic: Sendable {
    /// The traffic in words, for tables.
    public let name: String
    /// The calls.
    public let calls: [Int64]

    /// A traffic of these calls.
    public init(name: String, calls: [Int64]) {
        self.name = name
        self.calls = calls
    }

    /// A window's border long after engine time 0, so that no algorithm meets the beginning of time.
    public static func origin(period: Int64) -> Int64 { 1000 * period }

    /// Calls at the same distance from each other, the first half of it after `start`.
    static func even(_ count: Int64, from start: Int64, length: Int64) -> [Int64] {
        (0..<count).map { start + (2 * $0 + 1) * length / (2 * count) }
    }

    /// Calls at random: so many, each at any instant of the span. That is a Poisson process whose number of calls is
    /// given.
    static func random(_ count: Int64, from start: Int64, length: Int64, _ random: inout SeededNumbers) -> [Int64] {
        (0..<count).map { _ in start + random.below(length) }.sorted()
    }
}

/// SplitMix64: numbers that look random and are the same everywhere.
public struct SeededNumbers: Sendable {
    private var state: UInt64

    /// The sequence that belongs to a seed.
    public init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }

    /// A number of 0 ..< `bound`, which is 1 or more.
    public mutating func below(_ bound: Int64) -> Int64 { Int64(next().multipliedFullWidth(by: UInt64(bound)).high) }
}
