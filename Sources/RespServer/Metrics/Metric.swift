// The definition of a metric: its name, type, unit and meaning, and how INFO shows it. Independent of the server and of
// output formats: `MetricsTable` holds the rows, `MetricsReading` the values, `InfoPrinter` and other printers print
// them.

/// One row of the registry: a number, a text or a distribution that the server reports. A class, since copying a row
/// would retain each of its strings, which would take most of the time to print it.
final class Metric: Sendable {
    /// Where the metric is shown.
    enum Exposure: Sendable, Equatable {
        /// Everywhere. The name is Prometheus's, with the unit as its suffix.
        case named(String)
        /// Only in INFO.
        case infoOnly(Reason)
    }

    /// Why a row has no name of its own.
    enum Reason: Sendable, Equatable {
        /// Always the same; kept because Redis's tools look for it.
        case constant
        /// Computed from these metrics.
        case derived([String])
        /// A setting, also shown by CONFIG GET.
        case setting
        /// Identifies this process or its location: as a label it would create new series with every start.
        case identity
        /// Its label is chosen by clients.
        case chosenByClients
    }

    /// A label of a family, and the bound on its values.
    struct Label: Sendable, Equatable {
        let name: String
        /// Upper bound on the number of series, whatever happens to the server.
        let seriesMax: Int
    }

    let exposure: Exposure
    let type: MetricType
    let unit: MetricUnit
    /// One sentence without its full stop.
    let help: String
    let labels: [Label]
    let section: MetricSection
    /// How INFO shows the metric, in order. Empty if it does not.
    let fields: [InfoField]
    /// Whether INFO shows the fields now; nil for always.
    let isShown: (@Sendable (MetricsReading) -> Bool)?
    let source: Source

    /// Where the values come from.
    enum Source: Sendable {
        /// A single value; also for a family whose only label is that of its type.
        case value(@Sendable (MetricsReading) -> MetricValue)
        /// One for each set of label values.
        case family(@Sendable (MetricsReading) -> [MetricSample])
    }

    init(
        exposure: Exposure, type: MetricType, unit: MetricUnit, help: String, labels: [Label], section: MetricSection,
        fields: [InfoField], isShown: (@Sendable (MetricsReading) -> Bool)?, source: Source
    ) {
        self.exposure = exposure
        self.type = type
        self.unit = unit
        self.help = help
        self.labels = labels
        self.section = section
        self.fields = fields
        self.isShown = isShown
        self.source = source
    }

    /// The metric's values in `reading`.
    func read(_ reading: MetricsReading) -> [MetricSample] {
        switch source {
        case .value(let read): [MetricSample(value: read(reading))]
        case .family(let read): read(reading)
        }
    }

    /// The name in Prometheus; nil if the metric is only in INFO.
    var name: String? {
        if case .named(let name) = exposure { name } else { nil }
    }

    /// Maximum number of series.
    var seriesMax: Int { labels.reduce(1) { $0 * $1.seriesMax } }

    /// Maximum number of samples: a sample of a state has a series for each of its words.
    var samplesMax: Int {
        if case .states(let words) = type { seriesMax / words.count } else { seriesMax }
    }
}

/// The type of a metric.
enum MetricType: Sendable, Equatable {
    /// Only increases, until it is reset.
    case counter
    case gauge
    /// Durations by bucket.
    case histogram
    /// A text that rarely changes.
    case info
    /// One of a few words.
    case states([String])

    /// The name of the type in the documentation.
    var word: String {
        switch self {
        case .counter: "counter"
        case .gauge: "gauge"
        case .histogram: "histogram"
        case .info: "text"
        case .states: "state"
        }
    }
}

/// The unit of a metric; always the base unit.
enum MetricUnit: String, Sendable {
    /// A plain number, a flag, or a text.
    case none = ""
    case seconds
    /// Seconds since 1970.
    case timestampSeconds = "timestamp_seconds"
    case bytes
    case ratio
    // Only for fields of INFO.
    case percent
    case perSecond = "per_second"
    case kibibytesPerSecond = "kibibytes_per_second"
    case microseconds
}

/// A value of a metric.
enum MetricValue: Sendable, Equatable {
    /// An integer in the metric's unit.
    case integer(Int64)
    case real(Double)
    /// A duration of a metric in seconds.
    case nanoseconds(Int64)
    case flag(Bool)
    case text(String)
    case histogram(LatencySnapshot)
    /// Unknown, or currently not applicable.
    case unknown

    static func count(_ count: some BinaryInteger) -> MetricValue { .integer(Int64(clamping: count)) }
}

/// A value with the values of its labels.
struct MetricSample: Sendable {
    var labels: [String] = []
    var value: MetricValue
}

/// Groups of metrics: the sections of INFO in its order, with Redis's names where Redis has them, and one that is not
/// in INFO.
enum MetricSection: String, Sendable, CaseIterable {
    case server = "Server"
    case clients = "Clients"
    case memory = "Memory"
    case persistence = "Persistence"
    case stats = "Stats"
    case replication = "Replication"
    case cpu = "CPU"
    case modules = "Modules"
    case limiter = "Limiter"
    case commandStatistics = "Commandstats"
    case errorStatistics = "Errorstats"
    case unknownCommands = "Unknowncommands"
    case latencyStatistics = "Latencystats"
    case cluster = "Cluster"
    case keyspace = "Keyspace"
    // Not in INFO.
    case http = "HTTP"
    case process = "Process"

    /// Whether INFO has the section.
    var isInInfo: Bool { self != .process && self != .http }
    /// Whether INFO without arguments shows it.
    var isDefault: Bool { isInInfo && self != .commandStatistics && self != .latencyStatistics }
}

// MARK: INFO

/// A line of INFO, or with `part` a `key=value` in a line: adjacent parts with the same name form one line.
struct InfoField: Sendable {
    /// The field's name. In a family `*` is replaced by the value of the first label, and `#` by the series' number.
    let name: String
    let part: String?
    let format: InfoFormat
    /// Shown for an unknown value; nil omits the line.
    let unknown: String?

    init(_ name: String, part: String? = nil, _ format: InfoFormat = .plain, unknown: String? = nil) {
        self.name = name
        self.part = part
        self.format = format
        self.unknown = unknown
    }
}

/// The format of a field of INFO.
enum InfoFormat: Sendable, Equatable {
    /// Numbers and texts verbatim, 0 and 1 for flags, whole seconds.
    case plain
    /// This number of decimals.
    case fixed(Int)
    /// Human-readable bytes: `1.50M`.
    case human
    /// Two decimals and `%`.
    case percent
    /// A duration in whole units, rounded towards 0.
    case whole(Whole)
    /// These words for a flag.
    case words(yes: String, no: String)
    /// The percentiles of `latency-tracking-info-percentiles`, in microseconds.
    case percentiles

    enum Whole: Int64, Sendable {
        case microseconds = 1_000
        case milliseconds = 1_000_000
        case days = 86_400_000_000_000
    }
}
