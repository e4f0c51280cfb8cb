// Metrics of loading, snapshots and the append-only log: INFO persistence. Redis's rdb fields report snapshots taken by
// SAVE or BGSAVE; its AOF rewrite fields report snapshots that replace the log.

import LimiterEngine
import Persistence
import System

extension MetricsTable {
    static let persistence: [Metric] = [
        .gauge(
            "escapement_loading", "Whether the state is being recovered or replaced, so that clients get LOADING",
            info: InfoField("loading"), in: .persistence
        ) { .flag($0.isLoading) },
        .constant("async_loading", .integer(0), "Loading while the old state is served", in: .persistence),
        .gauge(
            "escapement_loading_start_timestamp_seconds", unit: .timestampSeconds,
            "When loading the state from disk started",
            info: InfoField("loading_start_time"), in: .persistence
        ) { $0.loadingBegan.map { .integer($0.unixSeconds) } ?? .unknown },
        .gauge(
            "escapement_loading_expected_bytes", unit: .bytes, "Total bytes of state to read from disk",
            info: InfoField("loading_total_bytes"), in: .persistence, if: { $0.loadingBegan != nil }
        ) { .count($0.recovery.total) },
        .gauge(
            "escapement_loading_read_bytes", unit: .bytes, "Bytes of state read from disk so far",
            info: InfoField("loading_loaded_bytes"), in: .persistence, if: { $0.loadingBegan != nil }
        ) { .count($0.recovery.done) },
        .infoOnly(
            .derived(["escapement_loading_read_bytes", "escapement_loading_expected_bytes"]), type: .gauge,
            unit: .percent,
            "Share of the state read so far", info: InfoField("loading_loaded_perc", .fixed(2)),
            in: .persistence, if: { $0.loadingBegan != nil }
        ) { .real($0.recovery.total > 0 ? Double($0.recovery.done) * 100 / Double($0.recovery.total) : 0) },
        .infoOnly(
            .derived(["escapement_loading_read_bytes", "escapement_loading_expected_bytes"]), type: .gauge,
            unit: .seconds,
            "Estimated time until loading is done, at the rate so far", info: InfoField("loading_eta_seconds"),
            in: .persistence
        ) { $0.loadingSecondsLeft.map { .integer($0) } ?? .unknown },
        .gauge(
            "escapement_changes_since_snapshot", "Changes of keys since the last snapshot was started",
            info: InfoField("rdb_changes_since_last_save"), in: .persistence
        ) { .count($0.engine.changes &- min($0.engine.changes, $0.storage.changesAtLastSave)) },
        .gauge(
            "escapement_snapshot_running", "Whether a snapshot by SAVE, BGSAVE or the setting save is being written",
            info: InfoField("rdb_bgsave_in_progress"), in: .persistence
        ) { .flag($0.isSaving) },
        .gauge(
            "escapement_snapshot_last_success_timestamp_seconds", unit: .timestampSeconds,
            "When the last snapshot was completed",
            info: InfoField("rdb_last_save_time"), in: .persistence
        ) { .integer($0.storage.lastSaveTime) },
        .gauge(
            "escapement_snapshot_last_succeeded", "Whether the last snapshot succeeded",
            info: InfoField("rdb_last_bgsave_status", .words(yes: "ok", no: "err")), in: .persistence
        ) { .flag($0.storage.lastSnapshotSucceeded) },
        .gauge(
            "escapement_snapshot_last_duration_seconds", unit: .seconds, "Duration of the last snapshot",
            info: InfoField("rdb_last_bgsave_time_sec", unknown: "-1"), in: .persistence
        ) { duration($0.storage.lastSnapshotSeconds) },
        .gauge(
            "escapement_snapshot_running_seconds", unit: .seconds, "Time since the running snapshot started",
            info: InfoField("rdb_current_bgsave_time_sec", unknown: "-1"), in: .persistence
        ) { $0.isSaving ? .nanoseconds($0.snapshotTime.nanoseconds) : .unknown },
        .counter(
            "escapement_snapshots_total", "Successful snapshots by SAVE, BGSAVE and the setting save",
            info: InfoField("rdb_saves"), in: .persistence
        ) { .count($0.storage.snapshots) },
        .constant("rdb_last_cow_size", .integer(0), "Memory copied for a snapshot", in: .persistence),
        .constant("rdb_last_load_keys_expired", .integer(0), "Expired keys found at startup", in: .persistence),
        .gauge(
            "escapement_recovery_records", "Records recovered at startup",
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
            "escapement_rewrite_scheduled", "Whether another snapshot follows the running one",
            info: InfoField("aof_rewrite_scheduled"), in: .persistence
        ) { .flag($0.storage.isRewriteScheduled) },
        .gauge(
            "escapement_rewrite_last_duration_seconds", unit: .seconds, "Duration of the last rewrite of the log",
            info: InfoField("aof_last_rewrite_time_sec", unknown: "-1"), in: .persistence
        ) { duration($0.storage.lastRewriteSeconds) },
        .gauge(
            "escapement_rewrite_running_seconds", unit: .seconds, "Time since the running rewrite started",
            info: InfoField("aof_current_rewrite_time_sec", unknown: "-1"), in: .persistence
        ) { $0.isRewriting ? .nanoseconds($0.snapshotTime.nanoseconds) : .unknown },
        .gauge(
            "escapement_rewrite_last_succeeded", "Whether the last rewrite of the log succeeded",
            info: InfoField("aof_last_bgrewrite_status", .words(yes: "ok", no: "err")), in: .persistence
        ) { .flag($0.storage.lastRewriteSucceeded) },
        .counter(
            "escapement_rewrites_total", "Successful rewrites of the log", info: InfoField("aof_rewrites"),
            in: .persistence
        ) { .count($0.storage.rewrites) },
        .gauge(
            "escapement_log_last_write_succeeded", "Whether the last write or sync of the log succeeded",
            info: InfoField("aof_last_write_status", .words(yes: "ok", no: "err")), in: .persistence
        ) { .flag($0.storage.lastWriteSucceeded) },
        .constant("aof_last_cow_size", .integer(0), "Memory copied for a rewrite", in: .persistence),
        .gauge(
            "escapement_log_size_bytes", unit: .bytes, "Size of the log on disk, including the snapshot it begins with",
            info: InfoField("aof_current_size"), in: .persistence, if: isLogging
        ) { .count($0.storage.logBytes + $0.storage.snapshotBytes) },
        .gauge(
            "escapement_log_base_size_bytes", unit: .bytes,
            "Size of the log when it was last rewritten, or at startup",
            info: InfoField("aof_base_size"), in: .persistence, if: isLogging
        ) { .count($0.storage.baseBytes) },
        .infoOnly(
            .constant, "Whether a rewrite is waiting for a child process", info: InfoField("aof_pending_rewrite"),
            in: .persistence, if: isLogging
        ) { _ in .integer(0) },
        .gauge(
            "escapement_log_buffer_bytes", unit: .bytes, "Bytes buffered for the log and not yet written",
            info: InfoField("aof_buffer_length"), in: .persistence, if: isLogging
        ) { .count($0.journalPendingBytes) },
        .gauge(
            "escapement_log_fsync_running", "Whether a sync of the log is running",
            info: InfoField("aof_pending_bio_fsync"), in: .persistence, if: isLogging
        ) { .flag($0.storage.isSyncing) },
        .counter(
            "escapement_log_fsyncs_delayed_total", "Syncs delayed by the previous one",
            info: InfoField("aof_delayed_fsync"), in: .persistence, if: isLogging
        ) { .count($0.storage.delayedSyncs) },
    ]

