// The command table: the single definition of every command. The entries are in one file per subject; this file joins
// them and owns the helpers to write them. Nothing here runs a command or knows about connections.

/// All commands.
enum CommandTable {
    /// Every command, in the order of the documentation. The index of an entry is the command's number in dispatch, in
    /// statistics and in the results of `lookup`.
    static let specs: [CommandSpec] =
        limiter + limits + policies + counters + connection + keys + transactions + scripting + pubsub + server
        + persistence + config + client + introspection

    /// Finds commands by name. Per-request code keeps its own reference: each access to a static checks that it is
    /// initialized.
    static let lookup = CommandLookup(specs)

    /// Full names of commands and subcommands, `get` and `client|list`, by their number in statistics: the commands
    /// first, each under its index, then the subcommands of one command after those of another.
    static let fullNames: [String] =
        specs.map(\.name) + specs.flatMap { spec in spec.subcommands.map { $0.fullName(in: spec) } }

    /// The number in statistics of each command's first subcommand; its others follow.
    static let firstSubcommandNumbers: [Int] = {
        var next = specs.count
        return specs.map { spec in
            defer { next += spec.subcommands.count }
            return next
        }
    }()
}

extension CommandSpec {
    /// A name that only groups its subcommands.
    static func container(
        _ name: String, flags: CommandFlags = [], group: String, summary: String, subcommands: [CommandSpec]
    ) -> CommandSpec {
        CommandSpec(
            name: name, arity: -2, flags: flags, group: group, complexity: "Depends on the subcommand.",
            summary: summary, subcommands: subcommands)
    }

    /// The `HELP` subcommand of every container.
    static func help(group: String, flags: CommandFlags = [.loading, .stale], categories: [String] = []) -> CommandSpec
    {
        CommandSpec(
            name: "help", arity: 2, flags: flags, categories: categories, group: group,
            summary: "Lists the subcommands with a line about each.", handler: Handlers.help)
    }

    /// `container|name` for a subcommand, `name` for a command.
    func fullName(in container: CommandSpec? = nil) -> String { container.map { "\($0.name)|\(name)" } ?? name }

    /// Whether this many arguments, including the command's name, are acceptable.
    func accepts(argumentCount: Int) -> Bool { arity >= 0 ? argumentCount == arity : argumentCount >= -arity }
}

extension ArgumentSpec {
    /// The key, or the keys.
    static func key(multiple: Bool = false) -> ArgumentSpec {
        ArgumentSpec(name: "key", kind: .key, multiple: multiple)
    }

    /// A literal token such as `NX`.
    static func word(_ token: String, summary: String? = nil, optional: Bool = false) -> ArgumentSpec {
        ArgumentSpec(name: token.lowercased(), kind: .pureToken, token: token, summary: summary, optional: optional)
    }

    /// One of several tokens.
    static func words(_ name: String, _ tokens: [String], token: String? = nil, optional: Bool = false) -> ArgumentSpec
    {
        ArgumentSpec(
            name: name, kind: .oneof, token: token, optional: optional, arguments: tokens.map { .word($0) })
    }
}

/// Command tips, as in Redis, that several commands share.
enum CommandTips {
    static let allShards = "request_policy:all_shards"
    static let allNodes = "request_policy:all_nodes"
    static let multiShard = "request_policy:multi_shard"
    static let sum = "response_policy:agg_sum"
    static let least = "response_policy:agg_min"
    static let allSucceeded = "response_policy:all_succeeded"
    static let varies = "nondeterministic_output"
    static let unordered = "nondeterministic_output_order"
}
