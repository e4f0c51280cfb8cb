// Generates docs/commands.md (the limiter's commands) and docs/redis-commands.md (those that are also Redis's) from the
// command table and the pages. Owns the form of an entry; the sections that introduce the pages are in
// CommandManual+Sections, those on policies and rules in CommandManual+Policies. A test compares the files with
// this text.

/// The reference of all commands in Markdown.
enum CommandManual {
    /// The heading of the section that explains the arguments of a limit.
    static let limitSection = "The limit in a call"

    /// A part of the reference: commands of one subject.
    struct Group {
        let title: String
        let names: @Sendable (CommandSpec) -> Bool
    }

    /// The whole of docs/commands.md. O(commands), allocates; for the command-line flag and tests.
    static func limiterPage() -> String {
        finish(
            limiterHead + contents(limiterGroups, page: "") + otherContents + conventions + limits
                + entries(limiterGroups))
    }

    /// The whole of docs/redis-commands.md, as `limiterPage()`.
    static func redisPage() -> String { finish(redisHead + contents(redisGroups, page: "") + entries(redisGroups)) }

    private static let rules: Set<String> = ["rl.policy", "rl.rule"]
    static let limiterGroups: [Group] = [
        Group(title: "Limits") { $0.group == "limiter" && !rules.contains($0.name) },
        Group(title: "Policies and rules") { rules.contains($0.name) },
    ]
    static let redisGroups: [Group] = [
        ("connection", "Connections"), ("generic", "Keys"), ("string", "Counters"),
        ("transactions", "Transactions"), ("scripting", "Scripts"), ("pubsub", "Publish and subscribe"),
        ("server", "Server"), ("cluster", "Cluster"),
    ].map { name, title in Group(title: title) { $0.group == name } }

    private static func finish(_ text: String) -> String {
        var text = text
        while text.hasSuffix("\n\n") { text.removeLast() }
        return text
    }

    // MARK: Contents

    /// One line for each command and subcommand.
    private static func contents(_ groups: [Group], page: String) -> String {
        var text = "## Contents\n\n"
        for group in groups {
            text += "| [\(group.title)](#\(anchor(group.title))) | |\n|---|---|\n"
            for spec in CommandTable.specs where group.names(spec) {
                if spec.subcommands.isEmpty || spec.isRunnable { text += line(spec.name, spec) }
                for subcommand in spec.subcommands { text += line("\(spec.name) \(subcommand.name)", subcommand) }
            }
            text += "\n"
        }
        return text
    }

    private static func line(_ name: String, _ spec: CommandSpec) -> String {
        "| [\(name.uppercased())](#\(commandAnchor(name))) | \(spec.summary.replacing("|", with: "\\|")) |\n"
    }

    /// The names only: the other page has their lines.
    private static var otherContents: String {
        var text = "| Also in Redis | |\n|---|---|\n"
        for group in redisGroups {
            let names = CommandTable.specs.filter(group.names).map { spec in
                "[\(spec.name.uppercased())](redis-commands.md#\(commandAnchor(spec.name)))"
            }
            text += "| \(group.title) | " + names.joined(separator: " ") + " |\n"
        }
        return text + "\n"
    }

    /// A command's heading may be the second one with this text: Keys is a group, and KEYS one of its commands.
    private static func commandAnchor(_ name: String) -> String {
        let anchor = anchor(name)
        return redisGroups.contains { self.anchor($0.title) == anchor } ? "\(anchor)-1" : anchor
    }

    /// As GitHub derives it from a heading.
    static func anchor(_ heading: String) -> String {
        String(
            heading.lowercased().compactMap { character in
                character == " "
                    ? "-"
                    : character.isLetter || character.isNumber || "-_".contains(character)
                        ? character : nil
            })
    }

    // MARK: Entries

    private static func entries(_ groups: [Group]) -> String {
        groups.map { group in
            let specs = CommandTable.specs.filter(group.names)
            let introduction = introductions[group.title] ?? ""
            return "## \(group.title)\n\n" + introduction + specs.map(entry).joined()
        }
        .joined()
    }

