// Generates docs/metrics.md from the registry. A test compares the file with this text.

/// The documentation of all metrics in Markdown.
enum MetricsDocs {
    /// The whole of docs/metrics.md. O(metrics), allocates; for the command-line flag and tests.
    static func markdown() -> String {
        var text = """
            # Metrics

            <!-- Generated from the registry: escapement --print-metrics-docs > docs/metrics.md -->

            Every number that the server reports. INFO prints them under the names in the last column, which are
            Redis's where Redis has them. The names in the first column are for Prometheus: base units, with the unit as
            the suffix. Counters only increase until a restart, and many of them until CONFIG RESETSTAT.

            A metric with labels in braces is a family: it has a series for each combination of label values, up to the
            given number. In the names of INFO's fields, `<command>`, `<prefix>` and `<n>` are placeholders, and
            `field: part` is one `part=value` in a line. `DEBUG METRICS` shows all metrics that have a name.

            """
        for section in MetricSection.allCases {
            let rows = MetricsTable.rows(section)
            guard !rows.isEmpty else { continue }
            text += "\n## \(section.rawValue)\n"
            if !section.isInInfo {
                text += "\nNot in INFO.\n"
            } else if !section.isDefault {
                text += "\nIn INFO only if requested by name, or with `all` or `everything`.\n"
            }
            let named = rows.filter { $0.name != nil }
            if !named.isEmpty {
                text += "\n| metric | type | meaning | INFO |\n|---|---|---|---|\n"
                for row in named { text += line([name(row), row.type.word, meaning(row), fields(row)]) }
            }
            let unnamed = rows.filter { $0.name == nil }
            if !unnamed.isEmpty {
                text += "\n| only in INFO | type | unit | meaning | why |\n|---|---|---|---|---|\n"
                for row in unnamed {
                    text += line([
                        fields(row), row.type.word, row.unit.rawValue.replacing("_", with: " "), row.help, reason(row),
                    ])
                }
            }
        }
        return text
    }

    private static func line(_ cells: [String]) -> String { "| " + cells.joined(separator: " | ") + " |\n" }

    private static func name(_ row: Metric) -> String {
        let labels = row.labels.map(\.name).joined(separator: ",")
        return "`\(row.name ?? "")" + (labels.isEmpty ? "" : "{\(labels)}") + "`"
    }

    private static func meaning(_ row: Metric) -> String {
        var text = row.help
        if case .states(let words) = row.type { text += ": " + words.map { "`\($0)`" }.joined(separator: ", ") }
        if row.labels.isEmpty || row.type == .info { return text }
        if case .states = row.type, row.labels.count == 1 { return text }
        return text + " (at most \(row.seriesMax) series)"
    }

    private static func fields(_ row: Metric) -> String {
        row.fields.map { field in
            let name = field.name.replacing("*", with: "<\(row.labels.first?.name ?? "")>").replacing("#", with: "<n>")
            return "`\(name)`" + (field.part.map { ": `\($0)`" } ?? "")
        }.joined(separator: ", ")
    }

    private static func reason(_ row: Metric) -> String {
        guard case .infoOnly(let reason) = row.exposure else { return "" }
        return switch reason {
        case .constant: "always the same, for Redis's tools"
        case .derived(let names): "from " + names.map { "`\($0)`" }.joined(separator: ", ")
        case .setting: "a setting"
        case .identity: "different on every node or in every run"
        case .chosenByClients: "the label is chosen by clients"
        }
    }
}