    /// Metrics that Redis does not have.
    static let storage: [Metric] = [
        .family(
            .named("escapement_log_fsync_duration_seconds"), .histogram, unit: .seconds, "Duration of syncs of the log",
            in: .persistence
        ) { [MetricSample(value: .histogram($0.syncDurations))] },
        .states(
            "escapement_storage_breaker_state", label: "state", ["closed", "open", "half-open"],
            "State of the circuit breaker that suspends writes to a failing disk",
            info: InfoField("storage_breaker"), in: .persistence
        ) { .text($0.storage.breaker.rawValue) },
        .counter(
            "escapement_storage_failures_total", "Failed writes and syncs", info: InfoField("storage_failures"),
            in: .persistence
        ) { .count($0.storage.failures) },
        .infoOnly(
            .setting, type: .info, "What happens to writes while the disk is failing",
            info: InfoField("storage_fail_mode"), in: .persistence
        ) { .text($0.settings.failMode.rawValue) },
        .gauge(
            "escapement_storage_memory_only", "Whether the disk is failing and decisions are only in memory",
            info: InfoField("storage_memory_only"), in: .persistence
        ) { .flag($0.hasOnlyMemory) },
        .gauge(
            "escapement_storage_role_saved", "Whether the node's role has been saved to disk",
            info: InfoField("storage_role_saved"),
            in: .persistence
        ) { .flag($0.replication.isRoleSaved) },
        .gauge(
            "escapement_snapshot_keys_written", "Keys written by the running or the last snapshot",
            info: InfoField("snapshot_keys_done"), in: .persistence
        ) { .count($0.storage.snapshotKeys) },
        .gauge(
            "escapement_snapshot_keys_expected", "Approximate number of keys that the running snapshot will write",
            info: InfoField("snapshot_keys_expected"), in: .persistence
        ) { .count($0.storage.snapshotExpectedKeys) },
        .gauge(
            "escapement_journal_offset_bytes", unit: .bytes, "Journal offset up to which the log has been written",
            info: InfoField("journal_offset"), in: .persistence
        ) { .integer($0.storage.journalOffset) },
        .gauge(
            "escapement_journal_synced_offset_bytes", unit: .bytes,
            "Journal offset up to which the log has been synced to disk",
            info: InfoField("journal_synced_offset"), in: .persistence
        ) { .integer($0.storage.syncedOffset) },
        .gauge(
            "escapement_journal_unsynced_bytes", unit: .bytes, "Bytes of the journal not yet on disk",
            info: InfoField("journal_unsynced_bytes"), in: .persistence
        ) { .count($0.storage.unsyncedBytes) },
        .counter(
            "escapement_journal_collections_total", "Collections of changes into the journal",
            info: InfoField("journal_collections"), in: .persistence
        ) { .count($0.storage.collections) },
        .counter(
            "escapement_log_fsyncs_total", "Successful syncs of the log", info: InfoField("journal_syncs"),
            in: .persistence
        ) { .count($0.storage.syncs) },
        .gauge(
            "escapement_log_fsync_last_duration_seconds", unit: .seconds,
            "Duration of the running or the last sync",
            info: InfoField("journal_last_sync_usec", .whole(.microseconds)), in: .persistence
        ) { .nanoseconds($0.storage.lastSyncTook.nanoseconds) },
        .gauge(
            "escapement_recovery_duration_seconds", unit: .seconds, "Duration of recovery at startup",
            info: InfoField("recovery_usec", .whole(.microseconds)), in: .persistence
        ) { .nanoseconds($0.storage.recoveryTook.nanoseconds) },
        .gauge(
            "escapement_recovery_cut_bytes", unit: .bytes,
            "Bytes of a torn tail truncated from the log at startup",
            info: InfoField("recovery_cut_bytes"), in: .persistence
        ) { .count($0.storage.cutBytes) },
    ]

    private static let isLogging: Metric.Condition = { $0.storage.isLogging }

    /// A duration in seconds; -1 means unknown.
    private static func duration(_ seconds: Int64) -> MetricValue { seconds < 0 ? .unknown : .integer(seconds) }
}
