// Notes of INFO: how to ask for sections, and a table of them, generated from the registry of metrics.

extension CommandManual {
    static let infoSections =
        """
        Names of sections are case-insensitive, and unknown ones are ignored. The reply has the sections in the order of
        this table, each as `# Name` and lines `field:value`, with an empty line between two sections. Lines end with CR
        LF.

        | request | sections |
        |---|---|
        | `INFO`, `INFO default` | those that the table marks as default |
        | `INFO stats` | one |
        | `INFO stats limiter` | several; `default` may be among the names |
        | `INFO all`, `INFO everything` | all |

        | section | contents | default |
        |---|---|---|
        \(MetricSection.allCases.filter(\.isInInfo).map(line).joined(separator: "\n"))

        The links lead to the meaning of each field. Names, formats and order of fields are Redis's where Redis has
        the field; fields about features that a limiter does not have are missing. `redis_version` is the version of
        Redis that clients may expect, `escapement_version` that of this server. The same numbers for Prometheus:
        `/metrics` of the admin listener ([http.md](http.md)). Which to watch:
        [operating.md](operating.md#what-to-watch).
        """

    private static func line(_ section: MetricSection) -> String {
        let name = section.rawValue
        let hasFields = !MetricsTable.rows(section).isEmpty
        let shown = hasFields ? "[\(name)](metrics.md#\(anchor(name)))" : name
        return "| \(shown) | \(section.contents) | \(section.isDefault ? "yes" : "no") |"
    }
}

extension MetricSection {
    /// What the reference says about the section.
    fileprivate var contents: String {
        switch self {
        case .server: "version, process, port, time since startup, event loops, clocks"
        case .clients: "connected clients, their maximum, and clients that wait"
        case .memory: "memory of keys, clients, replication and the process; `maxmemory` and its policy"
        case .persistence: "state of the log, of snapshots and of the disk; progress of loading"
        case .stats: "totals of connections, commands, bytes, expired and evicted keys, lookups; rates per second"
        case .replication: "role, primary, replicas with their state and lag, offsets, failover"
        case .cpu: "CPU time of the process"
        case .modules: "nothing: kept for Redis's tools"
        case .limiter: "decisions, keys, policies, rules, remembered IDs, lines of the log"
        case .commandStatistics: "calls, time and failures of each command that was called"
        case .errorStatistics: "error replies by their first word"
        case .unknownCommands: "calls of commands and scripts that this server does not have"
        case .latencyStatistics: "percentiles of the duration of each command that was called"
        case .cluster: "`cluster_enabled:0`"
        case .keyspace: "keys of each database, and how many of them expire"
        case .http, .process: ""
        }
    }
}
