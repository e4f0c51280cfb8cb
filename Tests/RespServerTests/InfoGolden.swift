// The lines INFO must keep: field names in order, and the format of each value. Stored as text because exporters,
// Sentinel and dashboards parse it, so it may only change on purpose.
//
// A line is a name and either a literal value or its format: `i` an integer; `2` `3` `6` a number with that many
// decimals; `%` two decimals and a percent sign; `h` human-readable bytes; `t` any text; `=` pairs with a format
// each.

enum InfoGolden {
    /// INFO everything of a primary with a log and a replica after a few commands.
    static let primary = """
        # Server
        redis_version t
        redis_mode standalone
        escapement_version t
        os t
        arch_bits i
        multiplexing_api epoll
        process_id i
        run_id t
        tcp_port i
        server_time_usec i
        uptime_in_seconds i
        uptime_in_days i
        hz i
        configured_hz i
        executable t
        config_file t
        io_threads_active i
        engine_time_skew_usec i

        # Clients
        connected_clients i
        cluster_connections i
        maxclients i
        blocked_clients i
        tracking_clients i
        pubsub_channels_open i

        # Memory
        used_memory i
        used_memory_human h
        used_memory_rss i
        used_memory_rss_human h
        used_memory_peak i
        used_memory_peak_human h
        used_memory_peak_perc %
        used_memory_overhead i
        used_memory_startup i
        used_memory_dataset i
        used_memory_dataset_perc %
        total_system_memory i
        total_system_memory_human h
        maxmemory i
        maxmemory_human h
        maxmemory_policy noeviction
        mem_fragmentation_ratio 2
        mem_fragmentation_bytes i
        mem_clients_normal i
        mem_allocator escapement-slab

        # Persistence
        loading i
        async_loading i
        rdb_changes_since_last_save i
        rdb_bgsave_in_progress i
        rdb_last_save_time i
        rdb_last_bgsave_status ok
        rdb_last_bgsave_time_sec i
        rdb_current_bgsave_time_sec i
        rdb_saves i
        rdb_last_cow_size i
        rdb_last_load_keys_expired i
        rdb_last_load_keys_loaded i
        aof_enabled i
        aof_rewrite_in_progress i
        aof_rewrite_scheduled i
        aof_last_rewrite_time_sec i
        aof_current_rewrite_time_sec i
        aof_last_bgrewrite_status ok
        aof_rewrites i
        aof_last_write_status ok
        aof_last_cow_size i
        aof_current_size i
        aof_base_size i
        aof_pending_rewrite i
        aof_buffer_length i
        aof_pending_bio_fsync i
        aof_delayed_fsync i
        storage_breaker closed
        storage_failures i
        storage_fail_mode closed
        storage_memory_only i
        storage_role_saved i
        snapshot_keys_done i
        snapshot_keys_expected i
        journal_offset i
        journal_synced_offset i
        journal_unsynced_bytes i
        journal_collections i
        journal_syncs i
        journal_last_sync_usec i
        recovery_usec i
        recovery_cut_bytes i

        # Stats
        total_connections_received i
        total_commands_processed i
        instantaneous_ops_per_sec i
        total_net_input_bytes i
        total_net_output_bytes i
        instantaneous_input_kbps 2
        instantaneous_output_kbps 2
        rejected_connections i
        sync_full i
        sync_partial_ok i
        sync_partial_err i
        expired_keys i
        evicted_keys i
        evicted_clients i
        keyspace_hits i
        keyspace_misses i
        pubsub_channels i
        pubsub_patterns i
        latest_fork_usec i
        total_error_replies i
        total_protocol_errors i
        client_output_buffer_limit_disconnections i
        total_reads_processed i
        total_writes_processed i
        acl_access_denied_auth i
        http_requests_refused i

        # Replication
        role master
        connected_slaves i
        slave0 =ip:t,port:i,state:t,offset:i,lag:i
        master_failover_state no-failover
        master_replid t
        master_replid2 t
        master_repl_offset i
        second_repl_offset i
        repl_backlog_active i
        repl_backlog_size i
        repl_backlog_first_byte_offset i
        repl_backlog_histlen i

        # CPU
        used_cpu_sys 6
        used_cpu_user 6
        used_cpu_sys_children 6
        used_cpu_user_children 6

        # Modules

        # Limiter
        limiter_allowed i
        limiter_denied i
        limiter_keys i
        limiter_persistent_keys i
        limiter_expired i
        limiter_evicted i
        limiter_shadowed i
        limiter_tokens i
        limiter_tokens_refused i
        limiter_repeated_answers i
        limiter_policies i
        limiter_rules i
        limiter_shards i
        limiter_probes_max i
        log_lines_queued i
        log_lines_dropped i
        log_write_failures i

        # Commandstats
        cmdstat_cl.throttle =calls:i,usec:i,usec_per_call:2,rejected_calls:i,failed_calls:i
        cmdstat_config =calls:i,usec:i,usec_per_call:2,rejected_calls:i,failed_calls:i

        # Errorstats
        errorstat_ERR =count:i

        # Unknowncommands
        unknown_commands_calls i
        unknown_commands_names i
        unknown_commands_other_calls i
        unknowncmd_config|bar =calls:i
        unknowncmd_foo =calls:i

        # Latencystats
        latency_percentiles_usec_cl.throttle =p50:3,p99:3,p99.9:3

        # Cluster
        cluster_enabled i

        # Keyspace
        db0 =keys:i,expires:i,avg_ttl:i
        """

    /// INFO replication of a replica whose link is down.
    static let replica = """
        role slave
        master_host t
        master_port i
        master_link_status down
        master_last_io_seconds_ago i
        master_sync_in_progress i
        slave_read_repl_offset i
        slave_repl_offset i
        master_link_down_since_seconds i
        slave_priority i
        slave_read_only i
        replica_announced i
        connected_slaves i
        master_failover_state no-failover
        master_replid t
        master_replid2 t
        master_repl_offset i
        second_repl_offset i
        repl_backlog_active i
        repl_backlog_size i
        repl_backlog_first_byte_offset i
        repl_backlog_histlen i
        """
}
