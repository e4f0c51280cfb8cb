// Prints the registry as JSON, for GET /api/stats: an object for each section with the values of its rows.
//
// A row with a name appears under that name; a row that only INFO has under the name of its field. A family is an array
// of objects with its labels and a value. Durations are in seconds, an unknown value is null.

import HTTP

struct JSONPrinter {
    private let reading: MetricsReading
    private let out: ByteWriter

    /// Appends all sections of the reading.
    static func print(_ reading: MetricsReading, to out: ByteWriter) {
        let printer = JSONPrinter(reading: reading, out: out)
        out.append("{")
        var isFirst = true
        for section in MetricSection.allCases where reading.sections.contains(section) {
            let rows = MetricsTable.rows(section).filter { JSONPrinter.key($0) != nil }
            guard !rows.isEmpty else { continue }
            out.append(isFirst ? "" : ",")
            isFirst = false
            out.appendQuoted(text: section.rawValue.lowercased())
            out.append(":{")
            for (position, row) in rows.enumerated() {
                if position > 0 { out.append(",") }
                out.appendQuoted(text: JSONPrinter.key(row)!)
                out.append(":")
                printer.print(row)
            }
            out.append("}")
        }
        out.append("}\n")
    }

    /// The name of a row; nil if it has none.
    static func key(_ metric: Metric) -> String? {
        if let name = metric.name { return name }
        guard let field = metric.fields.first, metric.labels.isEmpty else { return nil }
        return field.part.map { "\(field.name)_\($0)" } ?? field.name
    }

    private func print(_ metric: Metric) {
        let samples = metric.read(reading)
        guard !metric.labels.isEmpty, metric.source.isFamily else {
            guard let sample = samples.first else { return out.append("null") }
            return print(sample.value)
        }
        out.append("[")
        for (position, sample) in samples.prefix(metric.samplesMax).enumerated() {
            out.append(position == 0 ? "{" : ",{")
            for (label, value) in zip(metric.labels, sample.labels) {
                out.appendQuoted(text: label.name)
                out.append(":")
                out.appendQuoted(text: value)
                out.append(",")
            }
            out.append("\"value\":")
            print(sample.value)
            out.append("}")
        }
        out.append("]")
    }

    private func print(_ value: MetricValue) {
        switch value {
        case .integer(let number): out.append(number)
        case .real(let number): out.append(text: number.isFinite ? number.description : "null")
        case .nanoseconds(let duration): out.append(text: PrometheusPrinter.seconds(duration))
        case .flag(let flag): out.append(flag ? "true" : "false")
        case .text(let text): out.appendQuoted(text: text)
        case .unknown: out.append("null")
        case .histogram(let latency):
            out.append("{\"count\":")
            out.append(Int64(clamping: latency.calls))
            out.append(",\"sum\":")
            out.append(text: PrometheusPrinter.seconds(Int64(clamping: latency.totalNanoseconds)))
            for (name, percent) in [("p50", 50), ("p99", 99), ("p99.9", 99.9)] as [(String, Double)] {
                out.append(",")
                out.appendQuoted(text: name)
                out.append(":")
                out.append(text: (latency.percentile(percent) / 1_000_000).description)
            }
            out.append("}")
        }
    }
}

extension Metric.Source {
    fileprivate var isFamily: Bool { if case .family = self { true } else { false } }
}
