// The reference's pages of the commands about the expiry of keys.

extension CommandPages {
    static let expiry: [String: CommandPage] = reading.merging(setting) { first, _ in first }

    // MARK: Reading it

    private static let soonest =
        "rounded up. Of a limiter, the time of its replenishment or of its expiry, whichever is sooner"

    private static let reading: [String: CommandPage] = [
        "ttl": CommandPage(
            replies: [.integer(soonest)],
            notes: "An existing key never shows 0: Redis rounds to the nearest second, Escapement up.",
            examples: """
                > SET hits:user:1 5 EX 60
                OK
                > TTL hits:user:1
                (integer) 60
                > CL.THROTTLE user:1 15 1 60
                ...
                > TTL user:1
                (integer) 60
                > TTL user:2
                (integer) -2
                """),
        "pttl": CommandPage(
            replies: [.integer(soonest)],
            examples: """
                > INCREX hits:user:1 UBOUND 100 EX 60 ENX
                1) (integer) 1
                2) (integer) 1
                > PTTL hits:user:1
                (integer) 60000
                """),
        "expiretime": CommandPage(
            replies: [.integer(soonest)],
            notes: """
                An expiry after the year 2262 is stored, and shown, as a time in that year: *Timestamps* in
                [durability.md](durability.md#startup).
                """,
            examples: """
                > SET quota:acme 1000 EXAT 4102444800
                OK
                > EXPIRETIME quota:acme
                (integer) 4102444800
                """),
        "pexpiretime": CommandPage(
            replies: [.integer(soonest)], notes: "The latest time is as of [EXPIRETIME](#expiretime).",
            examples: """
                > SET quota:acme 1000 PXAT 4102444800000
                OK
                > PEXPIRETIME quota:acme
                (integer) 4102444800000
                """),
    ]

    // MARK: Setting it

    private static let set: [ReplySpec] = [
        .integer(
            "1, also if the time has passed, which deletes the key; 0 if the key does not exist or the condition is "
                + "false")
    ]

    private static let asOfExpire = "Conditions, and expiry of limiters, are as of [EXPIRE](#expire)."

    /// Errors of EXPIRE and its variants, given the name and a number that exceeds 64 bits in milliseconds.
    private static func errors(_ name: String, tooLarge: String?) -> [ErrorSpec] {
        let range: [ErrorSpec] =
            tooLarge.map {
                [
                    .error(
                        "ERR invalid expire time in '\(name.lowercased())' command",
                        "in milliseconds, it is not a 64-bit integer", "\(name) hits \($0)")
                ]
            } ?? []
        return [.notAnInteger("the time is not a number", "\(name) hits soon")] + range + [
            .error("ERR Unsupported option ...", "not a condition", "\(name) hits 60 EX"),
            .error(
                "ERR NX and XX, GT or LT options at the same time are not compatible", "", "\(name) hits 60 NX XX"),
            .error("ERR GT and LT options at the same time are not compatible", "", "\(name) hits 60 GT LT"),
        ]
    }

    private static let setting: [String: CommandPage] = [
        "expire": CommandPage(
            replies: set, errors: errors("EXPIRE", tooLarge: "9223372036854775807"),
            notes: """
                | condition | sets the expiry only if |
                |---|---|
                | NX | there is none |
                | XX | there is one; may be combined with GT or LT |
                | GT | it is later than the present one; never, if there is none |
                | LT | it is sooner than the present one; always, if there is none |

                A limiter's key ends when it is replenished. An expiry can only make that sooner, and the next call then
                starts with a fresh limiter; a later one has no effect, though the reply is 1. The conditions look only
                at an expiry that a client has set, not at the replenishment. Limiter calls, INCR and related commands
                keep the expiry; SET removes it.
                """,
            examples: """
                > INCR hits:user:1
                (integer) 1
                > EXPIRE hits:user:1 60 NX
                (integer) 1
                > INCR hits:user:1
                (integer) 2
                > EXPIRE hits:user:1 60 NX
                (integer) 0
                > CL.THROTTLE user:1 15 1 60
                ...
                > EXPIRE user:1 3600
                (integer) 1
                > TTL user:1
                (integer) 60
                """),
        "pexpire": CommandPage(
            replies: set, errors: errors("PEXPIRE", tooLarge: "9223372036854775807"), notes: asOfExpire,
            examples: """
                > INCR hits:user:1
                (integer) 1
                > PEXPIRE hits:user:1 60000
                (integer) 1
                > PTTL hits:user:1
                (integer) 60000
                """),
        "expireat": CommandPage(
            replies: set, errors: errors("EXPIREAT", tooLarge: "9223372036854775807"), notes: asOfExpire,
            examples: """
                > SET quota:acme 1000
                OK
                > EXPIREAT quota:acme 4102444800
                (integer) 1
                > EXPIRETIME quota:acme
                (integer) 4102444800
                > EXPIREAT quota:acme 1
                (integer) 1
                > EXISTS quota:acme
                (integer) 0
                """),
        "pexpireat": CommandPage(
            replies: set, errors: errors("PEXPIREAT", tooLarge: nil), notes: asOfExpire,
            examples: """
                > SET quota:acme 1000
                OK
                > PEXPIREAT quota:acme 4102444800000
                (integer) 1
                > PEXPIRETIME quota:acme
                (integer) 4102444800000
                """),
        "persist": CommandPage(
            replies: [.integer("1, or 0 if the key does not exist or has no expiry")],
            notes: "A limiter's key still ends when it is replenished.",
            examples: """
                > SET hits:user:1 5 EX 60
                OK
                > PERSIST hits:user:1
                (integer) 1
                > TTL hits:user:1
                (integer) -1
                """),
    ]
}
