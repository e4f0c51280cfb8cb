// The command table's entries of policies and rules: named limits, and who gets which.

extension CommandTable {
    private static let group = "limiter"
    private static let reading = ["limiter"]
    private static let changing = ["limiter", "admin", "dangerous"]
    private static let edit: CommandFlags = [.write, .records]

    static let policies: [CommandSpec] = [
        .container(
            "rl.policy", group: group, summary: "Named limits, which calls and rules refer to.",
            subcommands: [
                CommandSpec(
                    name: "set", arity: -4, flags: edit, categories: changing, group: group,
                    complexity: "O(P) with P policies; a new name also O(N) with N rules.",
                    summary: "Makes a policy, or changes what is named of one; what keys have spent stays spent.",
                    arguments: [name] + changes
                        + [
                            .words("mode", ["enforce", "shadow", "off"], token: "MODE", optional: true),
                            onlyNew("Only makes a new policy: answers nil if there is one."),
                        ],
                    examples: LimitExamples.policySet, handler: Handlers.rlPolicySet),
                CommandSpec(
                    name: "get", arity: 3, flags: .readonly, categories: reading, group: group,
                    summary: "Answers what a policy says, or nothing.", arguments: [name],
                    examples: LimitExamples.policyGet, handler: Handlers.rlPolicyGet),
                CommandSpec(
                    name: "del", arity: 3, flags: edit, categories: changing, group: group,
                    complexity: "O(N) with N policies and rules.",
                    summary: "Removes a policy that no rule uses: answers 1, or 0 when there is none.",
                    arguments: [name], examples: LimitExamples.policyDel, handler: Handlers.rlPolicyDel),
                CommandSpec(
                    name: "list", arity: 2, flags: .readonly, categories: reading, group: group,
                    complexity: "O(N) with N policies, in slices.", summary: "Answers all policies, by name.",
                    examples: LimitExamples.policyList, handler: Handlers.rlPolicyList),
                .help(group: group),
            ]),
        .container(
            "rl.rule", group: group, summary: "Rules: which policy a tenant's client gets for an action.",
            subcommands: ruleCommands + [.help(group: group)]),
    ]

    /// A limit in numbers of which a part may be named.
    private static let changes = numbers.map { number in
        var number = number
        number.optional = true
        switch number.name {
        case "limit": number.summary = "Units a period; 0 lets nothing pass. A new policy needs it."
        case "period": number.summary! += " A new policy needs it."
        case "burst":
            number.summary =
                "Units that may pass at once from full, for gcra and token-bucket: 1 or more. A new policy has the "
                + "limit."
        case "algo": number.summary = "How units are counted. A new policy has gcra."
        default: break
        }
        return number
    }

    private static func onlyNew(_ summary: String) -> ArgumentSpec {
        ArgumentSpec(name: "nx", kind: .pureToken, token: "NX", summary: summary, optional: true)
    }

    private static let name = ArgumentSpec(name: "name", summary: "The policy's name: 1 to 512 bytes.")

    private static func subject(_ who: String) -> [ArgumentSpec] {
        ["tenant", "client", "action"].map { ArgumentSpec(name: $0, summary: who) }
    }

    private static let oneRule =
        "A hundred rules or so are laid out anew, and of N rules N / 64 references are copied: 0.4 ms of 100,000."

    private static let ruleCommands: [CommandSpec] = [
        CommandSpec(
            name: "set", arity: -7, flags: edit, categories: changing, group: group,
            complexity: oneRule, summary: "Makes a rule or changes it.",
            arguments: subject("A name of 1 to 512 bytes, or `*` for everybody.")
                + [
                    ArgumentSpec(name: "policy", token: "POLICY"),
                    onlyNew("Only makes a new rule: answers nil if there is one."),
                ],
            examples: LimitExamples.ruleSet, handler: Handlers.rlRuleSet),
        CommandSpec(
            name: "get", arity: 5, flags: .readonly, categories: reading, group: group,
            summary: "Answers the rule for exactly these names and stars, or nothing.",
            arguments: subject("As the rule has it."), examples: LimitExamples.ruleGet, handler: Handlers.rlRuleGet),
        CommandSpec(
            name: "del", arity: 5, flags: edit, categories: changing, group: group,
            complexity: oneRule,
            summary: "Removes a rule: answers 1, or 0 when there is none.", arguments: subject("As the rule has it."),
            examples: LimitExamples.ruleDel, handler: Handlers.rlRuleDel),
        CommandSpec(
            name: "list", arity: 2, flags: .readonly, categories: reading, group: group,
            complexity: "O(N log N) with N rules, in slices.", summary: "Answers all rules, by their names.",
            examples: LimitExamples.ruleList, handler: Handlers.rlRuleList),
        CommandSpec(
            name: "resolve", arity: 5, flags: .readonly, categories: reading, group: group,
            summary: "Answers which rule wins for a client's action and why, or nothing.",
            arguments: subject("As RL.CHECK has it."), examples: LimitExamples.ruleResolve,
            handler: Handlers.rlRuleResolve),
        CommandSpec(
            name: "reload", arity: -2, flags: [.write, .noMulti], categories: changing, group: group,
            complexity: "O(N) with N policies and rules.",
            summary:
                "Reads the rules file again; answers what it has applied, and what it has kept because of commands.",
            arguments: [
                ArgumentSpec(
                    name: "force", kind: .pureToken, token: "FORCE",
                    summary: "The file takes precedence over what commands have changed.", optional: true)
            ],
            handler: Handlers.rlRuleReload),
    ]
}
