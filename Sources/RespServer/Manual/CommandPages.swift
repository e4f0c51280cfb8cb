// The pages of all commands by full name (`get`, `client|list`). The pages are in one file per subject, as the command
// table's entries are; this file joins them.

/// The pages of the reference.
enum CommandPages {
    /// By full name. A test demands a page for each command and subcommand, and a command for each page.
    static let all: [String: CommandPage] = {
        var all: [String: CommandPage] = [:]
        let parts = [
            limits, policies, keys, counters, transactions, scripts, pubsub, connection, client, server, introspection,
            cluster, replication, persistence, config,
        ]
        for part in parts {
            all.merge(part) { _, _ in preconditionFailure("two pages of one command") }
        }
        // What is the same for every container.
        for spec in CommandTable.specs where spec.subcommands.contains(where: { $0.name == "help" }) {
            all["\(spec.name)|help"] = CommandPage(
                replies: [.array("a line about the command, then two about each subcommand")])
        }
        return all
    }()
}
