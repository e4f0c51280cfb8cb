// The reference's pages of the commands about counters.

extension CommandPages {
    static let counters: [String: CommandPage] = [reading, setting, several, stepping]
        .reduce(into: [:]) { all, part in all.merge(part) { first, _ in first } }

    private static let valueOrNil: [ReplySpec] = [.bulk("its digits"), .null("the key does not exist")]

    /// A value that Redis would store and this server does not.
    private static func notStored(_ request: String) -> ErrorSpec {
        .error(
            "ERR value is not an integer or out of range: this server stores only 64-bit integers",
            "the value is not one; neither are `+5`, `05` and `5.0`", request)
    }

    /// Errors of a time, given the request up to it and the name of the command.
    private static func timeErrors(_ request: String, _ name: String, _ rest: String = "") -> [ErrorSpec] {
        [
            .error(
                "ERR invalid expire time in '\(name)' command", "it is 0 or less, or too large", "\(request) 0\(rest)"),
            .notAnInteger("the time is not a number", "\(request) soon\(rest)"),
        ]
    }

    // MARK: Reading

    private static let reading: [String: CommandPage] = [
        "get": CommandPage(
            replies: valueOrNil, errors: [.notACounter("GET hits")],
            examples: """
                > GET hits:user:1
                (nil)
                > INCR hits:user:1
                (integer) 1
                > GET hits:user:1
                "1"
                """),
        "getdel": CommandPage(
            replies: valueOrNil, errors: [.notACounter("GETDEL hits")],
            examples: """
                > SET hits:user:1 3
                OK
                > GETDEL hits:user:1
                "3"
                > GETDEL hits:user:1
                (nil)
                """),
        "getex": CommandPage(
            replies: valueOrNil,
            errors: [
                .notACounter("GETEX hits"),
                .error(
                    "ERR invalid expire time in 'getex' command",
                    "it is 0 or less, or too large; checked only if the counter exists", "SET hits 5",
                    "GETEX hits EX 0"),
                .notAnInteger("the time is not a number, likewise", "SET hits 5", "GETEX hits EX soon"),
                .syntax("two different times, or one with PERSIST", "GETEX hits EX 60 PERSIST"),
            ],
            notes: "Without options it is GET. A time that has passed deletes the counter.",
            examples: """
                > SET hits:user:1 3
                OK
                > GETEX hits:user:1 EX 60
                "3"
                > TTL hits:user:1
                (integer) 60
                > GETEX hits:user:1 PERSIST
                "3"
                > TTL hits:user:1
                (integer) -1
                """),
        "strlen": CommandPage(
            replies: [.integer("the number, with the sign; 0 if the key does not exist")],
            errors: [.notACounter("STRLEN hits")],
            examples: """
                > SET hits:user:1 1234
                OK
                > STRLEN hits:user:1
                (integer) 4
                """),
    ]

    // MARK: Setting

    private static let setting: [String: CommandPage] = [
        "set": CommandPage(
            replies: [
                .ok("without GET, the value was set"),
                .null("without GET, the condition is false; with GET, the key did not exist"),
                .bulk("with GET, the previous value, whether or not a new one was set"),
            ],
            errors: [
                notStored("SET hits many"),
                .error(
                    "WRONGTYPE ...", "with GET, the key holds a limiter", "CL.THROTTLE hits 1 1 1", "SET hits 5 GET"),
                .syntax("two different times, one with KEEPTTL, or NX with XX", "SET hits 5 EX 60 KEEPTTL"),
            ] + timeErrors("SET hits 5 EX", "set"),
            notes: """
                NX sets the value only if the key does not exist, XX only if it does; a limiter counts as existing.
                KEEPTTL keeps the expiry, which SET otherwise removes. A time that has passed deletes the key.
                """,
            examples: """
                > SET hits:user:1 10 EX 60
                OK
                > SET hits:user:1 11 NX
                (nil)
                > SET hits:user:1 12 KEEPTTL GET
                "10"
                > TTL hits:user:1
                (integer) 60
                > SET hits:user:1 many
                (error) ERR value is not an integer or out of range: this server stores only 64-bit integers
                """),
        "getset": CommandPage(
            replies: [.bulk("the previous value"), .null("the key did not exist")],
            errors: [notStored("GETSET hits many"), .notACounter("GETSET hits 5")],
            examples: """
                > INCR hits:user:1
                (integer) 1
                > GETSET hits:user:1 0
                "1"
                > GET hits:user:1
                "0"
                """),
        "setnx": CommandPage(
            replies: [.integer("1, or 0 if the key exists, also as a limiter")], errors: [notStored("SETNX hits many")],
            examples: """
                > SETNX hits:user:1 5
                (integer) 1
                > SETNX hits:user:1 6
                (integer) 0
                > GET hits:user:1
                "5"
                """),
        "setex": CommandPage(
            replies: [.ok], errors: [notStored("SETEX hits 60 many")] + timeErrors("SETEX hits", "setex", " 5"),
            examples: """
                > SETEX hits:user:1 60 5
                OK
                > TTL hits:user:1
                (integer) 60
                """),
        "psetex": CommandPage(
            replies: [.ok], errors: [notStored("PSETEX hits 60000 many")] + timeErrors("PSETEX hits", "psetex", " 5"),
            examples: """
                > PSETEX hits:user:1 60000 5
                OK
                > TTL hits:user:1
                (integer) 60
                """),
    ]

    // MARK: Several keys

