// The command table's entries of MULTI and EXEC.

extension CommandTable {
    private static let group = "transactions"
    private static let own = ["transaction"]

    static let transactions: [CommandSpec] = [
        CommandSpec(
            name: "multi", arity: 1, flags: [.loading, .stale, .fast, .transactionControl], categories: own,
            group: group, summary: "Starts a transaction: further commands are queued.", handler: Handlers.multi),
        CommandSpec(
            name: "exec", arity: 1, flags: [.loading, .stale, .skipSlowLog, .transactionControl], categories: own,
            group: group, complexity: "Depends on the queued commands.",
            summary: "Runs the queued commands, isolated from all others, unless a watched key has changed.",
            handler: Handlers.exec),
        CommandSpec(
            name: "discard", arity: 1, flags: [.loading, .stale, .fast, .transactionControl], categories: own,
            group: group, complexity: "O(N) with N queued commands.",
            summary: "Drops the queued commands and the watched keys.", handler: Handlers.discard),
        CommandSpec(
            name: "watch", arity: -2, flags: [.loading, .stale, .fast, .transactionControl], keys: .all,
            categories: own, group: group, complexity: "O(N) with N keys given.",
            summary: "Makes the next EXEC do nothing if one of the keys changes before it.",
            arguments: [.key(multiple: true)], handler: Handlers.watch),
        CommandSpec(
            name: "unwatch", arity: 1, flags: [.loading, .stale, .fast], categories: own, group: group,
            complexity: "O(N) with N watched keys.", summary: "Forgets the watched keys.", handler: Handlers.unwatch),
    ]
}
