// Metrics of traffic: INFO stats. Those of single commands are in +Commands.

import LimiterEngine

extension MetricsTable {
    static let stats: [Metric] = [
        .counter(
            "escapement_connections_accepted_total", "Connections accepted from clients since startup",
            info: InfoField("total_connections_received"), in: .stats
        ) { .integer($0.clientsEver) },
        .counter(
            "escapement_commands_total", "Commands run", info: InfoField("total_commands_processed"), in: .stats
        ) { $0.total(.commands) },
        .infoOnly(
            .derived(["escapement_commands_total"]), type: .gauge, unit: .perSecond, "Recent commands per second",
            info: InfoField("instantaneous_ops_per_sec"), in: .stats
        ) { .count(Int64($0.rates.commands)) },
        .family(
            .named("escapement_received_bytes_total"), .counter, unit: .bytes,
            "Bytes received from clients, by listener", by: .listener, in: .stats
        ) { reading in byListener { .count(reading.bytes($0).received) } },
        .infoOnly(
            .derived(["escapement_received_bytes_total"]), type: .counter, unit: .bytes, "Bytes received from clients",
            info: InfoField("total_net_input_bytes"), in: .stats
        ) { $0.total(.inputBytes) },
        .family(
            .named("escapement_sent_bytes_total"), .counter, unit: .bytes, "Bytes sent to clients, by listener",
            by: .listener, in: .stats
        ) { reading in byListener { .count(reading.bytes($0).sent) } },
        .infoOnly(
            .derived(["escapement_sent_bytes_total"]), type: .counter, unit: .bytes, "Bytes sent to clients",
            info: InfoField("total_net_output_bytes"), in: .stats
        ) { $0.total(.outputBytes) },
        .infoOnly(
            .derived(["escapement_received_bytes_total"]), type: .gauge, unit: .kibibytesPerSecond, "Recent input rate",
            info: InfoField("instantaneous_input_kbps", .fixed(2)), in: .stats
        ) { .real($0.rates.inputBytes / 1024) },
        .infoOnly(
            .derived(["escapement_sent_bytes_total"]), type: .gauge, unit: .kibibytesPerSecond, "Recent output rate",
            info: InfoField("instantaneous_output_kbps", .fixed(2)), in: .stats
        ) { .real($0.rates.outputBytes / 1024) },
        .family(
            .named("escapement_connections_rejected_total"), .counter, "Connections rejected, by reason",
            by: .init(name: "reason", seriesMax: 2), in: .stats
        ) {
            [
                MetricSample(labels: ["maxclients"], value: .integer($0.clientsRejected - $0.strangersRejected)),
                MetricSample(labels: ["protected_mode"], value: .integer($0.strangersRejected)),
            ]
        },
        .infoOnly(
            .derived(["escapement_connections_rejected_total"]), type: .counter, "Connections rejected",
            info: InfoField("rejected_connections"), in: .stats
        ) { .integer($0.clientsRejected) },
        .counter(
            "escapement_replication_full_syncs_total", "Full syncs with replicas",
            info: InfoField("sync_full"), in: .stats
        ) { .count($0.replication.fullSyncs) },
        .counter(
            "escapement_replication_partial_syncs_total", "Partial syncs with replicas",
            info: InfoField("sync_partial_ok"), in: .stats
        ) { .count($0.replication.partialSyncs) },
        .counter(
            "escapement_replication_partial_syncs_refused_total", "Requested partial syncs that became full syncs",
            info: InfoField("sync_partial_err"), in: .stats
        ) { .count($0.replication.refusedPartialSyncs) },
        .counter(
            "escapement_keys_expired_total",
            "Keys dropped because their limiter was fully replenished or their deadline passed",
            info: InfoField("expired_keys"), in: .stats
        ) { .count($0.engine.expired) },
        .counter(
            "escapement_keys_evicted_total", "Keys evicted because maxmemory was reached",
            info: InfoField("evicted_keys"), in: .stats
        ) { .count($0.engine.evicted) },
        .counter(
            "escapement_clients_evicted_total", "Clients closed because of maxmemory-clients",
            info: InfoField("evicted_clients"), in: .stats
        ) { $0.total(.evictedClients) },
        .counter(
            "escapement_keyspace_hits_total", "Reads of keys that exist", info: InfoField("keyspace_hits"), in: .stats
        ) { $0.total(.keyHits) },
        .counter(
            "escapement_keyspace_misses_total", "Reads of keys that do not exist", info: InfoField("keyspace_misses"),
            in: .stats
        ) { $0.total(.keyMisses) },
        .gauge(
            "escapement_pubsub_channels", "Channels with subscribers", info: InfoField("pubsub_channels"), in: .stats
        ) { .count($0.channels) },
        .gauge(
            "escapement_pubsub_patterns", "Patterns with subscribers", info: InfoField("pubsub_patterns"), in: .stats
        ) { .count($0.patterns) },
        .constant("latest_fork_usec", .integer(0), "Duration of the last fork", in: .stats),
        .counter(
            "escapement_error_replies_total", "Error replies", info: InfoField("total_error_replies"),
            in: .stats
        ) { $0.total(.errorReplies) },
        .counter(
            "escapement_protocol_errors_total", "Connections closed because their input is not valid RESP or HTTP",
            info: InfoField("total_protocol_errors"), in: .stats
        ) { $0.total(.protocolErrors) },
        .counter(
            "escapement_output_limit_disconnections_total", "Clients closed because of client-output-buffer-limit",
            info: InfoField("client_output_buffer_limit_disconnections"), in: .stats
        ) { $0.total(.outputLimitDisconnections) },
        .infoOnly(
            .derived(["escapement_commands_total"]), type: .counter, "Reads and writes, counted once per command",
            info: InfoField("total_reads_processed"), InfoField("total_writes_processed"), in: .stats
        ) { $0.total(.commands) },
        .counter(
            "escapement_auth_failures_total", "Failed authentication attempts",
            info: InfoField("acl_access_denied_auth"), in: .stats
        ) { $0.total(.failedAuthentications) },
        .counter(
            "escapement_http_requests_refused_total", "Connections closed because they sent HTTP to the RESP port",
            info: InfoField("http_requests_refused"), in: .stats
        ) { $0.total(.httpRequests) },
    ]
}
