// The reference's pages of the commands about the server as a whole: INFO, MONITOR, SHUTDOWN and related commands.
// Those about replication, persistence and settings are in files of their own.

extension CommandPages {
    static let server: [String: CommandPage] = [
        "info": CommandPage(
            replies: [.verbatim("the sections asked for; empty if there are none of these names")],
            notes: CommandManual.infoSections,
            examples: """
                > INFO cluster
                # Cluster
                cluster_enabled:0
                > INFO server limiter
                # Server
                redis_version:...
                redis_mode:standalone
                escapement_version:...

                # Limiter
                ...
                """),
        "time": CommandPage(
            replies: [.array("seconds since 1970, and microseconds in that second, as bulk strings")],
            notes: """
                This is the wall clock. Limits are decided with engine time, which never goes back: INFO server shows
                the difference as `engine_time_skew_usec`.
                """,
            examples: """
                > TIME
                1) "..."
                2) "..."
                """),
        "lolwut": CommandPage(
            replies: [.verbatim("the picture, and a line with the version")],
            errors: [.notAnInteger("the version is not an integer", "LOLWUT VERSION six")],
            notes: "There is one picture, whatever the version.",
            examples: """
                > LOLWUT
                tick tock tick tock
                Escapement ver. ...
                """),
        "monitor": CommandPage(
            replies: [.ok("then a simple string for each command, until the connection ends or sends RESET")],
            errors: [.error("ERR MONITOR isn't allowed for DENY BLOCKING client", "as an element of EXEC's reply")],
            notes: """
                A line has the time in seconds, the database and address of the client, and the arguments with C
                escapes:

                ```
                1795980605.678199 [0 127.0.0.1:51914] "CL.THROTTLE" "user123" "15" "30" "60"
                ```

                Commands with the flags `admin` and `skip_monitor` are not shown, and secrets are replaced by
                `(redacted)` ([security.md](security.md#where-passwords-appear)). Commands of a transaction are shown
                when EXEC runs them. While a client monitors, calls are decided one by one instead of in batches, which
                costs a large part of the throughput. A monitor that reads too slowly is disconnected
                (`client-output-buffer-limit`).
                """,
            examples: """
                > MONITOR
                OK
                """),
        "module|list": CommandPage(
            replies: [.array("empty")],
            notes: "The limiter's commands are built in: no module has to be loaded, and none can be.",
            examples: """
                > MODULE LIST
                (empty array)
                """),
        "shutdown": CommandPage(
            replies: [.nothing("the connection closes when the server ends")],
            errors: [
                .error("ERR No shutdown in progress.", "always with ABORT", "SHUTDOWN ABORT"),
                .syntax("also NOSAVE with SAVE, and ABORT with another word", "SHUTDOWN NOSAVE SAVE"),
                .error("ERR Errors trying to SHUTDOWN. Check logs.", "the disk fails, and changes would be lost"),
            ],
            notes: """
                The server accepts no more connections, replies to what it has received, and writes all changes to disk,
                like after SIGTERM. It exits after `shutdown-timeout` at the latest.

                | word | effect |
                |---|---|
                | `SAVE` | also takes a snapshot; without SAVE and NOSAVE, only if `save` has rules. With a log \
                (`appendonly yes`) nothing is lost either way |
                | `NOSAVE` | no snapshot; also shuts down although the disk fails |
                | `FORCE` | shuts down although the disk fails |
                | `NOW` | none: the server does not wait for replicas in any case, unlike Redis. FAILOVER does |
                | `ABORT` | none: a shutdown that has begun cannot be stopped |
                """,
            examples: """
                > SHUTDOWN ABORT
                (error) ERR No shutdown in progress.
                """),
        "debug|sleep": CommandPage(
            replies: [.ok("after that time")],
            errors: [
                debugging("DEBUG SLEEP 0.1"),
                .error("ERR value is not a valid float or out of range: 0 to 3600 seconds", ""),
            ],
            notes: "All connections of the same event loop wait, about one in `io-threads`; in Redis, all do.",
            examples: """
                > DEBUG SLEEP 0.1
                (error) ERR DEBUG command not allowed. ...
                """),
        "debug|metrics": CommandPage(
            replies: [.verbatim("the metrics")],
            errors: [debugging("DEBUG METRICS"), .error("ERR syntax error", "a word other than OPENMETRICS")],
            notes: """
                The same text as `/metrics` of the admin listener ([http.md](http.md)), for scrapers that speak RESP.
                All metrics: [metrics.md](metrics.md).
                """,
            examples: """
                > DEBUG METRICS OPENMETRICS
                (error) ERR DEBUG command not allowed. ...
                """),
    ]

    private static func debugging(_ request: String) -> ErrorSpec {
        .error(
            "ERR DEBUG command not allowed. ...",
            "`enable-debug-command` is `no`, the default, or `local` and the client is on another machine", request)
    }
}
