// The command table made ready for dispatch: the lookup, and the resolution of subcommands and arity.

import RESP

/// One command as dispatch sees it: a top-level command or a subcommand of one.
struct CommandReference: Sendable {
    let spec: CommandSpec
    /// Position in `CommandRegistry.flat`: what statistics are kept under.
    let index: Int
    /// Position among the container's subcommands.
    let subcommand: Int?
    /// `config|get`, `ping`.
    let fullName: String
}

/// A request that names no command or gives it the wrong number of arguments.
struct CommandProblem: Error {
    let text: String
}

/// All commands. Immutable.
final class CommandRegistry: Sendable {
    let specs: [CommandSpec]
    let lookup: CommandLookup
    /// Every command and subcommand; commands first, in the order of `specs`.
    let flat: [CommandReference]
    /// Position of CL.THROTTLE.
    let throttle: Int
    private let subcommands: [[CommandReference]]

    init(specs: [CommandSpec]) {
        self.specs = specs
        lookup = CommandLookup(specs)
        var flat = specs.enumerated().map { number, spec in
            CommandReference(spec: spec, index: number, subcommand: nil, fullName: spec.name)
        }
        var subcommands: [[CommandReference]] = []
        for spec in specs {
            let own = spec.subcommands.enumerated().map { number, subcommand in
                CommandReference(
                    spec: subcommand, index: flat.count + number, subcommand: number,
                    fullName: "\(spec.name)|\(subcommand.name)")
            }
            flat += own
            subcommands.append(own)
        }
        self.flat = flat
        self.subcommands = subcommands
        throttle = specs.firstIndex { $0.name == "cl.throttle" }!
    }

    /// The command a request means, subcommand and arity checked.
    func resolve(_ number: Int, _ arguments: ArgumentList) -> Result<CommandReference, CommandProblem> {
        var command = flat[number]
        if !command.spec.subcommands.isEmpty, arguments.count > 1 {
            if let found = lookup.findSubcommand(of: number, arguments[1]) {
                command = subcommands[number][found]
            } else {
                let word = Argument(base: arguments[1].base, count: min(128, arguments[1].count)).string
                let container = command.spec.name.uppercased()
                return .failure(CommandProblem(text: "ERR unknown subcommand '\(word)'. Try \(container) HELP."))
            }
        }
        let arity = command.spec.arity
        let isRight = arity >= 0 ? arguments.count == arity : arguments.count >= -arity
        guard isRight, command.spec.handler != nil else {
            return .failure(
                CommandProblem(text: "ERR wrong number of arguments for '\(command.fullName)' command"))
        }
        return .success(command)
    }

    /// The positions of a request's keys among its arguments.
    func keys(of command: CommandReference, argumentCount: Int) -> StrideThrough<Int> {
        let keys = command.spec.keys
        guard keys.first > 0 else { return stride(from: 1, through: 0, by: 1) }
        let last = keys.last < 0 ? argumentCount + keys.last : min(keys.last, argumentCount - 1)
        return stride(from: keys.first, through: last, by: max(1, keys.step))
    }

    /// The name under which CLIENT LIST shows a connection's last command.
    func name(command: Int16, subcommand: Int16) -> String {
        guard command >= 0 else { return "NULL" }
        return subcommand >= 0
            ? subcommands[Int(command)][Int(subcommand)].fullName : specs[Int(command)].name
    }
}

/// The handlers of all commands, by group in files of their own.
enum Handlers {}
