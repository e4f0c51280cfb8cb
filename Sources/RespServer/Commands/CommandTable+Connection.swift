// The command table's entries for a connection's own state: greeting, authentication, protocol, end.

extension CommandTable {
    private static let group = "connection"
    private static let own = ["connection"]

    static let connection: [CommandSpec] = [
        CommandSpec(
            name: "ping", arity: -1, flags: [.fast, .whileSubscribed, .reportsDisk], categories: own, group: group,
            summary: "Returns PONG, or the message if one is given.",
            arguments: [ArgumentSpec(name: "message", optional: true)],
            tips: [CommandTips.allShards, CommandTips.allSucceeded], handler: Handlers.ping),
        CommandSpec(
            name: "echo", arity: 2, flags: [.loading, .stale, .fast], categories: own, group: group,
            summary: "Returns the message.", arguments: [ArgumentSpec(name: "message")], handler: Handlers.echo),
        CommandSpec(
            name: "quit", arity: -1, flags: [.loading, .stale, .fast, .noAuth, .whileSubscribed, .transactionControl],
            categories: own, group: group, summary: "Replies OK and closes the connection.", handler: Handlers.quit),
        CommandSpec(
            name: "select", arity: 2, flags: [.loading, .stale, .fast], categories: own, group: group,
            summary: "Selects the database of the commands that follow on this connection.",
            arguments: [ArgumentSpec(name: "index", kind: .integer, summary: "Number of the database, from 0 on.")],
            handler: Handlers.select),
        CommandSpec(
            name: "reset", arity: 1, flags: [.loading, .stale, .fast, .noAuth, .whileSubscribed, .transactionControl],
            categories: own, group: group,
            summary: "Resets the connection to its initial state: protocol, name, transaction, "
                + "subscriptions and authentication.",
            handler: Handlers.reset),
        CommandSpec(
            name: "hello", arity: -1, flags: [.loading, .stale, .fast, .noAuth, .redacted], categories: own,
            group: group,
            summary: "Selects the protocol version, optionally authenticates and names the connection, and returns "
                + "information about the server.",
            arguments: [
                ArgumentSpec(
                    name: "arguments", kind: .block, optional: true,
                    arguments: [
                        ArgumentSpec(name: "protover", kind: .integer, summary: "2 or 3."),
                        ArgumentSpec(
                            name: "username_password", kind: .block, token: "AUTH", optional: true,
                            arguments: [
                                ArgumentSpec(name: "username", summary: "Must be `default`."),
                                ArgumentSpec(name: "password"),
                            ]),
                        ArgumentSpec(
                            name: "clientname", token: "SETNAME", summary: "As with CLIENT SETNAME.", optional: true),
                    ])
            ],
            handler: Handlers.hello),
        CommandSpec(
            name: "auth", arity: -2, flags: [.loading, .stale, .fast, .noAuth, .redacted], categories: own,
            group: group, complexity: "O(N) in the length of the longer of the two passwords compared.",
            summary: "Authenticates the connection.",
            arguments: [
                ArgumentSpec(name: "username", summary: "Must be `default`.", optional: true),
                ArgumentSpec(name: "password"),
            ],
            handler: Handlers.auth),
        CommandSpec(
            name: "readonly", arity: 1, flags: [.loading, .stale, .fast], categories: own, group: "cluster",
            summary: "Allows reads from a cluster replica. Always an error: this server has no cluster mode.",
            handler: Handlers.readonly),
        CommandSpec(
            name: "readwrite", arity: 1, flags: [.loading, .stale, .fast], categories: own, group: "cluster",
            summary: "Reverts READONLY. Always an error: this server has no cluster mode.",
            handler: Handlers.readwrite),
        CommandSpec(
            name: "asking", arity: 1, flags: [.fast], categories: own, group: "cluster",
            summary: "Follows an ASK redirection. Always an error: this server has no cluster mode.",
            handler: Handlers.asking),
    ]
}
