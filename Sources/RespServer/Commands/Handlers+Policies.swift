// RL.POLICY (named limits) and RL.RULE (which client gets which policy).

import LimiterEngine
import RESP

extension Handlers {
    // MARK: RL.POLICY

    static func rlPolicySet(_ context: CommandContext) {
        do throws(ArgumentProblem) {
            let (change, isOnlyNew) = try PolicyArguments.change(context.arguments, nameAt: 2)
            context.editPolicies(of: { $0.policy(named: change.name).map(PolicyEntry.policy) }, isOnlyNew: isOnlyNew) {
                draft throws(PolicyError) in try draft.change(change)
            }
        } catch {
            context.reply.error(error.text)
        }
    }

    static func rlPolicyGet(_ context: CommandContext) {
        let table = context.keyspace.policies
        guard let number = table.policyNumber(named: context.arguments[2].raw) else { return context.reply.null() }
        PolicyReply.policy(table.policies[number], now: context.now, to: context.reply)
    }

    static func rlPolicyDel(_ context: CommandContext) {
        let name = context.arguments[2].bytes
        context.removePolicies(of: { $0.policy(named: name).map(PolicyEntry.policy) }) {
            draft throws(PolicyError) in try draft.removePolicy(name)
        }
    }

    static func rlPolicyList(_ context: CommandContext) {
        let work = PolicyListWork(context.keyspace.policies, version: context.reply.version)
        context.loop.perform(work, context)
    }

    // MARK: RL.RULE

    static func rlRuleSet(_ context: CommandContext) {
        do throws(ArgumentProblem) {
            let (rule, isOnlyNew) = try PolicyArguments.ruleChange(context.arguments, subjectAt: 2)
            context.editPolicies(of: { $0.rule(for: rule.subject).map(PolicyEntry.rule) }, isOnlyNew: isOnlyNew) {
                draft throws(PolicyError) in try draft.set(rule)
            }
        } catch {
            context.reply.error(error.text)
        }
    }

    static func rlRuleGet(_ context: CommandContext) {
        do throws(ArgumentProblem) {
            let subject = try PolicyArguments.subject(context.arguments, at: 2)
            guard let rule = context.keyspace.policies.rule(for: subject) else { return context.reply.null() }
            PolicyReply.rule(rule, to: context.reply)
        } catch {
            context.reply.error(error.text)
        }
    }

    static func rlRuleDel(_ context: CommandContext) {
        do throws(ArgumentProblem) {
            let subject = try PolicyArguments.subject(context.arguments, at: 2)
            context.removePolicies(of: { $0.rule(for: subject).map(PolicyEntry.rule) }) {
                draft throws(PolicyError) in try draft.removeRule(subject)
            }
        } catch {
            context.reply.error(error.text)
        }
    }

    static func rlRuleList(_ context: CommandContext) {
        let work = RuleListWork(context.keyspace.policies, version: context.reply.version)
        context.loop.perform(work, context)
    }

    static func rlRuleResolve(_ context: CommandContext) {
        let (arguments, table) = (context.arguments, context.keyspace.policies)
        let found = table.resolve(tenant: arguments[2].raw, client: arguments[3].raw, action: arguments[4].raw)
        guard let found else { return context.reply.null() }
        PolicyReply.rule(table.rule(of: found), because: found.level, to: context.reply)
    }

    static func rlRuleReload(_ context: CommandContext) {
        let force = context.arguments.count == 3 && context.arguments[2].matches("FORCE")
        guard force || context.arguments.count == 2 else {
            return context.reply.error(
                "ERR syntax error near '\(LimitArguments.shown(context.arguments[2]))': expected FORCE or nothing")
        }
        guard !context.server.currentSettings.value.rulesFile.isEmpty else {
            return context.reply.error("ERR rules-file is not set")
        }
        context.loop.followUp.add(
            .files(.reloadRules(force: force, client: context.client.peerAddress)), replyOffset: context.reply.count)
    }
}

extension CommandContext {
    fileprivate typealias Edit = (inout PolicyDraft) throws(PolicyError) -> Void

    /// Replies OK; nil if `isOnlyNew` and the entry exists; or an error.
    fileprivate func editPolicies(of find: (PolicyDraft) -> PolicyEntry?, isOnlyNew: Bool, _ body: Edit) {
        do throws(PolicyError) {
            try edit(find, isOnlyNew: isOnlyNew, body) ? reply.ok() : reply.null()
            saveOverrides()
        } catch {
            reply.error("ERR \(error.text)")
        }
    }

    /// Replies 1; 0 if there was nothing to remove; or an error.
    fileprivate func removePolicies(of find: (PolicyDraft) -> PolicyEntry?, _ body: Edit) {
        do throws(PolicyError) {
            _ = try edit(find, isOnlyNew: false, body)
            reply.integer(1)
            saveOverrides()
        } catch .unknownPolicy, .unknownRule {
            reply.integer(0)
        } catch {
            reply.error("ERR \(error.text)")
        }
    }

