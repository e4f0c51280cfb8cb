// The reference's pages of the commands that decide: CL.THROTTLE, RL.TAKE and related commands.

extension CommandPages {
    private static let five = "limited, limit, remaining, retry-after and reset-after, as in the table above"
    private static let six = "the [reply of a limit](#the-reply-of-a-limit)"

    static let limits: [String: CommandPage] = throttling.merging(taking) { first, _ in first }

    // MARK: CL.THROTTLE

    private static let throttling: [String: CommandPage] = [
        "cl.throttle": CommandPage(
            replies: [.array(five)], errors: throttled("CL.THROTTLE"), notes: throttle,
            examples: """
                > CL.THROTTLE user123 4 1 1
                1) (integer) 0      allowed
                2) (integer) 5      at most five at once
                3) (integer) 4      four more right now
                4) (integer) -1     no need to wait
                5) (integer) 1      replenished in a second
                > CL.THROTTLE user123 4 1 1 4
                1) (integer) 0      allowed, counted four times
                2) (integer) 5
                3) (integer) 0      nothing left
                4) (integer) -1
                5) (integer) 5
                > CL.THROTTLE user123 4 1 1
                1) (integer) 1      denied
                2) (integer) 5
                3) (integer) 0
                4) (integer) 1      try again in a second
                5) (integer) 5
                > CL.THROTTLE user123 4 1 1 6
                1) (integer) 1      denied
                2) (integer) 5
                3) (integer) 0
                4) (integer) -1     six at once can never pass a limit of five
                5) (integer) 5
                > CL.THROTTLE user123 4 1 1 0
                1) (integer) 0      quantity 0 counts nothing
                2) (integer) 5
                3) (integer) 0      only shows what is left
                4) (integer) -1
                5) (integer) 5
                """),
        "rl.throttle": CommandPage(
            replies: [.array("as of [CL.THROTTLE](#clthrottle)")], errors: throttled("RL.THROTTLE"),
            examples: """
                > RL.THROTTLE user:1 15 30 60
                1) (integer) 0
                2) (integer) 16
                3) (integer) 15
                4) (integer) -1
                5) (integer) 2
                """),
        "gcra": CommandPage(
            replies: [.array("as of [CL.THROTTLE](#clthrottle)")],
            errors: [
                .error("ERR value is out of range, must be positive", "max_burst is negative", "GCRA user:1 -1 1 1"),
                .error(
                    "ERR value is out of range, value must between 1 and 9223372036854775807",
                    "tokens_per_period or count is 0 or less", "GCRA user:1 4 0 1"),
                .error("ERR period must be > 0 and < 1e12", "", "GCRA user:1 4 1 0"),
                .error("ERR value is not a valid float", "the period is not a number", "GCRA user:1 4 1 soon"),
                .notAnInteger("another number is not an integer", "GCRA user:1 four 1 1"),
                otherKind("GCRA user:1 4 1 1"),
            ],
            notes: """
                The reply is CL.THROTTLE's five integers, decided in nanoseconds with the same state:
                `GCRA key 15 30 60` and `CL.THROTTLE key 15 30 60` are the same call. Differences: the period may have a
                fraction, a rate above one action per nanosecond counts as one, and 0 tokens is an error. Redis itself
                counts in microseconds, so its errors about overflows begin at smaller parameters.
                """,
            examples: """
                > GCRA user:1 4 1 0.5 TOKENS 5
                1) (integer) 0
                2) (integer) 5
                3) (integer) 0
                4) (integer) -1
                5) (integer) 3
                > GCRA user:1 4 1 0.5 TOKENS 6
                1) (integer) 1
                2) (integer) 5
                3) (integer) 0
                4) (integer) -1
                5) (integer) 3
                """),
    ]

    private static func throttled(_ name: String) -> [ErrorSpec] {
        [
            .error(
                "ERR zero rates are not supported",
                "count or period is 0, or the rate is above one action per nanosecond",
                "\(name) user:1 15 0 60"),
            .error("ERR max_burst must not be negative", "likewise count, period, quantity", "\(name) user:1 -1 30 60"),
            .notAnInteger("a number is not an integer, or a product exceeds 64 bits", "\(name) user:1 15 thirty 60"),
            otherKind("\(name) user:1 15 30 60"),
        ]
    }

    private static func otherKind(_ request: String) -> ErrorSpec {
        .error(
            "WRONGTYPE ...", "the key holds another kind of limiter, or a counter; the text names both kinds",
            "SET user:1 5", request)
    }

