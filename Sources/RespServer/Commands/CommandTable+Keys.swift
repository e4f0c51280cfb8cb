// The command table's entries about keys of any kind: finding, inspecting, expiring and deleting them.

extension CommandTable {
    private static let group = "generic"
    private static let own = ["keyspace"]
    private static let reading: [String] = ["RO", "access"]
    private static let removing: [String] = ["RM", "delete"]

    static let keys: [CommandSpec] = walking + looking + expiring + renaming + databases + removal

    private static let walking: [CommandSpec] = [
        CommandSpec(
            name: "dbsize", arity: 1, flags: [.readonly, .fast, .allKeys], categories: own, group: "server",
            summary: "Counts the keys of the database.", tips: [CommandTips.allShards, CommandTips.sum],
            handler: Handlers.dbsize),
        CommandSpec(
            name: "scan", arity: -2, flags: [.readonly, .allKeys], categories: own, group: group,
            complexity: "O(COUNT) per call, in slices; O(N) for a complete iteration over N keys.",
            summary: "Iterates over the keys: each call returns the next cursor and some keys; cursor 0 is the end.",
            arguments: [
                ArgumentSpec(name: "cursor", kind: .integer),
                ArgumentSpec(name: "pattern", kind: .pattern, token: "MATCH", optional: true),
                ArgumentSpec(name: "count", kind: .integer, token: "COUNT", optional: true),
                ArgumentSpec(name: "type", token: "TYPE", optional: true),
            ],
            tips: [CommandTips.varies, "request_policy:special"], handler: Handlers.scan),
        CommandSpec(
            name: "keys", arity: 2, flags: [.readonly, .allKeys], categories: own + ["dangerous"], group: group,
            complexity: "O(N) with N keys in the database, in slices; inside EXEC without interruption.",
            summary: "Lists all keys that match a pattern.",
            arguments: [ArgumentSpec(name: "pattern", kind: .pattern)],
            tips: [CommandTips.allShards, CommandTips.unordered], handler: Handlers.keys),
        CommandSpec(
            name: "randomkey", arity: 1, flags: [.readonly, .allKeys], categories: own, group: group,
            summary: "Returns an arbitrary key.", tips: [CommandTips.allShards, CommandTips.varies],
            handler: Handlers.randomkey),
    ]

    private static let looking: [CommandSpec] = [
        CommandSpec(
            name: "exists", arity: -2, flags: [.readonly, .fast], keys: .all, categories: own, group: group,
            complexity: "O(N) with N keys given.", summary: "Counts how many of the keys exist.",
            arguments: [.key(multiple: true)], tips: [CommandTips.multiShard, CommandTips.sum],
            handler: Handlers.exists),
        CommandSpec(
            name: "type", arity: 2, flags: [.readonly, .fast], keys: .one, categories: own, group: group,
            summary: "Returns the kind of a key, such as gcra; string for a counter, none if it does not exist.",
            arguments: [.key()], handler: Handlers.type),
        CommandSpec(
            name: "touch", arity: -2, flags: [.readonly, .fast], keys: .all, categories: own, group: group,
            complexity: "O(N) with N keys given.",
            summary: "Counts how many of the keys exist: the same as EXISTS, since accesses are not tracked.",
            arguments: [.key(multiple: true)], tips: [CommandTips.multiShard, CommandTips.sum],
            handler: Handlers.touch),
        .container(
            "object", group: group, summary: "Shows how a key is stored.",
            subcommands: [
                object("encoding", "Returns the representation of a key's state.", Handlers.objectEncoding),
                object("refcount", "Returns the number of references to the key's state.", Handlers.objectRefcount),
                object(
                    "idletime", "Returns an error, since idle time is not tracked; nil if the key does not exist.",
                    Handlers.objectIdletime),
                object(
                    "freq", "Returns an error, since access frequency is not tracked; nil if the key does not exist.",
                    Handlers.objectFreq),
                .help(group: group, categories: own),
            ]),
        .container(
            "memory", group: "server", summary: "Shows memory use.",
            subcommands: [
                CommandSpec(
                    name: "usage", arity: -3, flags: .readonly, keys: .afterSubcommand, group: "server",
                    summary: "Returns the bytes used by a key and its state.",
                    arguments: [
                        .key(), ArgumentSpec(name: "count", kind: .integer, token: "SAMPLES", optional: true),
                    ],
                    handler: Handlers.memoryUsage),
                .help(group: "server"),
            ]),
    ]

