// How long commands take: a histogram per command, written by one event loop and read by whoever answers INFO or
// LATENCY HISTOGRAM. Owns the buckets and what is computed from them. Reads no clock and knows no command by name.
//
// Buckets are quarters of powers of two, in microseconds, each with its upper bound included:
//
//     0       1       2       3     | 4          5          6          7     | 8 …
//     ≤ 0.25  ≤ 0.5   ≤ 0.75  ≤ 1   | ≤ 1.25     ≤ 1.5      ≤ 1.75     ≤ 2   | ≤ 2.5 …
//
// So a percentile is at most a quarter too high (or a quarter of a microsecond), and four buckets together are one of
// the power-of-two buckets that Redis shows. The last bucket takes everything beyond 2^31 µs, which is 35 minutes.

/// Histograms of a fixed number of commands. One thread, the owner, records; any thread takes snapshots.
///
/// Memory is 1 KiB a command.
final class LatencyHistograms: Sendable {
    static let bucketCount = 32 * 4
    /// Behind the buckets: what all calls of the command took together.
    private static let nanosecondsIndex = bucketCount
    private static let stride = bucketCount + 1
    /// Nanoseconds of a quarter of a microsecond, the finest step.
    private static let quarter: UInt64 = 250

    /// How many commands there are.
    let commandCount: Int
    private let counters: CounterBlock

    /// Histograms for the commands `0 ..< commandCount`.
    init(commandCount: Int) {
        self.commandCount = commandCount
        counters = CounterBlock(count: commandCount * Self.stride)
    }

    /// Counts `calls` calls of a command that took `nanoseconds` each. Only for the owner thread. A few nanoseconds.
    func record(command: Int, nanoseconds: UInt64, calls: UInt64 = 1) {
        precondition(command >= 0 && command < commandCount)
        let base = command &* Self.stride
        counters.add(base &+ Self.bucket(nanoseconds: nanoseconds), calls)
        counters.add(base &+ Self.nanosecondsIndex, nanoseconds &* calls)
    }

    /// The counts of a command at about this moment. For any thread.
    func snapshot(command: Int) -> LatencySnapshot {
        var snapshot = LatencySnapshot()
        add(command: command, to: &snapshot)
        return snapshot
    }

    /// Adds the counts of a command to `snapshot`, to join those of several event loops. For any thread.
    func add(command: Int, to snapshot: inout LatencySnapshot) {
        precondition(command >= 0 && command < commandCount)
        let base = command * Self.stride
        for index in 0..<Self.bucketCount { snapshot.buckets[index] &+= counters.load(base + index) }
        snapshot.totalNanoseconds &+= counters.load(base + Self.nanosecondsIndex)
    }

    /// Forgets everything. Only for the owner thread, or while it stands still.
    func reset() { counters.reset() }

    /// The bucket of a duration.
    static func bucket(nanoseconds: UInt64) -> Int {
        // Quarters begun and not ended, less one: the bounds belong to the bucket below.
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

/// Counts of calls by duration, taken at one moment and free to be added up and computed with.
struct LatencySnapshot: Equatable, Sendable {
    var buckets = [UInt64](repeating: 0, count: LatencyHistograms.bucketCount)
    /// What all calls took together.
    var totalNanoseconds: UInt64 = 0

    /// How many calls were counted.
    var calls: UInt64 { buckets.reduce(0, &+) }

    /// Adds another snapshot, as of another event loop.
    mutating func merge(_ other: LatencySnapshot) {
        for index in buckets.indices { buckets[index] &+= other.buckets[index] }
        totalNanoseconds &+= other.totalNanoseconds
    }

    /// For each power of two with calls in it: the bound in microseconds and the calls up to it, itself and all
    /// smaller ones together. What LATENCY HISTOGRAM answers.
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
