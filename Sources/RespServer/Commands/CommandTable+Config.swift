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
                    summary: "Returns the settings whose names match, with their values.",
                    arguments: [
                        ArgumentSpec(
                            name: "parameter", kind: .block, multiple: true,
                            arguments: [ArgumentSpec(name: "parameter", summary: "Name of a setting, or a glob.")])
                    ],
                    handler: Handlers.configGet),
                CommandSpec(
                    name: "set", arity: -4, flags: administration.union(.stopsAllLoops), group: group,
                    complexity: "O(N) with N settings given.",
                    summary: "Changes settings of the running server atomically: all of those given or none.",
                    arguments: [
                        ArgumentSpec(
                            name: "parameter_value", kind: .block, multiple: true,
                            arguments: [
                                ArgumentSpec(name: "parameter", summary: "Name of a setting."),
                                ArgumentSpec(name: "value", summary: "As in escapement.conf."),
                            ])
                    ],
                    tips: [CommandTips.allNodes, CommandTips.allSucceeded], secretFinder: SecretFinders.settings,
                    handler: Handlers.configSet),
                CommandSpec(
                    name: "rewrite", arity: 2, flags: administration, group: group,
                    complexity: "O(N) with N lines in the file.",
                    summary: "Writes the current settings to the configuration file and keeps its comments.",
                    handler: Handlers.configRewrite),
                // Only stopped loops' counters may be written by another thread; shards have counters, too.
                CommandSpec(
                    name: "resetstat", arity: 2, flags: administration.union([.allKeys, .stopsAllLoops]),
                    group: group,
                    summary: "Resets the statistics of INFO and LATENCY HISTOGRAM.",
                    handler: Handlers.configResetstat),
                .help(group: group),
            ])
    ]
}
