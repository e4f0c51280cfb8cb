// The registry: every number, text and distribution that the server reports. INFO, docs/metrics.md and every other
// printer iterate over these rows in order. A new number is a new row; a new output format is a new printer.
//
// The rows are in one file per subject: +Server, +Memory, +Persistence, +Stats, +HTTP, +Replication, +Limiter,
// +Commands. Within a section they are in the order of INFO's lines, which tools rely on.

/// All metrics.
enum MetricsTable {
    /// Every metric, section by section.
    static let all: [Metric] =
        server + clients + memory + persistence + storage + stats + http + replication + replicas + cpu + limiter
        + commands + errors + unknownCommands + latency + cluster + keyspace + process

    /// The rows of a section, in INFO's order.
    static func rows(_ section: MetricSection) -> [Metric] { bySection[section] ?? [] }

    private static let bySection = Dictionary(grouping: all, by: \.section)
}
