// Metrics of replication: what Sentinel, exporters and clients read, in Redis's order. `role` comes before everything
// that only one role has.

import Persistence
import Replication
import System

extension MetricsTable {
    static let replication: [Metric] = [
        .states(
            "escapement_replication_role", label: "role", ["master", "slave"], "Role of the node, in Redis's words",
            info: InfoField("role"), in: .replication
        ) { .text($0.isReplica ? "slave" : "master") },
        .infoOnly(
            .identity, type: .info, "Host of the primary", info: InfoField("master_host"), in: .replication
        ) { $0.replication.primary.map { .text($0.host) } ?? .unknown },
        .infoOnly(
            .identity, "Port of the primary", info: InfoField("master_port"), in: .replication
        ) { $0.replication.primary.map { .count($0.port) } ?? .unknown },
        .gauge(
            "escapement_replication_link_up", "Whether a replica's link to its primary is up; 0 on a primary",
            info: InfoField("master_link_status", .words(yes: "up", no: "down")), in: .replication, if: isReplica
        ) { .flag($0.isReplica && $0.replication.isLinkUp) },
        .gauge(
            "escapement_replication_last_io_seconds", unit: .seconds,
            "Time since a replica last heard from its primary",
            info: InfoField("master_last_io_seconds_ago", unknown: "-1"), in: .replication, if: isReplica
        ) {
            guard $0.isReplica, $0.replication.isLinkUp else { return .unknown }
            return .nanoseconds($0.since($0.replication.lastHeard).nanoseconds)
        },
        .gauge(
            "escapement_replication_sync_running", "Whether a replica is receiving its primary's state",
            info: InfoField("master_sync_in_progress"), in: .replication, if: isReplica
        ) { .flag($0.isReplica && $0.replication.isSyncing) },
        .infoOnly(
            .derived(["escapement_replication_offset_bytes"]), type: .gauge, unit: .bytes, "Offset of a replica",
            info: InfoField("slave_read_repl_offset"), InfoField("slave_repl_offset"), in: .replication, if: isReplica
        ) { .integer($0.journalOffset) },
        .gauge(
            "escapement_replication_link_down_seconds", unit: .seconds,
            "Time since a replica lost the link to its primary, 0 while it is up",
            info: InfoField("master_link_down_since_seconds"), in: .replication, if: isLinkDown
        ) {
            guard isLinkDown($0), let since = $0.replication.downSince else { return .nanoseconds(0) }
            return .nanoseconds($0.since(since).nanoseconds)
        },
        .gauge(
            "escapement_replication_priority", "Priority of a replica in a failover, 0 for never",
            info: InfoField("slave_priority"), in: .replication, if: isReplica
        ) { .count($0.replication.isPromotable ? $0.settings.replicaPriority : 0) },
        .infoOnly(
            .constant, "Whether a replica refuses writes", info: InfoField("slave_read_only"), in: .replication,
            if: isReplica
        ) { _ in .integer(1) },
        .infoOnly(
            .constant, "Whether Sentinel shows the replica to clients", info: InfoField("replica_announced"),
            in: .replication, if: isReplica
        ) { _ in .integer(1) },
        .gauge(
            "escapement_replicas_connected", "Replicas connected to this node", info: InfoField("connected_slaves"),
            in: .replication
        ) { .count($0.replication.replicas.count) },
        .gauge(
            "escapement_replicas_good", "Replicas whose lag is within min-replicas-max-lag",
            info: InfoField("min_slaves_good_slaves"), in: .replication, if: { $0.settings.minReplicasToWrite > 0 }
        ) { .count($0.replication.goodReplicas) },
    ]

