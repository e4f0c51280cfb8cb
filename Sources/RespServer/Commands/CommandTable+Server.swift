// The command table's entries about the server as a whole: its state, replication and shutdown.

extension CommandTable {
    private static let group = "server"

    static let server: [CommandSpec] = state + replication + ending

    private static let state: [CommandSpec] = [
        CommandSpec(
            name: "info", arity: -1, flags: [.loading, .stale, .allKeys], categories: ["dangerous"], group: group,
            summary: "Returns information about the server, by section.",
            arguments: [
                ArgumentSpec(
                    name: "section", summary: "Its name, or `default`, `all` or `everything`.", optional: true,
                    multiple: true)
            ],
            tips: [CommandTips.varies, CommandTips.allShards, "response_policy:special"], handler: Handlers.info),
        CommandSpec(
            name: "time", arity: 1, flags: [.loading, .stale, .fast], group: group,
            summary: "Returns the server's Unix time in seconds, and the microseconds in that second.",
            tips: [CommandTips.varies], handler: Handlers.time),
        CommandSpec(
            name: "lolwut", arity: -1, flags: [.readonly, .fast], group: group,
            summary: "Draws a picture, and shows the version.",
            arguments: [
                ArgumentSpec(
                    name: "version", kind: .integer, token: "VERSION", summary: "Any integer.", optional: true)
            ],
            handler: Handlers.lolwut),
        CommandSpec(
            name: "monitor", arity: 1, flags: [.admin, .loading, .stale, .stopsAllLoops], group: group,
            summary: "Streams every command the server receives.", handler: Handlers.monitor),
        .container(
            "module", group: group, summary: "Shows modules; this server has none.",
            subcommands: [
                CommandSpec(
                    name: "list", arity: 2, flags: .admin, group: group,
                    summary: "Lists the modules: an empty list.", tips: [CommandTips.unordered],
                    handler: Handlers.moduleList),
                .help(group: group),
            ]),
        CommandSpec(
            name: "cluster", arity: -2, flags: [.ownRefusal], group: "cluster",
            summary: "Always an error, whatever the subcommand: this server has no cluster mode.",
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
            group: group, summary: "Returns whether this server is a primary or a replica, and its peers.",
            handler: Handlers.role),
        CommandSpec(
            name: "replconf", arity: -1, flags: [.admin, .loading, .stale, .ignoresPause], group: group,
            summary: "Exchanges settings between a replica and its primary.", handler: Handlers.replconf),
        CommandSpec(
            name: "wait", arity: 3, categories: ["connection"], group: "generic",
            summary: "Waits until the connection's writes have reached a number of replicas, or for a timeout.",
            arguments: [
                ArgumentSpec(name: "numreplicas", kind: .integer), ArgumentSpec(name: "timeout", kind: .integer),
            ],
            tips: [CommandTips.allShards, "response_policy:agg_min"], handler: Handlers.wait),
        CommandSpec(
            name: "waitaof", arity: 4, categories: ["connection"], group: "generic",
            summary:
                "Waits until the connection's writes are on disk, here and on a number of replicas, or for a timeout.",
            arguments: [
                ArgumentSpec(name: "numlocal", kind: .integer), ArgumentSpec(name: "numreplicas", kind: .integer),
                ArgumentSpec(name: "timeout", kind: .integer),
            ],
            tips: [CommandTips.allShards, "response_policy:agg_min"], handler: Handlers.waitaof),
        CommandSpec(
            name: "failover", arity: -1, flags: [.admin, .stale, .ignoresPause], group: group,
            summary: "Hands the primary's role over to a replica that is fully in sync.",
            arguments: [
                ArgumentSpec(
                    name: "target", kind: .block, token: "TO", optional: true,
                    arguments: [
                        ArgumentSpec(name: "host", summary: "As INFO replication shows it."),
                        ArgumentSpec(name: "port", kind: .integer),
                        .word("FORCE", summary: "On timeout hand over anyway; needs TIMEOUT.", optional: true),
                    ]),
                .word("ABORT", summary: "End the failover in progress.", optional: true),
                ArgumentSpec(
                    name: "milliseconds", kind: .integer, token: "TIMEOUT",
                    summary: "How long writes may wait for the target; above 0. Default: without limit.",
                    optional: true),
            ],
            handler: Handlers.failover),
        CommandSpec(
            name: "psync", arity: -3, flags: [.admin, .noMulti, .ignoresPause, .ownRefusal], group: group,
            complexity: "O(N) with N bytes to send.",
            summary: "Requests a primary's replication stream from an offset.",
            arguments: [
                ArgumentSpec(name: "replicationid", summary: "The replica's history, or `?`."),
                ArgumentSpec(
                    name: "offset", kind: .integer, summary: "Of the first byte that the replica lacks, or -1."),
            ],
            handler: Handlers.psync),
        CommandSpec(
            name: "sync", arity: 1, flags: [.admin, .noMulti, .ignoresPause], group: group,
            complexity: "O(N) with N bytes to send.", summary: "Requests a full resynchronization from a primary.",
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
                            arguments: [
                                ArgumentSpec(name: "host", summary: "Name or address of the primary."),
                                ArgumentSpec(name: "port", kind: .integer),
                            ]),
                        ArgumentSpec(name: "no-one", kind: .block, arguments: [.word("NO"), .word("ONE")]),
                    ])
            ],
            handler: handler)
    }

    private static let ending: [CommandSpec] = [
        CommandSpec(
            name: "shutdown", arity: -1, flags: [.admin, .loading, .stale, .noMulti], group: group,
            complexity: "O(N) with N changes not yet stored.",
            summary: "Shuts the server down; replies only if it cannot.",
            arguments: [
                .words("nosave_save", ["NOSAVE", "SAVE"], optional: true), .word("NOW", optional: true),
                .word("FORCE", optional: true), .word("ABORT", optional: true),
            ],
            handler: Handlers.shutdown),
        .container(
            "debug", flags: [.admin, .loading, .stale], group: group,
            summary: "Provokes faults for tests; disabled unless enable-debug-command allows it.",
            subcommands: [
                CommandSpec(
                    name: "sleep", arity: 3, flags: [.admin, .loading, .stale], group: group,
                    summary: "Blocks the event loop of this connection for a number of seconds.",
                    arguments: [ArgumentSpec(name: "seconds", kind: .double, summary: "From 0 to 3600.")],
                    handler: Handlers.debugSleep),
                CommandSpec(
                    name: "metrics", arity: -2, flags: [.admin, .loading, .stale, .allKeys], group: group,
                    complexity: "O(N) with N metrics and shards.",
                    summary: "Returns all metrics in Prometheus's text format, or in OpenMetrics.",
                    arguments: [.word("OPENMETRICS", optional: true)], handler: Handlers.debugMetrics),
                .help(group: group, flags: [.admin, .loading, .stale]),
            ]),
    ]
}
