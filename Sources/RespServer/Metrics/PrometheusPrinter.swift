// Prints the registry for Prometheus: in the text format 0.0.4, and in OpenMetrics 1.0. Appends to a buffer;
// independent of HTTP.
//
// OpenMetrics names a counter's family without `_total` and an info's without `_info`, has units, and ends in `# EOF`.
// 0.0.4 has no info metrics, so they are gauges there. A state is a gauge in both: in OpenMetrics, the label of a state
// set would need the name of its family.
//
// A series never disappears while the process is running, so a value that is currently unknown is NaN. Families respect
// the bound of their labels: series beyond it are omitted, as are duplicates.

import LimiterEngine
import RESP

/// Prints named metrics in one of Prometheus's formats.
struct PrometheusPrinter {
    enum Format: Sendable {
        /// `text/plain; version=0.0.4; charset=utf-8`
        case text
        /// `application/openmetrics-text; version=1.0.0; charset=utf-8`
        case openMetrics
    }

    /// Bucket bounds as powers of two in microseconds: 4 µs to a second. They are bounds of the internal histograms,
    /// too, so the counts are exact.
    static let bounds = [2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 17, 20]

    private let format: Format
    private let buffer: ReplyBuffer

    /// Appends all named metrics to `buffer`.
    static func print(_ reading: MetricsReading, as format: Format, to buffer: ReplyBuffer) {
        let printer = PrometheusPrinter(format: format, buffer: buffer)
        for metric in MetricsTable.all where metric.name != nil && reading.sections.contains(metric.section) {
            printer.print(metric, reading)
        }
        if format == .openMetrics { buffer.append("# EOF\n") }
    }

    private func print(_ metric: Metric, _ reading: MetricsReading) {
        let samples = unique(metric.read(reading), of: metric)
        guard !samples.isEmpty else { return }
        let family = PrometheusPrinter.family(metric, format)
        append("# TYPE \(family) \(type(of: metric))\n")
        if format == .openMetrics, let unit = metric.unit.openMetrics { append("# UNIT \(family) \(unit)\n") }
        append("# HELP \(family) \(PrometheusPrinter.escaped(metric.help, quotes: format == .openMetrics))\n")
        for sample in samples { print(sample, of: metric) }
    }

    /// The samples to show: without duplicate labels, up to the row's bound.
    private func unique(_ samples: [MetricSample], of metric: Metric) -> [MetricSample] {
        guard !metric.labels.isEmpty else { return samples }
        var seen: Set<[String]> = []
        return samples.filter { seen.count < metric.samplesMax && seen.insert($0.labels).inserted }
    }

    private func print(_ sample: MetricSample, of metric: Metric) {
        guard let name = metric.name else { return }
        let names = metric.labels.map(\.name)
        switch (metric.type, sample.value) {
        case (.info, .text(let text)): line(name, names, [text], "1")
        case (.info, _): break
        case (.states(let words), let value):
            for word in words { line(name, names, sample.labels + [word], value == .text(word) ? "1" : "0") }
        case (.histogram, .histogram(let latency)): print(latency, name, names, sample.labels)
        case (_, let value): line(name, names, sample.labels, PrometheusPrinter.number(value))
        }
    }

    private func print(_ latency: LatencySnapshot, _ name: String, _ names: [String], _ labels: [String]) {
        var counted: UInt64 = 0
        var bucket = 0
        for bound in PrometheusPrinter.bounds {
            while bucket < (bound + 1) * 4 {
                counted &+= latency.buckets[bucket]
                bucket += 1
            }
            let seconds = Double(1 << bound) / 1_000_000
            line("\(name)_bucket", names + ["le"], labels + [seconds.description], String(counted))
        }
        let calls = latency.calls
        line("\(name)_bucket", names + ["le"], labels + ["+Inf"], String(calls))
        line("\(name)_count", names, labels, String(calls))
        line("\(name)_sum", names, labels, (Double(latency.totalNanoseconds) / 1e9).description)
    }

    private func line(_ name: String, _ names: [String], _ values: [String], _ value: String) {
        var text = name
        if !names.isEmpty {
            let labels = zip(names, values).map { "\($0)=\"\(PrometheusPrinter.escaped($1, quotes: true))\"" }
            text += "{" + labels.joined(separator: ",") + "}"
        }
        append("\(text) \(value)\n")
    }

    private func append(_ text: String) { buffer.append(text: text) }

    // MARK: Names and values

    /// The name under which the format declares a metric's type.
    static func family(_ metric: Metric, _ format: Format) -> String {
        let name = metric.name ?? ""
        guard format == .openMetrics else { return name }
        return switch metric.type {
        case .counter where name.hasSuffix("_total"): String(name.dropLast("_total".count))
        case .info where name.hasSuffix("_info"): String(name.dropLast("_info".count))
        default: name
        }
    }

    private func type(of metric: Metric) -> String {
        switch metric.type {
        case .counter: "counter"
        case .gauge: "gauge"
        case .histogram: "histogram"
        case .info: format == .openMetrics ? "info" : "gauge"
        case .states: "gauge"
        }
    }

    private static func number(_ value: MetricValue) -> String {
        switch value {
        case .integer(let number): String(number)
        case .real(let number): number.description
        case .flag(let flag): flag ? "1" : "0"
        case .nanoseconds(let duration): seconds(duration)
        case .text, .histogram, .unknown: "NaN"
        }
    }

    /// Nanoseconds as a decimal number of seconds, exactly.
    static func seconds(_ nanoseconds: Int64) -> String {
        let (whole, rest) = nanoseconds.magnitude.quotientAndRemainder(dividingBy: 1_000_000_000)
        let sign = nanoseconds < 0 ? "-" : ""
        guard rest > 0 else { return "\(sign)\(whole)" }
        var digits = String(rest)
        digits = String(repeating: "0", count: 9 - digits.count) + digits
        while digits.last == "0" { digits.removeLast() }
        return "\(sign)\(whole).\(digits)"
    }

    /// Escapes `\` and line feeds, and optionally quotes.
    static func escaped(_ text: String, quotes: Bool) -> String {
        var escaped = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\\": escaped += "\\\\"
            case "\n": escaped += "\\n"
            case "\"" where quotes: escaped += "\\\""
            default: escaped.unicodeScalars.append(scalar)
            }
        }
        return escaped
    }
}

extension MetricUnit {
    /// The unit in OpenMetrics, which must be a suffix of the family's name.
    fileprivate var openMetrics: String? {
        switch self {
        case .seconds, .timestampSeconds: "seconds"
        case .bytes: "bytes"
        default: nil
        }
    }
}
