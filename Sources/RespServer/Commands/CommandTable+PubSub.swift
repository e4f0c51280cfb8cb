// The command table's entries of publish/subscribe.

extension CommandTable {
    private static let group = "pubsub"

    static let pubsub: [CommandSpec] = [
        CommandSpec(
            name: "subscribe", arity: -2, flags: [.pubsub, .loading, .stale, .whileSubscribed], group: group,
            complexity: "O(N) with N channels given.", summary: "Subscribes to channels.",
            arguments: [ArgumentSpec(name: "channel", multiple: true)], handler: Handlers.subscribe),
        CommandSpec(
            name: "unsubscribe", arity: -1, flags: [.pubsub, .loading, .stale, .whileSubscribed], group: group,
            complexity: "O(N) with N channels given or subscribed to.",
            summary: "Unsubscribes from the channels, or from all if none is given.",
            arguments: [ArgumentSpec(name: "channel", optional: true, multiple: true)],
            handler: Handlers.unsubscribe),
        CommandSpec(
            name: "publish", arity: 3, flags: [.pubsub, .loading, .stale, .fast, .mayReplicate], group: group,
            complexity: "O(N+M) with N receivers and M patterns subscribed to, in slices.",
            summary: "Sends a message to all subscribers of a channel and returns their number.",
            arguments: [ArgumentSpec(name: "channel"), ArgumentSpec(name: "message")], handler: Handlers.publish),
        CommandSpec(
            name: "psubscribe", arity: -2, flags: [.pubsub, .loading, .stale, .whileSubscribed], group: group,
            complexity: "O(N) with N patterns given.",
            summary: "Subscribes to channels whose names match a pattern.",
            arguments: [
                ArgumentSpec(
                    name: "pattern", kind: .block, multiple: true,
                    arguments: [ArgumentSpec(name: "pattern", kind: .pattern)])
            ],
            handler: Handlers.psubscribe),
        CommandSpec(
            name: "punsubscribe", arity: -1, flags: [.pubsub, .loading, .stale, .whileSubscribed], group: group,
            complexity: "O(N+M) with N patterns given or subscribed to and M patterns in the server.",
            summary: "Unsubscribes from the patterns, or from all if none is given.",
            arguments: [ArgumentSpec(name: "pattern", kind: .pattern, optional: true, multiple: true)],
            handler: Handlers.punsubscribe),
        .container(
            "pubsub", group: group, summary: "Shows channels and their subscribers.",
            subcommands: [
                CommandSpec(
                    name: "channels", arity: -2, flags: [.pubsub, .loading, .stale], group: group,
                    complexity: "O(N) with N channels in use, in slices.",
                    summary: "Lists the channels with subscribers, or those of them that match a pattern.",
                    arguments: [ArgumentSpec(name: "pattern", kind: .pattern, optional: true)],
                    handler: Handlers.pubsubChannels),
                CommandSpec(
                    name: "numsub", arity: -2, flags: [.pubsub, .loading, .stale], group: group,
                    complexity: "O(N) with N channels given.",
                    summary: "Counts the subscribers of each channel given; patterns are not counted.",
                    arguments: [ArgumentSpec(name: "channel", optional: true, multiple: true)],
                    handler: Handlers.pubsubNumsub),
                CommandSpec(
                    name: "numpat", arity: 2, flags: [.pubsub, .loading, .stale], group: group,
                    summary: "Counts the distinct patterns subscribed to.", handler: Handlers.pubsubNumpat),
                .help(group: group),
            ]),
    ]
}
