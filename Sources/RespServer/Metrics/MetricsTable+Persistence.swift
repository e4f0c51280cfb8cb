// Metrics of loading, snapshots and the append-only log: INFO persistence. Redis's fields of its dump file report
// snapshots taken by SAVE or BGSAVE, those of its append-only rewrite report snapshots that replace the log.

import LimiterEngine
import Persistence
import System

extension MetricsTable {
    static let persistence: [Metric] = [
        .gauge(
            "escapement_loading", "Whether the state is being put back or replaced, so that clients get LOADING",
            info: InfoField("loading"), in: .persistence
        ) { .flag($0.isLoading) },
        .constant("async_loading", .integer(0), "Loading while the old state is served", in: .persistence),
        .gauge(
            "escapement_loading_start_timestamp_seconds", unit: .timestampSeconds,
            "When reading the state from disk began",
            info: InfoField("loading_start_time"), in: .persistence
        ) { $0.loadingBegan.map { .integer($0.unixSeconds) } ?? .unknown },
        .gauge(
            "escapement_loading_expected_bytes", unit: .bytes, "Bytes of state to be read from disk",
            info: InfoField("loading_total_bytes"), in: .persistence, if: { $0.loadingBegan != nil }
        ) { .count($0.recovery.total) },
        .gauge(
            "escapement_loading_read_bytes", unit: .bytes, "Bytes of state that have been read from disk",
            info: InfoField("loading_loaded_bytes"), in: .persistence, if: { $0.loadingBegan != nil }
        ) { .count($0.recovery.done) },
        .infoOnly(
            .derived(["escapement_loading_read_bytes", "escapement_loading_expected_bytes"]), type: .gauge,
            unit: .percent,
            "Share of the state that has been read", info: InfoField("loading_loaded_perc", .fixed(2)),
            in: .persistence, if: { $0.loadingBegan != nil }
        ) { .real($0.recovery.total > 0 ? Double($0.recovery.done) * 100 / Double($0.recovery.total) : 0) },
        .infoOnly(
            .derived(["escapement_loading_read_bytes", "escapement_loading_expected_bytes"]), type: .gauge,
            unit: .seconds,
            "Time that reading will still take, by its pace so far", info: InfoField("loading_eta_seconds"),
            in: .persistence
        ) { $0.loadingSecondsLeft.map { .integer($0) } ?? .unknown },
        .gauge(
            "escapement_changes_since_snapshot", "Changes of keys since the last snapshot was begun",
            info: InfoField("rdb_changes_since_last_save"), in: .persistence
        ) { .count($0.engine.changes &- min($0.engine.changes, $0.storage.changesAtLastSave)) },
        .gauge(
            "escapement_snapshot_running", "Whether a snapshot of SAVE, BGSAVE or the setting save is being written",
            info: InfoField("rdb_bgsave_in_progress"), in: .persistence
        ) { .flag($0.isSaving) },
        .gauge(
            "escapement_snapshot_last_success_timestamp_seconds", unit: .timestampSeconds,
            "When the last snapshot ended",
            info: InfoField("rdb_last_save_time"), in: .persistence
        ) { .integer($0.storage.lastSaveTime) },
        .gauge(
            "escapement_snapshot_last_succeeded", "Whether the last snapshot succeeded",
            info: InfoField("rdb_last_bgsave_status", .words(yes: "ok", no: "err")), in: .persistence
        ) { .flag($0.storage.lastSnapshotSucceeded) },
        .gauge(
            "escapement_snapshot_last_duration_seconds", unit: .seconds, "How long the last snapshot took",
            info: InfoField("rdb_last_bgsave_time_sec", unknown: "-1"), in: .persistence
        ) { duration($0.storage.lastSnapshotSeconds) },
        .gauge(
            "escapement_snapshot_running_seconds", unit: .seconds, "How long the snapshot under way has taken",
            info: InfoField("rdb_current_bgsave_time_sec", unknown: "-1"), in: .persistence
        ) { $0.isSaving ? .nanoseconds($0.since($0.storage.snapshotStartedAt).nanoseconds) : .unknown },
        .counter(
            "escapement_snapshots_total", "Snapshots of SAVE, BGSAVE and the setting save that succeeded",
            info: InfoField("rdb_saves"), in: .persistence
        ) { .count($0.storage.snapshots) },
        .constant("rdb_last_cow_size", .integer(0), "Memory copied for a snapshot", in: .persistence),
        .constant("rdb_last_load_keys_expired", .integer(0), "Expired keys found at the start", in: .persistence),
        .gauge(
            "escapement_recovery_records", "Records put back at the start",
            info: InfoField("rdb_last_load_keys_loaded"), in: .persistence
        ) { .count($0.storage.recoveredRecords) },
        .gauge(
            "escapement_log_enabled", "Whether changes are appended to the log", info: InfoField("aof_enabled"),
            in: .persistence
        ) { .flag($0.storage.isLogging) },
        .gauge(
            "escapement_rewrite_running", "Whether a snapshot that replaces the log is being written",
            info: InfoField("aof_rewrite_in_progress"), in: .persistence
        ) { .flag($0.isRewriting) },
        .gauge(
            "escapement_rewrite_scheduled", "Whether another snapshot follows the one under way",
            info: InfoField("aof_rewrite_scheduled"), in: .persistence
        ) { .flag($0.storage.isRewriteScheduled) },
        .gauge(
            "escapement_rewrite_last_duration_seconds", unit: .seconds, "How long the last rewrite of the log took",
            info: InfoField("aof_last_rewrite_time_sec", unknown: "-1"), in: .persistence
        ) { duration($0.storage.lastRewriteSeconds) },
        .gauge(
            "escapement_rewrite_running_seconds", unit: .seconds, "How long the rewrite under way has taken",
            info: InfoField("aof_current_rewrite_time_sec", unknown: "-1"), in: .persistence
        ) { $0.isRewriting ? .nanoseconds($0.since($0.storage.snapshotStartedAt).nanoseconds) : .unknown },
        .gauge(
            "escapement_rewrite_last_succeeded", "Whether the last rewrite of the log succeeded",
            info: InfoField("aof_last_bgrewrite_status", .words(yes: "ok", no: "err")), in: .persistence
        ) { .flag($0.storage.lastRewriteSucceeded) },
        .counter(
            "escapement_rewrites_total", "Rewrites of the log that succeeded", info: InfoField("aof_rewrites"),
            in: .persistence
        ) { .count($0.storage.rewrites) },
        .gauge(
            "escapement_log_last_write_succeeded", "Whether the last write or sync of the log succeeded",
            info: InfoField("aof_last_write_status", .words(yes: "ok", no: "err")), in: .persistence
        ) { .flag($0.storage.lastWriteSucceeded) },
        .constant("aof_last_cow_size", .integer(0), "Memory copied for a rewrite", in: .persistence),
        .gauge(
            "escapement_log_size_bytes", unit: .bytes, "Bytes of the log on disk with the snapshot it begins with",
            info: InfoField("aof_current_size"), in: .persistence, if: isLogging
        ) { .count($0.storage.logBytes + $0.storage.snapshotBytes) },
        .gauge(
            "escapement_log_base_size_bytes", unit: .bytes,
            "Bytes of the log when it was last rewritten, or at the start",
            info: InfoField("aof_base_size"), in: .persistence, if: isLogging
        ) { .count($0.storage.baseBytes) },
        .infoOnly(
            .constant, "Rewrite that waits for a child process", info: InfoField("aof_pending_rewrite"),
            in: .persistence, if: isLogging
        ) { _ in .integer(0) },
        .gauge(
            "escapement_log_buffer_bytes", unit: .bytes, "Bytes collected for the log and not yet written",
            info: InfoField("aof_buffer_length"), in: .persistence, if: isLogging
        ) { .count($0.journalPendingBytes) },
        .gauge(
            "escapement_log_fsync_running", "Whether a sync of the log is under way",
            info: InfoField("aof_pending_bio_fsync"), in: .persistence, if: isLogging
        ) { .flag($0.storage.isSyncing) },
        .counter(
            "escapement_log_fsyncs_delayed_total", "Syncs that were due and had to wait for the one before",
            info: InfoField("aof_delayed_fsync"), in: .persistence, if: isLogging
        ) { .count($0.storage.delayedSyncs) },
    ]

