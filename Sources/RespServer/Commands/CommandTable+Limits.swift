// The command table's entries of the limits: RL.TAKE and related commands. Only data; the decisions are in the engine.

import LimiterEngine
import RESP

extension CommandTable {
    private static let group = "limiter"
    private static let own = ["limiter"]
    private static let access: [String] = ["RW", "access", "update"]

    static let limits: [CommandSpec] = taking + several + byRule

    // MARK: Arguments

    private static let key = ArgumentSpec(
        name: "key", kind: .key, summary: "Whose units are counted: any bytes, such as a user's id or an address.")

    /// The arguments of a limit given in numbers.
    static let numbers: [ArgumentSpec] = [
        ArgumentSpec(
            name: "limit", kind: .integer, token: "LIMIT",
            summary: "Units per period; 0 or more, 0 lets nothing pass."),
        ArgumentSpec(
            name: "period", token: "PER",
            summary:
                "The period: seconds, or an integer followed by ms, s, m, h or d in lower case. With ALGO "
                + "calendar: day, week, month or year."),
        ArgumentSpec(
            name: "burst", kind: .integer, token: "BURST",
            summary:
                "Units that may pass at once when none are spent, for gcra and token-bucket: 1 or more; the limit if "
                + "left out.",
            optional: true),
        ArgumentSpec(
            name: "algo", kind: .oneof, token: "ALGO", summary: "How units are counted; gcra if left out.",
            optional: true,
            arguments: Limit.Algorithm.allCases.map { .word("\($0.name)", summary: "\($0.facts.summary)") }),
        ArgumentSpec(
            name: "offset", token: "OFFSET",
            summary: "How far local time is ahead of UTC, for fixed-window; written as a period, negative west of UTC.",
            optional: true),
        ArgumentSpec(
            name: "zone", token: "ZONE",
            summary:
                "The time zone, for calendar: an offset such as +02:00, or a name such as Europe/Berlin; UTC if left "
                + "out.",
            optional: true),
        ArgumentSpec(
            name: "start", kind: .integer, token: "START",
            summary:
                "Where a calendar window starts: hour 0 to 23 of a day, day 1 (Monday) to 7 of a week, day 1 to 31 of "
                + "a month (29 to 31 mean the last day of shorter months), month 1 to 12 of a year.",
            optional: true),
    ]

    private static let policy = ArgumentSpec(
        name: "policy", token: "POLICY", summary: "The name of a policy.")

    private static let limit = ArgumentSpec(
        name: "limit", kind: .oneof,
        arguments: [ArgumentSpec(name: "numbers", kind: .block, arguments: numbers), policy],
        section: CommandManual.limitSection)

    private static let cost = ArgumentSpec(
        name: "cost", kind: .integer, token: "COST",
        summary: "Units in this call; 1 if left out, 0 checks without counting. On replicas use RL.PEEK.",
        optional: true)
    private static let atMost = ArgumentSpec(
        name: "atmost", kind: .pureToken, token: "ATMOST",
        summary: "Grants as much of the cost as is available, if at least one unit is.", optional: true)
    private static let token = ArgumentSpec(
        name: "token", token: "ID",
        summary: "Makes a retry safe: the same token on the same key gets the first reply again.", optional: true)

    private static let logged = "O(1); with ALGO sliding-log O(N) with N grants in force, at most 4,096."

    // MARK: One limit

    private static let taking: [CommandSpec] = [
        CommandSpec(
            name: "rl.take", arity: -4, flags: [.write, .denyOOM, .fast], keys: .one, categories: own, group: group,
            complexity: logged,
            summary: "Takes units from a key's limit if enough are left.",
            arguments: [key, limit, cost, atMost, token], keyAccess: access, batched: .take),
        CommandSpec(
            name: "rl.peek", arity: -4, flags: [.readonly, .fast], keys: .one, categories: own, group: group,
            complexity: logged,
            summary: "Returns what RL.TAKE would return, and the current state; changes and creates nothing.",
            arguments: [key, limit, cost, atMost, token], keyAccess: ["RO", "access"], batched: .peek),
        CommandSpec(
            name: "rl.refund", arity: -4, flags: [.write, .fast], keys: .one, categories: own, group: group,
            complexity: logged,
            summary: "Returns units to a key's limit, up to the limit.", arguments: [key, limit, cost],
            keyAccess: access, batched: .refund),
        CommandSpec(
            name: "rl.reset", arity: 2, flags: [.write, .fast], keys: .one, categories: own, group: group,
            summary: "Resets a key's limit: returns 1, or 0 if nothing was spent.", arguments: [key],
            keyAccess: ["RM", "delete"], handler: Handlers.rlReset),
    ]

    // MARK: Several limits

    private static let several: [CommandSpec] = [
        CommandSpec(
            name: "rl.takeall", arity: -4, flags: [.write, .denyOOM], keys: .one, categories: own, group: group,
            complexity: "O(N²) comparisons of numbers with N limits, at most 128.",
            summary: "Takes the same cost from all of several limits, or from none.",
            arguments: [
                key, limit,
                ArgumentSpec(
                    name: "more", kind: .block, token: "AND", optional: true, multiple: true, multipleToken: true,
                    arguments: [.key(), limit]),
                cost,
            ],
            keyAccess: access, keyFinder: TakeAllArguments.keyPositions,
            batched: .takeAll)
    ]

    // MARK: By rule

    private static let byRule: [CommandSpec] = [
        CommandSpec(
            name: "rl.check", arity: -4, flags: [.write, .denyOOM, .fast, .allKeys], keys: .one, categories: own,
            group: group, complexity: logged,
            summary: "Takes units from the limit that the most specific rule assigns to this client and action.",
            arguments: [
                ArgumentSpec(name: "tenant", kind: .key, summary: "The tenant of the client; tenants share no state."),
                ArgumentSpec(name: "client", summary: "The client that acts."),
                ArgumentSpec(name: "action", summary: "The action, such as an endpoint's name."),
                cost, atMost, token,
            ],
            keyAccess: access, batched: .check)
    ]
}
