// Shorthands for the rows of the tables.

import LimiterEngine

extension Metric {
    typealias Read = @Sendable (MetricsReading) -> MetricValue
    typealias ReadFamily = @Sendable (MetricsReading) -> [MetricSample]
    typealias Condition = @Sendable (MetricsReading) -> Bool

    // MARK: Single values

    /// A number that only increases. Its name ends in `_total`.
    static func counter(
        _ name: String, unit: MetricUnit = .none, _ help: String, info fields: InfoField..., in section: MetricSection,
        if isShown: Condition? = nil, _ read: @escaping Read
    ) -> Metric {
        single(.named(name), .counter, unit, help, fields, section, isShown, read)
    }

    /// A number that goes up and down, or a flag.
    static func gauge(
        _ name: String, unit: MetricUnit = .none, _ help: String, info fields: InfoField..., in section: MetricSection,
        if isShown: Condition? = nil, _ read: @escaping Read
    ) -> Metric {
        single(.named(name), .gauge, unit, help, fields, section, isShown, read)
    }

    /// A text, exposed as a label of this name.
    static func info(
        _ name: String, label: String, _ help: String, info fields: InfoField..., in section: MetricSection,
        _ read: @escaping Read
    ) -> Metric {
        Metric(
            exposure: .named(name), type: .info, unit: .none, help: help,
            labels: [Label(name: label, seriesMax: 1)], section: section, fields: fields, isShown: nil,
            source: .value(read))
    }

    /// One of `words`, exposed as a series for each: 1 for the current one, 0 for the others.
    static func states(
        _ name: String, label: String, _ words: [String], _ help: String, info fields: InfoField...,
        in section: MetricSection, _ read: @escaping Read
    ) -> Metric {
        Metric(
            exposure: .named(name), type: .states(words), unit: .none, help: help,
            labels: [Label(name: label, seriesMax: words.count)], section: section, fields: fields, isShown: nil,
            source: .value(read))
    }

    /// A metric that only INFO shows.
    static func infoOnly(
        _ reason: Reason, type: MetricType = .gauge, unit: MetricUnit = .none, _ help: String,
        info fields: InfoField..., in section: MetricSection, if isShown: Condition? = nil, _ read: @escaping Read
    ) -> Metric {
        single(.infoOnly(reason), type, unit, help, fields, section, isShown, read)
    }

    private static func single(
        _ exposure: Exposure, _ type: MetricType, _ unit: MetricUnit, _ help: String, _ fields: [InfoField],
        _ section: MetricSection, _ isShown: Condition?, _ read: @escaping Read
    ) -> Metric {
        Metric(
            exposure: exposure, type: type, unit: unit, help: help, labels: [], section: section, fields: fields,
            isShown: isShown, source: .value(read))
    }

    /// A field of INFO that never changes.
    static func constant(_ field: String, _ value: MetricValue, _ help: String, in section: MetricSection) -> Metric {
        let isText = if case .text = value { true } else { false }
        return infoOnly(.constant, type: isText ? .info : .gauge, help, info: InfoField(field), in: section) { _ in
            value
        }
    }

    // MARK: Families

    /// A value for each set of label values.
    static func family(
        _ exposure: Exposure, _ type: MetricType, unit: MetricUnit = .none, _ help: String, by labels: Label...,
        info fields: InfoField..., in section: MetricSection, _ read: @escaping ReadFamily
    ) -> Metric {
        Metric(
            exposure: exposure, type: type, unit: unit, help: help, labels: labels, section: section, fields: fields,
            isShown: nil, source: .family(read))
    }
}

extension Metric.Label {
    /// A command's full name, `config|get`: one per entry of the command table.
    static let command = Metric.Label(name: "command", seriesMax: CommandTable.fullNames.count)
    /// An address, `host:port`.
    static let replica = Metric.Label(name: "replica", seriesMax: 16)
    /// The first word of an error.
    static let errorPrefix = Metric.Label(name: "prefix", seriesMax: ErrorStatistics.wordsMax)
    /// The number of a database.
    static let database = Metric.Label(name: "db", seriesMax: KeyName.databasesMax)
    /// The result of a decision.
    static let result = Metric.Label(name: "result", seriesMax: 3)
}
