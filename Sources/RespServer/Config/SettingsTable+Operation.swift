// The settings of sections Memory and keys, Limits, Log and observation. An entry that
// ends in `defaultOnly` belongs to a feature this version does not have; its summary says so.

extension SettingsTable {
    static let memory: [Setting] = [
        .memory(
            "maxmemory", \.maxmemoryBytes, 0...1 << 50, .memory,
            "How much memory keys and their index may take together: used_memory_dataset in INFO. What else the",
            "process needs comes on top. 0: no limit. It does not count on a replica, which has what its primary has;",
            "from a promotion on it does."),
        .choice(
            "maxmemory-policy", \.maxmemoryPolicy, .memory,
            "What happens to a new key when maxmemory is reached: it is refused with OOM (noeviction), or one of the",
            "keys nearest to being full again is forgotten for it (evict-soonest). An idempotency token counts as",
            "full again when its window ends, so tokens mostly go first: a retry may then count twice. The log has a",
            "warning when either begins, then at most one a minute; INFO counts errorstat_OOM and evicted_keys."),
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

    static let limits: [Setting] = [
        .text(
            "rules-file", \.rulesFile, bytesMax: 4095, .limits,
            "File of policies and rules, read at the start, on SIGHUP and by RL.RULE RELOAD, all or nothing. Empty:",
            "none. It has lines like `policy free LIMIT 100 PER 1m` and `rule * * * POLICY free`.",
            "Each time, what has changed in the file since it was last read takes effect. Commands take precedence",
            "over the file: what RL.POLICY and RL.RULE have changed or removed is kept, across restarts too, until",
            "the file has the same or RL.RULE RELOAD FORCE is used. The log names every difference."
        ).immutable,
        .text(
            "zoneinfo", \.zoneinfo, bytesMax: 4095, .limits,
            "Directory of the time zone database, for the zones of ALGO calendar. All of it is read at the start, and",
            "again whenever the rules-file is, and on SIGHUP without one. Without it zones are offsets such as +02:00."
        ).immutable,
        .integer(
            "idempotency-window", \.idempotencyWindowSeconds, 1...86_400, unit: "seconds", .limits,
            "How long the first answer to an ID is remembered, so that a retry gets it again and counts nothing."),
        .integer(
            "idempotency-tokens-max", \.idempotencyTokensMax, 0...1_000_000_000, unit: "tokens", .limits,
            "How many IDs are remembered at once; calls with further ones are refused."),
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
            "File to append the log to. Empty: standard error. Nothing waits for it: lines that it is too slow for are",
            "dropped, and counted in the log and in INFO. SIGUSR1 reopens it, for logrotate, and does nothing else;",
            "SIGHUP reopens it, and reads the zoneinfo and the rules-file."
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
            fileText: percentileText, element: percentile),
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
