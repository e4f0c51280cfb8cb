// The reference's pages of the commands about persistence and settings.

extension CommandPages {
    // MARK: Snapshots

    static let persistence: [String: CommandPage] = [
        "save": CommandPage(
            replies: [.ok("the snapshot is on disk")],
            errors: [
                .error("ERR Background save already in progress", "a snapshot has been started"),
                .error("ERR ...", "the disk fails; the text names the operation, the file and the reason"),
                .error("LOADING ...", "the server is a replica, and a full sync began meanwhile"),
            ],
            notes: """
                Unlike in Redis, all other connections are served meanwhile. With a log (`appendonly yes`) no call
                depends on it: [durability.md](durability.md#how-it-works).
                """,
            examples: """
                > SAVE
                OK
                """),
        "bgsave": CommandPage(
            replies: [.simple("`Background saving started`, or with SCHEDULE `Background saving scheduled`")],
            errors: [
                .error("ERR Background save already in progress", ""),
                .error(
                    "ERR Another child process is active (AOF?): can't BGSAVE right now. ...",
                    "a snapshot for BGREWRITEAOF is being written; SCHEDULE adds one after it"),
                .syntax("a word other than SCHEDULE", "BGSAVE LATER"),
            ],
            notes: """
                The server never forks. Whether it succeeded: `rdb_last_bgsave_status` in INFO persistence, and
                LASTSAVE.
                """,
            examples: """
                > BGSAVE
                Background saving started
                """),
        "bgrewriteaof": CommandPage(
            replies: [
                .simple(
                    "`Background append only file rewriting started`, or `... scheduled` if another snapshot is being "
                        + "written")
            ],
            errors: [.error("ERR Background append only file rewriting already in progress", "")],
            notes: """
                The same snapshot as BGSAVE's: both replace the log so far. Seldom needed, since the server does it when
                the log has grown (`auto-aof-rewrite-percentage`). Without a log it takes a snapshot all the same.
                """,
            examples: """
                > BGREWRITEAOF
                Background append only file rewriting started
                """),
        "lastsave": CommandPage(
            replies: [.integer("seconds since 1970; the time of startup if there was none since")],
            examples: """
                > LASTSAVE
                (integer) ...
                """),
    ]

    // MARK: CONFIG

    static let config: [String: CommandPage] = [
        "config": CommandPage(
            replies: [],
            notes: """
                Each setting, its values, its default, and whether CONFIG SET can change it:
                [escapement.conf](../escapement.conf). A file for Redis is converted by `escapement import`.
                """),
        "config|get": CommandPage(
            replies: [.map("names and values, in the order of escapement.conf; empty if no name matches")],
            errors: [
                .error("ERR CONFIG GET takes at most 1024 patterns", ""),
                longPattern,
            ],
            notes: """
                Patterns are case-insensitive globs, as for KEYS. Values are bulk strings: sizes in bytes and times in
                the unit of the setting, without a suffix. A name that Redis has renamed, such as `slaveof`, is shown in
                addition to the new one if it matches. `maxclients` is the number in effect, which the limit of open
                files may have lowered. Passwords are shown, as in Redis.
                """,
            examples: """
                > CONFIG GET maxmemory*
                1) "maxmemory-clients"
                2) "0"
                3) "maxmemory"
                4) "0"
                5) "maxmemory-policy"
                6) "noeviction"
                > CONFIG GET nosuch
                (empty array)
                """),
        "config|set": CommandPage(
            replies: [.ok],
            errors: [
                .error(
                    "ERR Unknown option or number of arguments for CONFIG SET - '...'", "there is no such setting",
                    "CONFIG SET maxmemmory 1gb"),
                failed("maxmemory", "argument must be a memory value", "", "CONFIG SET maxmemory much"),
                failed("...", "...", "the text names what is allowed", "CONFIG SET hz 0"),
                failed("port", "can't set immutable config", "it can only be set at startup", "CONFIG SET port 6380"),
                failed(
                    "timeout", "duplicate parameter", "also under its two names", "CONFIG SET timeout 10 TIMEOUT 20"),
            ],
            notes: """
                Sizes may have the suffixes of the file (`100mb`). Each change is one log line, without secrets.

                **Every change is lost at a restart unless CONFIG REWRITE follows**; without a configuration file, put
                it on the command line. What other commands change is not a setting and is kept with the data: the role
                (REPLICAOF), policies and rules.
                """,
            examples: """
                > CONFIG SET maxmemory 100mb maxmemory-policy evict-soonest
                OK
                > CONFIG GET maxmemory
                1) "maxmemory"
                2) "104857600"
                > CONFIG SET maxmemory 0 maxmemory-policy noeviction
                OK
                """),
        "config|rewrite": CommandPage(
            replies: [.ok("the file is on disk")],
            errors: [
                .error("ERR The server is running without a config file", "", "CONFIG REWRITE"),
                .error("ERR Rewriting config file: ...", "for example, the directory is read-only for the server"),
            ],
            notes: """
                Replaces the values of settings that were changed by CONFIG SET or on the command line. Comments, order
                and unchanged lines are kept. A changed setting without a line is appended, as is one that an included
                file would override. The file is replaced in one step, so a crash leaves the old or the new one. Under
                the package's unit the file is read-only: edit it instead.
                """,
            examples: """
                > CONFIG REWRITE
                (error) ERR The server is running without a config file
                """),
        "config|resetstat": CommandPage(
            replies: [.ok],
            notes: """
                Counters that only increase become 0: those of connections, commands, errors, decisions, the log's
                lines, unsupported calls and HTTP. In Prometheus it looks like a restart. The slow log and the events
                of LATENCY have RESET commands of their own.
                """,
            examples: """
                > CONFIG RESETSTAT
                OK
                > INFO commandstats
                # Commandstats
                ...
                """),
    ]

    private static func failed(_ name: String, _ reason: String, _ when: String, _ request: String) -> ErrorSpec {
        .error("ERR CONFIG SET failed (possibly related to argument '\(name)') - \(reason)", when, request)
    }
}