    /// Returns false without changing anything if `isOnlyNew` and the entry exists.
    private func edit(
        _ find: (PolicyDraft) -> PolicyEntry?, isOnlyNew: Bool, _ body: Edit
    ) throws(PolicyError) -> Bool {
        var before: PolicyEntry?
        var after: PolicyEntry?
        try server.editPolicies(now: now) { draft throws(PolicyError) in
            before = find(draft)
            guard before == nil || !isOnlyNew else { return }
            try body(&draft)
            after = find(draft)
        }
        guard before == nil || !isOnlyNew else { return false }
        keyspace.noteChange()
        if server.log.writes(.notice), let note = PolicyLog.line(before: before, after: after, client: client) {
            loop.followUp.notes.append(note)
        }
        return true
    }

    /// If the edit overrides the rules file, the reply waits until the overrides are stored: otherwise a restart would
    /// undo an acknowledged removal.
    private func saveOverrides() {
        guard server.engine.policies.hasUnsavedOverrides else { return }
        loop.followUp.add(.files(.saveOverrides), replyOffset: reply.count)
    }
}

/// Policies and rules as named values: a map in RESP3, alternating names and values in RESP2.
enum PolicyReply {
    /// The reply to RL.RULE RELOAD. Clients look values up by name; later versions may add names.
    static func report(_ report: RulesReport, to reply: ReplyBuffer) {
        let differences = report.differences
        reply.map(6)
        integer("policies", Int64(report.policies), to: reply)
        integer("rules", Int64(report.rules), to: reply)
        integer("applied", Int64(differences.appliedCount), to: reply)
        integer("kept", Int64(differences.keptCount), to: reply)
        titles("applied_names", differences.applied, to: reply)
        titles("kept_names", differences.kept, to: reply)
    }

    private static func titles(_ name: String, _ differences: [FileReport.Difference], to reply: ReplyBuffer) {
        reply.bulk(name)
        let titles = differences.compactMap { ($0.file ?? $0.inForce).map(PolicyText.title) }
        reply.array(titles.count)
        for title in titles { reply.bulk(title) }
    }

    private static func integer(_ name: String, _ value: Int64, to reply: ReplyBuffer) {
        reply.bulk(name)
        reply.integer(value)
    }

    private static func text(_ name: String, _ value: [UInt8], to reply: ReplyBuffer) {
        reply.bulk(name)
        reply.bulk(value)
    }

    private static func text(_ name: String, _ value: String, to reply: ReplyBuffer) {
        reply.bulk(name)
        reply.bulk(value)
    }

    static func policy(_ policy: Policy, now: EngineTime, to reply: ReplyBuffer) {
        let limit = policy.limit
        let capped = max(0, limit.cappedUntil - now.nanoseconds)
        // Calendar units vary in length, so `per_ms` is 0 for them.
        reply.map(limit.calendar == nil ? 9 : 12)
        text("name", policy.name, to: reply)
        text("algo", "\(limit.algorithm.name)", to: reply)
        integer("limit", limit.units, to: reply)
        integer("per_ms", limit.calendar == nil ? limit.period / 1_000_000 : 0, to: reply)
        integer("burst", limit.capacity, to: reply)
        integer("offset_ms", limit.offset / 1_000_000, to: reply)
        text("mode", "\(policy.mode.name)", to: reply)
        text("source", policy.origin.name, to: reply)
        // How long the superseded limit still withholds units of this one.
        integer("capped_ms", ceilingUnits(capped, unit: 1_000_000), to: reply)
        guard let calendar = limit.calendar else { return }
        text("per", calendar.unit.name, to: reply)
        text("zone", limit.zoneName.text, to: reply)
        integer("start", Int64(calendar.start), to: reply)
    }

    static func rule(_ rule: Rule, because level: RuleLevel? = nil, to reply: ReplyBuffer) {
        let star = [UInt8(ascii: "*")]
        reply.map(level == nil ? 5 : 6)
        text("tenant", rule.subject.tenant ?? star, to: reply)
        text("client", rule.subject.client ?? star, to: reply)
        text("action", rule.subject.action ?? star, to: reply)
        text("policy", rule.policy, to: reply)
        text("source", rule.origin.name, to: reply)
        if let level { text("level", level.name, to: reply) }
    }
}

extension PolicyOrigin {
    fileprivate var name: String {
        switch self {
        case .command: "command"
        case .file: "file"
        }
    }
}

extension RuleLevel {
    fileprivate var name: String {
        switch self {
        case .clientAction: "client+action"
        case .client: "client"
        case .tenantAction: "tenant+action"
        case .tenant: "tenant"
        case .globalAction: "global action"
        case .globalDefault: "global default"
        }
    }
}
