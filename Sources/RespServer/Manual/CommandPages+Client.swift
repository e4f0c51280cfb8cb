// The reference's pages of CLIENT and its subcommands.

extension CommandPages {
    static let client: [String: CommandPage] = ownConnection.merging(otherConnections) { first, _ in first }

    // MARK: The caller's connection

    private static let onOrOff = "neither ON nor OFF"

    private static let ownConnection: [String: CommandPage] = [
        "client": CommandPage(
            replies: [],
            notes: """
                Of Redis's subcommands CACHING, GETREDIR, TRACKING, TRACKINGINFO and UNBLOCK are missing: there is no
                client-side caching, and no command that blocks for data.
                """),
        "client|id": CommandPage(
            replies: [.integer("the id; later connections have larger ones")],
            notes: "Ids start again at 1 when the server is restarted. Replicas and HTTP connections have ids, too.",
            examples: """
                > CLIENT ID
                (integer) ...
                """),
        "client|setname": CommandPage(
            replies: [.ok],
            errors: [
                .error(
                    "ERR Client names cannot contain spaces, newlines or special characters.",
                    "a byte is not a printable ASCII character", "CLIENT SETNAME 'worker 1'"),
                .error("ERR Client names cannot be longer than 1024 bytes.", ""),
            ],
            notes: """
                An empty name removes it. The log has the name, too, in lines about changes of policies and about
                unsupported calls.
                """,
            examples: """
                > CLIENT SETNAME worker-1
                OK
                > CLIENT GETNAME
                "worker-1"
                """),
        "client|getname": CommandPage(
            replies: [.bulk("the name"), .null("the connection has none")],
            examples: """
                > CLIENT GETNAME
                (nil)
                > CLIENT SETNAME worker-1
                OK
                > CLIENT GETNAME
                "worker-1"
                """),
        "client|setinfo": CommandPage(
            replies: [.ok],
            errors: [
                .error("ERR Unrecognized option '...'", "neither LIB-NAME nor LIB-VER", "CLIENT SETINFO LANG swift"),
                .error(
                    "ERR lib-name cannot contain spaces, newlines or special characters.", "likewise `lib-ver`",
                    "CLIENT SETINFO LIB-NAME 'my client'"),
                .error("ERR lib-name cannot be longer than 1024 bytes.", "likewise `lib-ver`"),
            ],
            notes: "Client libraries send this after connecting. Redis has it since 7.2.",
            examples: """
                > CLIENT SETINFO LIB-NAME my-client
                OK
                > CLIENT SETINFO LIB-VER 1.0
                OK
                > CLIENT INFO
                id=... lib-name=my-client lib-ver=1.0
                """),
        "client|info": CommandPage(
            replies: [.verbatim("the line")],
            examples: """
                > CLIENT INFO
                id=... addr=127.0.0.1:... cmd=client|info user=default ... lib-name= lib-ver=
                """),
        "client|reply": CommandPage(
            replies: [.ok("for ON, whether replies were on or off"), .nothing("for OFF and SKIP")],
            errors: [.syntax("none of ON, OFF and SKIP", "CLIENT REPLY MAYBE")],
            notes: """
                While replies are off, errors are not sent either; messages of subscriptions are. SKIP suppresses the
                reply to the next request only. In a transaction OFF also suppresses the reply to EXEC, and SKIP the
                reply after that one.
                """,
            examples: """
                > CLIENT REPLY ON
                OK
                """),
        "client|no-evict": CommandPage(
            replies: [.ok], errors: [.syntax(onOrOff, "CLIENT NO-EVICT maybe")],
            notes: """
                For connections of operators, which are needed most when memory is short. `maxmemory-clients` is off by
                default. Eviction of keys is another matter: `maxmemory-policy`.
                """,
            examples: """
                > CLIENT NO-EVICT ON
                OK
                """),
        "client|no-touch": CommandPage(
            replies: [.ok], errors: [.syntax(onOrOff, "CLIENT NO-TOUCH maybe")],
            notes: "Only the flag `T` in CLIENT LIST depends on it. Redis has it since 7.2.",
            examples: """
                > CLIENT NO-TOUCH ON
                OK
                """),
    ]

    // MARK: All connections

    private static let unknownType =
        "none of `normal`, `master`, `replica`, `slave` and `pubsub`"

