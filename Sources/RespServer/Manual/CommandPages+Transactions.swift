// The reference's pages of the commands about MULTI and EXEC.

extension CommandPages {
    static let transactions: [String: CommandPage] = [
        "multi": CommandPage(
            replies: [.ok("each further command replies `QUEUED`, or an error if it cannot be queued")],
            errors: [.error("ERR MULTI calls can not be nested", "", "MULTI", "MULTI")],
            notes: """
                EXEC, DISCARD, MULTI, WATCH, QUIT and RESET are not queued. The queued commands and the watched keys may
                take `client-query-buffer-limit` bytes in total; a command that does not fit is an error.
                """,
            examples: """
                > MULTI
                OK
                > INCR hits:user:1
                QUEUED
                > EXPIRE hits:user:1 60 NX
                QUEUED
                > EXEC
                1) (integer) 1
                2) (integer) 1
                """),
        "exec": CommandPage(
            replies: [
                .array("the reply of each queued command, which may be an error"),
                .null("a watched key has changed: nothing was run"),
            ],
            errors: [
                .error("ERR EXEC without MULTI", "", "EXEC"),
                .error("EXECABORT Transaction discarded because of ...", "a command could not be queued: none was run"),
            ],
            notes: """
                No other client sees a state between the commands, whatever keys they use. A command that fails does not
                stop the others, and nothing is undone. [WAIT](#wait) and [WAITAOF](#waitaof) do not wait.
                """,
            examples: """
                > MULTI
                OK
                > RL.TAKE user:1 LIMIT 5 PER 1h
                QUEUED
                > INCR user:1
                QUEUED
                > INCR total
                QUEUED
                > EXEC
                1) ...
                2) (error) WRONGTYPE ...
                3) (integer) 1
                > MULTI
                OK
                > INCR total now
                (error) ERR wrong number of arguments for 'incr' command
                > EXEC
                (error) EXECABORT Transaction discarded because of previous errors.
                """),
        "discard": CommandPage(
            replies: [.ok], errors: [.error("ERR DISCARD without MULTI", "", "DISCARD")],
            examples: """
                > MULTI
                OK
                > INCR hits:user:1
                QUEUED
                > DISCARD
                OK
                > EXISTS hits:user:1
                (integer) 0
                """),
        "watch": CommandPage(
            replies: [.ok],
            errors: [
                .error("ERR WATCH inside MULTI is not allowed", "", "MULTI", "WATCH hits"),
                .error(
                    "ERR watched keys are larger than client-query-buffer-limit, none were added",
                    "with the queued commands, and 256 bytes for each key"),
            ],
            notes: """
                A change is also one by the same connection, and the end of a key: it expires, or its limiter is
                replenished. Calls that a limiter refuses, and those that only read, are not. EXEC, DISCARD and UNWATCH
                end the watch.
                """,
            examples: """
                > SET quota:acme 10
                OK
                > WATCH quota:acme
                OK
                > DECRBY quota:acme 3
                (integer) 7
                > MULTI
                OK
                > SET quota:acme 100
                QUEUED
                > EXEC
                (nil)
                """),
        "unwatch": CommandPage(
            replies: [.ok("also if none is watched")],
            examples: """
                > WATCH quota:acme
                OK
                > UNWATCH
                OK
                """),
    ]
}
