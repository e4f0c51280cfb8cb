// The command table's entries of CONFIG.

extension CommandTable {
    private static let group = "server"
    private static let administration: CommandFlags = [.admin, .loading, .stale]

    static let config: [CommandSpec] = [
        .container(
            "config", group: group, summary: "Reads and changes settings.",
            subcommands: [
                CommandSpec(
                    name: "get", arity: -3, flags: administration, group: group,
                    complexity: "O(N*M) with N patterns given and M settings.",
                    summary: "Answers the settings whose names match, with their values.",
                    arguments: [
                        ArgumentSpec(
                            name: "parameter", kind: .block, multiple: true,
                            arguments: [ArgumentSpec(name: "parameter")])
                    ],
                    handler: Handlers.configGet),
                CommandSpec(
                    name: "set", arity: -4, flags: administration, group: group,
                    complexity: "O(N) with N settings given.",
                    summary: "Changes settings in the running server, all of those given or none.",
                    arguments: [
                        ArgumentSpec(
                            name: "parameter_value", kind: .block, multiple: true,
                            arguments: [ArgumentSpec(name: "parameter"), ArgumentSpec(name: "value")])
                    ],
                    tips: [CommandTips.allNodes, CommandTips.allSucceeded], secretFinder: SecretFinders.settings,
                    handler: Handlers.configSet),
                CommandSpec(
                    name: "rewrite", arity: 2, flags: administration, group: group,
                    complexity: "O(N) with N lines in the file.",
                    summary: "Writes the settings in force into the configuration file and keeps its comments.",
                    handler: Handlers.configRewrite),
                // The loops' counters are theirs to write, and the shards have counters, too.
                CommandSpec(
                    name: "resetstat", arity: 2, flags: administration.union([.allKeys, .stopsAllLoops]),
                    group: group,
                    summary: "Sets the statistics of INFO and LATENCY HISTOGRAM back to zero.",
                    handler: Handlers.configResetstat),
                .help(group: group),
            ])
    ]
}