    private static let throttle = """
        The key's limiter lets `max_burst` + 1 actions through at once and refills at `count` actions per `period`
        seconds, evenly: with 30 per 60 seconds one action becomes free every 2 seconds. Limiters need not be created
        first: each call brings its parameters, and a call with other parameters sees the same debt, measured in time.

        The reply is always five integers, also when the action is denied:

        | # | name | meaning |
        |---|---|---|
        | 1 | limited | 0: the action may happen and has been counted. 1: it may not; nothing was counted. |
        | 2 | limit | Maximum number of actions at once: `max_burst` + 1. |
        | 3 | remaining | Number of further actions of quantity 1 that would be allowed right now; 0 to limit. |
        | 4 | retry-after | Seconds until the same call would be allowed; -1 if it was, or if it never can be. |
        | 5 | reset-after | Seconds until the limiter is fully replenished if nothing more is counted. |

        Decisions are made in nanoseconds. The reply rounds seconds up: exactly 10 s is 10, one nanosecond is 1. So a
        client that waits `retry-after` seconds is not denied because of rounding, and `retry-after` of a denied call is
        never 0. `remaining` is rounded down.

        - A quantity above 1 is counted in full or not at all. If it exceeds the limit, it can never pass: `retry-after`
          is -1 and `limited` is 1.
        - Quantity 0 only reads: it counts nothing and creates no key.
        - A key exists until its limiter is fully replenished, and then uses no memory.
        - A denied call changes nothing, so retrying does not extend the wait.
        """

    // MARK: RL.TAKE

    /// Errors of the arguments of a limit.
    static let limitErrors: [ErrorSpec] = [
        .error(
            "ERR LIMIT is not an integer or out of range", "likewise the other numbers",
            "RL.TAKE user:1 LIMIT ten PER 1m"),
        .error("ERR PER is missing", "likewise LIMIT", "RL.TAKE user:1 LIMIT 10"),
        .error("ERR PER must be a whole number of seconds, ...", "not a period", "RL.TAKE user:1 LIMIT 10 PER 1w"),
        .error(
            "ERR LIMIT is more than one per nanosecond of PER", "the rate is too high",
            "RL.TAKE user:1 LIMIT 2000000000 PER 1s"),
        .error(
            "ERR BURST must be 1 or more: ...", "a burst of 0 would let nothing pass",
            "RL.TAKE user:1 LIMIT 10 PER 1m BURST 0"),
        .error(
            "ERR BURST has no meaning with ALGO fixed-window", "likewise OFFSET, ZONE and START with other algorithms",
            "RL.TAKE user:1 LIMIT 10 PER 1m ALGO fixed-window BURST 5"),
        .error("ERR ALGO must be one of ...", "not an algorithm", "RL.TAKE user:1 LIMIT 10 PER 1m ALGO leaky"),
        .error(
            "ERR LIMIT must be at most 4096 with this ALGO", "sliding-log remembers each unit",
            "RL.TAKE user:1 LIMIT 5000 PER 1m ALGO sliding-log"),
        .error(
            "ERR ZONE: this server has no time zone '...'", "not in the machine's database",
            "RL.TAKE user:1 LIMIT 10 PER day ALGO calendar ZONE Mars/Olympus"),
        .error(
            "ERR POLICY cannot be combined with ...", "a policy has all numbers",
            "RL.TAKE user:1 LIMIT 10 PER 1m POLICY free"),
        .error("ERR POLICY: there is no policy '...'", "", "RL.TAKE user:1 POLICY free"),
        .error("ERR COST must not be negative", "", "RL.TAKE user:1 LIMIT 10 PER 1m COST -1"),
        .error("ERR COST is given twice", "likewise the other options", "RL.TAKE user:1 LIMIT 1 PER 1m COST 1 COST 1"),
        .error("ERR syntax error near '...'", "not an option", "RL.TAKE user:1 LIMIT 10 PER 1m BURTS 5"),
        .error(
            "WRONGTYPE ...", "the key holds a counter, or the state of another algorithm; the text names both",
            "RL.TAKE user:1 LIMIT 10 PER 1m ALGO sliding-log", "RL.TAKE user:1 LIMIT 10 PER 1m"),
    ]

    private static let ofTheLimit = "Errors: those of [the limit](#the-limit-in-a-call)."

    private static let refusedToken = ErrorSpec.error(
        "ERR ID refused: ...", "`idempotency-tokens-max` tokens are in use", "CONFIG SET idempotency-tokens-max 0",
        "RL.TAKE user:1 LIMIT 10 PER 1m ID request-1")

