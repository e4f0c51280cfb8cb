// Latencies in 64 buckets per power of two: percentiles are accurate to 1.6 %, at 30 KB and about a nanosecond per
// value.

/// Counts of nanosecond values, for percentiles.
struct Histogram {
    private static let bucketsPerDoubling = 64
    private var buckets = [Int](repeating: 0, count: 59 * bucketsPerDoubling)
    private(set) var count = 0
    private(set) var maximum: UInt64 = 0

    /// Records `nanoseconds` once for each of `times` commands that share it.
    mutating func record(_ nanoseconds: UInt64, times: Int) {
        buckets[Histogram.index(nanoseconds)] += times
        count += times
        maximum = max(maximum, nanoseconds)
    }

    /// The value that a `fraction` (0 to 1) of all values do not exceed: the upper end of its bucket, at most the
    /// maximum.
    func percentile(_ fraction: Double) -> UInt64 {
        let wanted = max(1, Int((Double(count) * fraction).rounded(.up)))
        var seen = 0
        for (index, bucket) in buckets.enumerated() {
            seen += bucket
            if seen >= wanted { return min(Histogram.upperEnd(index), maximum) }
        }
        return maximum
    }

    // Values below 128 have one bucket each; larger ones are halved `shift` times until they are between 64 and 127.
    private static func index(_ value: UInt64) -> Int {
        let shift = max(0, 63 - value.leadingZeroBitCount - 6)
        return shift * bucketsPerDoubling + Int(value >> UInt64(shift))
    }

    private static func upperEnd(_ index: Int) -> UInt64 {
        let shift = max(0, index / bucketsPerDoubling - 1)
        let top = UInt64(index - shift * bucketsPerDoubling)
        return ((top + 1) << UInt64(shift)) &- 1
    }
}
