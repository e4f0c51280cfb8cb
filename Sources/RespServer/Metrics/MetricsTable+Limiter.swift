// Metrics of limits and keys: INFO limiter and keyspace. Decisions by command are in +Commands.

import LimiterEngine

extension MetricsTable {
    static let limiter: [Metric] = [
        .counter(
            "escapement_limiter_allowed_total", "Decisions of limits that allowed, including those of cost 0",
            info: InfoField("limiter_allowed"), in: .limiter
        ) { .count($0.engine.allowed) },
        .counter(
            "escapement_limiter_denied_total", "Decisions of limits that denied", info: InfoField("limiter_denied"),
            in: .limiter
        ) { .count($0.engine.denied) },
        .gauge(
            "escapement_keys", "Keys, including expired ones not yet dropped", info: InfoField("limiter_keys"),
            in: .limiter
        ) { .count($0.engine.keys) },
        .gauge(
            "escapement_keys_persistent", "Keys that never expire: counters without a deadline",
            info: InfoField("limiter_persistent_keys"), in: .limiter
        ) { .count($0.engine.persistent) },
        .infoOnly(
            .derived(["escapement_keys_expired_total"]), type: .counter, "Keys dropped because they expired",
            info: InfoField("limiter_expired"), in: .limiter
        ) { .count($0.engine.expired) },
        .infoOnly(
            .derived(["escapement_keys_evicted_total"]), type: .counter, "Keys evicted because maxmemory was reached",
            info: InfoField("limiter_evicted"), in: .limiter
        ) { .count($0.engine.evicted) },
        .counter(
            "escapement_limiter_shadowed_total", "Decisions of limits in shadow mode that would have denied",
            info: InfoField("limiter_shadowed"), in: .limiter
        ) { .count($0.engine.shadowed) },
        .gauge(
            "escapement_idempotency_tokens", "Idempotency tokens remembered, including expired ones not yet dropped",
            info: InfoField("limiter_tokens"), in: .limiter
        ) { .count($0.engine.tokens) },
        .counter(
            "escapement_idempotency_refused_total", "Calls refused because of idempotency-tokens-max",
            info: InfoField("limiter_tokens_refused"), in: .limiter
        ) { .count($0.engine.tokensRefused) },
        .counter(
            "escapement_idempotency_hits_total", "Calls that got the stored reply of their idempotency token",
            info: InfoField("limiter_repeated_answers"), in: .limiter
        ) { .count($0.engine.repeated) },
        .gauge(
            "escapement_policies", "Policies in force", info: InfoField("limiter_policies"), in: .limiter
        ) { .count($0.policies) },
        .gauge("escapement_rules", "Rules in force", info: InfoField("limiter_rules"), in: .limiter) {
            .count($0.rules)
        },
        .family(
            .named("escapement_policy_decisions_total"), .counter,
            "Decisions of limits that are policies, by result; policies after the first 200 names are `other`",
            by: .policy, .init(name: "result", seriesMax: 3), in: .limiter
        ) { reading in
            reading.byPolicy.flatMap { policy in
                [
                    ("allowed", PolicyStatistics.Field.allowed), ("denied", .denied),
                    ("shadow_denied", .shadowDenied),
                ].map { MetricSample(labels: [policy.name, $0.0], value: .count(policy.values[$0.1.rawValue])) }
            }
        },
        .family(
            .named("escapement_near_limit_total"), .counter,
            "Allowed decisions of a policy that left less than a fifth of its limit", by: .policy, in: .limiter
        ) { reading in
            reading.byPolicy.map {
                MetricSample(
                    labels: [$0.name], value: .count($0.values[PolicyStatistics.Field.nearLimit.rawValue]))
            }
        },
        .gauge(
            "escapement_shards", "Independently locked shards of the keys", info: InfoField("limiter_shards"),
            in: .limiter
        ) { .count($0.shardCount) },
        .gauge(
            "escapement_index_probes_max", "Longest probe sequence of a key lookup, in buckets beyond the home bucket",
            info: InfoField("limiter_probes_max"), in: .limiter
        ) { .count($0.engine.probesMax) },
        .gauge(
            "escapement_server_log_lines_queued", "Lines of the server's log waiting to be written",
            info: InfoField("log_lines_queued"), in: .limiter
        ) { .count($0.logLinesQueued) },
        .counter(
            "escapement_server_log_lines_dropped_total", "Dropped lines of the server's log",
            info: InfoField("log_lines_dropped"), in: .limiter
        ) { .count($0.logLinesDropped) },
        .counter(
            "escapement_server_log_write_failures_total", "Failed writes of the server's log",
            info: InfoField("log_write_failures"), in: .limiter
        ) { .count($0.logWriteFailures) },
    ]

    static let keyspace: [Metric] = [
        .gauge("escapement_keys_with_deadline", "Keys with an expiry set by a client", in: .keyspace) {
            .count($0.engine.expiring)
        },
        .gauge(
            "escapement_keys_mean_ttl_seconds", unit: .seconds,
            "Mean time to live of the keys with an expiry set by a client", in: .keyspace
        ) { .nanoseconds($0.engine.allKeys.meanTimeToLive(now: $0.now)) },
        .family(
            .named("escapement_database_keys"), .gauge, "Keys of a database that has had any", by: .database,
            in: .keyspace
        ) { $0.databases { keys, _ in .count(keys.keys) } },
        .family(
            .infoOnly(.derived(["escapement_database_keys"])), .gauge, "Number of keys, if there are any",
            by: .database, info: InfoField("db*", part: "keys"), in: .keyspace
        ) { $0.databases(withKeys: true) { keys, _ in .count(keys.keys) } },
        .family(
            .infoOnly(.derived(["escapement_keys_with_deadline"])), .gauge, "Keys with an expiry set by a client",
            by: .database, info: InfoField("db*", part: "expires"), in: .keyspace
        ) { $0.databases(withKeys: true) { keys, _ in .count(keys.expiring) } },
        .family(
            .infoOnly(.derived(["escapement_keys_mean_ttl_seconds"])), .gauge, unit: .seconds,
            "Mean time to live of the keys with an expiry set by a client", by: .database,
            info: InfoField("db*", part: "avg_ttl", .whole(.milliseconds)), in: .keyspace
        ) { $0.databases(withKeys: true) { .nanoseconds($0.meanTimeToLive(now: $1)) } },
    ]
}

extension Metric.Label {
    /// A policy's name, or `other`.
    static let policy = Metric.Label(name: "policy", seriesMax: PolicySeries.count)
}

extension MetricsReading {
    /// A sample for each database that has had keys, or that has keys now.
    fileprivate func databases(
        withKeys: Bool = false, _ read: (Engine.Statistics.DatabaseKeys, EngineTime) -> MetricValue
    ) -> [MetricSample] {
        engine.databases.enumerated().filter { !withKeys || $1.keys > 0 }.map {
            MetricSample(labels: ["\($0)"], value: read($1, now))
        }
    }
}
