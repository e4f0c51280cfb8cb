// The reference's pages of COMMAND, SLOWLOG and LATENCY.

extension CommandPages {
    static let introspection: [String: CommandPage] = command.merging(slowLog) { first, _ in first }
        .merging(latency) { first, _ in first }

    // MARK: COMMAND

    private static let command: [String: CommandPage] = [
        "command": CommandPage(
            replies: [.array("an entry for each command, as of [COMMAND INFO](#command-info)")],
            examples: """
                > COMMAND
                  1)  1) "cl.throttle"
                      2) (integer) -5
                ...
                """),
        "command|count": CommandPage(
            replies: [.integer("the number of commands, not counting subcommands")],
            examples: """
                > COMMAND COUNT
                (integer) ...
                """),
        "command|info": CommandPage(
            replies: [.array("for each name an entry, or nil if there is no such command")],
            errors: [.error("ERR at most 1024 command names in one call", "")],
            notes: """
                Names of subcommands have the form `client|list`. An entry is an array:

                | # | element |
                |---|---|
                | 1 | name |
                | 2 | number of arguments, including the name; negative: at least that many |
                | 3 | set of flags, as simple strings |
                | 4, 5, 6 | positions of the first and the last key, and the step between keys; 0 if there is none. A \
                negative last position counts from the end |
                | 7 | set of categories, as simple strings that begin with `@` |
                | 8 | set of tips for clients of several servers |
                | 9 | set of maps, which say where keys are and how they are used (`RO`, `RW`, `access`, `update` ...) |
                | 10 | array of the entries of subcommands |

                `noscript` is not among the flags, and `@limiter` is a category that Redis does not have.
                """,
            examples: """
                > COMMAND INFO get nosuch
                1)  1) "get"
                    2) (integer) 2
                    3) 1) readonly
                       2) fast
                    4) (integer) 1
                    5) (integer) 1
                    6) (integer) 1
                    7) 1) @read
                       2) @string
                       3) @fast
                    8) (empty array)
                    9) 1) 1) "flags"
                          2) 1) RO
                             2) access
                          3) "begin_search"
                          4) 1) "type"
                             2) "index"
                             3) "spec"
                             4) 1) "index"
                                2) (integer) 1
                          5) "find_keys"
                          6) 1) "type"
                             2) "range"
                             3) "spec"
                             4) 1) "lastkey"
                                2) (integer) 0
                                3) "keystep"
                                4) (integer) 1
                                5) "limit"
                                6) (integer) 0
                   10) (empty array)
                2) (nil)
                """),
        "command|docs": CommandPage(
            replies: [.map("from names to maps; unknown names are left out")],
            errors: [.error("ERR at most 1024 command names in one call", "")],
            notes: """
                redis-cli reads this for its hints and for `HELP`. The map of a command:

                | name | value |
                |---|---|
                | summary | one sentence |
                | since | version of Escapement, not of Redis |
                | group | `connection`, `generic`, `string`, `limiter`, `transactions`, `scripting`, `pubsub`, \
                `server`, `cluster` |
                | complexity | |
                | arguments | if there are any: array of maps with `name`, `type`, and if they apply `token`, \
                `summary`, `flags`, `key_spec_index`, `arguments` |
                | subcommands | if there are any: map from names to such maps |
                """,
            examples: """
                > COMMAND DOCS ping
                1) "ping"
                2)  1) "summary"
                    2) "Returns PONG, or the message if one is given."
                    3) "since"
                    4) "0.1.0"
                    5) "group"
                    6) "connection"
                    7) "complexity"
                    8) "O(1)"
                    9) "arguments"
                   10) 1) 1) "name"
                          2) "message"
                          3) "type"
                          4) "string"
                          5) "flags"
                          6) 1) optional
                """),
        "command|list": CommandPage(
            replies: [.array("the names, subcommands as `client|list`")],
            errors: [
                .syntax("", "COMMAND LIST FILTERBY GROUP server"),
                longPattern,
            ],
            notes: """
                `ACLCAT` takes a category without its `@`, `PATTERN` a case-insensitive glob. `MODULE` matches nothing:
                there are no modules.
                """,
            examples: """
                > COMMAND LIST FILTERBY PATTERN client|no-*
                1) "client|no-evict"
                2) "client|no-touch"
                > COMMAND LIST FILTERBY ACLCAT nosuch
                (empty array)
                """),
        "command|getkeys": CommandPage(
            replies: [.array("the keys, in the order of the arguments; empty for a script without keys")],
            errors: [
                .error("ERR Invalid command specified", "there is no such command", "COMMAND GETKEYS HGET user:1 name"),
                .error("ERR The command has no key arguments", "", "COMMAND GETKEYS ECHO hello"),
                .error("ERR Invalid number of arguments specified for command", "", "COMMAND GETKEYS SETEX hits"),
            ],
            notes: "The command is not executed, and its other arguments are not checked.",
            examples: """
                > COMMAND GETKEYS MSET hits 1 misses 2
                1) "hits"
                2) "misses"
                """),
    ]

