// The command table's entries of counters, with the flags and tips that Redis has. Values are 64-bit integers here.

extension CommandTable {
    private static let group = "string"
    private static let own = ["string"]
    private static let access: [String] = ["RW", "access", "update"]

    static let counters: [CommandSpec] = single + several

    private static let single: [CommandSpec] = [
        CommandSpec(
            name: "get", arity: 2, flags: [.readonly, .fast], keys: .one, categories: own, group: group,
            summary: "Returns a counter's value, or nil.", arguments: [.key()], keyAccess: ["RO", "access"],
            batched: .get),
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
            keyAccess: ["RW", "access", "update", "variable_flags"], handler: Handlers.set),
        CommandSpec(
            name: "getdel", arity: 2, flags: [.write, .fast], keys: .one, categories: own, group: group,
            summary: "Deletes a counter and returns its value, or nil.", arguments: [.key()],
            keyAccess: ["RW", "access", "delete"], handler: Handlers.getdel),
        CommandSpec(
            name: "getex", arity: -2, flags: [.write, .fast], keys: .one, categories: own, group: group,
            summary: "Returns a counter's value, or nil, and sets or removes its expiry.",
            arguments: [
                .key(),
                ArgumentSpec(
                    name: "expiration", kind: .oneof, optional: true, arguments: times + [.word("PERSIST")]),
            ],
            keyAccess: access, handler: Handlers.getex),
        CommandSpec(
            name: "getset", arity: 3, flags: [.write, .denyOOM, .fast], keys: .one, categories: own, group: group,
            summary: "Sets a counter, removes its expiry and returns the previous value, or nil.",
            arguments: [.key(), value], keyAccess: access, handler: Handlers.getset),
        CommandSpec(
            name: "setnx", arity: 3, flags: [.write, .denyOOM, .fast], keys: .one, categories: own, group: group,
            summary: "Makes a key a counter only if it does not exist.",
            arguments: [.key(), value], keyAccess: ["OW", "insert"], handler: Handlers.setnx),
        setting("setex", "seconds", Handlers.setex),
        setting("psetex", "milliseconds", Handlers.psetex),
        CommandSpec(
            name: "strlen", arity: 2, flags: [.readonly, .fast], keys: .one, categories: own, group: group,
            summary: "Returns the number of characters of a counter's value, or 0.", arguments: [.key()],
            keyAccess: ["RO"], handler: Handlers.strlen),
        step("incr", nil, "Adds one to a counter and returns the new value.", .increment),
        step(
            "incrby", "increment", "Adds to a counter and returns the new value.",
            .incrementBy),
        step("decr", nil, "Subtracts one from a counter and returns the new value.", .decrement),
        step(
            "decrby", "decrement", "Subtracts from a counter and returns the new value.",
            .decrementBy),
        increx,
    ]

    private static let several: [CommandSpec] = [
        CommandSpec(
            name: "mget", arity: -2, flags: [.readonly, .fast], keys: .all, categories: own, group: group,
            complexity: "O(N) with N keys given.",
            summary: "Returns the values of several counters; nil for keys that do not exist or hold a limiter.",
            arguments: [.key(multiple: true)], keyAccess: ["RO", "access"], tips: [CommandTips.multiShard],
            handler: Handlers.mget),
        CommandSpec(
            name: "mset", arity: -3, flags: [.write, .denyOOM], keys: .everySecond, categories: own, group: group,
            complexity: "O(N) with N keys given.",
            summary: "Makes several keys counters without expiry, whatever they held before: all of them or none.",
            arguments: [pairs], keyAccess: ["OW", "update"],
            tips: [CommandTips.multiShard, CommandTips.allSucceeded], handler: Handlers.mset),
        CommandSpec(
            name: "msetnx", arity: -3, flags: [.write, .denyOOM], keys: .everySecond, categories: own, group: group,
            complexity: "O(N) with N keys given.",
            summary: "Makes several keys counters only if none of them exists.",
            arguments: [pairs], keyAccess: ["OW", "insert"], tips: [CommandTips.multiShard, CommandTips.least],
            handler: Handlers.msetnx),
    ]

    private static let value = ArgumentSpec(name: "value")
    private static let pairs = ArgumentSpec(
        name: "key_value", kind: .block, multiple: true, arguments: [.key(), value])

    private static func setting(
        _ name: String, _ unit: String, _ handler: @escaping CommandSpec.Handler
    ) -> CommandSpec {
        CommandSpec(
            name: name, arity: 4, flags: [.write, .denyOOM], keys: .one, categories: own, group: group,
            summary: "Makes a key a counter that expires after a number of \(unit), whatever it held before.",
            arguments: [.key(), ArgumentSpec(name: unit, kind: .integer), value], keyAccess: ["OW", "update"],
            handler: handler)
    }

    private static let times: [ArgumentSpec] = [
        ArgumentSpec(name: "seconds", kind: .integer, token: "EX"),
        ArgumentSpec(name: "milliseconds", kind: .integer, token: "PX"),
        ArgumentSpec(name: "unix-time-seconds", kind: .unixTime, token: "EXAT"),
        ArgumentSpec(name: "unix-time-milliseconds", kind: .unixTime, token: "PXAT"),
    ]

    private static func step(
        _ name: String, _ amount: String?, _ summary: String, _ batched: BatchedCommand
    ) -> CommandSpec {
        CommandSpec(
            name: name, arity: amount == nil ? 2 : 3, flags: [.write, .denyOOM, .fast], keys: .one, categories: own,
            group: group, summary: summary,
            arguments: [.key()] + (amount.map { [ArgumentSpec(name: $0, kind: .integer)] } ?? []), keyAccess: access,
            batched: batched)
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
        keyAccess: access, handler: Handlers.increx)
}