    private static func object(
        _ name: String, _ summary: String, _ handler: @escaping CommandSpec.Handler
    ) -> CommandSpec {
        CommandSpec(
            name: name, arity: 3, flags: .readonly, keys: .afterSubcommand, categories: own, group: group,
            summary: summary, arguments: [.key()], tips: [CommandTips.varies], handler: handler)
    }

    private static let expiring: [CommandSpec] = [
        remaining(
            "ttl", "Returns the seconds until a key expires; -1 never, -2 no such key.", Handlers.ttl, varies: true),
        remaining(
            "pttl", "Returns the milliseconds until a key expires; -1 never, -2 no such key.", Handlers.pttl,
            varies: true),
        remaining(
            "expiretime", "Returns the Unix time in seconds when a key expires; -1 never, -2 no such key.",
            Handlers.expiretime, varies: false),
        remaining(
            "pexpiretime", "Returns the Unix time in milliseconds when a key expires; -1 never, -2 no such key.",
            Handlers.pexpiretime, varies: false),
        expiry("expire", "Makes a key expire after a number of seconds.", "seconds", .integer, Handlers.expire),
        expiry(
            "pexpire", "Makes a key expire after a number of milliseconds.", "milliseconds", .integer,
            Handlers.pexpire),
        expiry(
            "expireat", "Makes a key expire at a Unix time in seconds.", "unix-time-seconds", .unixTime,
            Handlers.expireat),
        expiry(
            "pexpireat", "Makes a key expire at a Unix time in milliseconds.", "unix-time-milliseconds", .unixTime,
            Handlers.pexpireat),
        CommandSpec(
            name: "persist", arity: 2, flags: [.write, .fast], keys: .one, categories: own, group: group,
            summary: "Removes a key's expiry.", arguments: [.key()], handler: Handlers.persist),
    ]

    private static func remaining(
        _ name: String, _ summary: String, _ handler: @escaping CommandSpec.Handler, varies: Bool
    ) -> CommandSpec {
        CommandSpec(
            name: name, arity: 2, flags: [.readonly, .fast], keys: .one, categories: own, group: group,
            summary: summary, arguments: [.key()], keyAccess: reading, tips: varies ? [CommandTips.varies] : [],
            handler: handler)
    }

    private static func expiry(
        _ name: String, _ summary: String, _ unit: String, _ kind: ArgumentSpec.Kind,
        _ handler: @escaping CommandSpec.Handler
    ) -> CommandSpec {
        CommandSpec(
            name: name, arity: -3, flags: [.write, .fast], keys: .one, categories: own, group: group,
            summary: summary,
            arguments: [
                .key(), ArgumentSpec(name: unit, kind: kind),
                .words("condition", ["NX", "XX", "GT", "LT"], optional: true),
            ],
            handler: handler)
    }

