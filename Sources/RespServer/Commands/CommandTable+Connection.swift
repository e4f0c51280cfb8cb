// The command table's entries for a connection's own state: greeting, authentication, protocol, end.

extension CommandTable {
    private static let group = "connection"
    private static let own = ["connection"]

    static let connection: [CommandSpec] = [
        CommandSpec(
            name: "ping", arity: -1, flags: [.fast, .whileSubscribed, .reportsDisk], categories: own, group: group,
            summary: "Answers PONG, or the message if there is one.",
            arguments: [ArgumentSpec(name: "message", optional: true)],
            tips: [CommandTips.allShards, CommandTips.allSucceeded], handler: Handlers.ping),
        CommandSpec(
            name: "echo", arity: 2, flags: [.loading, .stale, .fast], categories: own, group: group,
            summary: "Answers the message.", arguments: [ArgumentSpec(name: "message")], handler: Handlers.echo),
        CommandSpec(
            name: "quit", arity: -1, flags: [.loading, .stale, .fast, .noAuth, .whileSubscribed, .transactionControl],
            categories: own, group: group, summary: "Answers OK and closes the connection.", handler: Handlers.quit),
        CommandSpec(
            name: "select", arity: 2, flags: [.loading, .stale, .fast], categories: own, group: group,
            summary: "Chooses the database; 0 is the only one.",
            arguments: [ArgumentSpec(name: "index", kind: .integer)], handler: Handlers.select),
        CommandSpec(
            name: "reset", arity: 1, flags: [.loading, .stale, .fast, .noAuth, .whileSubscribed, .transactionControl],
            categories: own, group: group,
            summary: "Brings the connection back to the state it was accepted in: protocol, name, transaction, "
                + "subscriptions and authentication.",
            handler: Handlers.reset),
        CommandSpec(
            name: "hello", arity: -1, flags: [.loading, .stale, .fast, .noAuth, .redacted], categories: own,
            group: group,
            summary: "Chooses the version of the protocol, optionally authenticates and names the connection, and "
                + "tells about the server.",
            arguments: [
                ArgumentSpec(
                    name: "arguments", kind: .block, optional: true,
                    arguments: [
                        ArgumentSpec(name: "protover", kind: .integer),
                        ArgumentSpec(
                            name: "username_password", kind: .block, token: "AUTH", optional: true,
                            arguments: [ArgumentSpec(name: "username"), ArgumentSpec(name: "password")]),
                        ArgumentSpec(name: "clientname", token: "SETNAME", optional: true),
                    ])
            ],
            handler: Handlers.hello),
        CommandSpec(
            name: "auth", arity: -2, flags: [.loading, .stale, .fast, .noAuth, .redacted], categories: own,
            group: group, complexity: "O(N) in the length of the longer of the two passwords compared.",
            summary: "Authenticates the connection.",
            arguments: [ArgumentSpec(name: "username", optional: true), ArgumentSpec(name: "password")],
            handler: Handlers.auth),
        CommandSpec(
            name: "readonly", arity: 1, flags: [.loading, .stale, .fast], categories: own, group: "cluster",
            summary: "Allows reads from a replica of a cluster; this server has no cluster mode and says so.",
            handler: Handlers.readonly),
        CommandSpec(
            name: "readwrite", arity: 1, flags: [.loading, .stale, .fast], categories: own, group: "cluster",
            summary: "Takes READONLY back; this server has no cluster mode and says so.",
            handler: Handlers.readwrite),
        CommandSpec(
            name: "asking", arity: 1, flags: [.fast], categories: own, group: "cluster",
            summary: "Follows an ASK redirection; this server has no cluster mode and says so.",
            handler: Handlers.asking),
    ]
}
