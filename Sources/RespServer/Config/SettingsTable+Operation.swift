// The settings of sections Memory and keys, Log and observation, Lifecycle and durability, Replication. An entry that
// ends in `defaultOnly` belongs to a feature this version does not have; its summary says so.

extension SettingsTable {
    static let memory: [Setting] = [
        .memory(
            "maxmemory", \.maxmemoryBytes, 0...1 << 50, .memory,
            "How much memory keys may take together. 0: no limit."),
        .choice(
            "maxmemory-policy", \.maxmemoryPolicy, .memory,
            "What happens to a new key when maxmemory is reached: it is refused with OOM (noeviction), or the key",
            "that is nearest to being full again is forgotten for it (evict-soonest)."),
        .powerOfTwo(
            "shards", \.shards, 1...4096, .memory,
            "Into how many independently locked parts the keys are dealt out."
        ).immutable,
        .integer(
            "databases", \.databases, 1...16, .memory,
            "There is one key space, number 0. More are not supported by this version."
        ).immutable.defaultOnly,
        .integer(
            "hz", \.hz, 1...500, unit: "passes a second", .memory,
            "How often background work runs: forgetting keys that are full again, closing idle clients."),
    ]

    static let observation: [Setting] = [
        .choice(
            "loglevel", \.loglevel, .observation,
            "The least important kind of line that is logged."),
        .choice(
            "log-format", \.logFormat, .observation,
            "How a log line is written: for people (text), or as one JSON object (json)."),
        .text(
            "logfile", \.logfile, bytesMax: 4095, .observation,
            "File to append the log to. Empty: standard error."
        ).immutable,
        .integer(
            "slowlog-log-slower-than", \.slowlogLogSlowerThanMicroseconds, -1...3_600_000_000, unit: "microseconds",
            .observation,
            "Commands that ran longer than this go to the slow log. 0: all of them, -1: none."),
        .integer(
            "slowlog-max-len", \.slowlogMaxLen, 0...1_000_000, unit: "entries", .observation,
            "How many entries the slow log keeps; the oldest is dropped for a new one."),
        .integer(
            "latency-monitor-threshold", \.latencyMonitorThresholdMilliseconds, 0...3_600_000, unit: "milliseconds",
            .observation,
            "Events that took at least this long are kept for LATENCY HISTORY. 0: none."),
        .flag(
            "latency-tracking", \.latencyTracking, .observation,
            "Keep a histogram of run times for every command, for LATENCY HISTOGRAM and INFO latencystats."),
        .list(
            "latency-tracking-info-percentiles", \.latencyTrackingInfoPercentiles, countMax: 32,
            allowed: "at most 32 numbers from 0 to 100", .observation,
            "The percentiles INFO latencystats shows.",
            spell: percentileText, element: percentile),
    ]

    static let durability: [Setting] = [
        .text(
            "dir", \.dir, bytesMax: 4095, isRequired: true, .durability,
            "Directory of the server's data. Created when it does not exist."
        ).immutable.activeInFile,
        .integer(
            "shutdown-timeout", \.shutdownTimeoutSeconds, 0...86_400, unit: "seconds", .durability,
            "How long an orderly shutdown may take before the server exits anyway."),
        .flag(
            "appendonly", \.appendonly, .durability,
            "Write changes to an append-only log. Not supported by this version: state is lost on restart."
        ).defaultOnly,
        .choice(
            "appendfsync", \.appendfsync, .durability,
            "When the append-only log is forced to disk. Has no effect while appendonly is no."),
        Setting.make(
            "save", .durability,
            ["When to write a snapshot by itself. Not supported by this version: no snapshot is written."],
            allowed: "at most 1024 bytes", isList: true
        ) {
            $0.save
        } parse: { text throws(Setting.Refusal) in
            guard text.utf8.count <= 1024 else { throw Setting.Refusal("Invalid save parameters") }
            return { $0.save = text }
        }.defaultOnly,
    ]

    static let replication: [Setting] = [
        .flag(
            "replica-read-only", \.replicaReadOnly, .replication,
            "Refuse writes while this server is a replica. Replication is not supported by this version."
        ).alias("slave-read-only").defaultOnly,
        .integer(
            "replica-priority", \.replicaPriority, 0...2_147_483_647, .replication,
            "Sentinel promotes the replica with the lowest number; 0: never this one.",
            "Replication is not supported by this version."
        ).alias("slave-priority").defaultOnly,
        .integer(
            "min-replicas-to-write", \.minReplicasToWrite, 0...1000, unit: "replicas", .replication,
            "Refuse writes while fewer replicas than this keep up. Replication is not supported by this version."
        ).alias("min-slaves-to-write").defaultOnly,
        .integer(
            "min-replicas-max-lag", \.minReplicasMaxLagSeconds, 0...86_400, unit: "seconds", .replication,
            "A replica that was silent longer than this does not keep up. Replication is not supported by this version."
        ).alias("min-slaves-max-lag").defaultOnly,
        .memory(
            "repl-backlog-size", \.replBacklogSizeBytes, 16 << 10...1 << 40, .replication,
            "How much of the change stream is kept for replicas that reconnect. Replication is not supported by this",
            "version."
        ).defaultOnly,
    ]

    /// A finite number from 0 to 100 in decimal.
    private static func percentile(_ word: String) -> Double? {
        // Double(…) also reads `nan`, `inf` and hexadecimal.
        let isDecimal = word.utf8.allSatisfy { ($0 >= 0x30 && $0 <= 0x39) || [0x2D, 0x2E, 0x65].contains($0) }
        guard isDecimal, word.utf8.count <= 24, let value = Double(word), value >= 0, value <= 100 else { return nil }
        return value
    }

    /// The shortest text that reads as the same number, without `.0`.
    static func percentileText(_ value: Double) -> String {
        value == value.rounded() ? String(Int(value)) : value.description
    }
}