    /// RENAME excludes collections of the journal: see its handler.
    private static let renaming: [CommandSpec] = [
        CommandSpec(
            name: "copy", arity: -3, flags: [.write, .denyOOM, .namesDatabase], keys: .two, categories: own,
            group: group, complexity: "O(N) with N bytes of state.",
            summary: "Copies a key of any kind, with its state and its expiry.",
            arguments: [
                ArgumentSpec(name: "source", kind: .key), ArgumentSpec(name: "destination", kind: .key),
                ArgumentSpec(
                    name: "destination-db", kind: .integer, token: "DB",
                    summary: "The destination's database; the selected one if not given.", optional: true),
                .word("REPLACE", summary: "Replaces the destination, whatever it holds.", optional: true),
            ],
            keyAccess: reading, secondKeyAccess: ["OW", "update"], handler: Handlers.copy),
        CommandSpec(
            name: "rename", arity: 3, flags: [.write, .records], keys: .two, categories: own, group: group,
            complexity: "O(N) with N bytes of state.",
            summary: "Renames a key of any kind, which keeps its state and its expiry, and replaces the new key.",
            arguments: newName, keyAccess: ["RW", "access", "delete"], secondKeyAccess: ["OW", "update"],
            handler: Handlers.rename),
        CommandSpec(
            name: "renamenx", arity: 3, flags: [.write, .fast, .records], keys: .two, categories: own, group: group,
            complexity: "O(N) with N bytes of state.",
            summary: "Renames a key only if the new key does not exist.",
            arguments: newName, keyAccess: ["RW", "access", "delete"], secondKeyAccess: ["OW", "insert"],
            handler: Handlers.renamenx),
    ]

    /// MOVE excludes collections of the journal, as RENAME does.
    private static let databases: [CommandSpec] = [
        CommandSpec(
            name: "move", arity: 3, flags: [.write, .fast, .records, .allKeys], keys: .one, categories: own,
            group: group, complexity: "O(N) with N bytes of state.",
            summary: "Moves a key of any kind to another database, with its state and its expiry.",
            arguments: [.key(), ArgumentSpec(name: "db", kind: .integer)], keyAccess: ["RW", "access", "update"],
            handler: Handlers.move),
        CommandSpec(
            name: "swapdb", arity: 3, flags: [.write, .fast], categories: own + ["dangerous"], group: "server",
            summary: "Always an error: the number of its database is part of each stored key, so every key would have "
                + "to be rewritten.",
            arguments: [
                ArgumentSpec(name: "index1", kind: .integer), ArgumentSpec(name: "index2", kind: .integer),
            ],
            handler: Handlers.swapdb),
    ]

    private static let newName = [
        ArgumentSpec(name: "key", kind: .key), ArgumentSpec(name: "newkey", kind: .key),
    ]

    private static let removal: [CommandSpec] = [
        CommandSpec(
            name: "del", arity: -2, flags: .write, keys: .all, categories: own, group: group,
            complexity: "O(N) with N keys given.", summary: "Deletes keys, which resets their limiters.",
            arguments: [.key(multiple: true)], keyAccess: removing, tips: [CommandTips.multiShard, CommandTips.sum],
            handler: Handlers.del),
        CommandSpec(
            name: "unlink", arity: -2, flags: [.write, .fast], keys: .all, categories: own, group: group,
            complexity: "O(N) with N keys given.", summary: "Deletes keys: the same as DEL, which never blocks either.",
            arguments: [.key(multiple: true)], keyAccess: removing, tips: [CommandTips.multiShard, CommandTips.sum],
            handler: Handlers.unlink),
        flush(
            "flushdb", "Deletes all keys of the database.",
            complexity: "O(1) if no other database has keys; otherwise O(N) with N keys of all databases.",
            Handlers.flushdb),
        flush(
            "flushall", "Deletes all keys of all databases.",
            complexity: "O(1); memory is freed in the background.", Handlers.flushall),
    ]

    private static func flush(
        _ name: String, _ summary: String, complexity: String, _ handler: @escaping CommandSpec.Handler
    ) -> CommandSpec {
        CommandSpec(
            name: name, arity: -1, flags: [.write, .allKeys, .records], categories: own + ["dangerous"],
            group: "server", complexity: complexity, summary: summary,
            arguments: [.words("async", ["ASYNC", "SYNC"], optional: true)],
            tips: [CommandTips.allShards, CommandTips.allSucceeded], handler: handler)
    }
}
