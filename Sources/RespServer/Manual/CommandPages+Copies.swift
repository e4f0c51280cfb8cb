// The reference's pages of the commands that copy, rename and move keys.

extension CommandPages {
    /// Errors of a database's number, given a request up to it.
    private static func databaseErrors(_ request: String) -> [ErrorSpec] {
        [
            .error("ERR DB index is out of range", "there is no such database", "\(request) 99"),
            .notAnInteger("the database is not a number", "\(request) other"),
            .error("ERR value is out of range, ...", "the database is not a 32-bit number", "\(request) 9999999999"),
        ]
    }

    private static let sameObject = "ERR source and destination objects are the same"

    static let copies: [String: CommandPage] = [
        "copy": CommandPage(
            replies: [.integer("1; 0 if the source does not exist, or the destination does and REPLACE is not given")],
            errors: [.error(sameObject, "", "COPY hits hits")] + databaseErrors("COPY hits saved DB"),
            notes: """
                A copied limiter has spent as much as its source, and from then on counts alone. Answers stored for
                [retries](choosing.md#retries) stay with the source.
                """,
            examples: """
                > SET hits 5 EX 60
                OK
                > COPY hits saved
                (integer) 1
                > TTL saved
                (integer) 60
                > COPY hits saved
                (integer) 0
                > COPY hits saved REPLACE
                (integer) 1
                """),
        "rename": CommandPage(
            replies: [.ok], errors: [.noKey("RENAME hits calls")],
            notes: """
                A key may be renamed to its own name. Answers stored for [retries](choosing.md#retries) stay with the
                old name, which a retry uses.
                """,
            examples: """
                > SET hits 5 EX 60
                OK
                > RENAME hits calls
                OK
                > GET calls
                "5"
                > TTL calls
                (integer) 60
                > RENAME hits calls
                (error) ERR no such key
                """),
        "renamenx": CommandPage(
            replies: [.integer("1, or 0 if the new key exists, also if it is the same")],
            errors: [.noKey("RENAMENX hits calls")],
            notes: "What is kept is as of [RENAME](#rename).",
            examples: """
                > MSET in 5 out 7
                OK
                > RENAMENX in out
                (integer) 0
                > RENAMENX in other
                (integer) 1
                """),
        "move": CommandPage(
            replies: [.integer("1; 0 if the key does not exist, or the other database has such a key")],
            errors: [.error(sameObject, "it is the selected database", "MOVE hits 0")] + databaseErrors("MOVE hits"),
            notes: "Answers stored for [retries](choosing.md#retries) stay.",
            examples: """
                > SET hits 5 EX 60
                OK
                > MOVE hits 1
                (integer) 1
                > EXISTS hits
                (integer) 0
                > SELECT 1
                OK
                > TTL hits
                (integer) 60
                """),
        "swapdb": CommandPage(
            replies: [.error("always")],
            examples: """
                > SWAPDB 0 1
                (error) ERR SWAPDB is not supported: ...
                """),
    ]
}