    /// What Redis has no name for.
    static let storage: [Metric] = [
        .states(
            "escapement_storage_breaker_state", label: "state", ["closed", "open", "half-open"],
            "State of the circuit breaker that leaves a failing disk alone for a while",
            info: InfoField("storage_breaker"), in: .persistence
        ) { .text($0.storage.breaker.rawValue) },
        .counter(
            "escapement_storage_failures_total", "Failed writes and syncs", info: InfoField("storage_failures"),
            in: .persistence
        ) { .count($0.storage.failures) },
        .infoOnly(
            .setting, type: .info, "What happens to writes while the disk does not work",
            info: InfoField("storage_fail_mode"), in: .persistence
        ) { .text($0.settings.failMode.rawValue) },
        .gauge(
            "escapement_storage_memory_only", "Whether the disk fails and decisions are only in memory",
            info: InfoField("storage_memory_only"), in: .persistence
        ) { .flag($0.hasOnlyMemory) },
        .gauge(
            "escapement_storage_role_saved", "Whether the node's role is on disk",
            info: InfoField("storage_role_saved"),
            in: .persistence
        ) { .flag($0.replication.isRoleSaved) },
        .gauge(
            "escapement_snapshot_keys_written", "Keys that the snapshot under way has written, or the last one wrote",
            info: InfoField("snapshot_keys_done"), in: .persistence
        ) { .count($0.storage.snapshotKeys) },
        .gauge(
            "escapement_snapshot_keys_expected", "Keys that the snapshot under way will write, about",
            info: InfoField("snapshot_keys_expected"), in: .persistence
        ) { .count($0.storage.snapshotExpectedKeys) },
        .gauge(
            "escapement_journal_offset_bytes", unit: .bytes, "Offset of the journal that has been appended to the log",
            info: InfoField("journal_offset"), in: .persistence
        ) { .integer($0.storage.journalOffset) },
        .gauge(
            "escapement_journal_synced_offset_bytes", unit: .bytes,
            "Offset of the journal that has been synced to disk",
            info: InfoField("journal_synced_offset"), in: .persistence
        ) { .integer($0.storage.syncedOffset) },
        .gauge(
            "escapement_journal_unsynced_bytes", unit: .bytes, "Bytes of the journal that are not yet on disk",
            info: InfoField("journal_unsynced_bytes"), in: .persistence
        ) { .count($0.storage.unsyncedBytes) },
        .counter(
            "escapement_journal_collections_total", "Collections of changes into the journal",
            info: InfoField("journal_collections"), in: .persistence
        ) { .count($0.storage.collections) },
        .counter(
            "escapement_log_fsyncs_total", "Syncs of the log that succeeded", info: InfoField("journal_syncs"),
            in: .persistence
        ) { .count($0.storage.syncs) },
        .gauge(
            "escapement_log_fsync_last_duration_seconds", unit: .seconds,
            "How long the sync under way has taken, or the last one took",
            info: InfoField("journal_last_sync_usec", .whole(.microseconds)), in: .persistence
        ) { .nanoseconds($0.storage.lastSyncTook.nanoseconds) },
        .gauge(
            "escapement_recovery_duration_seconds", unit: .seconds, "How long putting the state back at the start took",
            info: InfoField("recovery_usec", .whole(.microseconds)), in: .persistence
        ) { .nanoseconds($0.storage.recoveryTook.nanoseconds) },
        .gauge(
            "escapement_recovery_cut_bytes", unit: .bytes,
            "Bytes of a torn tail that were cut off the log at the start",
            info: InfoField("recovery_cut_bytes"), in: .persistence
        ) { .count($0.storage.cutBytes) },
    ]

    private static let isLogging: Metric.Condition = { $0.storage.isLogging }

    /// A duration in seconds, -1 where there is none.
    private static func duration(_ seconds: Int64) -> MetricValue { seconds < 0 ? .unknown : .integer(seconds) }
}
