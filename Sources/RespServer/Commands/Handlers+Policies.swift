// RL.POLICY and RL.RULE: named limits, and who gets which.

import LimiterEngine
import RESP

extension Handlers {
    // MARK: RL.POLICY

    static func rlPolicySet(_ context: CommandContext) {
        do throws(ArgumentProblem) {
            let policy = try PolicyArguments.policy(context.arguments, nameAt: 2)
            context.editPolicies { draft throws(PolicyError) in try draft.set(policy) }
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
        context.removePolicies { draft throws(PolicyError) in try draft.removePolicy(name) }
    }

    static func rlPolicyList(_ context: CommandContext) {
        let work = PolicyListWork(context.keyspace.policies, version: context.reply.version)
        context.loop.perform(work, context)
    }

    // MARK: RL.RULE

    static func rlRuleSet(_ context: CommandContext) {
        do throws(ArgumentProblem) {
            let rule = try PolicyArguments.rule(context.arguments, subjectAt: 2)
            context.editPolicies { draft throws(PolicyError) in try draft.set(rule) }
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
            context.removePolicies { draft throws(PolicyError) in try draft.removeRule(subject) }
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
        do throws(RulesFileError) {
            guard let counts = try context.server.loadRulesFile(now: context.now) else {
                return context.reply.error("ERR rules-file is not set")
            }
            context.keyspace.noteChange()
            PolicyReply.begin(2, to: context.reply)
            PolicyReply.integer("policies", Int64(counts.policies), to: context.reply)
            PolicyReply.integer("rules", Int64(counts.rules), to: context.reply)
        } catch {
            context.reply.error("ERR \(error.text)")
        }
    }
}

extension CommandContext {
    /// Answers OK or what is wrong.
    fileprivate func editPolicies(_ body: (inout PolicyDraft) throws(PolicyError) -> Void) {
        do throws(PolicyError) {
            try server.editPolicies(now: now, excludesCollections: loop.excludesCollections, body)
            keyspace.noteChange()
            reply.ok()
        } catch {
            reply.error("ERR \(error.text)")
        }
    }

    /// Answers 1, 0 when there was nothing to remove, or what is wrong.
    fileprivate func removePolicies(_ body: (inout PolicyDraft) throws(PolicyError) -> Void) {
        do throws(PolicyError) {
            try server.editPolicies(now: now, excludesCollections: loop.excludesCollections, body)
            keyspace.noteChange()
            reply.integer(1)
        } catch .unknownPolicy, .unknownRule {
            reply.integer(0)
        } catch {
            reply.error("ERR \(error.text)")
        }
    }
}

/// Policies and rules as named values: a map in RESP3, names and values in turn in RESP2.
enum PolicyReply {
    static func begin(_ count: Int, to reply: ReplyBuffer) { reply.map(count) }

    static func integer(_ name: String, _ value: Int64, to reply: ReplyBuffer) {
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
        reply.map(9)
        text("name", policy.name, to: reply)
        text("algo", "\(limit.algorithm.name)", to: reply)
        integer("limit", limit.units, to: reply)
        integer("per_ms", limit.period / 1_000_000, to: reply)
        integer("burst", limit.capacity, to: reply)
        integer("offset_ms", limit.offset / 1_000_000, to: reply)
        text("mode", "\(policy.mode.name)", to: reply)
        text("source", policy.origin.name, to: reply)
        // How long the limit that was there before still holds some of this one back.
        integer("capped_ms", ceilingUnits(capped, unit: 1_000_000), to: reply)
    }

    static func rule(_ rule: Rule, because level: RuleLevel? = nil, to reply: ReplyBuffer) {
        let everybody = [UInt8(ascii: "*")]
        reply.map(level == nil ? 5 : 6)
        text("tenant", rule.subject.tenant ?? everybody, to: reply)
        text("client", rule.subject.client ?? everybody, to: reply)
        text("action", rule.subject.action ?? everybody, to: reply)
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