    private static let otherConnections: [String: CommandPage] = [
        "client|list": CommandPage(
            replies: [.verbatim("the lines; empty if no connection matches")],
            errors: [
                .error("ERR Unknown client type '...'", unknownType, "CLIENT LIST TYPE admin"),
                .error("ERR Invalid client ID", "an id is not an integer above 0", "CLIENT LIST ID 0"),
                .syntax("also a second TYPE", "CLIENT LIST TYPE normal TYPE pubsub"),
            ],
            notes: lines,
            examples: """
                > CLIENT LIST
                id=... addr=127.0.0.1:... laddr=127.0.0.1:... fd=... name= age=0 idle=0 flags=N db=0 ...
                """),
        "client|kill": CommandPage(
            replies: [
                .integer("how many connections were closed: with filters"), .ok("with a bare address"),
            ],
            errors: [
                .error("ERR No such client", "no connection has the bare address", "CLIENT KILL 192.0.2.1:50000"),
                .error(
                    "ERR client-id should be greater than 0", "or it is not an integer", "CLIENT KILL ID 0"),
                .error("ERR Unknown client type '...'", unknownType, "CLIENT KILL TYPE admin"),
                .error("ERR No such user '...'", "it is not `default`", "CLIENT KILL USER admin"),
                .syntax("", "CLIENT KILL ID 7 SKIPME maybe"),
            ],
            notes: """
                A connection is closed if all filters match. Of a filter given twice only the last is used, as
                in Redis.

                | filter | matches |
                |---|---|
                | `ID` | the connection with this id |
                | `TYPE` | `normal` clients, `pubsub` (clients that have subscribed), `replica` or `slave` (replicas), \
                `master` (the link to the primary) |
                | `USER` | all clients and replicas, since `default` is the only user |
                | `ADDR` | the client's address and port, `addr` in CLIENT LIST |
                | `LADDR` | the server's address and port, `laddr` in CLIENT LIST |
                | `SKIPME` | with `YES`, the default, not the caller; with `NO` also the caller, after the reply |

                When the reply arrives, the connections are shut down: their clients have either received the reply to
                a call, or will not receive it. A bare address may be the caller's. Replicas connect again, and continue
                from their position.
                """,
            examples: """
                > CLIENT KILL TYPE pubsub
                (integer) 0
                > CLIENT KILL ADDR 192.0.2.1:50000 SKIPME NO
                (integer) 0
                """),
        "client|pause": CommandPage(
            replies: [.ok],
            errors: [
                .error("ERR timeout is negative", "", "CLIENT PAUSE -1"),
                .error("ERR timeout is not an integer or out of range", "", "CLIENT PAUSE soon"),
                .error("ERR CLIENT PAUSE mode must be WRITE or ALL", "", "CLIENT PAUSE 100 READ"),
            ],
            notes: """
                ALL is the default, and holds back everything but CLIENT PAUSE, CLIENT UNPAUSE, FAILOVER, REPLICAOF and
                what replicas send. WRITE holds back commands with the flag `write`, EXEC with one of them, EVAL,
                EVALSHA and PUBLISH. A connection whose request is held back waits with all that follow it.

                A second pause can lengthen and widen one that is active, never shorten or narrow it; CLIENT UNPAUSE
                ends it. Keys are replenished and expire meanwhile. A planned
                [failover with Sentinel](high-availability.md#runbook) begins with a pause.
                """,
            examples: """
                > CLIENT PAUSE 100 WRITE
                OK
                > CLIENT UNPAUSE
                OK
                """),
        "client|unpause": CommandPage(
            replies: [.ok("also if there is no pause")],
            notes: "It does not end the pause of a FAILOVER; `FAILOVER ABORT` does.",
            examples: """
                > CLIENT UNPAUSE
                OK
                """),
    ]

    private static let lines = """
        Clients of the RESP and HTTP listeners in the order of their ids, then links to replicas and to the primary.
        TYPE and ID together select those that match both; Redis accepts only one of them. Each line consists of fields
        `name=value`, separated by spaces:

        | field | value |
        |---|---|
        | id | the id, see CLIENT ID |
        | addr, laddr | address and port of the client and of the server; for a Unix domain socket, its path and `:0` |
        | fd | file descriptor |
        | name | set by CLIENT SETNAME |
        | age, idle | seconds since it was accepted, and since its last request |
        | flags | letters, see below |
        | db | database of SELECT |
        | sub, psub | number of channels and patterns it has subscribed to |
        | multi | number of commands queued since MULTI; -1 outside of a transaction |
        | qbuf, qbuf-free | bytes of input not executed yet, and free bytes in the buffer for them |
        | multi-mem | bytes of queued commands |
        | obl, omem | bytes of replies not sent yet, and the memory that they take |
        | tot-mem | memory of the connection, for `maxmemory-clients` |
        | events | `r`: the server reads from it; `w`: the server waits until it can send |
        | cmd | last command, with its subcommand after a bar; `NULL` before the first |
        | user | `default`; `(superuser)` for the link to the primary |
        | resp | protocol, 2 or 3; 0 for HTTP |
        | lib-name, lib-ver | set by CLIENT SETINFO |
        | ssub, argv-mem, rbs, rbp, oll, redir | always 0, and -1 for redir: kept for tools that read Redis's lines |

        | flag | the connection |
        |---|---|
        | N | has none of the others |
        | A | is being closed |
        | b | waits: for a pause to end, or for the reply to a slow command such as WAIT |
        | c | will be closed once its replies are sent |
        | e | has CLIENT NO-EVICT ON |
        | M, S | is the link to the primary, to a replica |
        | O | has sent MONITOR |
        | P | has subscribed to a channel or pattern |
        | T | has CLIENT NO-TOUCH ON |
        | U | uses the Unix domain socket |
        | x | is in a transaction |
        """
}
