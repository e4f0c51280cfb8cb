// The registry's rules for metrics: valid names, bounded numbers of series, and complete documentation.

import Glibc
import Testing

@testable import RespServer

@Suite struct MetricsTableTests {
    private static let named = MetricsTable.all.filter { $0.name != nil }

    private static func isName(_ name: String) -> Bool {
        name.wholeMatch(of: /[a-z_][a-z0-9_]*/) != nil && !name.hasPrefix("__") && !name.contains("__")
    }

    @Test func namesAreValidAndUnique() {
        var seen: Set<String> = []
        for metric in Self.named {
            let name = metric.name!
            #expect(Self.isName(name), "\(name)")
            #expect(name.hasPrefix("escapement_") || name.hasPrefix("process_"), "\(name)")
            #expect(seen.insert(name).inserted, "\(name) twice")
            for label in metric.labels { #expect(Self.isName(label.name), "\(name) \(label.name)") }
            #expect(Set(metric.labels.map(\.name)).count == metric.labels.count, "\(name): a label twice")
        }
    }

    /// In OpenMetrics a family's name must not equal the name of another family's sample.
    @Test func familiesDoNotCollide() {
        var samples: [String: String] = [:]
        for metric in Self.named {
            let family = PrometheusPrinter.family(metric, .openMetrics)
            let suffixes: [String] =
                switch metric.type {
                case .counter: ["", "_total", "_created"]
                case .histogram: ["", "_bucket", "_count", "_sum", "_created"]
                case .info: ["", "_info"]
                case .gauge, .states: [""]
                }
            for suffix in suffixes {
                let other = samples.updateValue(family, forKey: family + suffix)
                #expect(other == nil, "\(family) and \(other ?? "")")
            }
        }
    }

    @Test func suffixesNameTypeAndUnit() {
        for metric in Self.named {
            let name = metric.name!
            #expect((metric.type == .counter) == name.hasSuffix("_total"), "\(name)")
            #expect((metric.type == .info) == name.hasSuffix("_info"), "\(name)")
            for suffix in ["_count", "_sum", "_bucket", "_created"] { #expect(!name.hasSuffix(suffix), "\(name)") }
            let base = metric.type == .counter ? String(name.dropLast("_total".count)) : name
            switch metric.unit {
            case .none:
                for unit in ["seconds", "bytes", "ratio"] { #expect(!base.hasSuffix("_\(unit)"), "\(name)") }
            case .seconds: #expect(base.hasSuffix("_seconds"), "\(name)")
            case .timestampSeconds:
                // The conventional name of Prometheus for the start time is an exception.
                #expect(base.hasSuffix("_timestamp_seconds") || base.hasSuffix("_start_time_seconds"), "\(name)")
            case .bytes: #expect(base.hasSuffix("_bytes"), "\(name)")
            case .ratio: #expect(base.hasSuffix("_ratio"), "\(name)")
            case .percent, .perSecond, .kibibytesPerSecond, .microseconds:
                Issue.record("\(name) is not in a base unit")
            }
            for part in ["_ms", "_usec", "_kb", "milliseconds", "microseconds", "percent"] {
                #expect(!name.contains(part), "\(name)")
            }
        }
    }

    @Test func helpIsASentenceWithoutItsFullStop() {
        for metric in MetricsTable.all {
            #expect(metric.help.count >= 5, "\(metric.name ?? "")")
            #expect(metric.help.first!.isUppercase, "\(metric.help)")
            #expect(!metric.help.hasSuffix(".") && !metric.help.hasSuffix(" "), "\(metric.help)")
            #expect(!metric.help.contains("\n") && !metric.help.contains("|"), "\(metric.help)")
        }
    }

    /// Each family's number of series has a bound that does not depend on clients or keys.
    @Test func labelsAreBounded() {
        for metric in MetricsTable.all {
            #expect(metric.seriesMax >= 1 && metric.seriesMax <= 10_000, "\(metric.help): \(metric.seriesMax)")
            let names = Set(metric.labels.map(\.name))
            #expect(names.isDisjoint(with: ["key", "client", "user", "id", "addr", "path", "user_agent"]))
            if case .states(let words) = metric.type {
                #expect(metric.labels.last?.seriesMax == words.count && Set(words).count == words.count)
            }
            if case .info = metric.type, metric.name != nil { #expect(metric.labels.count == 1) }
        }
    }

    /// A value only INFO shows is derived from Prometheus metrics, or does not belong in Prometheus.
    @Test func derivedMetricsNameTheirSources() {
        let names = Set(Self.named.map { $0.name! })
        for metric in MetricsTable.all {
            guard case .infoOnly(let reason) = metric.exposure else { continue }
            #expect(!metric.fields.isEmpty, "\(metric.help) is shown nowhere")
            guard case .derived(let sources) = reason else { continue }
            #expect(!sources.isEmpty)
            for source in sources { #expect(names.contains(source), "\(source)") }
        }
    }

    @Test func fieldsAreUnique() {
        var seen: Set<String> = []
        for metric in MetricsTable.all {
            for field in metric.fields {
                #expect(seen.insert("\(field.name)|\(field.part ?? "")").inserted, "\(field.name) twice")
            }
            #expect(metric.section.isInInfo || metric.fields.isEmpty, "\(metric.help)")
            // A row with a part is exactly one part of one line.
            if metric.fields.contains(where: { $0.part != nil }) { #expect(metric.fields.count == 1) }
        }
    }

    /// Rows of a section are adjacent, so the order of the table is the order of INFO.
    @Test func sectionsAreInOrder() {
        #expect(MetricSection.allCases.flatMap { MetricsTable.rows($0) }.count == MetricsTable.all.count)
        for section in MetricSection.allCases where section != .modules {
            #expect(!MetricsTable.rows(section).isEmpty, "\(section)")
        }
    }

    /// `escapement --print-metrics-docs > docs/metrics.md` regenerates the file.
    @Test func documentationIsUpToDate() throws {
        let root = #filePath.split(separator: "/").dropLast(3).map { "/" + $0 }.joined()
        let path = "\(root)/docs/metrics.md"
        let file = try #require(fopen(path, "r"), "cannot open \(path)")
        defer { fclose(file) }
        var bytes = [UInt8](repeating: 0, count: 1 << 20)
        bytes.removeLast(bytes.count - fread(&bytes, 1, bytes.count, file))
        #expect(String(decoding: bytes, as: UTF8.self) == MetricsDocs.markdown(), "docs/metrics.md is out of date")
    }
}
