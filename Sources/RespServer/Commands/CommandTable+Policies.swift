// The command table's entries of policies (named limits) and rules (which client gets which policy).

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
                    summary: "Creates a policy, or changes the given fields of one; units already spent stay spent.",
                    arguments: [name] + changes
                        + [
                            .words("mode", ["enforce", "shadow", "off"], token: "MODE", optional: true),
                            onlyNew("Only creates a policy: replies nil if it exists."),
                        ],
                    handler: Handlers.rlPolicySet),
                CommandSpec(
                    name: "get", arity: 3, flags: .readonly, categories: reading, group: group,
                    summary: "Returns the fields of a policy, or nil.", arguments: [name],
                    handler: Handlers.rlPolicyGet),
                CommandSpec(
                    name: "del", arity: 3, flags: edit, categories: changing, group: group,
                    complexity: "O(N) with N policies and rules.",
                    summary: "Removes a policy that no rule uses: returns 1, or 0 if there is none.",
                    arguments: [name], handler: Handlers.rlPolicyDel),
                CommandSpec(
                    name: "list", arity: 2, flags: .readonly, categories: reading, group: group,
                    complexity: "O(N) with N policies, in slices.", summary: "Returns all policies, sorted by name.",
                    handler: Handlers.rlPolicyList),
                .help(group: group),
            ]),
        .container(
            "rl.rule", group: group, summary: "Rules: which policy a tenant's client gets for an action.",
            subcommands: ruleCommands + [.help(group: group)]),
    ]

    /// The arguments of a limit given in numbers, each optional.
    private static let changes = numbers.map { number in
        var number = number
        number.optional = true
        switch number.name {
        case "limit": number.summary = "Units per period; 0 lets nothing pass. A new policy needs it."
        case "period": number.summary! += " A new policy needs it."
        case "burst":
            number.summary =
                "Units that may pass at once when none are spent, for gcra and token-bucket: 1 or more. The default of "
                + "a new policy is the limit."
        case "algo": number.summary = "How units are counted. The default of a new policy is gcra."
        default: break
        }
        return number
    }

    private static func onlyNew(_ summary: String) -> ArgumentSpec {
        ArgumentSpec(name: "nx", kind: .pureToken, token: "NX", summary: summary, optional: true)
    }

    private static let name = ArgumentSpec(name: "name", summary: "The policy's name: 1 to 512 bytes.")

    private static func subject(_ summary: String) -> [ArgumentSpec] {
        ["tenant", "client", "action"].map { ArgumentSpec(name: $0, summary: summary) }
    }

    private static let oneRule =
        "About a hundred rules are rebuilt, and N / 64 references are copied with N rules: 0.4 ms with 100,000."

    private static let ruleCommands: [CommandSpec] = [
        CommandSpec(
            name: "set", arity: -7, flags: edit, categories: changing, group: group,
            complexity: oneRule, summary: "Creates or changes a rule.",
            arguments: subject("A name of 1 to 512 bytes, or `*` for any.")
                + [
                    ArgumentSpec(name: "policy", token: "POLICY"),
                    onlyNew("Only creates a rule: replies nil if it exists."),
                ],
            handler: Handlers.rlRuleSet),
        CommandSpec(
            name: "get", arity: 5, flags: .readonly, categories: reading, group: group,
            summary: "Returns the rule with exactly these names and stars, or nil.",
            arguments: subject("As in the rule."), handler: Handlers.rlRuleGet),
        CommandSpec(
            name: "del", arity: 5, flags: edit, categories: changing, group: group,
            complexity: oneRule,
            summary: "Removes a rule: returns 1, or 0 if there is none.", arguments: subject("As in the rule."),
            handler: Handlers.rlRuleDel),
        CommandSpec(
            name: "list", arity: 2, flags: .readonly, categories: reading, group: group,
            complexity: "O(N log N) with N rules, in slices.", summary: "Returns all rules, sorted by their names.",
            handler: Handlers.rlRuleList),
        CommandSpec(
            name: "resolve", arity: 5, flags: .readonly, categories: reading, group: group,
            summary: "Returns the rule that wins for a client's action and why, or nil.",
            arguments: subject("As for RL.CHECK."), handler: Handlers.rlRuleResolve),
        CommandSpec(
            name: "reload", arity: -2, flags: [.write, .noMulti], categories: changing, group: group,
            complexity: "O(N) with N policies and rules.",
            summary:
                "Reloads the rules file; returns the changes applied, and the entries kept because of commands.",
            arguments: [
                ArgumentSpec(
                    name: "force", kind: .pureToken, token: "FORCE",
                    summary: "The file takes precedence over changes made by commands.", optional: true)
            ],
            handler: Handlers.rlRuleReload),
    ]
}