    private static func entry(_ spec: CommandSpec) -> String {
        var text = "### \(spec.name.uppercased())\n\n"
        if spec.subcommands.isEmpty || spec.isRunnable {
            text += body(spec, in: nil)
        } else {
            text += "\(spec.summary)\n\n" + section(CommandPages.all[spec.name]?.notes ?? "")
        }
        for subcommand in spec.subcommands {
            text += "#### \(spec.name.uppercased()) \(subcommand.name.uppercased())\n\n" + body(subcommand, in: spec)
        }
        return text
    }

    private static func body(_ spec: CommandSpec, in container: CommandSpec?) -> String {
        guard let page = CommandPages.all[spec.fullName(in: container)] else { return "\(spec.summary)\n\n" }
        return syntaxBlock(spec, in: container) + "\(spec.summary)\n\n" + section(page.notes) + facts(spec, page)
            + errors(page.errors) + examples(page.examples)
    }

    private static func section(_ text: String) -> String { text.isEmpty ? "" : text + "\n\n" }

    private static func syntaxBlock(_ spec: CommandSpec, in container: CommandSpec?) -> String {
        let arguments = HelpText.syntax(of: spec.arguments.map(abbreviated))
        let words = [container?.name.uppercased(), spec.name.uppercased(), arguments.isEmpty ? nil : arguments]
        return "```\n" + words.compactMap { $0 }.joined(separator: " ") + "\n```\n\n"
    }

    /// What a section of its own explains is only named.
    private static func abbreviated(_ argument: ArgumentSpec) -> ArgumentSpec {
        var argument = argument
        if argument.section != nil {
            argument.kind = .string
            argument.arguments = []
        }
        argument.arguments = argument.arguments.map(abbreviated)
        return argument
    }

    private static func facts(_ spec: CommandSpec, _ page: CommandPage) -> String {
        var lines: [String] = []
        if !spec.arguments.isEmpty {
            lines.append("- Arguments:")
            lines += spec.arguments.flatMap { argument($0, indent: "  ") }
        }
        let replies = page.replies.map { $0.form.rawValue + ($0.meaning.isEmpty ? "" : ": \($0.meaning)") }
        lines += replies.count == 1 ? ["- Reply: \(replies[0])"] : ["- Reply:"] + replies.map { "  - \($0)" }
        lines.append("- Complexity: \(spec.complexity)")
        let flags = spec.flagNames.isEmpty ? "" : "flags " + code(spec.flagNames) + ", "
        lines.append("- Kind: \(flags)categories " + code(spec.allCategories.map { "@" + $0 }))
        return lines.joined(separator: "\n") + "\n\n"
    }

    /// The lines of an argument in a list.
    static func argument(_ argument: ArgumentSpec, indent: String) -> [String] {
        if let section = argument.section {
            return ["\(indent)- `\(argument.name)`: see [\(section)](#\(anchor(section)))"]
        }
        var traits = [argument.kind == .pureToken ? "word" : argument.kind.rawValue]
        if argument.kind != .pureToken, let token = argument.token { traits.append("after `\(token)`") }
        if argument.optional { traits.append("optional") }
        if argument.multiple { traits.append("repeatable") }
        let name = argument.kind == .pureToken ? argument.token ?? argument.name : argument.name
        var line = "\(indent)- `\(name)` (\(traits.joined(separator: ", ")))"
        if let summary = argument.summary { line += ": \(summary)" }
        return [line] + argument.arguments.flatMap { self.argument($0, indent: indent + "  ") }
    }

    /// A table of errors, each with the requests that cause it.
    static func errors(_ errors: [ErrorSpec]) -> String {
        guard !errors.isEmpty else { return "" }
        var text = "| error | when | for example |\n|---|---|---|\n"
        for error in errors {
            let requests = error.requests.map { "`\($0)`" }.joined(separator: " then ")
            let cells = ["`\(error.text)`", error.when, requests].map { $0.replacing("|", with: "\\|") }
            text += "| " + cells.joined(separator: " | ") + " |\n"
        }
        return text + "\n"
    }

    private static func examples(_ text: String) -> String {
        text.isEmpty ? "" : "```redis-cli\n" + text + "\n```\n\n"
    }

    private static func code(_ words: [String]) -> String { words.map { "`\($0)`" }.joined(separator: " ") }
}
