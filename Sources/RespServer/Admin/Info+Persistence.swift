// INFO persistence: Redis's lines under Redis's names, then our own. What Redis says of its dump file is said of a
// snapshot taken by SAVE or BGSAVE, what it says of an append-only rewrite of one that replaces the log.

import LimiterEngine
import Persistence
import System

extension Info {
    mutating func writePersistence() {
        let status = server.durability.status
        let isSaving = status.isSnapshotRunning && !status.snapshotIsRewrite
        let isRewriting = status.isSnapshotRunning && status.snapshotIsRewrite
        let running = (steady - status.snapshotStartedAt).secondsRoundedDown
        // A full sync is read into a state that answers LOADING, and of which nobody knows how much is to come.
        line("loading", server.isLoading || server.replication.isReceiving ? 1 : 0)
        line("async_loading", 0)
        if server.isLoading {
            writeLoading(since: server.startedAt, unixSeconds: server.startedAtUnix)
        } else if let began = status.restoreBegan {
            writeLoading(since: began.steady, unixSeconds: began.unixSeconds)
        }
        line("rdb_changes_since_last_save", statistics.changes &- min(statistics.changes, status.changesAtLastSave))
        line("rdb_bgsave_in_progress", isSaving ? 1 : 0)
        line("rdb_last_save_time", status.lastSaveTime)
        line("rdb_last_bgsave_status", status.lastSnapshotSucceeded ? "ok" : "err")
        line("rdb_last_bgsave_time_sec", status.lastSnapshotSeconds)
        line("rdb_current_bgsave_time_sec", isSaving ? running : -1)
        line("rdb_saves", status.snapshots)
        line("rdb_last_cow_size", 0)
        line("rdb_last_load_keys_expired", 0)
        line("rdb_last_load_keys_loaded", status.recoveredRecords)
        line("aof_enabled", status.isLogging ? 1 : 0)
        line("aof_rewrite_in_progress", isRewriting ? 1 : 0)
        line("aof_rewrite_scheduled", status.isRewriteScheduled ? 1 : 0)
        line("aof_last_rewrite_time_sec", status.lastRewriteSeconds)
        line("aof_current_rewrite_time_sec", isRewriting ? running : -1)
        line("aof_last_bgrewrite_status", status.lastRewriteSucceeded ? "ok" : "err")
        line("aof_rewrites", status.rewrites)
        line("aof_last_write_status", status.lastWriteSucceeded ? "ok" : "err")
        line("aof_last_cow_size", 0)
        if status.isLogging {
            line("aof_current_size", status.logBytes + status.snapshotBytes)
            line("aof_base_size", status.baseBytes)
            line("aof_pending_rewrite", 0)
            line("aof_buffer_length", server.durability.journal.pendingBytes)
            line("aof_pending_bio_fsync", status.isSyncing ? 1 : 0)
            line("aof_delayed_fsync", status.delayedSyncs)
        }
        writeStorage(status)
    }

    private mutating func writeLoading(since began: SteadyInstant, unixSeconds: Int64) {
        let (done, total) = server.recoveryProgress.bytes
        let seconds = max(0, (steady - began).secondsRoundedDown)
        line("loading_start_time", unixSeconds)
        line("loading_total_bytes", total)
        line("loading_loaded_bytes", done)
        line("loading_loaded_perc", total > 0 ? Double(done) * 100 / Double(total) : 0, decimals: 2)
        let left = Double(total - done) * Double(max(1, seconds)) / Double(max(1, done))
        line("loading_eta_seconds", Int64(min(left, 1e9)))
    }

    /// What Redis has no name for.
    private mutating func writeStorage(_ status: StorageStatus) {
        line("storage_breaker", status.breaker.rawValue)
        line("storage_failures", status.failures)
        line("storage_fail_mode", server.currentSettings.value.failMode.rawValue)
        let hasOnlyMemory = status.isLogging && !status.lastWriteSucceeded && !server.durability.refusesWrites
        line("storage_memory_only", hasOnlyMemory ? 1 : 0)
        line("storage_role_saved", server.replication.status.isRoleSaved ? 1 : 0)
        line("snapshot_keys_done", status.snapshotKeys)
        line("snapshot_keys_expected", status.snapshotExpectedKeys)
        line("journal_offset", status.journalOffset)
        line("journal_synced_offset", status.syncedOffset)
        line("journal_unsynced_bytes", status.unsyncedBytes)
        line("journal_collections", status.collections)
        line("journal_syncs", status.syncs)
        line("journal_last_sync_usec", status.lastSyncTook.microsecondsRoundedDown)
        line("recovery_usec", status.recoveryTook.microsecondsRoundedDown)
        line("recovery_cut_bytes", status.cutBytes)
    }
}
