// The reference's pages of the commands about keys of any kind: finding, inspecting and deleting them, and waiting for
// replicas. Expiry is in CommandPages+Expiry, copying in CommandPages+Copies.

extension CommandPages {
    static let keys: [String: CommandPage] = [walking, looking, storage, removing, waiting, expiry, copies]
        .reduce(into: [:]) { all, part in all.merge(part) { first, _ in first } }

    /// The error about a pattern's length, which has no short example.
    static let longPattern = ErrorSpec.error("ERR pattern is longer than 1024 bytes", "")

    // MARK: Finding

    private static let walking: [String: CommandPage] = [
        "dbsize": CommandPage(
            replies: [.integer("the number, without keys that have expired")],
            examples: """
                > INCR hits:user:1
                (integer) 1
                > CL.THROTTLE user:1 15 30 60
                ...
                > DBSIZE
                (integer) 2
                """),
        "scan": CommandPage(
            replies: [.array("the next cursor as a bulk string, and an array of the keys' names")],
            errors: [
                .error("ERR invalid cursor", "not a number", "SCAN first"),
                .syntax("COUNT is less than 1", "SCAN 0 COUNT 0"),
                .notAnInteger("COUNT is not a number", "SCAN 0 COUNT many"),
                longPattern,
            ],
            notes: """
                Begin with cursor 0, and pass the cursor of each reply to the next call. Every key that exists from the
                first call to the last is returned at least once, rarely twice; a call may return no keys before the
                end. COUNT is about the number of keys that a call visits, 10 if left out. MATCH takes a
                [pattern](#keys-1), and TYPE a [kind](#keys): both filter what was visited.
                """,
            examples: """
                > MSET hits:user:1 5 total 7
                OK
                > SCAN 0 MATCH hits:* COUNT 1000
                1) "0"
                2) 1) "hits:user:1"
                > CL.THROTTLE user:1 15 30 60
                ...
                > SCAN 0 TYPE gcra COUNT 1000
                1) "0"
                2) 1) "user:1"
                """),
        "keys": CommandPage(
            replies: [.array("the names, in no particular order")],
            errors: [
                longPattern,
                .error("ERR KEYS in a transaction: ...", "inside EXEC, too many keys for the pattern"),
            ],
            notes: """
                In a pattern `*` is any text, `?` any character, `[abc]` and `[a-c]` one of these characters, `[^a]` any
                other, and a backslash makes the next character literal.

                KEYS lets other commands run in the meantime: a key that exists from beginning to end is listed, once,
                and one that is created or deleted meanwhile may be. Inside EXEC all names are of one instant, and all
                other clients wait. The reply has all names at once: for many keys use SCAN.
                """,
            examples: """
                > MSET hits:user:1 5 total 7
                OK
                > KEYS hits:*
                1) "hits:user:1"
                > KEYS hits:[^u]*
                (empty array)
                """),
        "randomkey": CommandPage(
            replies: [.bulk("its name"), .null("the database has no keys")],
            examples: """
                > RANDOMKEY
                (nil)
                > INCR hits:user:1
                (integer) 1
                > RANDOMKEY
                "hits:user:1"
                """),
    ]

    // MARK: Inspecting

    private static let looking: [String: CommandPage] = [
        "exists": CommandPage(
            replies: [.integer("the number; a key that is given twice counts twice")],
            notes: "A limiter that is fully replenished does not exist. The count is of one instant.",
            examples: """
                > CL.THROTTLE user:1 15 30 60
                ...
                > EXISTS user:1 user:2
                (integer) 1
                """),
        "type": CommandPage(
            replies: [.simple("the TYPE of the table in [Keys](#keys), or `none`")],
            examples: """
                > TYPE user:1
                none
                > CL.THROTTLE user:1 15 30 60
                ...
                > TYPE user:1
                gcra
                > INCR hits:user:1
                (integer) 1
                > TYPE hits:user:1
                string
                """),
        "touch": CommandPage(
            replies: [.integer("the number; a key that is given twice counts twice")],
            examples: """
                > INCR hits:user:1
                (integer) 1
                > TOUCH hits:user:1 hits:user:2
                (integer) 1
                """),
    ]

