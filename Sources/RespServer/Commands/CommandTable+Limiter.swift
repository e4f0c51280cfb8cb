// The command table's entries of the limiter itself. Only the data; the decisions are in the engine.

extension CommandTable {
    static let limiter: [CommandSpec] = [
        CommandSpec(
            name: "cl.throttle", arity: -5, flags: [.write, .denyOOM, .fast], keys: .one, categories: ["limiter"],
            group: "limiter",
            summary: "Checks whether an action on a key is allowed now, and counts it if so.",
            arguments: [
                ArgumentSpec(
                    name: "key", kind: .key,
                    summary: "Whose actions are counted: any bytes, such as a user's id or an address."),
                ArgumentSpec(
                    name: "max_burst", kind: .integer,
                    summary: "Number of actions beyond the first that may happen at once; 0 or more."),
                ArgumentSpec(
                    name: "count", kind: .integer, summary: "Number of actions per period; 1 or more."),
                ArgumentSpec(name: "period", kind: .integer, summary: "The period in seconds; 1 or more."),
                ArgumentSpec(
                    name: "quantity", kind: .integer,
                    summary: "Number of actions in this call; 1 if left out, 0 checks without counting.",
                    optional: true),
            ],
            keyAccess: ["RW", "access", "update"], batched: .throttle)
    ]
}
