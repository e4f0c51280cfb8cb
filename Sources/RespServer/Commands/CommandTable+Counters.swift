// The command table's entries of counters, with Redis's facts; values are 64-bit integers here.

extension CommandTable {
    private static let group = "string"
    private static let own = ["string"]
    private static let access: [String] = ["RW", "access", "update"]

    static let counters: [CommandSpec] = [
        CommandSpec(
            name: "get", arity: 2, flags: [.readonly, .fast], keys: .one, categories: own, group: group,
            summary: "Answers a counter's value, or nothing.", arguments: [.key()], keyAccess: ["RO", "access"],
            examples: CounterExamples.get, batched: .get),
        CommandSpec(
            name: "set", arity: -3, flags: [.write, .denyOOM], keys: .one, categories: own, group: group,
            summary: "Makes a key a counter with this value, a 64-bit integer, whatever it held.",
            arguments: [
                .key(), ArgumentSpec(name: "value"), .words("condition", ["NX", "XX"], optional: true),
                .word("GET", optional: true),
                ArgumentSpec(
                    name: "expiration", kind: .oneof, optional: true,
                    arguments: times + [.word("KEEPTTL")]),
            ],
            keyAccess: ["RW", "access", "update", "variable_flags"], examples: CounterExamples.set,
            handler: Handlers.set),
        CommandSpec(
            name: "getdel", arity: 2, flags: [.write, .fast], keys: .one, categories: own, group: group,
            summary: "Removes a counter and answers its value, or nothing.", arguments: [.key()],
            keyAccess: ["RW", "access", "delete"], examples: CounterExamples.getdel, handler: Handlers.getdel),
        step("incr", nil, "Adds one to a counter and answers the sum.", CounterExamples.incr, .increment),
        step(
            "incrby", "increment", "Adds to a counter and answers the sum.", CounterExamples.incrby, .incrementBy),
        step("decr", nil, "Takes one from a counter and answers the rest.", CounterExamples.decr, .decrement),
        step(
            "decrby", "decrement", "Takes from a counter and answers the rest.", CounterExamples.decrby,
            .decrementBy),
        increx,
    ]

    private static let times: [ArgumentSpec] = [
        ArgumentSpec(name: "seconds", kind: .integer, token: "EX"),
        ArgumentSpec(name: "milliseconds", kind: .integer, token: "PX"),
        ArgumentSpec(name: "unix-time-seconds", kind: .unixTime, token: "EXAT"),
        ArgumentSpec(name: "unix-time-milliseconds", kind: .unixTime, token: "PXAT"),
    ]

    private static func step(
        _ name: String, _ amount: String?, _ summary: String, _ examples: [String],
        _ batched: BatchedCommand
    ) -> CommandSpec {
        CommandSpec(
            name: name, arity: amount == nil ? 2 : 3, flags: [.write, .denyOOM, .fast], keys: .one, categories: own,
            group: group, summary: summary,
            arguments: [.key()] + (amount.map { [ArgumentSpec(name: $0, kind: .integer)] } ?? []), keyAccess: access,
            examples: examples, batched: batched)
    }

    private static let increx = CommandSpec(
        name: "increx", arity: -2, flags: [.write, .denyOOM, .fast], keys: .one, categories: own, group: group,
        summary: "Adds to a counter within bounds and sets its expiry: answers the value and what was added.",
        arguments: [
            .key(),
            ArgumentSpec(
                name: "integer", kind: .integer, token: "BYINT", summary: "What is added; 1 if left out.",
                optional: true),
            ArgumentSpec(
                name: "lowerbound", kind: .integer, token: "LBOUND",
                summary: "A step to a value below this is not made: the answer is the value and 0.", optional: true),
            ArgumentSpec(
                name: "upperbound", kind: .integer, token: "UBOUND",
                summary: "A step to a value above this is not made: the answer is the value and 0.", optional: true),
            ArgumentSpec(
                name: "saturate", kind: .pureToken, token: "SATURATE",
                summary: "Goes as far as the bound instead of not at all.", optional: true),
            ArgumentSpec(
                name: "expiration", kind: .oneof, optional: true, arguments: times + [.word("PERSIST")]),
            ArgumentSpec(
                name: "enx", kind: .pureToken, token: "ENX", summary: "Sets the expiry only where there is none.",
                optional: true),
        ],
        keyAccess: access, examples: CounterExamples.increx, handler: Handlers.increx)
}