    private static let storage: [String: CommandPage] = [
        "object|encoding": CommandPage(
            replies: [.bulk("the encoding in the table in [Keys](#keys)"), .null("the key does not exist")],
            examples: """
                > INCR hits:user:1
                (integer) 1
                > OBJECT ENCODING hits:user:1
                "int"
                > CL.THROTTLE user:1 15 30 60
                ...
                > OBJECT ENCODING user:1
                "tat64"
                """),
        "object|refcount": CommandPage(
            replies: [.integer("always 1"), .null("the key does not exist")],
            examples: """
                > INCR hits:user:1
                (integer) 1
                > OBJECT REFCOUNT hits:user:1
                (integer) 1
                """),
        "object|idletime": CommandPage(
            replies: [.null("the key does not exist")],
            errors: [
                .error("ERR idle time is not tracked; use TTL", "the key exists", "SET hits 5", "OBJECT IDLETIME hits")
            ],
            examples: """
                > OBJECT IDLETIME hits:user:1
                (nil)
                """),
        "object|freq": CommandPage(
            replies: [.null("the key does not exist")],
            errors: [
                .error(
                    "ERR An LFU maxmemory policy is not selected, ...", "the key exists; there is no such policy here",
                    "SET hits 5", "OBJECT FREQ hits")
            ],
            examples: """
                > OBJECT FREQ hits:user:1
                (nil)
                """),
        "memory|usage": CommandPage(
            replies: [.integer("the number of bytes"), .null("the key does not exist")],
            errors: [
                .notAnInteger("count is not a number", "MEMORY USAGE hits SAMPLES all"),
                .syntax("count is negative", "MEMORY USAGE hits SAMPLES -1"),
            ],
            notes: """
                The sum of the state, the name and the key's entry in the index: [memory of a
                key](choosing.md#memory-of-a-key). SAMPLES has no effect, since no value has elements.
                """,
            examples: """
                > CL.THROTTLE user:1 15 30 60
                ...
                > MEMORY USAGE user:1
                (integer) 28
                > MEMORY USAGE user:2
                (nil)
                """),
    ]

    // MARK: Deleting

    private static let deleted: [ReplySpec] = [.integer("the number of keys that existed")]
    private static let flushed = """
        Answers stored for [retries](choosing.md#retries) are deleted too; policies and rules are kept. ASYNC and SYNC
        make no difference.
        """

    private static let removing: [String: CommandPage] = [
        "del": CommandPage(
            replies: deleted,
            notes: """
                Answers stored for [retries](choosing.md#retries) are kept: a retry still gets the first answer. All
                keys are deleted at one instant.
                """,
            examples: """
                > CL.THROTTLE user:1 0 1 60
                ...
                > DEL user:1 user:2
                (integer) 1
                > CL.THROTTLE user:1 0 1 60
                1) (integer) 0      allowed: the key was as good as new
                2) (integer) 1
                3) (integer) 0
                4) (integer) -1
                5) (integer) 60
                """),
        "unlink": CommandPage(
            replies: deleted,
            examples: """
                > INCR hits:user:1
                (integer) 1
                > UNLINK hits:user:1 hits:user:2
                (integer) 1
                """),
        "flushdb": CommandPage(
            replies: [.ok], notes: flushed,
            examples: """
                > MSET hits:user:1 5 hits:user:2 7
                OK
                > FLUSHDB
                OK
                > DBSIZE
                (integer) 0
                """),
        "flushall": CommandPage(
            replies: [.ok], notes: flushed,
            examples: """
                > MSET hits:user:1 5 hits:user:2 7
                OK
                > FLUSHALL
                OK
                > DBSIZE
                (integer) 0
                """),
    ]

    // MARK: Waiting

    private static func timeoutErrors(_ request: String) -> [ErrorSpec] {
        [
            .error("ERR timeout is not an integer or out of range", "", "\(request) soon"),
            .error("ERR timeout is negative", "", "\(request) -1"),
            .error("ERR timeout is out of range", "it is more than 146 years", "\(request) 9223372036854775807"),
        ]
    }

    private static let waiting: [String: CommandPage] = [
        "wait": CommandPage(
            replies: [.integer("the number of replicas that have received them, even if the time is over")],
            errors: [
                .error("ERR WAIT cannot be used with replica instances. ...", "the node is a replica"),
                .notAnInteger("numreplicas is not a number", "WAIT all 100"),
            ] + timeoutErrors("WAIT 1"),
            notes: """
                The timeout is in milliseconds, and 0 waits without limit; it is checked ten times a second. `WAIT 0 0`
                returns the number at once. Inside EXEC, WAIT does not wait and returns 0. What it guarantees:
                [high availability](high-availability.md#reducing-the-excess).
                """,
            examples: """
                > INCR hits:user:1
                (integer) 1
                > WAIT 1 100
                (integer) 0
                """),
        "waitaof": CommandPage(
            replies: [
                .array(
                    "1 if they are on this node's disk, or 0; then the number of replicas that have them on disk. Both "
                        + "even if the time is over")
            ],
            errors: [
                .error("ERR WAITAOF cannot be used with replica instances. ...", "the node is a replica"),
                .error(
                    "ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.", "",
                    "CONFIG SET appendonly no", "WAITAOF 1 0 100"),
                .error(
                    "ERR value is out of range: numlocal must be 0 or 1, numreplicas 0 or more", "", "WAITAOF 2 0 100"),
                .notAnInteger("numlocal or numreplicas is not a number", "WAITAOF yes 0 100"),
            ] + timeoutErrors("WAITAOF 1 0"),
            notes: """
                As in Redis 7.2. The timeout is as of [WAIT](#wait). With `appendfsync everysec` the disk may take a
                second on each node. Inside EXEC, WAITAOF does not wait and returns 0 and 0.
                """,
            examples: """
                > INCR hits:user:1
                (integer) 1
                > WAITAOF 1 0 0
                1) (integer) 1
                2) (integer) 0
                """),
    ]
}
