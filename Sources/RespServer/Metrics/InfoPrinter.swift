// INFO: prints the registry in Redis's format, sections of `name:value` lines. This is an interface: exporters,
// Sentinel and dashboards parse it, so field names, their order and section names are Redis's wherever Redis has them.
//
// Rules: a value with both `,` and `=` consists only of `k=v` pairs; `dbN:` appears only if database N has keys; only
// the real line contains `role:master` or `cluster_enabled:1`; the type of a number never changes.

import LimiterEngine
import RESP

/// Prints sections of INFO.
struct InfoPrinter {
    /// The requested sections, by name or as `default`, `all`, `everything`, in their order; `default` if no name is
    /// given. Ignores unknown names.
    static func sections(_ names: [String]) -> [MetricSection] {
        let wanted = Set(names.map { $0.lowercased() })
        let all = wanted.contains("all") || wanted.contains("everything")
        let usual = names.isEmpty || wanted.contains("default")
        return MetricSection.allCases.filter { section in
            guard section.isInInfo else { return false }
            return all || usual && section.isDefault || wanted.contains(section.rawValue.lowercased())
        }
    }

    /// INFO's reply with these sections, which `reading` must include.
    static func text(_ sections: [MetricSection], _ reading: MetricsReading) -> String {
        var printer = InfoPrinter(reading: reading)
        printer.text.reserveCapacity(8 * 1024)
        for section in sections {
            if !printer.text.isEmpty { printer.text += "\r\n" }
            printer.text += "# "
            printer.text += section.rawValue
            printer.text += "\r\n"
            for row in MetricsTable.rows(section) { printer.print(row) }
            printer.endJoinedLines()
        }
        return printer.text
    }

    private let reading: MetricsReading
    private var text = ""
    /// The field name of the lines being assembled from parts, and the line of each series so far.
    private var joinedName = ""
    private var joined: [(name: String, value: String)] = []

    private init(reading: MetricsReading) { self.reading = reading }

    private mutating func print(_ row: Metric) {
        guard let first = row.fields.first, row.isShown?(reading) ?? true else { return }
        if first.name != joinedName { endJoinedLines() }
        if let part = first.part { return join(part, of: first, row.read(reading)) }
        switch row.source {
        case .value(let read):
            let value = read(reading)
            for field in row.fields { line(field.name, formatted(value, field)) }
        case .family(let read):
            for (number, sample) in read(reading).enumerated() {
                for field in row.fields {
                    line(InfoPrinter.name(field, sample, number), formatted(sample.value, field))
                }
            }
        }
    }

    /// Adds a line if there is a value.
    private mutating func line(_ name: String, _ value: String?) {
        guard let value else { return }
        text += name
        text += ":"
        text += value
        text += "\r\n"
    }

    /// Adds `part=value` to the line of each series; all rows with the same field name have the same series.
    private mutating func join(_ part: String, of field: InfoField, _ samples: [MetricSample]) {
        if joinedName.isEmpty {
            joinedName = field.name
            joined = samples.enumerated().map { (InfoPrinter.name(field, $1, $0), "") }
        }
        precondition(joined.count == samples.count, "parts of a line must have the same series")
        for (number, sample) in samples.enumerated() {
            guard let value = formatted(sample.value, field) else { continue }
            if !joined[number].value.isEmpty { joined[number].value += "," }
            joined[number].value += part
            joined[number].value += "="
            joined[number].value += value
        }
    }

    private mutating func endJoinedLines() {
        for (name, value) in joined { line(name, value) }
        joined = []
        joinedName = ""
    }

    private static func name(_ field: InfoField, _ sample: MetricSample, _ number: Int) -> String {
        switch field.name.last {
        case "*": field.name.dropLast() + (sample.labels.first ?? "")
        case "#": field.name.dropLast() + String(number)
        default: field.name
        }
    }

    // MARK: Values

    /// A value in the field's format; nil to omit the line.
    private func formatted(_ value: MetricValue, _ field: InfoField) -> String? {
        switch (value, field.format) {
        case (.unknown, _): field.unknown
        case (.text(let text), _): text
        case (.flag(let flag), .words(let yes, let no)): flag ? yes : no
        case (.flag(let flag), _): flag ? "1" : "0"
        case (.integer(let number), .human): InfoPrinter.human(Int(number))
        case (.integer(let number), _): String(number)
        case (.nanoseconds(let duration), .whole(let unit)): String(duration / unit.rawValue)
        case (.nanoseconds(let duration), _): String(duration / 1_000_000_000)
        case (.real(let number), .fixed(let decimals)): InfoPrinter.fixed(number, decimals)
        case (.real(let number), .percent): InfoPrinter.fixed(number, 2) + "%"
        case (.real(let number), _): number.description
        case (.histogram(let latency), _): percentiles(latency)
        }
    }

    private func percentiles(_ latency: LatencySnapshot) -> String {
        reading.settings.latencyTrackingInfoPercentiles.map { percent in
            "p\(SettingsTable.percentileText(percent))=\(InfoPrinter.fixed(latency.percentile(percent), 3))"
        }.joined(separator: ",")
    }

    /// A decimal number with `decimals` places, like `%.2f`.
    static func fixed(_ value: Double, _ decimals: Int) -> String {
        var scale: Int64 = 1
        for _ in 0..<decimals { scale *= 10 }
        guard value.isFinite, value.magnitude < 9e18 / Double(scale) else { return "0" }
        let scaled = Int64(value.magnitude * Double(scale) + 0.5)
        let fraction = String(scaled % scale)
        let sign = value < 0 && scaled > 0 ? "-" : ""
        return "\(sign)\(scaled / scale)."
            + String(repeating: "0", count: decimals - fraction.count) + fraction
    }

    /// Human-readable bytes: `1.50M`.
    static func human(_ bytes: Int) -> String {
        var value = Double(bytes)
        for unit in ["B", "K", "M", "G"] {
            if value < 1024 { return unit == "B" ? "\(bytes)B" : fixed(value, 2) + unit }
            value /= 1024
        }
        return fixed(value, 2) + "T"
    }
}

extension Handlers {
    static func info(_ context: CommandContext) {
        let names = (1..<max(1, context.arguments.count)).map { context.arguments[$0].string }
        let sections = InfoPrinter.sections(names)
        let reading = MetricsReading(
            of: context.server, context.keyspace, now: context.now, steady: context.loop.steady,
            sections: Set(sections))
        context.reply.verbatim(InfoPrinter.text(sections, reading))
    }
}
