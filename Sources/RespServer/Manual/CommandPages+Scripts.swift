// The reference's pages of the commands about scripts. This repository has no script's text, so what needs one has no
// example that succeeds.

extension CommandPages {
    /// limits (PyPI), fixed window: changes its key.
    private static let fixedWindow = "628bd136a573a06b346879695681af12ccef300f"
    /// rate-limit-redis (npm), get: changes nothing.
    private static let look = "6aeb97ed6086dcdeafdc6fda3999a0d0e38ec96a"

    private static let unknown =
        "ERR unknown script ...: this server runs no Lua, only the scripts of the libraries in docs/libraries.md"
    private static let replies: [ReplySpec] = [
        .integer("as Redis converts what the script returns, for a number"),
        .array("for a table"),
        .null("for `false` and `nil`"),
        .ok("for the reply of SET"),
    ]

    /// Errors of both forms, given a request up to the number of keys and with a script that has one key and two
    /// arguments.
    private static func errors(_ request: String) -> [ErrorSpec] {
        [
            .notAnInteger("numkeys is not a number", "\(request) one hits"),
            .error("ERR Number of keys can't be greater than number of args", "", "\(request) 2 hits"),
            .error("ERR Number of keys can't be negative", "", "\(request) -1 hits"),
        ]
    }

    private static let noScript = "NOSCRIPT No matching script. Please use EVAL."

    static let scripts: [String: CommandPage] = [
        "eval": CommandPage(
            replies: replies,
            errors: [.error(unknown, "not a known script", "EVAL \"return 1\" 0")] + errors("EVAL \"return 1\""),
            notes: "Other errors are as of [EVALSHA](#evalsha).",
            examples: """
                > EVAL "return redis.call('INCR', KEYS[1])" 1 hits:user:1
                (error) ERR unknown script ...: this server runs no Lua, only the scripts of ...
                """),
        "evalsha": CommandPage(
            replies: replies,
            errors: [.error(noScript, "not a known script", "EVALSHA \(String(repeating: "0", count: 40)) 0")]
                + errors("EVALSHA \(fixedWindow)") + [
                    .error(
                        "ERR script ... takes ... key(s) and ... argument(s), not ... and ...: nothing was changed", "",
                        "EVALSHA \(fixedWindow) 1 hits 60"),
                    .error(
                        "ERR ... script: ...", "an argument is not what the script needs; the text ends with its SHA-1",
                        "EVALSHA \(fixedWindow) 1 hits soon 1"),
                    .error(
                        "WRONGTYPE ... script: ...", "the key holds another kind than the script needs",
                        "CL.THROTTLE hits 1 1 1", "EVALSHA \(fixedWindow) 1 hits 60 1"),
                ],
            notes: """
                The SHA-1 may be in upper or lower case. A script that fails keeps what it has done until then, as in
                Redis.
                """,
            examples: """
                > EVALSHA \(fixedWindow) 1 LIMITS:LIMITER/user:1 60 1
                (integer) 1
                > EVALSHA \(fixedWindow) 1 LIMITS:LIMITER/user:1 60 1
                (integer) 2
                > TTL LIMITS:LIMITER/user:1
                (integer) 60
                """),
        "eval_ro": CommandPage(
            replies: replies, errors: [.error(unknown, "not a known script", "EVAL_RO \"return 1\" 0")],
            notes: "Other errors are as of [EVALSHA_RO](#evalsha_ro).",
            examples: """
                > EVAL_RO "return redis.call('GET', KEYS[1])" 1 hits:user:1
                (error) ERR unknown script ...: this server runs no Lua, only the scripts of ...
                """),
        "evalsha_ro": CommandPage(
            replies: replies,
            errors: [
                .error(noScript, "not a known script", "EVALSHA_RO \(String(repeating: "0", count: 40)) 0"),
                .error(
                    "ERR Write commands are not allowed from read-only scripts. script: ...", "the script may write",
                    "EVALSHA_RO \(fixedWindow) 1 hits 60 1"),
            ],
            notes: """
                Other errors are as of [EVALSHA](#evalsha). A script that may write is refused before it runs, even if
                it would not have written this time.
                """,
            examples: """
                > SET rl:user:1 5 EX 60
                OK
                > EVALSHA_RO \(look) 1 rl:user:1
                1) "5"
                2) (integer) 60000
                """),
        "script|load": CommandPage(
            replies: [.bulk("40 lower-case hexadecimal digits")],
            errors: [.error(unknown, "not a known script", "SCRIPT LOAD \"return 1\"")],
            notes: "Nothing needs to be loaded: EVALSHA works at once.",
            examples: """
                > SCRIPT LOAD "return redis.call('INCR', KEYS[1])"
                (error) ERR unknown script ...: this server runs no Lua, only the scripts of ...
                """),
        "script|exists": CommandPage(
            replies: [.array("an integer for each, in the same order")],
            examples: """
                > SCRIPT EXISTS \(fixedWindow) \(String(repeating: "0", count: 40))
                1) (integer) 1
                2) (integer) 0
                """),
        "script|flush": CommandPage(
            replies: [.ok],
            errors: [
                .error("ERR SCRIPT FLUSH only support ...", "neither ASYNC nor SYNC", "SCRIPT FLUSH NOW")
            ],
            examples: """
                > SCRIPT FLUSH
                OK
                > SCRIPT EXISTS \(fixedWindow)
                1) (integer) 1
                """),
        "script|kill": CommandPage(
            replies: [.error("always")],
            examples: """
                > SCRIPT KILL
                (error) NOTBUSY No scripts in execution right now.
                """),
    ]
}