    // MARK: SLOWLOG

    private static let slowLog: [String: CommandPage] = [
        "slowlog": CommandPage(
            replies: [],
            notes: """
                The slow log has the newest commands that took at least `slowlog-log-slower-than` microseconds (10 ms by
                default), at most `slowlog-max-len` (128). It is in memory only. Waiting for the disk, for a replica or
                for a pause to end does not count as time of a command.
                """),
        "slowlog|get": CommandPage(
            replies: [.array("entries, newest first")],
            errors: [
                .error("ERR count should be greater than or equal to -1", "or it is not an integer", "SLOWLOG GET -2")
            ],
            notes: """
                An entry is an array:

                | # | element |
                |---|---|
                | 1 | number of the entry, which SLOWLOG RESET does not restart |
                | 2 | Unix time in seconds when the command ended |
                | 3 | duration in microseconds |
                | 4 | array of the arguments: at most 32, each of at most 128 bytes, with a note of what was cut; \
                secrets are `(redacted)` |
                | 5 | address of the client |
                | 6 | name of the client, or an empty string |

                Limiter calls that arrive together are decided in a batch and timed together. If they were slow on
                average, each is an entry with its name and keys and that average; if only their sum was, there is one
                entry, `(a batch of n calls)`.
                """,
            examples: """
                > CONFIG SET slowlog-log-slower-than 0
                OK
                > PING hello
                "hello"
                > SLOWLOG GET 1
                1) 1) (integer) ...
                   2) (integer) ...
                   3) (integer) ...
                   4) 1) "PING"
                      2) "hello"
                   5) "127.0.0.1:..."
                   6) ""
                > CONFIG SET slowlog-log-slower-than 10000
                OK
                """),
        "slowlog|len": CommandPage(
            replies: [.integer("the number")],
            examples: """
                > SLOWLOG RESET
                OK
                > SLOWLOG LEN
                (integer) 0
                """),
        "slowlog|reset": CommandPage(
            replies: [.ok],
            examples: """
                > SLOWLOG RESET
                OK
                """),
    ]

    // MARK: LATENCY

    private static let latency: [String: CommandPage] = [
        "latency": CommandPage(
            replies: [],
            notes: """
                HISTOGRAM shows every command, if `latency-tracking` is on, as it is by default. The others show single
                delays of at least `latency-monitor-threshold` milliseconds; by default it is 0, which keeps none. At
                most 160 delays are kept for each event, one a second, the longest:

                | event | delay |
                |---|---|
                | `command` | a command without the flag `fast` |
                | `fast-command` | a command with it; limiter calls that are decided in a batch are one delay |
                | `aof-fsync-always` | a sync of the log, also under `appendfsync everysec` |

                Redis's GRAPH is missing, and so are events of what a limiter does not do, such as `fork`.
                """),
        "latency|latest": CommandPage(
            replies: [
                .array(
                    "for each event, by name, an array: name, Unix time of the newest delay, the newest and the "
                        + "longest delay in milliseconds")
            ],
            examples: """
                > LATENCY LATEST
                (empty array)
                """),
        "latency|history": CommandPage(
            replies: [
                .array(
                    "for each delay, oldest first, an array: Unix time, delay in milliseconds. Empty for an unknown "
                        + "event")
            ],
            examples: """
                > LATENCY HISTORY command
                (empty array)
                """),
        "latency|histogram": CommandPage(
            replies: [.map("from names to maps; without commands that are unknown or were not called")],
            notes: """
                The name of a container means all of its subcommands. `calls` is the number of calls, `histogram_usec` a
                map from microseconds to the number of calls that took at most that long. Its keys are powers of two;
                one without further calls is left out. CONFIG RESETSTAT empties the histograms. INFO latencystats has
                percentiles of the same data.
                """,
            examples: """
                > CONFIG RESETSTAT
                OK
                > ECHO hello
                "hello"
                > LATENCY HISTOGRAM echo nosuch
                1) "echo"
                2) 1) "calls"
                   2) (integer) 1
                   3) "histogram_usec"
                   4) 1) (integer) ...
                      2) (integer) 1
                """),
        "latency|reset": CommandPage(
            replies: [.integer("how many events were dropped")],
            examples: """
                > LATENCY RESET
                (integer) 0
                """),
        "latency|doctor": CommandPage(
            replies: [
                .verbatim("a line for each event: number of delays, mean, longest; or why there is none")
            ],
            examples: """
                > LATENCY DOCTOR
                Latency monitoring is off: latency-monitor-threshold is 0. CONFIG SET latency-monitor-threshold \
                <milliseconds> turns it on.
                """),
    ]
}
