// Generates docs/commands.md from the command table. Owns the wording around the entries and the sections that a table
// cannot hold: the meaning of each number in the replies of CL.THROTTLE and RL.TAKE; those on policies and rules are in
// CommandDocs+Policies. A test compares the file with this text.

/// The documentation of all commands in Markdown.
enum CommandDocs {
    /// The whole of docs/commands.md. O(commands), allocates; for the command-line flag and tests.
    static func markdown() -> String {
        var text = """
            # Commands

            <!-- Generated from the command table: escapement --print-command-docs > docs/commands.md -->

            Command names and options are case-insensitive. A command's *flags* are those of `COMMAND INFO`; its
            *categories* are ACL categories. In a syntax line `<x>` is a value, `[x]` is optional, and `x [x ...]` may
            be repeated.


            """
        for group in groups {
            let specs = CommandTable.specs.filter { $0.group == group.name }
            guard !specs.isEmpty else { continue }
            text += "## \(group.title)\n\n"
            for spec in specs { text += section(spec) }
        }
        while text.hasSuffix("\n\n") { text.removeLast() }
        return text
    }

    private static let groups: [(name: String, title: String)] = [
        ("limiter", "Limiter"), ("connection", "Connections"), ("generic", "Keys"), ("string", "Values"),
        ("transactions", "Transactions"), ("scripting", "Scripts"), ("pubsub", "Publish and subscribe"),
        ("server", "Server"),
        ("cluster", "Cluster"),
    ]

    private static func section(_ spec: CommandSpec) -> String {
        var text = "### \(spec.name.uppercased())\n\n"
        if spec.subcommands.isEmpty || spec.isRunnable { text += syntaxBlock(spec, in: nil) }
        text += "\(spec.summary)\n\n"
        if spec.name == "cl.throttle" {
            text += facts(spec) + throttle
            return text
        }
        if spec.name == "gcra" { text += gcra }
        if spec.name == "rl.take" { text += take }
        if spec.name == "rl.takeall" { text += takeAll }
        if spec.name == "rl.policy" { text += policies }
        if spec.name == "rl.rule" { text += rules }
        if spec.subcommands.isEmpty || spec.isRunnable { text += facts(spec) }
        for subcommand in spec.subcommands {
            text += "#### \(spec.name.uppercased()) \(subcommand.name.uppercased())\n\n"
            text += syntaxBlock(subcommand, in: spec) + "\(subcommand.summary)\n\n" + facts(subcommand)
        }
        return text
    }

    private static func syntaxBlock(_ spec: CommandSpec, in container: CommandSpec?) -> String {
        let arguments = HelpText.syntax(of: spec.arguments)
        let words = [container?.name.uppercased(), spec.name.uppercased(), arguments.isEmpty ? nil : arguments]
        return "```\n" + words.compactMap { $0 }.joined(separator: " ") + "\n```\n\n"
    }

    private static func facts(_ spec: CommandSpec) -> String {
        var lines = ["- Complexity: \(spec.complexity)"]
        if !spec.flagNames.isEmpty { lines.append("- Flags: " + code(spec.flagNames)) }
        lines.append("- Categories: " + code(spec.allCategories.map { "@" + $0 }))
        if !spec.arguments.isEmpty {
            lines.append("- Arguments:")
            lines += spec.arguments.flatMap { argument($0, indent: "  ") }
        }
        return lines.joined(separator: "\n") + "\n\n" + examples(spec)
    }

    private static func examples(_ spec: CommandSpec) -> String {
        guard !spec.examples.isEmpty else { return "" }
        return "```redis-cli\n" + spec.examples.joined(separator: "\n") + "\n```\n\n"
    }

    private static func argument(_ argument: ArgumentSpec, indent: String) -> [String] {
        var traits = [argument.kind == .pureToken ? "word" : argument.kind.rawValue]
        if argument.kind != .pureToken, let token = argument.token { traits.append("after `\(token)`") }
        if argument.optional { traits.append("optional") }
        if argument.multiple { traits.append("repeatable") }
        let name = argument.kind == .pureToken ? argument.token ?? argument.name : argument.name
        var line = "\(indent)- `\(name)` (\(traits.joined(separator: ", ")))"
        if let summary = argument.summary { line += ": \(summary)" }
        return [line] + argument.arguments.flatMap { self.argument($0, indent: indent + "  ") }
    }

    private static func code(_ words: [String]) -> String { words.map { "`\($0)`" }.joined(separator: " ") }