    /// A line for each replica, then what the node knows of its history.
    static let replicas: [Metric] = [
        .family(
            .infoOnly(.identity), .info, "Host of a replica", by: .replica, info: InfoField("slave#", part: "ip"),
            in: .replication
        ) { byReplica($0) { .text($0.host) } },
        .family(
            .infoOnly(.identity), .gauge, "Port of a replica", by: .replica, info: InfoField("slave#", part: "port"),
            in: .replication
        ) { byReplica($0) { .count($0.port) } },
        .family(
            .named("escapement_replica_state"), .states(["wait_bgsave", "send_bulk", "online"]),
            "What a replica is doing, in Redis's words", by: .replica, .init(name: "state", seriesMax: 3),
            info: InfoField("slave#", part: "state"), in: .replication
        ) { byReplica($0) { .text($0.state) } },
        .family(
            .named("escapement_replica_offset_bytes"), .gauge, unit: .bytes, "Offset that a replica has acknowledged",
            by: .replica, info: InfoField("slave#", part: "offset"), in: .replication
        ) { byReplica($0) { .integer($0.offset) } },
        .family(
            .named("escapement_replica_lag_seconds"), .gauge, unit: .seconds, "Time since a replica last acknowledged",
            by: .replica, info: InfoField("slave#", part: "lag"), in: .replication
        ) { byReplica($0) { .integer($0.lag.secondsRoundedDown) } },
        .family(
            .named("escapement_replica_lag_bytes"), .gauge, unit: .bytes,
            "Bytes of the journal that a replica has not acknowledged yet", by: .replica, in: .replication
        ) { reading in byReplica(reading) { .integer(max(0, reading.journalOffset - $0.offset)) } },
        .states(
            "escapement_failover_state", label: "state", ["no-failover", "waiting-for-sync", "failover-in-progress"],
            "State of a failover that this node was asked for", info: InfoField("master_failover_state"),
            in: .replication
        ) { .text($0.replication.failover) },
        .infoOnly(
            .identity, type: .info, "Id of the journal's history", info: InfoField("master_replid"), in: .replication
        ) { .text($0.replication.id) },
        .infoOnly(
            .identity, type: .info, "Id of the history before it", info: InfoField("master_replid2"), in: .replication
        ) { .text($0.replication.pastID) },
        .gauge(
            "escapement_replication_offset_bytes", unit: .bytes, "Offset of the journal in its history",
            info: InfoField("master_repl_offset"), in: .replication
        ) { .integer($0.journalOffset) },
        .infoOnly(
            .identity, type: .gauge, unit: .bytes, "Offset at which the history before ended, -1 for none",
            info: InfoField("second_repl_offset"), in: .replication
        ) { .integer($0.replication.pastOffset) },
        .gauge(
            "escapement_replication_backlog_active", "Whether the end of the journal is kept for replicas",
            info: InfoField("repl_backlog_active"), in: .replication
        ) { .flag($0.replication.hasBacklog) },
        .gauge(
            "escapement_replication_backlog_max_bytes", unit: .bytes, "Setting repl-backlog-size",
            info: InfoField("repl_backlog_size"), in: .replication
        ) { .count($0.settings.replBacklogSizeBytes) },
        .gauge(
            "escapement_replication_backlog_start_bytes", unit: .bytes,
            "Offset of the backlog's first byte, 0 without one",
            info: InfoField("repl_backlog_first_byte_offset"), in: .replication
        ) { .integer($0.replication.hasBacklog ? $0.replication.backlogStart + 1 : 0) },
        .gauge(
            "escapement_replication_backlog_bytes", unit: .bytes, "Bytes in the backlog",
            info: InfoField("repl_backlog_histlen"), in: .replication
        ) { .count($0.replication.backlogCount) },
    ]

    private static let isReplica: Metric.Condition = { $0.isReplica }
    private static let isLinkDown: Metric.Condition = { $0.isReplica && !$0.replication.isLinkUp }

    private static func byReplica(
        _ reading: MetricsReading, _ value: (ReplicaLine) -> MetricValue
    ) -> [MetricSample] {
        reading.replication.replicas.map { MetricSample(labels: ["\($0.host):\($0.port)"], value: value($0)) }
    }
}