    private static func pairErrors(_ name: String) -> [ErrorSpec] {
        [
            .error(
                "ERR value is not an integer or out of range: this server stores only 64-bit integers (pair 2)",
                "with the number of the first such pair", "\(name) in 5 out many"),
            .error(
                "ERR wrong number of arguments for '\(name.lowercased())' command", "a key has no value",
                "\(name) in 5 out"),
        ]
    }

    private static let several: [String: CommandPage] = [
        "mget": CommandPage(
            replies: [.array("for each key a bulk string of digits, or nil")],
            notes: "All values are of one instant.",
            examples: """
                > MSET hits:user:1 5 hits:user:2 7
                OK
                > MGET hits:user:1 hits:user:2 hits:user:3
                1) "5"
                2) "7"
                3) (nil)
                """),
        "mset": CommandPage(
            replies: [.ok], errors: pairErrors("MSET"),
            notes: "All are set at one instant. If a key is given twice, its last value is kept.",
            examples: """
                > MSET hits:user:1 5 hits:user:2 7
                OK
                > INCR hits:user:2
                (integer) 8
                """),
        "msetnx": CommandPage(
            replies: [.integer("1, or 0 if one of them exists, also as a limiter: nothing was set")],
            errors: pairErrors("MSETNX"), notes: "All are set at one instant.",
            examples: """
                > MSETNX hits:user:1 5 hits:user:2 7
                (integer) 1
                > MSETNX hits:user:2 1 hits:user:3 1
                (integer) 0
                """),
    ]

    // MARK: Counting

    private static let newValue: [ReplySpec] = [.integer("the new value")]
    private static let kept = "A missing key counts as 0. A new counter has no expiry; an existing one keeps its own."

    private static func overflow(_ request: String, from value: String = "9223372036854775807") -> ErrorSpec {
        .error(
            "ERR increment or decrement would overflow", "the result is not a 64-bit integer", "SET hits \(value)",
            request)
    }

    private static let stepping: [String: CommandPage] = [
        "incr": CommandPage(
            replies: newValue, errors: [.notACounter("INCR hits"), overflow("INCR hits")],
            notes: kept + "\n[INCREX](#increx) counts and sets the expiry in one call.",
            examples: """
                > INCR hits:user:1
                (integer) 1
                > EXPIRE hits:user:1 60 NX
                (integer) 1
                > INCR hits:user:1
                (integer) 2
                """),
        "incrby": CommandPage(
            replies: newValue,
            errors: [
                .notACounter("INCRBY hits 5"), .notAnInteger("the increment is not one", "INCRBY hits many"),
                overflow("INCRBY hits 5"),
            ],
            notes: kept,
            examples: """
                > INCRBY tokens:user:1 250
                (integer) 250
                > INCRBY tokens:user:1 -50
                (integer) 200
                """),
        "decr": CommandPage(
            replies: newValue,
            errors: [.notACounter("DECR hits"), overflow("DECR hits", from: "-9223372036854775808")],
            notes: kept + "\nThere is no lower bound: values become negative.",
            examples: """
                > SET quota:user:1 2 EX 60
                OK
                > DECR quota:user:1
                (integer) 1
                > DECR quota:user:2
                (integer) -1
                """),
        "decrby": CommandPage(
            replies: newValue,
            errors: [
                .notACounter("DECRBY hits 5"), .notAnInteger("the decrement is not one", "DECRBY hits many"),
                overflow("DECRBY hits 5", from: "-9223372036854775808"),
                .error(
                    "ERR decrement would overflow", "it is -9223372036854775808", "DECRBY hits -9223372036854775808"),
            ],
            notes: kept,
            examples: """
                > SET quota:user:1 100
                OK
                > DECRBY quota:user:1 30
                (integer) 70
                """),
        "increx": increx,
    ]

    private static let increx = CommandPage(
        replies: [.array("the value after the call, and what was added to it: 0 if a bound refused it")],
        errors: [
            .notACounter("INCREX hits"),
            .error("ERR BYINT is not an integer or out of range", "likewise LBOUND, UBOUND", "INCREX hits BYINT many"),
            .error("ERR LBOUND must not be above UBOUND", "", "INCREX hits LBOUND 5 UBOUND 2"),
            .error("ERR ENX flag requires an expiration", "", "INCREX hits ENX"),
            .error(
                "ERR BYFLOAT is not supported: this server stores only 64-bit integers", "", "INCREX hits BYFLOAT 1.5"),
            .syntax("two different times, one with PERSIST, or ENX with PERSIST", "INCREX hits PERSIST ENX"),
            .error(
                "ERR increment or decrement would overflow", "SATURATE would add more than 64 bits hold",
                "SET hits 9223372036854775807", "INCREX hits UBOUND -5 SATURATE"),
        ] + timeErrors("INCREX hits EX", "increx"),
        notes: """
            The command of Redis 8.8, for integers. With EX and ENX the first call starts a window, and with UBOUND the
            limit holds with any number of clients: a call is allowed if the second number is 1.

            A call that a bound refuses does not set the expiry either, and creates no key. With SATURATE no call is
            refused: the expiry is set even if nothing could be added, and a value that is already out of bounds moves
            to the bound. Without bounds those of a 64-bit integer apply.
            """,
        examples: """
            > INCREX hits:user:1 UBOUND 2 EX 60 ENX
            1) (integer) 1
            2) (integer) 1
            > INCREX hits:user:1 BYINT 5 UBOUND 2 EX 60 ENX
            1) (integer) 1
            2) (integer) 0
            > INCREX hits:user:1 BYINT 5 UBOUND 2 SATURATE
            1) (integer) 2
            2) (integer) 1
            > TTL hits:user:1
            (integer) 60
            """)
}
