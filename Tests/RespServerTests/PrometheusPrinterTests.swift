// The registry in Prometheus formats: lines, escapes and histograms. The integration test test_metrics.py checks the
// whole output with real parsers.

import Persistence
import RESP
import System
import Testing

@testable import RespServer

@Suite struct PrometheusPrinterTests {
    private static func lines(_ reading: MetricsReading, _ format: PrometheusPrinter.Format) -> [String] {
        let buffer = ReplyBuffer()
        PrometheusPrinter.print(reading, as: format, to: buffer)
        let text = String(decoding: buffer.bytes, as: UTF8.self)
        #expect(text.hasSuffix("\n") && !text.contains("\n\n") && !text.contains("\r"))
        return text.split(separator: "\n").map(String.init)
    }

    @Test func bothFormatsOfACounter() throws {
        var reading = try SampleServer().reading([.stats])
        reading.counters[LoopCounters.Counter.inputBytes.rawValue] = 123
        let text = Self.lines(reading, .text)
        let at = try #require(text.firstIndex(of: "# TYPE escapement_received_bytes_total counter"))
        #expect(text[at + 1] == "# HELP escapement_received_bytes_total Bytes received from clients, by listener")
        #expect(text[at + 2] == #"escapement_received_bytes_total{listener="resp"} 123"#)
        #expect(!text.contains { $0.hasPrefix("# UNIT") || $0.hasPrefix("# EOF") })
        let open = Self.lines(reading, .openMetrics)
        let place = try #require(open.firstIndex(of: "# TYPE escapement_received_bytes counter"))
        #expect(open[place + 1] == "# UNIT escapement_received_bytes bytes")
        #expect(open[place + 2] == "# HELP escapement_received_bytes Bytes received from clients, by listener")
        #expect(open[place + 3] == #"escapement_received_bytes_total{listener="resp"} 123"#)
        #expect(open.last == "# EOF")
    }

    @Test func eachStateIsASeries() throws {
        var reading = try SampleServer().reading([.persistence])
        reading.storage.breaker = .halfOpen
        let states = Self.lines(reading, .openMetrics).filter { $0.hasPrefix("escapement_storage_breaker_state{") }
        #expect(
            states == [
                #"escapement_storage_breaker_state{state="closed"} 0"#,
                #"escapement_storage_breaker_state{state="open"} 0"#,
                #"escapement_storage_breaker_state{state="half-open"} 1"#,
            ])
    }

    /// A series whose value is unknown is still exported.
    @Test func unknownIsNotANumber() throws {
        var reading = try SampleServer().reading([.persistence])
        reading.storage.lastSnapshotSeconds = -1
        #expect(Self.lines(reading, .text).contains("escapement_snapshot_last_duration_seconds NaN"))
        reading.storage.lastSnapshotSeconds = 3
        #expect(Self.lines(reading, .text).contains("escapement_snapshot_last_duration_seconds 3"))
    }

    @Test func aHistogramIsCumulative() throws {
        let sample = try SampleServer()
        let statistics = sample.server.loops[1].commandStatistics
        let command = sample.command("cl.throttle")
        for nanoseconds: Int64 in [1_000, 4_000, 4_001, 2_000_000_000] {
            statistics.record(command, calls: 1, nanoseconds: nanoseconds, failed: false, latency: true)
        }
        let lines = Self.lines(sample.reading([.latencyStatistics]), .openMetrics)
        let name = "escapement_command_duration_seconds"
        let buckets = lines.filter { $0.hasPrefix("\(name)_bucket{") }
        #expect(buckets.count == PrometheusPrinter.bounds.count + 1)
        #expect(buckets[0] == #"\#(name)_bucket{command="cl.throttle",le="4e-06"} 2"#)
        #expect(buckets[1] == #"\#(name)_bucket{command="cl.throttle",le="8e-06"} 3"#)
        #expect(buckets[11] == #"\#(name)_bucket{command="cl.throttle",le="1.048576"} 3"#)
        #expect(buckets[12] == #"\#(name)_bucket{command="cl.throttle",le="+Inf"} 4"#)
        #expect(lines.contains(#"\#(name)_count{command="cl.throttle"} 4"#))
        #expect(lines.contains(#"\#(name)_sum{command="cl.throttle"} 2.000009001"#))
    }

    @Test func familiesStayWithinTheirBound() throws {
        var reading = try SampleServer().reading([.replication])
        reading.replication.replicas = (0..<40).map {
            ReplicaLine(host: "h", port: 7000 + $0 / 2, state: "online", offset: 0, lag: .zero)
        }
        let lines = Self.lines(reading, .text)
        #expect(lines.count { $0.hasPrefix("escapement_replica_lag_seconds{") } == 16)
        #expect(Set(lines).count == lines.count, "no series twice")
        #expect(lines.contains("escapement_replicas_connected 40"))
        // Three states for each of at most sixteen replicas.
        #expect(lines.count { $0.hasPrefix("escapement_replica_state{") } == 48)
    }

    @Test func textIsEscaped() throws {
        var reading = try SampleServer().reading([.server])
        reading.operatingSystem = "a\\b\"c\nd"
        #expect(Self.lines(reading, .text).contains(#"escapement_os_info{os="a\\b\"c\nd"} 1"#))
        #expect(PrometheusPrinter.escaped("a\"b", quotes: false) == "a\"b")
    }

    @Test func durationsAreExact() {
        #expect(PrometheusPrinter.seconds(0) == "0" && PrometheusPrinter.seconds(1) == "0.000000001")
        #expect(PrometheusPrinter.seconds(1_500_000_000) == "1.5" && PrometheusPrinter.seconds(-2_000_000_000) == "-2")
        #expect(PrometheusPrinter.seconds(.min) == "-9223372036.854775808")
        #expect(PrometheusPrinter.seconds(.max) == "9223372036.854775807")
    }
}
