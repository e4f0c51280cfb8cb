// The command table's entries about persistence.

extension CommandTable {
    private static let group = "server"

    static let persistence: [CommandSpec] = [
        CommandSpec(
            name: "save", arity: 1, flags: [.admin, .noMulti], group: group, complexity: "O(N) with N keys.",
            summary: "Takes a snapshot, and replies when it is on disk; only this connection waits.",
            handler: Handlers.save),
        CommandSpec(
            name: "bgsave", arity: -1, flags: .admin, group: group, complexity: "O(1); the snapshot is O(N).",
            summary: "Starts a snapshot.", arguments: [.word("SCHEDULE", optional: true)], handler: Handlers.bgsave),
        CommandSpec(
            name: "bgrewriteaof", arity: 1, flags: .admin, group: group,
            complexity: "O(1); the snapshot is O(N).",
            summary: "Starts a snapshot that replaces the log so far.", handler: Handlers.bgrewriteaof),
        CommandSpec(
            name: "lastsave", arity: 1, flags: [.loading, .stale, .fast], categories: ["admin", "dangerous"],
            group: group, summary: "Returns the Unix time of the last snapshot.", tips: [CommandTips.varies],
            handler: Handlers.lastsave),
    ]
}
