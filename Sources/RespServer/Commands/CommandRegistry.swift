// The command table prepared for dispatch: the lookup, and the resolution of subcommands and arity.

import RESP

/// One command as dispatch sees it: a top-level command or a subcommand. A class, since a table entry is large and full
/// of strings: copying one took most of the time of a short command.
final class CommandReference: Sendable {
    let spec: CommandSpec
    /// Index in `CommandRegistry.flat`, and in the statistics.
    let index: Int
    /// Index among the container's subcommands.
    let subcommand: Int?
    /// `config|get`, `ping`.
    let fullName: String
    /// Copies of fields of the entry: reading them through the entry would copy more of it.
    let flags: CommandFlags
    let hasSubcommands: Bool
    let arity: Int
    private let ownHandler: CommandSpec.Handler?
    /// How the command is batched. Only those that run scripts also have a handler, for scripts that are not batched.
    let batched: BatchedCommand?
    var isRunnable: Bool { ownHandler != nil || batched != nil }

    init(spec: CommandSpec, index: Int, subcommand: Int?, fullName: String) {
        self.spec = spec
        self.index = index
        self.subcommand = subcommand
        self.fullName = fullName
        flags = spec.flags
        hasSubcommands = !spec.subcommands.isEmpty
        arity = spec.arity
        ownHandler = spec.handler
        batched = spec.batched
    }

    /// Runs the command.
    ///
    /// - Precondition: The command has a handler.
    @inline(__always)
    func handler(_ context: CommandContext) { ownHandler!(context) }
}

/// Whether and how a command is batched: what dispatch checks first for every request.
struct BatchEntry {
    private let batched: BatchedCommand?
    /// Range of the number of arguments, including the name. Empty if the command is not batched.
    private let fewest: Int32
    private let most: Int32

    init(_ spec: CommandSpec) {
        batched = spec.batched
        fewest = spec.batched == nil ? 1 : Int32(abs(spec.arity))
        most = spec.batched == nil ? 0 : spec.arity > 0 ? Int32(spec.arity) : Int32.max
    }

    /// The batched command for a request with `count` arguments; nil if the request is not batched.
    @inline(__always)
    func command(_ count: Int) -> BatchedCommand? {
        count >= Int(fewest) && count <= Int(most) ? batched : nil
    }
}

/// A request with an unknown command or the wrong number of arguments.
struct CommandProblem: Error {
    let text: String
    var isUnknownSubcommand = false
}

/// All commands.
///
/// `@unchecked Sendable`: immutable; `batched` is memory that only `init` writes.
final class CommandRegistry: @unchecked Sendable {
    let specs: [CommandSpec]
    let lookup: CommandLookup
    /// Every command and subcommand; commands first, in the order of `specs`.
    let flat: [CommandReference]
    /// Index of EXEC.
    let exec: Int
    /// Index of SELECT.
    let select: Int
    /// Index of EVALSHA.
    let evalsha: Int
    /// Index of EVALSHA_RO.
    let evalshaReadOnly: Int
    /// How each of `specs` is batched.
    let batched: UnsafePointer<BatchEntry>
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
        exec = specs.firstIndex { $0.name == "exec" }!
        select = specs.firstIndex { $0.name == "select" }!
        evalsha = specs.firstIndex { $0.name == "evalsha" }!
        evalshaReadOnly = specs.firstIndex { $0.name == "evalsha_ro" }!
        let entries = UnsafeMutablePointer<BatchEntry>.allocate(capacity: specs.count)
        for (number, spec) in specs.enumerated() { (entries + number).initialize(to: BatchEntry(spec)) }
        batched = UnsafePointer(entries)
    }

    deinit {
        let entries = UnsafeMutablePointer(mutating: batched)
        entries.deallocate()
    }

    /// Resolves the subcommand and checks the arity.
    func resolve(_ number: Int, _ arguments: ArgumentList) -> Result<CommandReference, CommandProblem> {
        var command = flat[number]
        if command.hasSubcommands, arguments.count > 1 {
            if let found = lookup.findSubcommand(of: number, arguments[1]) {
                command = subcommands[number][found]
            } else {
                let word = Argument(base: arguments[1].base, count: min(128, arguments[1].count)).string
                let container = command.spec.name.uppercased()
                return .failure(
                    CommandProblem(
                        text: "ERR unknown subcommand '\(word)'. Try \(container) HELP.", isUnknownSubcommand: true))
            }
        }
        let arity = command.arity
        let isRight = arity >= 0 ? arguments.count == arity : arguments.count >= -arity
        guard isRight, command.isRunnable else {
            return .failure(
                CommandProblem(text: "ERR wrong number of arguments for '\(command.fullName)' command"))
        }
        return .success(command)
    }

    /// The name under which CLIENT LIST shows a connection's last command.
    func name(command: Int16, subcommand: Int16) -> String {
        guard command >= 0 else { return "NULL" }
        return subcommand >= 0
            ? subcommands[Int(command)][Int(subcommand)].fullName : specs[Int(command)].name
    }
}

/// Namespace of the command handlers; each group has its own file.
enum Handlers {}
