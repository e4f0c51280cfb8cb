// The command table's entries about scripts: only those of the script table, there is no Lua.

extension CommandTable {
    private static let group = "scripting"
    private static let own = ["scripting"]

    static let scripting: [CommandSpec] = [
        running(
            "eval", "script", flags: [.script, .mayReplicate], ["RW", "access", "update"],
            summary: "Runs a known limiter script, given its text.", .scriptByText, Handlers.eval),
        running(
            "evalsha", "sha1", flags: [.script, .mayReplicate], ["RW", "access", "update"],
            summary: "Runs a known limiter script, given the SHA-1 of its text.", .scriptBySHA1, Handlers.evalsha),
        running(
            "eval_ro", "script", flags: [.script, .readonly], ["RO", "access"],
            summary: "Runs a known limiter script that changes nothing, given its text.", nil, Handlers.evalReadOnly),
        running(
            "evalsha_ro", "sha1", flags: [.script, .readonly], ["RO", "access"],
            summary: "Runs a known limiter script that changes nothing, given the SHA-1 of its text.", nil,
            Handlers.evalshaReadOnly),
        .container(
            "script", group: group, summary: "Reports which scripts this server knows.", subcommands: subcommands),
    ]

    private static func running(
        _ name: String, _ script: String, flags: CommandFlags, _ access: [String], summary: String,
        _ batched: BatchedCommand?, _ handler: @escaping CommandSpec.Handler
    ) -> CommandSpec {
        CommandSpec(
            name: name, arity: -3, flags: flags, categories: own, group: group,
            complexity: "Depends on the script; mostly O(1).", summary: summary,
            arguments: [
                ArgumentSpec(name: script), ArgumentSpec(name: "numkeys", kind: .integer),
                ArgumentSpec(name: "key", kind: .key, optional: true, multiple: true),
                ArgumentSpec(name: "arg", optional: true, multiple: true),
            ],
            keyAccess: access, keyFinder: ScriptArguments.keyPositions, batched: batched, handler: handler)
    }

    private static let subcommands: [CommandSpec] = [
        CommandSpec(
            name: "load", arity: 3, flags: [.stale], categories: own, group: group,
            complexity: "O(N) with N bytes of text.",
            summary: "Returns the SHA-1 of a known script; any other text is an error.",
            arguments: [ArgumentSpec(name: "script")], tips: [CommandTips.allNodes, CommandTips.allSucceeded],
            handler: Handlers.scriptLoad),
        CommandSpec(
            name: "exists", arity: -3, categories: own, group: group, complexity: "O(N) with N digests given.",
            summary: "Returns 1 for each SHA-1 of a known script, 0 for any other.",
            arguments: [ArgumentSpec(name: "sha1", multiple: true)],
            tips: [CommandTips.allShards, "response_policy:agg_logical_and"], handler: Handlers.scriptExists),
        CommandSpec(
            name: "flush", arity: -2, categories: own, group: group,
            summary: "Does nothing: known scripts are part of the server.",
            arguments: [.words("async", ["ASYNC", "SYNC"], optional: true)],
            tips: [CommandTips.allNodes, CommandTips.allSucceeded], handler: Handlers.scriptFlush),
        CommandSpec(
            name: "kill", arity: 2, categories: own, group: group,
            summary: "Returns an error: no script runs long enough to be stopped.",
            tips: [CommandTips.allShards, "response_policy:one_succeeded"], handler: Handlers.scriptKill),
        .help(group: group, categories: own),
    ]
}
