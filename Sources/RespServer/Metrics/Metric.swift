// What a number of the server is: its name, type, unit and meaning, and how INFO shows it. Knows no server and no
// output format: `MetricsTable` holds the rows, `MetricsReading` the values, `InfoPrinter` and its kin print them.

/// One row of the registry: a number, a text or a distribution that the server reports. A class, since a copy of a row
/// would count references to each of its strings, which is most of the work of printing it.
final class Metric: Sendable {
    /// Where the metric is shown.
    enum Exposure: Sendable, Equatable {
        /// Everywhere, under this name: that of Prometheus, with the unit as its suffix.
        case named(String)
        /// In INFO alone.
        case infoOnly(Reason)
    }

    /// Why a row has no name of its own.
    enum Reason: Sendable, Equatable {
        /// Always the same; kept because Redis's tools look for it.
        case constant
        /// Follows from these metrics.
        case derived([String])
        /// A setting, shown by CONFIG GET as well.
        case setting
        /// Identifies this process or its place: as a label it would begin new series with every start.
        case identity
        /// Its label is chosen by clients.
        case chosenByClients
    }

    /// A label of a family, and what bounds its values.
    struct Label: Sendable, Equatable {
        let name: String
        /// Series of the family at most, whatever happens to the server.
        let seriesMax: Int
    }

    let exposure: Exposure
    let type: MetricType
    let unit: MetricUnit
    /// One sentence without its full stop.
    let help: String
    let labels: [Label]
    let section: MetricSection
    /// How INFO shows the metric, in order. Empty where INFO does not.
    let fields: [InfoField]
    /// Whether INFO shows the fields now; nil for always.
    let isShown: (@Sendable (MetricsReading) -> Bool)?
    let source: Source

    /// Where the values come from.
    enum Source: Sendable {
        /// One value; of a family without other labels than its type's own, too.
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

    /// The values at a moment.
    func read(_ reading: MetricsReading) -> [MetricSample] {
        switch source {
        case .value(let read): [MetricSample(value: read(reading))]
        case .family(let read): read(reading)
        }
    }

    /// The name in Prometheus; nil where the metric is in INFO alone.
    var name: String? {
        if case .named(let name) = exposure { name } else { nil }
    }

    /// Series that the metric may have at most.
    var seriesMax: Int { labels.reduce(1) { $0 * $1.seriesMax } }

    /// Samples that the metric may have at most: each sample of a state is a series for each of its words.
    var samplesMax: Int {
        if case .states(let words) = type { seriesMax / words.count } else { seriesMax }
    }
}

/// How a metric behaves.
enum MetricType: Sendable, Equatable {
    /// Only grows, until it is reset.
    case counter
    case gauge
    /// Durations by buckets.
    case histogram
    /// A text that rarely changes.
    case info
    /// One of a few words.
    case states([String])

    /// The type in documentation.
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

/// What a metric is measured in; always the base unit.
enum MetricUnit: String, Sendable {
    /// A plain number, a yes or no, or a text.
    case none = ""
    case seconds
    /// Seconds since 1970.
    case timestampSeconds = "timestamp_seconds"
    case bytes
    case ratio
    // Only of fields of INFO.
    case percent
    case perSecond = "per_second"
    case kibibytesPerSecond = "kibibytes_per_second"
    case microseconds
}

/// A value of a metric.
enum MetricValue: Sendable, Equatable {
    /// A whole number of the metric's unit.
    case integer(Int64)
    case real(Double)
    /// A duration of a metric in seconds.
    case nanoseconds(Int64)
    case flag(Bool)
    case text(String)
    case histogram(LatencySnapshot)
    /// Not known, or does not apply now.
    case unknown

    static func count(_ count: some BinaryInteger) -> MetricValue { .integer(Int64(clamping: count)) }
}

/// A value with the values of its labels.
struct MetricSample: Sendable {
    var labels: [String] = []
    var value: MetricValue
}

/// Groups of metrics: the sections of INFO in its order, named as in Redis where Redis has them, and one that is not in
/// INFO.
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
    /// In no section of INFO.
    case process = "Process"

    /// Whether INFO has the section.
    var isInInfo: Bool { self != .process }
    /// Whether INFO without arguments shows it.
    var isDefault: Bool { isInInfo && self != .commandStatistics && self != .latencyStatistics }
}

// MARK: INFO

/// A line of INFO, or with `part` a `key=value` of one: neighbouring parts of the same name make one line.
struct InfoField: Sendable {
    /// The field's name. In a family `*` is replaced by the value of the first label, and `#` by the series' number.
    let name: String
    let part: String?
    let format: InfoFormat
    /// Shown for an unknown value; nil leaves the line out.
    let unknown: String?

    init(_ name: String, part: String? = nil, _ format: InfoFormat = .plain, unknown: String? = nil) {
        self.name = name
        self.part = part
        self.format = format
        self.unknown = unknown
    }
}

/// How a field of INFO spells a value.
enum InfoFormat: Sendable, Equatable {
    /// Numbers and texts verbatim, 0 and 1 for no and yes, whole seconds.
    case plain
    /// So many decimals.
    case fixed(Int)
    /// Bytes for people: `1.50M`.
    case human
    /// Two decimals and `%`.
    case percent
    /// Whole units of a duration, rounded towards 0.
    case whole(Whole)
    /// These words for yes and no.
    case words(yes: String, no: String)
    /// The percentiles of `latency-tracking-info-percentiles`, in microseconds.
    case percentiles

    enum Whole: Int64, Sendable {
        case microseconds = 1_000
        case milliseconds = 1_000_000
        case days = 86_400_000_000_000
    }
}
