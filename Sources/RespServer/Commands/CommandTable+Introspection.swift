// The command table's entries about commands themselves: their descriptions and latencies.

extension CommandTable {
    private static let group = "server"
    private static let own = ["connection"]
    private static let always: CommandFlags = [.loading, .stale]
    private static let administration: CommandFlags = [.admin, .loading, .stale]

    static let introspection: [CommandSpec] = [
        CommandSpec(
            name: "command", arity: -1, flags: always, categories: own, group: group,
            complexity: "O(N) with N commands.", summary: "Describes all commands, for programs.",
            tips: [CommandTips.unordered], subcommands: commandSubcommands, handler: Handlers.command),
        .container(
            "slowlog", group: group, summary: "Shows recent slow commands.", subcommands: slowLogSubcommands),
        .container(
            "latency", group: group, summary: "Shows how long commands and the server's own work take.",
            subcommands: latencySubcommands),
    ]

    private static let commandNames = ArgumentSpec(name: "command-name", optional: true, multiple: true)

    private static let commandSubcommands: [CommandSpec] = [
        CommandSpec(
            name: "count", arity: 2, flags: always, categories: own, group: group, summary: "Counts the commands.",
            handler: Handlers.commandCount),
        CommandSpec(
            name: "info", arity: -2, flags: always, categories: own, group: group,
            complexity: "O(N) with N names given, or with N commands.",
            summary: "Describes the given commands, or all, for programs.", arguments: [commandNames],
            tips: [CommandTips.unordered], handler: Handlers.commandInfo),
        CommandSpec(
            name: "docs", arity: -2, flags: always, categories: own, group: group,
            complexity: "O(N) with N names given, or with N commands.",
            summary: "Documents the given commands, or all, for people.", arguments: [commandNames],
            tips: [CommandTips.unordered], handler: Handlers.commandDocs),
        CommandSpec(
            name: "list", arity: -2, flags: always, categories: own, group: group,
            complexity: "O(N) with N commands.", summary: "Lists the names of the commands.",
            arguments: [
                ArgumentSpec(
                    name: "filterby", kind: .oneof, token: "FILTERBY", optional: true,
                    arguments: [
                        ArgumentSpec(name: "module-name", token: "MODULE"),
                        ArgumentSpec(name: "category", token: "ACLCAT"),
                        ArgumentSpec(name: "pattern", kind: .pattern, token: "PATTERN"),
                    ])
            ],
            tips: [CommandTips.unordered], handler: Handlers.commandList),
        CommandSpec(
            name: "getkeys", arity: -4, flags: always, categories: own, group: group,
            complexity: "O(N) with N arguments given.", summary: "Returns the arguments of a command that are keys.",
            arguments: [
                ArgumentSpec(name: "command"), ArgumentSpec(name: "arg", optional: true, multiple: true),
            ],
            secretFinder: SecretFinders.ofInnerCommand, handler: Handlers.commandGetkeys),
        .help(group: group, categories: own),
    ]

    private static let slowLogSubcommands: [CommandSpec] = [
        CommandSpec(
            name: "get", arity: -2, flags: administration, group: group, complexity: "O(N) with N entries returned.",
            summary: "Returns the newest entries of the slow log.",
            arguments: [
                ArgumentSpec(name: "count", kind: .integer, summary: "Default: 10. All: -1.", optional: true)
            ],
            tips: [CommandTips.allNodes, CommandTips.varies], handler: Handlers.slowlogGet),
        CommandSpec(
            name: "len", arity: 2, flags: administration, group: group, summary: "Counts the slow log's entries.",
            tips: [CommandTips.allNodes, CommandTips.sum, CommandTips.varies], handler: Handlers.slowlogLen),
        CommandSpec(
            name: "reset", arity: 2, flags: administration, group: group,
            complexity: "O(N) with N entries in the slow log.", summary: "Empties the slow log.",
            tips: [CommandTips.allNodes, CommandTips.allSucceeded], handler: Handlers.slowlogReset),
        .help(group: group),
    ]

    private static let report = [CommandTips.varies, CommandTips.allNodes, "response_policy:special"]

    private static let latencySubcommands: [CommandSpec] = [
        CommandSpec(
            name: "latest", arity: 2, flags: administration, group: group,
            summary: "Returns the newest and the longest delay of each event.", tips: report,
            handler: Handlers.latencyLatest),
        CommandSpec(
            name: "history", arity: 3, flags: administration, group: group,
            summary: "Returns the delays of an event with their times.",
            arguments: [ArgumentSpec(name: "event", summary: "Its name, see LATENCY.")],
            tips: report, handler: Handlers.latencyHistory),
        CommandSpec(
            name: "histogram", arity: -2, flags: administration, group: group,
            complexity: "O(N) with N commands returned.",
            summary: "Returns the latency distribution of the given commands, or of all.",
            arguments: [
                ArgumentSpec(
                    name: "command", summary: "Such as `get`, `client` or `client|list`.", optional: true,
                    multiple: true)
            ], tips: report,
            handler: Handlers.latencyHistogram),
        CommandSpec(
            name: "reset", arity: -2, flags: administration, group: group,
            summary: "Drops the delays of the given events, or of all.",
            arguments: [ArgumentSpec(name: "event", optional: true, multiple: true)],
            tips: [CommandTips.allNodes, CommandTips.allSucceeded], handler: Handlers.latencyReset),
        CommandSpec(
            name: "doctor", arity: 2, flags: administration, group: group,
            summary: "Summarizes the delays in words.", tips: report, handler: Handlers.latencyDoctor),
        .help(group: group),
    ]
}
