// The command table's entries of the limiter itself: CL.THROTTLE, and the names and forms that others have given it.
// Only the data; the decisions are in the engine.

extension CommandTable {
    static let limiter: [CommandSpec] = [
        throttle("cl.throttle", summary: "Checks whether an action on a key is allowed now, and counts it if so."),
        throttle(
            "rl.throttle", since: "0.2.0", summary: "CL.THROTTLE under another name, with the same keys and replies."),
        CommandSpec(
            name: "gcra", arity: -5, flags: [.write, .denyOOM, .fast], keys: .one, categories: ["limiter"],
            group: "limiter", since: "0.2.0",
            summary: "CL.THROTTLE with a period in fractions of a second, in the syntax of newer Redis versions.",
            arguments: [
                key,
                maxBurst,
                ArgumentSpec(
                    name: "tokens_per_period", kind: .integer, summary: "Number of actions per period; 1 or more."),
                ArgumentSpec(
                    name: "period", kind: .double,
                    summary: "The period in seconds, such as `60` or `0.5`; above 0, used to the nanosecond."),
                ArgumentSpec(
                    name: "count", kind: .integer, token: "TOKENS",
                    summary: "Number of actions in this call; 1 if left out, and at least 1.", optional: true),
            ],
            keyAccess: ["RW", "access", "update"],
            batched: .gcra),
    ]

    private static let key = ArgumentSpec(
        name: "key", kind: .key, summary: "Whose actions are counted: any bytes, such as a user's id or an address.")

    private static let maxBurst = ArgumentSpec(
        name: "max_burst", kind: .integer,
        summary: "Number of actions beyond the first that may happen at once; 0 or more.")

    private static func throttle(
        _ name: String, since: String = "0.1.0", summary: String
    ) -> CommandSpec {
        CommandSpec(
            name: name, arity: -5, flags: [.write, .denyOOM, .fast], keys: .one, categories: ["limiter"],
            group: "limiter", since: since, summary: summary,
            arguments: [
                key,
                maxBurst,
                ArgumentSpec(
                    name: "count", kind: .integer, summary: "Number of actions per period; 1 or more."),
                ArgumentSpec(name: "period", kind: .integer, summary: "The period in seconds; 1 or more."),
                ArgumentSpec(
                    name: "quantity", kind: .integer,
                    summary: "Number of actions in this call; 1 if left out, 0 checks without counting.",
                    optional: true),
            ],
            keyAccess: ["RW", "access", "update"], batched: .throttle)
    }
}
