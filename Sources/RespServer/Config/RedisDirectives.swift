// Settings of redis.conf that this server does not have, each with the reason and what to do instead: for the error
// when a copied file is used, and for `escapement import`.
//
// A row is a name, or a prefix that ends in `-`. The longest row that fits applies.

enum RedisDirectives {
    /// Why this server does not have a setting of Redis; nil if Redis has none with this name, as far as is known here.
    static func reason(for name: String) -> String? {
        let name = name.lowercased()
        return rows.filter { $0.name == name || $0.name.hasSuffix("-") && name.hasPrefix($0.name) }
            .max { $0.name.utf8.count < $1.name.utf8.count }?.reason
    }

    /// Why a path of Redis is not used by `escapement import`, although there is a setting with this name; nil if it
    /// is. The directories belong to Redis, which may still run, and the packaged unit can write its own only.
    static func reason(againstPlace name: String, _ path: String) -> String? {
        switch name {
        case "dir":
            return "a directory of Redis; the packaged unit uses /var/lib/escapement, without it choose a new one"
        case "logfile" where !path.isEmpty && !path.hasPrefix("/dev/"):
            return "a file of Redis; under the packaged unit the journal has the log, and a file must be in "
                + "/var/log/escapement"
        case "unixsocket" where path.split(separator: "/").dropLast().contains { $0.hasPrefix("redis") }:
            return "a directory of Redis; under the packaged unit a socket must be in /run/escapement"
        default: return nil
        }
    }

    private static let rows: [(name: String, reason: String)] = [
        ("daemonize", "it always runs in the foreground: let systemd, a container or `&` put it into the background"),
        ("pidfile", "it writes no pid file: a service manager knows the process, and INFO shows process_id"),
        ("supervised", "it notifies systemd when it is ready, if the unit has Type=notify"),
        ("set-proc-title", "it does not change its name"),
        ("proc-title-template", "it does not change its name"),
        ("always-show-logo", "it has no logo"),
        ("syslog-", "it writes its log to standard error or to logfile; the service manager can pass it on"),
        ("crash-log-enabled", "the kernel and systemd-coredump record crashes"),
        ("crash-memcheck-enabled", "it has no memory test"),
        ("oom-score-adj", "set OOMScoreAdjust in the unit"),
        ("oom-score-adj-values", "set OOMScoreAdjust in the unit"),
        ("disable-thp", "it asks for huge pages for its index, and never forks, so they do no harm"),
        ("bind-source-addr", "connections to a primary use the address that the kernel chooses"),
        ("socket-mark-id", "sockets are not marked"),
        ("tls-", "TLS is not supported: use a proxy that terminates it"),
        ("cluster-", "there is no cluster mode: one server serves all keys, replicas take over through Sentinel"),
        ("loadmodule", "it has no modules; CL.THROTTLE is built in"),
        ("enable-module-command", "it has no modules"),
        ("enable-protected-configs", "settings that name files cannot be changed at run time"),
        ("rename-command", "commands cannot be renamed; DEBUG is off unless enable-debug-command is set"),
        ("user", "there are no users: requirepass protects the server"),
        ("aclfile", "there are no users: requirepass protects the server"),
        ("acl-pubsub-default", "there are no users"),
        ("acllog-max-len", "there are no users"),
        ("dbfilename", "snapshots are in appenddirname, beside the log"),
        ("rdbcompression", "snapshots are not compressed: records are a few bytes"),
        ("rdbchecksum", "checksums are always on"),
        ("rdb-", "snapshots have another format, and are always written incrementally"),
        ("sanitize-dump-payload", "there is no RESTORE"),
        ("stop-writes-on-bgsave-error", "fail-mode says what happens when the disk fails"),
        ("appendfilename", "files in appenddirname have fixed names"),
        ("no-appendfsync-on-rewrite", "a snapshot never delays the log"),
        ("aof-", "the log has another format"),
        ("repl-diskless-", "a full sync is always sent without a file"),
        ("repl-ping-replica-period", "links send a sign of life every second"),
        ("repl-backlog-ttl", "the backlog is kept"),
        ("repl-disable-tcp-nodelay", "links always send at once"),
        ("replica-announced", "replicas are always announced"),
        ("replica-lazy-flush", "states are always replaced in the background"),
        ("replica-ignore-maxmemory", "a replica follows its primary's evictions"),
        ("replica-ignore-disk-write-errors", "fail-mode says what happens when the disk fails"),
        ("propagation-error-behavior", "replicas receive states, not commands, so none can fail"),
        ("maxmemory-samples", "eviction does not sample"),
        ("maxmemory-eviction-tenacity", "eviction is bounded per command"),
        ("lfu-", "eviction is by expiry"),
        ("active-expire-effort", "expired keys are dropped by hz"),
        ("active-defrag-", "memory is compacted continuously"),
        ("activedefrag", "memory is compacted continuously"),
        ("activerehashing", "indexes are resized a few buckets per change"),
        ("dynamic-hz", "hz is constant"),
        ("jemalloc-bg-thread", "it does not use jemalloc"),
        ("lazyfree-", "large deletions never block"),
        ("io-threads-do-reads", "event loops always read and write"),
        ("tracking-table-max-keys", "client-side caching is not supported"),
        ("notify-keyspace-events", "keyspace notifications are not supported"),
        ("lua-time-limit", "it runs no Lua: known scripts are native code"),
        ("busy-reply-threshold", "it runs no Lua: known scripts are native code"),
        ("hash-max-", "it stores limiters and integers only"),
        ("list-", "it stores limiters and integers only"),
        ("set-max-", "it stores limiters and integers only"),
        ("zset-max-", "it stores limiters and integers only"),
        ("stream-node-max-", "it stores limiters and integers only"),
        ("hll-sparse-max-bytes", "it stores limiters and integers only"),
        ("server_cpulist", "set CPUAffinity in the unit"),
        ("server-cpulist", "set CPUAffinity in the unit"),
        ("bio_cpulist", "set CPUAffinity in the unit"),
        ("bio-cpulist", "set CPUAffinity in the unit"),
        ("shutdown-on-", "SIGTERM and SIGINT save as `save` says"),
        ("ignore-warnings", "there are none to ignore"),
        ("locale-collate", "it sorts bytes"),
    ]
}
