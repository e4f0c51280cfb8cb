// The command table's entries about the server as a whole: its state, its replication, its end.

extension CommandTable {
    private static let group = "server"

    static let server: [CommandSpec] = state + replication + ending

    private static let state: [CommandSpec] = [
        CommandSpec(
            name: "info", arity: -1, flags: [.loading, .stale, .allKeys], categories: ["dangerous"], group: group,
            summary: "Reports on the server, section by section.",
            arguments: [ArgumentSpec(name: "section", optional: true, multiple: true)],
            tips: [CommandTips.varies, CommandTips.allShards, "response_policy:special"], handler: Handlers.info),
        CommandSpec(
            name: "time", arity: 1, flags: [.loading, .stale, .fast], group: group,
            summary: "Answers the server's Unix time in seconds, and the microseconds in that second.",
            tips: [CommandTips.varies], handler: Handlers.time),
        CommandSpec(
            name: "lolwut", arity: -1, flags: [.readonly, .fast], group: group,
            summary: "Draws something, and names the version.",
            arguments: [ArgumentSpec(name: "version", kind: .integer, token: "VERSION", optional: true)],
            handler: Handlers.lolwut),
        CommandSpec(
            name: "monitor", arity: 1, flags: [.admin, .loading, .stale], group: group,
            summary: "Shows every command the server receives, as it comes.", handler: Handlers.monitor),
        .container(
            "module", group: group, summary: "Looks at modules, of which this server has none.",
            subcommands: [
                CommandSpec(
                    name: "list", arity: 2, flags: .admin, group: group,
                    summary: "Lists the modules: an empty list.", tips: [CommandTips.unordered],
                    handler: Handlers.moduleList),
                .help(group: group),
            ]),
        CommandSpec(
            name: "cluster", arity: -2, flags: [.ownRefusal], group: "cluster",
            summary: "Says that this server has no cluster mode, whatever the subcommand.",
            arguments: [
                ArgumentSpec(name: "subcommand"), ArgumentSpec(name: "argument", optional: true, multiple: true),
            ],
            handler: Handlers.cluster),
    ]

    private static let replication: [CommandSpec] = [
        replicaOf("replicaof", "Makes this server a replica of another one, or a primary again.", Handlers.replicaof),
        replicaOf("slaveof", "The older name of REPLICAOF.", Handlers.slaveof),
        CommandSpec(
            name: "role", arity: 1, flags: [.loading, .stale, .fast], categories: ["admin", "dangerous"],
            group: group, summary: "Tells whether this server is a primary or a replica, and of or to whom.",
            handler: Handlers.role),
        CommandSpec(
            name: "replconf", arity: -1, flags: [.admin, .loading, .stale, .ignoresPause], group: group,
            summary: "Carries settings between a replica and its primary.", handler: Handlers.replconf),
        CommandSpec(
            name: "wait", arity: 3, categories: ["connection"], group: "generic",
            summary: "Waits until the connection's writes have reached some replicas, or for a time.",
            arguments: [
                ArgumentSpec(name: "numreplicas", kind: .integer), ArgumentSpec(name: "timeout", kind: .integer),
            ],
            tips: [CommandTips.allShards, "response_policy:agg_min"], handler: Handlers.wait),
        CommandSpec(
            name: "waitaof", arity: 4, categories: ["connection"], group: "generic",
            summary: "Waits until the connection's writes are on disk, here and on some replicas, or for a time.",
            arguments: [
                ArgumentSpec(name: "numlocal", kind: .integer), ArgumentSpec(name: "numreplicas", kind: .integer),
                ArgumentSpec(name: "timeout", kind: .integer),
            ],
            tips: [CommandTips.allShards, "response_policy:agg_min"], handler: Handlers.waitaof),
        CommandSpec(
            name: "failover", arity: -1, flags: [.admin, .stale, .ignoresPause], group: group,
            summary: "Hands the primary's role to a replica that has everything.",
            arguments: [
                ArgumentSpec(
                    name: "target", kind: .block, token: "TO", optional: true,
                    arguments: [
                        ArgumentSpec(name: "host"), ArgumentSpec(name: "port", kind: .integer),
                        .word("FORCE", optional: true),
                    ]), .word("ABORT", optional: true),
                ArgumentSpec(name: "milliseconds", kind: .integer, token: "TIMEOUT", optional: true),
            ],
            handler: Handlers.failover),
        CommandSpec(
            name: "psync", arity: -3, flags: [.admin, .noMulti, .ignoresPause, .ownRefusal], group: group,
            complexity: "O(N) with N bytes to send.", summary: "Asks a primary for its stream from an offset on.",
            arguments: [
                ArgumentSpec(name: "replicationid"), ArgumentSpec(name: "offset", kind: .integer),
            ],
            handler: Handlers.psync),
        CommandSpec(
            name: "sync", arity: 1, flags: [.admin, .noMulti, .ignoresPause], group: group,
            complexity: "O(N) with N bytes to send.", summary: "Asks a primary for everything.",
            handler: Handlers.sync),
    ]

    private static func replicaOf(
        _ name: String, _ summary: String, _ handler: @escaping CommandSpec.Handler
    ) -> CommandSpec {
        CommandSpec(
            name: name, arity: 3, flags: [.admin, .stale, .ignoresPause], group: group, summary: summary,
            arguments: [
                ArgumentSpec(
                    name: "args", kind: .oneof,
                    arguments: [
                        ArgumentSpec(
                            name: "host-port", kind: .block,
                            arguments: [ArgumentSpec(name: "host"), ArgumentSpec(name: "port", kind: .integer)]),
                        ArgumentSpec(name: "no-one", kind: .block, arguments: [.word("NO"), .word("ONE")]),
                    ])
            ],
            handler: handler)
    }

    private static let ending: [CommandSpec] = [
        CommandSpec(
            name: "shutdown", arity: -1, flags: [.admin, .loading, .stale, .noMulti], group: group,
            complexity: "O(N) with N changes not yet stored.",
            summary: "Ends the server; answers only if it cannot.",
            arguments: [
                .words("nosave_save", ["NOSAVE", "SAVE"], optional: true), .word("NOW", optional: true),
                .word("FORCE", optional: true), .word("ABORT", optional: true),
            ],
            handler: Handlers.shutdown),
        .container(
            "debug", flags: [.admin, .loading, .stale], group: group,
            summary: "Provokes faults for tests; off unless enable-debug-command allows it.",
            subcommands: [
                CommandSpec(
                    name: "sleep", arity: 3, flags: [.admin, .loading, .stale], group: group,
                    summary: "Stops the event loop of this connection for some seconds.",
                    arguments: [ArgumentSpec(name: "seconds", kind: .double)], handler: Handlers.debugSleep),
                CommandSpec(
                    name: "metrics", arity: -2, flags: [.admin, .loading, .stale], group: group,
                    complexity: "O(N) with N metrics and shards.",
                    summary: "Returns all metrics in Prometheus's text format, or in OpenMetrics.",
                    arguments: [.word("OPENMETRICS", optional: true)], handler: Handlers.debugMetrics),
                .help(group: group, flags: [.admin, .loading, .stale]),
            ]),
    ]
}
