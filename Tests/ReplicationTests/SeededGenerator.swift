// Random numbers that come again with the same seed.

/// SplitMix64.
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64

    /// Neighbouring seeds must not give the same numbers one place apart: so it begins at a number made from the seed.
    init(seed: UInt64) {
        state = ~seed
        state = next()
    }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var value = state
        value = (value ^ (value >> 30)) &* 0xBF58_476D_1CE4_E5B9
        value = (value ^ (value >> 27)) &* 0x94D0_49BB_1331_11EB
        return value ^ (value >> 31)
    }

    /// True once in `times`.
    mutating func once(in times: Int) -> Bool { below(times) == 0 }

    mutating func below(_ limit: Int) -> Int { Int(next() >> 33) % max(1, limit) }

    mutating func between(_ low: Int64, _ high: Int64) -> Int64 { low + Int64(below(Int(high - low + 1))) }
}
