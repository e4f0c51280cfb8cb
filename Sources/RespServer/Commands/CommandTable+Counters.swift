// The command table's entries of counters, with the flags and tips that Redis has. Values are 64-bit integers here.

extension CommandTable {
    private static let group = "string"
    private static let own = ["string"]
    private static let access: [String] = ["RW", "access", "update"]

    static let counters: [CommandSpec] = [
        CommandSpec(
            name: "get", arity: 2, flags: [.readonly, .fast], keys: .one, categories: own, group: group,
            summary: "Returns a counter's value, or nil.", arguments: [.key()], keyAccess: ["RO", "access"],
            examples: CounterExamples.get, batched: .get),
        CommandSpec(
            name: "set", arity: -3, flags: [.write, .denyOOM], keys: .one, categories: own, group: group,
            summary: "Makes a key a counter with this value, a 64-bit integer, whatever it held before.",
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
            summary: "Deletes a counter and returns its value, or nil.", arguments: [.key()],
            keyAccess: ["RW", "access", "delete"], examples: CounterExamples.getdel, handler: Handlers.getdel),
        step("incr", nil, "Adds one to a counter and returns the new value.", CounterExamples.incr, .increment),
        step(
            "incrby", "increment", "Adds to a counter and returns the new value.", CounterExamples.incrby,
            .incrementBy),
        step("decr", nil, "Subtracts one from a counter and returns the new value.", CounterExamples.decr, .decrement),
        step(
            "decrby", "decrement", "Subtracts from a counter and returns the new value.", CounterExamples.decrby,
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
        summary: "Adds to a counter within bounds and sets its expiry: returns the new value and the amount added.",
        arguments: [
            .key(),
            ArgumentSpec(
                name: "integer", kind: .integer, token: "BYINT", summary: "The amount to add; 1 if left out.",
                optional: true),
            ArgumentSpec(
                name: "lowerbound", kind: .integer, token: "LBOUND",
                summary: "If the result would be below this, nothing is added and the reply is the value and 0.",
                optional: true),
            ArgumentSpec(
                name: "upperbound", kind: .integer, token: "UBOUND",
                summary: "If the result would be above this, nothing is added and the reply is the value and 0.",
                optional: true),
            ArgumentSpec(
                name: "saturate", kind: .pureToken, token: "SATURATE",
                summary: "Stops at the bound instead of adding nothing.", optional: true),
            ArgumentSpec(
                name: "expiration", kind: .oneof, optional: true, arguments: times + [.word("PERSIST")]),
            ArgumentSpec(
                name: "enx", kind: .pureToken, token: "ENX", summary: "Sets the expiry only if there is none.",
                optional: true),
        ],
        keyAccess: access, examples: CounterExamples.increx, handler: Handlers.increx)
}
