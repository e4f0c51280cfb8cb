// The command table's entries of CLIENT: a connection's own properties, and the commands for operators.

extension CommandTable {
    private static let group = "connection"
    private static let own = ["connection"]
    private static let always: CommandFlags = [.loading, .stale]
    private static let administration: CommandFlags = [.admin, .loading, .stale]

    static let client: [CommandSpec] = [
        .container(
            "client", group: group, summary: "Shows and controls connections.",
            subcommands: aboutSelf + aboutOthers + [.help(group: group, categories: own)])
    ]

    private static let aboutSelf: [CommandSpec] = [
        CommandSpec(
            name: "id", arity: 2, flags: always, categories: own, group: group,
            summary: "Returns the connection's id, which is never reused.", handler: Handlers.clientId),
        CommandSpec(
            name: "setname", arity: 3, flags: always, categories: own, group: group,
            summary: "Names the connection, for CLIENT LIST and the slow log.",
            arguments: [
                ArgumentSpec(
                    name: "connection-name", summary: "At most 1024 printable ASCII characters without spaces.")
            ], handler: Handlers.clientSetname),
        CommandSpec(
            name: "getname", arity: 2, flags: always, categories: own, group: group,
            summary: "Returns the connection's name.", handler: Handlers.clientGetname),
        CommandSpec(
            name: "setinfo", arity: 4, flags: always, categories: own, group: group,
            summary: "Sets the client library's name or version, for CLIENT LIST.",
            arguments: [
                ArgumentSpec(
                    name: "attr", kind: .oneof,
                    arguments: [
                        ArgumentSpec(name: "libname", token: "LIB-NAME"),
                        ArgumentSpec(name: "libver", token: "LIB-VER"),
                    ])
            ],
            handler: Handlers.clientSetinfo),
        CommandSpec(
            name: "info", arity: 2, flags: always, categories: own, group: group,
            summary: "Returns this connection's line of CLIENT LIST.", tips: [CommandTips.varies],
            handler: Handlers.clientInfo),
        CommandSpec(
            name: "reply", arity: 3, flags: always, categories: own, group: group,
            summary: "Turns replies to this connection on or off, or skips the next one.",
            arguments: [.words("on_off_skip", ["ON", "OFF", "SKIP"])], handler: Handlers.clientReply),
        CommandSpec(
            name: "no-evict", arity: 3, flags: administration, categories: own, group: group,
            summary: "Protects the connection from being closed to save memory (maxmemory-clients).",
            arguments: [.words("enabled", ["ON", "OFF"])], handler: Handlers.clientNoEvict),
        CommandSpec(
            name: "no-touch", arity: 3, flags: always, categories: own, group: group,
            summary: "Accepted for compatibility: accesses to keys are not tracked.",
            arguments: [.words("enabled", ["ON", "OFF"])], handler: Handlers.clientNoTouch),
    ]

    private static let aboutOthers: [CommandSpec] = [
        CommandSpec(
            name: "list", arity: -2, flags: administration.union(.stopsAllLoops), categories: own, group: group,
            complexity: "O(N) with N connections.", summary: "Lists the connections, one per line.",
            arguments: [
                .words(
                    "normal_master_replica_pubsub", ["NORMAL", "MASTER", "REPLICA", "PUBSUB"], token: "TYPE",
                    optional: true),
                ArgumentSpec(
                    name: "id", kind: .block, token: "ID", optional: true,
                    arguments: [ArgumentSpec(name: "client-id", kind: .integer, multiple: true)]),
            ],
            tips: [CommandTips.varies], handler: Handlers.clientList),
        CommandSpec(
            name: "kill", arity: -3, flags: administration.union(.stopsAllLoops), categories: own, group: group,
            complexity: "O(N) with N connections.", summary: "Closes connections.",
            arguments: [
                ArgumentSpec(
                    name: "filter", kind: .oneof,
                    arguments: [
                        ArgumentSpec(name: "ip:port"),
                        ArgumentSpec(name: "new-format", kind: .oneof, multiple: true, arguments: killFilters),
                    ])
            ],
            handler: Handlers.clientKill),
        CommandSpec(
            name: "pause", arity: -3, flags: administration.union([.stopsAllLoops, .ignoresPause]), categories: own,
            group: group, summary: "Holds back all commands, or only writes, for a number of milliseconds.",
            arguments: [
                ArgumentSpec(name: "timeout", kind: .integer, summary: "Milliseconds; 0 or more."),
                .words("mode", ["WRITE", "ALL"], optional: true),
            ],
            handler: Handlers.clientPause),
        CommandSpec(
            name: "unpause", arity: 2, flags: administration.union(.ignoresPause), categories: own,
            group: group, complexity: "O(N) with N connections held back.", summary: "Ends CLIENT PAUSE.",
            handler: Handlers.clientUnpause),
    ]

    private static let killFilters: [ArgumentSpec] = [
        ArgumentSpec(name: "client-id", kind: .integer, token: "ID", optional: true),
        .words(
            "normal_master_slave_pubsub", ["NORMAL", "MASTER", "SLAVE", "REPLICA", "PUBSUB"], token: "TYPE",
            optional: true),
        ArgumentSpec(name: "username", token: "USER", optional: true),
        ArgumentSpec(name: "ip:port", token: "ADDR", optional: true),
        ArgumentSpec(name: "ip:port", token: "LADDR", optional: true),
        ArgumentSpec(name: "yes/no", token: "SKIPME", optional: true),
    ]
}
