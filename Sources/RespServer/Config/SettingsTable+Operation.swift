// The settings of the sections Memory and keys, Limits, Log and observation. An entry with `defaultOnly` is for a
// feature that this version does not have; its summary states that.

import LimiterEngine

extension SettingsTable {
    static let memory: [Setting] = [
        .memory(
            "maxmemory", \.maxmemoryBytes, 0...1 << 50, .memory,
            "Maximum memory of keys and their index: used_memory_dataset in INFO. Other memory of the process is not",
            "included. 0: no limit. Not enforced on a replica, which holds the same keys as its primary, until it is",
            "promoted."),
        .choice(
            "maxmemory-policy", \.maxmemoryPolicy, .memory,
            "What happens to a new key when maxmemory is reached: it is refused with OOM (noeviction), or one of the",
            "keys that would expire soonest is evicted (evict-soonest). An idempotency token expires at the end of its",
            "window, so tokens are mostly evicted first: a retry may then count twice. A warning is logged when either",
            "begins, then at most once a minute; INFO counts errorstat_OOM and evicted_keys."),
        .powerOfTwo(
            "shards", \.shards, 1...4096, .memory,
            "Number of independently locked shards of the keys."
        ).immutable,
        .integer(
            "databases", \.databases, 1...KeyName.databasesMax, .memory,
            "Number of databases, numbered from 0 on, for SELECT. Keys of databases beyond that are kept, but",
            "commands cannot reach them."
        ).immutable,
        .integer(
            "hz", \.hz, 1...500, unit: "passes a second", .memory,
            "How often background work runs: dropping expired keys, closing idle clients. A change takes effect after",
            "the next pass."),
    ]

    static let limits: [Setting] = [
        .text(
            "rules-file", \.rulesFile, bytesMax: 4095, .limits,
            "File of policies and rules, read at startup, on SIGHUP and by RL.RULE RELOAD, all or nothing. Empty:",
            "none. It has lines such as `policy free LIMIT 100 PER 1m` and `rule * * * POLICY free`.",
            "Each time, the entries that have changed in the file since it was last read take effect. Commands take",
            "precedence over the file: changes and removals by RL.POLICY and RL.RULE are kept, also across restarts,",
            "until the file has the same or RL.RULE RELOAD FORCE is used. The log names every difference."
        ).immutable,
        .text(
            "zoneinfo", \.zoneinfo, bytesMax: 4095, .limits,
            "Directory of the time zone database, for the zones of ALGO calendar. All of it is read at startup, and",
            "again whenever the rules-file is, and on SIGHUP without one. Without a database, only offsets such as",
            "+02:00 work."
        ).immutable,
        .integer(
            "idempotency-window", \.idempotencyWindowSeconds, 1...86_400, unit: "seconds", .limits,
            "How long the first reply to an ID is remembered, so that a retry gets it again and counts nothing."),
        .integer(
            "idempotency-tokens-max", \.idempotencyTokensMax, 0...1_000_000_000, unit: "tokens", .limits,
            "Maximum number of IDs remembered at once; calls with further ones are refused."),
    ]

    static let observation: [Setting] = [
        .choice(
            "loglevel", \.loglevel, .observation,
            "Minimum severity of logged lines."),
        .choice(
            "log-format", \.logFormat, .observation,
            "Format of a log line: human-readable (text), or one JSON object (json)."),
        .text(
            "logfile", \.logfile, bytesMax: 4095, .observation,
            "File to append the log to. Empty: standard error. Logging never blocks: if the file is too slow, lines",
            "are dropped, and counted in the log and in INFO. SIGUSR1 only reopens the file, for logrotate; SIGHUP",
            "reopens it, and reads the zoneinfo and the rules-file."
        ).immutable,
        .integer(
            "slowlog-log-slower-than", \.slowlogLogSlowerThanMicroseconds, -1...3_600_000_000, unit: "microseconds",
            .observation,
            "Commands that take longer than this are added to the slow log. 0: all commands, -1: none."),
        .integer(
            "slowlog-max-len", \.slowlogMaxLen, 0...1_000_000, unit: "entries", .observation,
            "Maximum number of entries in the slow log; a new entry replaces the oldest."),
        .integer(
            "latency-monitor-threshold", \.latencyMonitorThresholdMilliseconds, 0...3_600_000, unit: "milliseconds",
            .observation,
            "Events that take at least this long are kept for LATENCY HISTORY. 0: none."),
        .flag(
            "latency-tracking", \.latencyTracking, .observation,
            "Keep a latency histogram of every command, for LATENCY HISTOGRAM and INFO latencystats."),
        .list(
            "latency-tracking-info-percentiles", \.latencyTrackingInfoPercentiles, countMax: 32,
            allowed: "at most 32 numbers from 0 to 100", .observation,
            "The percentiles that INFO latencystats shows.",
            fileText: percentileText, element: percentile),
    ]

    /// A finite number from 0 to 100 in decimal.
    private static func percentile(_ word: String) -> Double? {
        // Double(…) also accepts `nan`, `inf` and hexadecimal.
        let isDecimal = word.utf8.allSatisfy { ($0 >= 0x30 && $0 <= 0x39) || [0x2D, 0x2E, 0x65].contains($0) }
        guard isDecimal, word.utf8.count <= 24, let value = Double(word), value >= 0, value <= 100 else { return nil }
        return value
    }

    /// The shortest text that parses to the same number, without `.0`.
    static func percentileText(_ value: Double) -> String {
        value == value.rounded() ? String(Int(value)) : value.description
    }
}
