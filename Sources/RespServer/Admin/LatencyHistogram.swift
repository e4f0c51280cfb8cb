// Command latency: a histogram per command, written by one event loop and read by the thread that serves INFO or
// LATENCY HISTOGRAM. Owns the buckets and the values computed from them. Reads no clock and knows no command by name.
//
// Buckets are quarters of powers of two, in microseconds, with inclusive upper bounds:
//
//     0       1       2       3     | 4          5          6          7     | 8 …
//     ≤ 0.25  ≤ 0.5   ≤ 0.75  ≤ 1   | ≤ 1.25     ≤ 1.5      ≤ 1.75     ≤ 2   | ≤ 2.5 …
//
// So a percentile is too high by at most a quarter (or a quarter of a microsecond), and four buckets together form one
// of the power-of-two buckets that Redis shows. The last bucket takes everything beyond 2^31 µs, which is 35 minutes.

/// Histograms of a fixed number of commands. One thread, the owner, records; any thread takes snapshots.
///
/// Uses 1 KiB per command.
final class LatencyHistograms: Sendable {
    static let bucketCount = 32 * 4
    /// After the buckets: total time of all calls of the command.
    private static let nanosecondsIndex = bucketCount
    private static let stride = bucketCount + 1
    /// A quarter of a microsecond in nanoseconds, the finest step.
    private static let quarter: UInt64 = 250

    /// How many commands there are.
    let commandCount: Int
    private let counters: CounterBlock

    /// Histograms for the commands `0 ..< commandCount`.
    init(commandCount: Int) {
        self.commandCount = commandCount
        counters = CounterBlock(count: commandCount * Self.stride)
    }

    /// Records `calls` calls of a command that took `nanoseconds` each. Costs a few nanoseconds. Only for the owner
    /// thread.
    func record(command: Int, nanoseconds: UInt64, calls: UInt64 = 1) {
        precondition(command >= 0 && command < commandCount)
        let base = command &* Self.stride
        counters.add(base &+ Self.bucket(nanoseconds: nanoseconds), calls)
        counters.add(base &+ Self.nanosecondsIndex, nanoseconds &* calls)
    }

    /// The approximate current counts of a command. For any thread.
    func snapshot(command: Int) -> LatencySnapshot {
        var snapshot = LatencySnapshot()
        add(command: command, to: &snapshot)
        return snapshot
    }

    /// Adds the counts of a command to `snapshot`, to sum over several event loops. For any thread.
    func add(command: Int, to snapshot: inout LatencySnapshot) {
        precondition(command >= 0 && command < commandCount)
        let base = command * Self.stride
        for index in 0..<Self.bucketCount { snapshot.buckets[index] &+= counters.load(base + index) }
        snapshot.totalNanoseconds &+= counters.load(base + Self.nanosecondsIndex)
    }

    /// Sets all counts to 0. Only for the owner thread, or while the owner is stopped.
    func reset() { counters.reset() }

    /// The bucket of a duration.
    static func bucket(nanoseconds: UInt64) -> Int {
        // Minus one, since an upper bound belongs to the bucket below it.
        let quarters = nanoseconds == 0 ? 0 : (nanoseconds - 1) / quarter
        guard quarters >= 4 else { return Int(quarters) }
        let exponent = 63 - quarters.leadingZeroBitCount
        let part = Int(quarters >> UInt64(exponent - 2)) & 3
        return min((exponent - 1) * 4 + part, bucketCount - 1)
    }

    /// The longest duration that belongs in a bucket, in nanoseconds.
    static func upperBound(bucket: Int) -> UInt64 {
        let part = UInt64(bucket % 4) + 1
        let octave = UInt64(bucket / 4)
        guard octave > 0 else { return part * quarter }
        return ((4 + part) << (octave - 1)) * quarter
    }
}

/// Counts of calls by duration: a copy to merge and compute with.
struct LatencySnapshot: Equatable, Sendable {
    var buckets = [UInt64](repeating: 0, count: LatencyHistograms.bucketCount)
    /// Total time of all calls.
    var totalNanoseconds: UInt64 = 0

    /// How many calls were counted.
    var calls: UInt64 { buckets.reduce(0, &+) }

    /// Adds another snapshot, such as that of another event loop.
    mutating func merge(_ other: LatencySnapshot) {
        for index in buckets.indices { buckets[index] &+= other.buckets[index] }
        totalNanoseconds &+= other.totalNanoseconds
    }

    /// For each power of two with calls in it: the upper bound in microseconds and the cumulative number of calls up to
    /// it. The reply to LATENCY HISTOGRAM.
    func cumulativeMicroseconds() -> [(microseconds: UInt64, calls: UInt64)] {
        var rows: [(microseconds: UInt64, calls: UInt64)] = []
        var total: UInt64 = 0
        for octave in 0..<(buckets.count / 4) {
            let calls = buckets[(octave * 4)..<(octave * 4 + 4)].reduce(0, &+)
            guard calls > 0 else { continue }
            total &+= calls
            rows.append((1 << UInt64(octave), total))
        }
        return rows
    }

    /// The duration in microseconds that `percent` (above 0, to 100) of the calls did not exceed, rounded up to the
    /// bound of its bucket; 0 without calls.
    func percentile(_ percent: Double) -> Double {
        let calls = calls
        guard calls > 0 else { return 0 }
        let rank = min(max(UInt64((Double(calls) * percent / 100).rounded(.up)), 1), calls)
        var seen: UInt64 = 0
        for (index, count) in buckets.enumerated() {
            seen &+= count
            if seen >= rank { return Double(LatencyHistograms.upperBound(bucket: index)) / 1_000 }
        }
        return 0
    }
}
