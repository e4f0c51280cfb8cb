// The reference's pages of the commands on the connection itself: PING, HELLO, AUTH and related commands.

extension CommandPages {
    static let connection: [String: CommandPage] = [
        "ping": CommandPage(
            replies: [
                .simple("`PONG`"), .bulk("the message, if one was given"),
                .array(
                    "`pong`, and the message or an empty string: to a client that has subscribed, in RESP2 only"),
            ],
            notes: """
                PING is also a health check: while the disk fails and `fail-mode` is `closed`, it gets MISCONF, so that
                Sentinel and load balancers choose another node ([durability.md](durability.md#when-the-disk-fails)).
                """,
            examples: """
                > PING
                PONG
                > PING hello
                "hello"
                """),
        "echo": CommandPage(
            replies: [.bulk("the message")],
            examples: """
                > ECHO hello
                "hello"
                """),
        "quit": CommandPage(
            replies: [.ok("then the connection is closed")],
            notes: "Requests that arrive after QUIT, even in the same packet, are not executed.",
            examples: """
                > QUIT
                OK
                """),
        "select": CommandPage(
            replies: [.ok],
            errors: [
                .error(
                    "ERR DB index is out of range", "there is no such database; `databases` sets their number",
                    "SELECT 16"),
                .notAnInteger("", "SELECT first"),
            ],
            notes: """
                A connection starts with database 0. Each database has keys of its own: the same limit on the same name
                in two databases is two limiters. Policies, rules and channels belong to the whole server.
                """,
            examples: """
                > SET hits 1
                OK
                > SELECT 1
                OK
                > GET hits
                (nil)
                """),
        "reset": CommandPage(
            replies: [.simple("`RESET`, in RESP2")],
            notes: """
                The connection is as it was after connecting: RESP2, database 0, no name, not subscribed, not
                monitoring, replies on, and NO-EVICT and NO-TOUCH off. A transaction is dropped, with its watched keys.
                If there is a password, the client must authenticate again.
                """,
            examples: """
                > MULTI
                OK
                > RESET
                RESET
                > EXEC
                (error) ERR EXEC without MULTI
                """),
        "hello": CommandPage(
            replies: [.map("the names in the table above, in the protocol just chosen")],
            errors: [
                .error("NOPROTO unsupported protocol version", "it is neither 2 nor 3", "HELLO 4"),
                .error(
                    "ERR Protocol version is not an integer or out of range", "also if an option precedes it",
                    "HELLO SETNAME worker-1"),
                .error("ERR Syntax error in HELLO option '...'", "or the option lacks a value", "HELLO 3 SETNAME"),
                .error(
                    "ERR Client names cannot contain spaces, newlines or special characters.", "",
                    "HELLO 3 SETNAME worker:ä"),
                .error("ERR Client names cannot be longer than 1024 bytes.", ""),
                .error(
                    "WRONGPASS ...", "the password is wrong, or the user is not `default`",
                    "HELLO 3 AUTH nosuch SECRET"),
                .error("NOAUTH ...", "a password is set; the client has not authenticated, and gives no AUTH"),
            ],
            notes: """
                Without arguments HELLO only reports. After an error nothing has changed.

                | name | value |
                |---|---|
                | server | `redis`, since clients look for that |
                | version | version of Redis that clients may expect, as `redis_version` in INFO. The version of \
                Escapement is `escapement_version` there |
                | proto | 2 or 3 |
                | id | id of the connection, as returned by CLIENT ID |
                | mode | `standalone` |
                | role | `master` or `replica` |
                | modules | empty array |
                """,
            examples: """
                > HELLO
                 1) "server"
                 2) "redis"
                 3) "version"
                 4) "..."
                 5) "proto"
                 6) (integer) 2
                 7) "id"
                 8) (integer) ...
                 9) "mode"
                10) "standalone"
                11) "role"
                12) "master"
                13) "modules"
                14) (empty array)
                """),
        "auth": CommandPage(
            replies: [.ok],
            errors: [
                .error("WRONGPASS ...", "the password is wrong, or the user is not `default`", "AUTH nosuch SECRET"),
                .error(
                    "ERR AUTH <password> called without any password configured for the default user. ...",
                    "`requirepass` is not set", "AUTH SECRET"),
                .syntax("more than two arguments", "AUTH default SECRET SECRET"),
            ],
            notes: """
                The password is `requirepass`; the only user is `default`, and there are no ACLs. While no password is
                set, `AUTH default` accepts any. A failed attempt leaves the connection as authenticated as it was, and
                is logged and counted (`acl_access_denied_auth`). Setting a password does not affect clients that are
                connected already.
                """,
            examples: """
                > AUTH default SECRET
                OK
                """),
    ]
}
