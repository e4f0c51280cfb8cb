// The replies to `CLIENT HELP` and similar, generated from the command table in Redis's format. Also owns the one-line
// syntax of a command's arguments, which the documentation uses, too.

import RESP

extension Handlers {
    /// `<container> HELP`, for every container.
    static func help(_ context: CommandContext) { HelpText.reply(context.arguments, to: context.reply) }
}

/// The text of HELP, and of syntax lines.
enum HelpText {
    /// Replies to `<container> HELP`.
    static func reply(_ arguments: ArgumentList, to reply: ReplyBuffer) {
        // Always found: dispatch found the container's entry by this name.
        guard let index = CommandTable.lookup.find(arguments[0]) else {
            return reply.error("ERR no help for this command")
        }
        let lines = lines(of: CommandTable.specs[index])
        reply.array(lines.count)
        for line in lines { reply.simple(text: line) }
    }

    /// The lines of a container's HELP.
    static func lines(of container: CommandSpec) -> [String] {
        let name = container.name.uppercased()
        var lines = ["\(name) <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"]
        if container.isRunnable {
            lines.append("(no subcommand)")
            lines.append("    \(container.summary)")
        }
        for subcommand in container.subcommands {
            let arguments = syntax(of: subcommand.arguments)
            lines.append(subcommand.name.uppercased() + (arguments.isEmpty ? "" : " " + arguments))
            lines.append("    \(subcommand.summary)")
        }
        return lines
    }

    /// The arguments in one line: `<key> [NX | XX] [COUNT <count>]`.
    static func syntax(of arguments: [ArgumentSpec]) -> String {
        arguments.map { syntax(of: $0) }.joined(separator: " ")
    }

    private static func syntax(of argument: ArgumentSpec) -> String {
        var text = value(of: argument)
        if argument.kind != .pureToken, let token = argument.token { text = "\(token) \(text)" }
        if argument.multiple {
            let repeated = argument.multipleToken || argument.token == nil ? text : value(of: argument)
            text += " [\(repeated) ...]"
        }
        return argument.optional ? "[\(text)]" : text
    }

    private static func value(of argument: ArgumentSpec) -> String {
        switch argument.kind {
        case .pureToken: argument.token ?? argument.name.uppercased()
        case .block: syntax(of: argument.arguments)
        case .oneof: choice(argument)
        case .string, .integer, .double, .key, .pattern, .unixTime: "<\(argument.name)>"
        }
    }

    /// Parentheses keep the alternatives together, unless brackets already do.
    private static func choice(_ argument: ArgumentSpec) -> String {
        let alternatives = argument.arguments.map { alternative in
            var required = alternative
            required.optional = false
            return syntax(of: required)
        }
        let text = alternatives.joined(separator: " | ")
        let enclosed = argument.optional && argument.token == nil && !argument.multiple
        return enclosed ? text : "(\(text))"
    }
}
