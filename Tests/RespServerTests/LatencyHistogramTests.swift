// Histogram buckets and percentiles, against plain arithmetic over the recorded durations.

import TestSupport
import Testing

@testable import RespServer

@Suite struct LatencyHistogramTests {
    /// A bucket includes its upper bound; one nanosecond more falls into the next bucket.
    @Test func bucketsMeetWithoutGaps() {
        #expect(LatencyHistograms.bucket(nanoseconds: 0) == 0)
        for bucket in 0..<(LatencyHistograms.bucketCount - 1) {
            let bound = LatencyHistograms.upperBound(bucket: bucket)
            #expect(LatencyHistograms.bucket(nanoseconds: bound) == bucket)
            #expect(LatencyHistograms.bucket(nanoseconds: bound + 1) == bucket + 1)
        }
        #expect(LatencyHistograms.upperBound(bucket: 3) == 1_000)
        #expect(LatencyHistograms.upperBound(bucket: 7) == 2_000)
        #expect(LatencyHistograms.upperBound(bucket: 8) == 2_500)
        #expect(LatencyHistograms.upperBound(bucket: 11) == 4_000)
        #expect(LatencyHistograms.bucket(nanoseconds: .max) == LatencyHistograms.bucketCount - 1)
    }

    @Test func cumulativeRows() {
        let histograms = LatencyHistograms(commandCount: 2)
        for nanoseconds: UInt64 in [1, 1_000, 1_001, 2_000, 3_000, 1_000_000] {
            histograms.record(command: 1, nanoseconds: nanoseconds)
        }
        let snapshot = histograms.snapshot(command: 1)
        let rows = snapshot.cumulativeMicroseconds()
        #expect(rows.map(\.microseconds) == [1, 2, 4, 1_024])
        #expect(rows.map(\.calls) == [2, 4, 5, 6])
        #expect(snapshot.calls == 6)
        #expect(snapshot.totalNanoseconds == 1_007_002)
        #expect(histograms.snapshot(command: 0) == LatencySnapshot())
        #expect(LatencySnapshot().cumulativeMicroseconds().isEmpty)
    }

    /// A percentile is the upper bound of the bucket that contains the exact value.
    @Test func percentilesOfRandomDurations() {
        var random = SeededGenerator(for: "percentiles of durations")
        let histograms = LatencyHistograms(commandCount: 1)
        var durations: [UInt64] = []
        for _ in 0..<5_000 {
            let nanoseconds = (random.next() & 0xFFFF_FFFF) >> UInt64(random.below(32))
            durations.append(nanoseconds)
            histograms.record(command: 0, nanoseconds: nanoseconds)
        }
        durations.sort()
        let snapshot = histograms.snapshot(command: 0)
        for percent in [0.1, 1, 50, 99, 99.9, 100] {
            let rank = max(Int((Double(durations.count) * percent / 100).rounded(.up)), 1)
            let bucket = LatencyHistograms.bucket(nanoseconds: durations[rank - 1])
            let expected = Double(LatencyHistograms.upperBound(bucket: bucket)) / 1_000
            #expect(snapshot.percentile(percent) == expected, "seed \(random.seed), percent \(percent)")
        }
        #expect(LatencySnapshot().percentile(50) == 0)
    }

    @Test func mergesAndResets() {
        let first = LatencyHistograms(commandCount: 1)
        let second = LatencyHistograms(commandCount: 1)
        first.record(command: 0, nanoseconds: 500, calls: 3)
        second.record(command: 0, nanoseconds: 5_000)
        var joined = first.snapshot(command: 0)
        joined.merge(second.snapshot(command: 0))
        var added = LatencySnapshot()
        first.add(command: 0, to: &added)
        second.add(command: 0, to: &added)
        #expect(joined == added)
        #expect(joined.calls == 4 && joined.totalNanoseconds == 6_500)
        first.reset()
        #expect(first.snapshot(command: 0) == LatencySnapshot())
    }

    /// A concurrent reader sees counts that never decrease, and all of them in the end.
    @Test func readersSeeGrowingCounts() async {
        let histograms = LatencyHistograms(commandCount: 1)
        await withTaskGroup(of: Void.self) { group in
            group.addTask { for index in 0..<20_000 { histograms.record(command: 0, nanoseconds: UInt64(index)) } }
            group.addTask {
                var last: UInt64 = 0
                for _ in 0..<200 {
                    let calls = histograms.snapshot(command: 0).calls
                    #expect(calls >= last)
                    last = calls
                }
            }
        }
        #expect(histograms.snapshot(command: 0).calls == 20_000)
    }
}
