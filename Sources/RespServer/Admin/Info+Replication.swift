// INFO replication: what Sentinel, exporters and clients read, in Redis's order. `role` comes before everything that
// only one role has.

import Persistence
import Replication
import System

extension Info {
    mutating func writeReplication() {
        let status = server.replication.status
        let settings = server.currentSettings.value
        let offset = server.durability.journal.offset
        line("role", status.primary == nil ? "master" : "slave")
        if let primary = status.primary {
            line("master_host", primary.host)
            line("master_port", primary.port)
            line("master_link_status", status.isLinkUp ? "up" : "down")
            line("master_last_io_seconds_ago", status.isLinkUp ? (steady - status.lastHeard).secondsRoundedDown : -1)
            line("master_sync_in_progress", status.isSyncing ? 1 : 0)
            line("slave_read_repl_offset", offset)
            line("slave_repl_offset", offset)
            if !status.isLinkUp {
                let since = status.downSince.map { (steady - $0).secondsRoundedDown } ?? 0
                line("master_link_down_since_seconds", since)
            }
            line("slave_priority", status.isPromotable ? settings.replicaPriority : 0)
            line("slave_read_only", 1)
            line("replica_announced", 1)
        }
        line("connected_slaves", status.replicas.count)
        if settings.minReplicasToWrite > 0 { line("min_slaves_good_slaves", status.goodReplicas) }
        for (number, replica) in status.replicas.enumerated() {
            line(
                "slave\(number)",
                "ip=\(replica.host),port=\(replica.port),state=\(replica.state),offset=\(replica.offset),"
                    + "lag=\(replica.lag.secondsRoundedDown)")
        }
        line("master_failover_state", status.failover)
        line("master_replid", status.id)
        line("master_replid2", status.pastID)
        line("master_repl_offset", offset)
        line("second_repl_offset", status.pastOffset)
        line("repl_backlog_active", status.hasBacklog ? 1 : 0)
        line("repl_backlog_size", settings.replBacklogSizeBytes)
        line("repl_backlog_first_byte_offset", status.hasBacklog ? status.backlogStart + 1 : 0)
        line("repl_backlog_histlen", status.backlogCount)
    }
}