    private static let take = """
        The limit is given in numbers, or as the name of a policy. `gcra` shares its keys with CL.THROTTLE:
        `LIMIT n PER p BURST b` is a limiter with a burst of `b` units that regains `n` every `p`. For the algorithms,
        and what happens to spent units when a limit changes, see [choosing.md](choosing.md).

        The reply is an array of these numbers in RESP2 and a map with these names in RESP3, in this order:

        | # | name | meaning |
        |---|---|---|
        | 1 | allowed | 1: granted in full or, with ATMOST, in part. 0: refused; nothing was counted. |
        | 2 | granted | Number of units granted, or returned by RL.REFUND. |
        | 3 | limit | Number of units that may pass at once when none are spent. |
        | 4 | remaining | Number of units left. |
        | 5 | retry_after_ms | Milliseconds until the same call would be granted; -1 if it was, or never can be. |
        | 6 | reset_after_ms | Milliseconds until the limit is fully replenished if nothing more is counted. |
        | 7 | note | Only if present: `shadow`, a policy in shadow mode would have refused. |

        Milliseconds are rounded up from nanoseconds, so a client that waits that long is never refused because of
        rounding. Options may be given in any order, each at most once. Errors name the argument, and nothing is stored:

        | error | when |
        |---|---|
        | `ERR ...`, naming the argument | not a number, out of range, or in conflict with another argument |
        | `ERR POLICY: there is no policy '...'` | |
        | `NORULE ...` | RL.CHECK: no rule matches this tenant, client and action |
        | `WRONGTYPE ...`, naming both kinds | the key holds another kind of state |
        | `OOM command not allowed when used memory > 'maxmemory'.` | the call would exceed the memory limit |
        | `ERR ID refused: ...` | `idempotency-tokens-max` is reached |


        """

    private static let takeAll = """
        The reply is an array in RESP2 and a map with these names in RESP3:

        | # | name | meaning |
        |---|---|---|
        | 1 | allowed | 1: taken from every limit. 0: from none. |
        | 2 | granted | The cost, or 0. |
        | 3 | refused | The key of the first limit that refused; nil if none did. |
        | 4 | retry_after_ms | The longest wait of those that refused; -1 if none did, or if one can never allow it. |
        | 5 | limits | A row per limit, as in RL.TAKE's reply. If any limit refused, each row shows what its limit |
        | | | would have granted, and its unchanged state: nothing was taken from those that allowed it either. |


        """

    private static let gcra = """
        The reply is CL.THROTTLE's five integers, decided in nanoseconds with the same state: `GCRA key 15 30 60` and
        `CL.THROTTLE key 15 30 60` are the same call. Differences: the period may have a fraction, a rate above one
        action per nanosecond counts as one, and 0 tokens is an error. Redis itself counts in microseconds, so its
        errors about overflows begin at smaller parameters.


        """

    private static let throttle = """
        The key's limiter lets `max_burst` + 1 actions through at once and refills at `count` actions per `period`
        seconds, evenly: with 30 per 60 seconds one action becomes free every 2 seconds. Limiters need not be created
        first: each call brings its parameters, and a call with other parameters sees the same debt, measured in time.

        The reply is always five integers, also when the action is denied:

        | # | name | meaning |
        |---|---|---|
        | 1 | limited | 0: the action may happen and has been counted. 1: it may not; nothing was counted. |
        | 2 | limit | Maximum number of actions at once: `max_burst` + 1. |
        | 3 | remaining | Number of further actions of quantity 1 that would be allowed right now; 0 to limit. |
        | 4 | retry-after | Seconds until the same call would be allowed; -1 if it was, or if it never can be. |
        | 5 | reset-after | Seconds until the limiter is fully replenished if nothing more is counted. |

        Decisions are made in nanoseconds. The reply rounds seconds up: exactly 10 s is 10, one nanosecond is 1. So a
        client that waits `retry-after` seconds is not denied because of rounding, and `retry-after` of a denied call is
        never 0. `remaining` is rounded down.

        - A quantity above 1 is counted in full or not at all. If it exceeds the limit, it can never pass: `retry-after`
          is -1 and `limited` is 1.
        - Quantity 0 only reads: it counts nothing and creates no key.
        - A key exists until its limiter is fully replenished, and then uses no memory.
        - A denied call changes nothing, so retrying does not extend the wait.

        Errors, none of which stores anything:

        | error | when |
        |---|---|
        | `ERR wrong number of arguments for 'cl.throttle' command...` | fewer than four arguments, or more than five |
        | `ERR value is not an integer or out of range` | a number is not an integer, or a product exceeds 64 bits |
        | `ERR zero rates are not supported` | count or period is 0, or more than one action per nanosecond |
        | `ERR ...`, naming the argument | a negative max_burst, count, period or quantity |
        | `WRONGTYPE ...`, naming both kinds | the key holds another kind of limiter |
        | `OOM command not allowed when used memory > 'maxmemory'.` | a new key would exceed the memory limit |

        An example session: a burst of 4 beyond the first, one action per second.

        ```
        > CL.THROTTLE user123 4 1 1
        1) (integer) 0      allowed
        2) (integer) 5      at most five at once
        3) (integer) 4      four more right now
        4) (integer) -1     no need to wait
        5) (integer) 1      replenished in a second
        > CL.THROTTLE user123 4 1 1 4
        1) (integer) 0      allowed, counted four times
        2) (integer) 5
        3) (integer) 0      nothing left
        4) (integer) -1
        5) (integer) 5
        > CL.THROTTLE user123 4 1 1
        1) (integer) 1      denied
        2) (integer) 5
        3) (integer) 0
        4) (integer) 1      try again in a second
        5) (integer) 5
        > CL.THROTTLE user123 4 1 1 6
        1) (integer) 1      denied
        2) (integer) 5
        3) (integer) 0
        4) (integer) -1     six at once can never pass a limit of five
        5) (integer) 5
        > CL.THROTTLE user123 4 1 1 0
        1) (integer) 0      quantity 0 counts nothing
        2) (integer) 5
        3) (integer) 0      only shows what is left
        4) (integer) -1
        5) (integer) 5
        ```


        """
}