    private static let taking: [String: CommandPage] = [
        "rl.take": CommandPage(
            replies: [.record(six)], errors: [refusedToken],
            notes: """
                Without BURST, LIMIT units may pass at once on top of LIMIT a period: with `LIMIT 100 PER 1m` at most
                199 in any minute. What retries with an ID do: [choosing.md](choosing.md#retries). \(ofTheLimit)
                """,
            examples: """
                > RL.TAKE user:1 LIMIT 100 PER 1h
                1) (integer) 1
                2) (integer) 1
                3) (integer) 100
                4) (integer) 99
                5) (integer) -1
                6) (integer) 36000
                > RL.TAKE user:1 LIMIT 100 PER 1h COST 150 ATMOST
                1) (integer) 1
                2) (integer) 99
                3) (integer) 100
                4) (integer) 0
                5) (integer) -1
                6) (integer) 3600000
                > RL.TAKE user:1 LIMIT 100 PER 1h COST 2 ID request-17
                1) (integer) 0
                2) (integer) 0
                3) (integer) 100
                4) (integer) 0
                5) (integer) 72000
                6) (integer) 3600000
                > RL.TAKE user:2 LIMIT 3 PER 1d ALGO sliding-log
                1) (integer) 1
                2) (integer) 1
                3) (integer) 3
                4) (integer) 2
                5) (integer) -1
                6) (integer) 86400000
                """),
        "rl.peek": CommandPage(
            replies: [.record(six)], notes: ofTheLimit,
            examples: """
                > RL.PEEK user:1 LIMIT 5 PER 1h
                1) (integer) 1
                2) (integer) 1
                3) (integer) 5
                4) (integer) 5
                5) (integer) -1
                6) (integer) 0
                > EXISTS user:1
                (integer) 0
                """),
        "rl.refund": CommandPage(
            replies: [.record(six)], notes: ofTheLimit,
            examples: """
                > RL.TAKE user:1 LIMIT 5 PER 1h COST 5
                1) (integer) 1
                2) (integer) 5
                3) (integer) 5
                4) (integer) 0
                5) (integer) -1
                6) (integer) 3600000
                > RL.REFUND user:1 LIMIT 5 PER 1h COST 2
                1) (integer) 1
                2) (integer) 2
                3) (integer) 5
                4) (integer) 2
                5) (integer) -1
                6) (integer) 2160000
                """),
        "rl.reset": CommandPage(
            replies: [.integer("1, or 0 if nothing was spent")],
            errors: [.error("WRONGTYPE ...", "the key holds a counter", "SET user:1 5", "RL.RESET user:1")],
            examples: """
                > RL.TAKE user:1 LIMIT 1 PER 1h
                1) (integer) 1
                2) (integer) 1
                3) (integer) 1
                4) (integer) 0
                5) (integer) -1
                6) (integer) 3600000
                > RL.RESET user:1
                (integer) 1
                > RL.RESET user:1
                (integer) 0
                """),
        "rl.takeall": takeAll,
        "rl.check": CommandPage(
            replies: [.record(six)],
            errors: [
                .error("NORULE no rule matches this tenant, client and action", "", "RL.CHECK acme client-7 login"),
                .error(
                    refusedToken.text, refusedToken.when, "RL.POLICY SET free LIMIT 2 PER 1h",
                    "RL.RULE SET * * * POLICY free",
                    "CONFIG SET idempotency-tokens-max 0", "RL.CHECK acme client-7 login ID request-1"),
            ],
            notes: "Which rule wins: [precedence of rules](#precedence-of-rules).",
            examples: """
                > RL.POLICY SET free LIMIT 2 PER 1h
                OK
                > RL.RULE SET * * * POLICY free
                OK
                > RL.CHECK acme client-7 login
                1) (integer) 1
                2) (integer) 1
                3) (integer) 2
                4) (integer) 1
                5) (integer) -1
                6) (integer) 1800000
                """),
    ]

    private static let takeAll = CommandPage(
        replies: [.record("allowed, granted, refused, retry_after_ms and limits, as in the table above")],
        errors: [
            .error(
                "ERR limits 1 and 2 have the same key, which holds one state", "",
                "RL.TAKEALL user:1 LIMIT 10 PER 1m AND user:1 LIMIT 100 PER 1h"),
            .error("ERR AND needs a key", "", "RL.TAKEALL user:1 LIMIT 10 PER 1m AND"),
        ],
        notes: """
            | # | name | meaning |
            |---|---|---|
            | 1 | allowed | 1: taken from every limit. 0: from none. |
            | 2 | granted | The cost, or 0. |
            | 3 | refused | The key of the first limit that refused; nil if none did. |
            | 4 | retry_after_ms | The longest wait of those that refused; -1 if none did, or if one can never \
            allow it. |
            | 5 | limits | The [reply](#the-reply-of-a-limit) of each limit, in order. If any limit refused, each \
            shows what its limit would have granted, and its unchanged state: nothing was taken from those that \
            allowed it either. |

            \(ofTheLimit)
            """,
        examples: """
            > RL.TAKEALL user:1 LIMIT 10 PER 1h AND login:user:1 LIMIT 1 PER 1h
            1) (integer) 1
            2) (integer) 1
            3) (nil)
            4) (integer) -1
            5) 1) 1) (integer) 1
                  2) (integer) 1
                  3) (integer) 10
                  4) (integer) 9
                  5) (integer) -1
                  6) (integer) 360000
               2) 1) (integer) 1
                  2) (integer) 1
                  3) (integer) 1
                  4) (integer) 0
                  5) (integer) -1
                  6) (integer) 3600000
            > RL.TAKEALL user:1 LIMIT 10 PER 1h AND login:user:1 LIMIT 1 PER 1h
            1) (integer) 0
            2) (integer) 0
            3) "login:user:1"
            4) (integer) 3600000
            5) 1) 1) (integer) 1
                  2) (integer) 1
                  3) (integer) 10
                  4) (integer) 9
                  5) (integer) -1
                  6) (integer) 360000
               2) 1) (integer) 0
                  2) (integer) 0
                  3) (integer) 1
                  4) (integer) 0
                  5) (integer) 3600000
                  6) (integer) 3600000
            """)
}
