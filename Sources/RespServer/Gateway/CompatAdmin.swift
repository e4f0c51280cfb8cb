// Administration by the paths of other rate-limit services: a limit for a subject becomes a policy of its own and the
// rule that assigns it, in one change. On the admin listener, with its token; served with `http-compat yes`.
//
//   PUT, DELETE /api/config/tenant/TENANT[/client/CLIENT]/action/ACTION    {"max_requests", "window_duration_seconds"}
//   PUT         /api/config/global                                         the rule for everything else
//   POST        /v1/admin/rules                                            {"client_id", "rate", "window", "endpoint"}
//   GET         /rules                                                     the rules made by that

import HTTP
import LimiterEngine
import RESP

/// What such a path does.
enum CompatCommand: Sendable {
    case setGlobal
    case setTenantAction, deleteTenantAction, setClientAction, deleteClientAction
    case addRule, listRules

    /// A policy of its own for a subject.
    struct Entry {
        var policy: [UInt8]
        var subject: RuleSubject

        fileprivate init(policy: [UInt8], subject: RuleSubject) {
            self.policy = policy
            self.subject = subject
        }

        /// The policy is named after the subject: `acme/login`. A slash within a name is encoded, or two subjects could
        /// have the same policy.
        fileprivate init(_ subject: RuleSubject) {
            let names = [subject.tenant, subject.client, subject.action].compactMap { $0 }
            let encoded = names.map { name in
                name.flatMap { byte -> [UInt8] in
                    switch byte {
                    case UInt8(ascii: "/"): Array("%2F".utf8)
                    case UInt8(ascii: "%"): Array("%25".utf8)
                    default: [byte]
                    }
                }
            }
            self.init(policy: Array(encoded.joined(separator: [UInt8(ascii: "/")])), subject: subject)
        }

        /// Whether one of the names is `*`, which commands and files understand as all names.
        fileprivate var hasStar: Bool {
            [subject.tenant, subject.client, subject.action].contains([UInt8(ascii: "*")])
        }
    }

    private struct Numbers {
        var units: Int64?
        var seconds: Int64?
        var client: [UInt8]?
        var endpoint: [UInt8]?
    }

    private enum Field: UInt8, JSONField {
        case maximum, window, rate, shortWindow, client, endpoint

        var name: StaticString {
            switch self {
            case .maximum: "max_requests"
            case .window: "window_duration_seconds"
            case .rate: "rate"
            case .shortWindow: "window"
            case .client: "client_id"
            case .endpoint: "endpoint"
            }
        }
    }

    private static var tenant: [UInt8] { Array("default".utf8) }

    func read(_ exchange: inout HTTPExchange) throws(HTTPProblem) -> GatewayStep {
        try CompatReaders.requireSetting(exchange)
        let loop = exchange.loop
        loop.decideBatch()
        switch self {
        case .listRules:
            listRules(exchange)
            GatewayCorrelation.addField(exchange.note, to: exchange.response)
            return .answered
        case .deleteTenantAction, .deleteClientAction:
            let entry = try entry(exchange, Numbers())
            return try edit(&exchange, entry) { draft throws(PolicyError) in
                try draft.removeRule(entry.subject)
                // Other rules may have been given the same policy.
                do throws(PolicyError) {
                    try draft.removePolicy(entry.policy)
                } catch .policyInUse, .unknownPolicy {}
            }
        case .setGlobal, .setTenantAction, .setClientAction, .addRule:
            let numbers = try body(exchange)
            let entry = try entry(exchange, numbers)
            guard !entry.hasStar else {
                throw HTTPProblem.starName
            }
            var change = PolicyChange(name: entry.policy)
            change.units = numbers.units
            change.period = try period(numbers.seconds!)
            change.algorithm = numbers.units! <= SlidingLog.unitsMax ? .slidingLog : .slidingWindow
            change.mode = .enforce
            return try edit(&exchange, entry) { [change] draft throws(PolicyError) in
                try draft.change(change)
                try draft.set(Rule(entry.subject, policy: entry.policy))
            }
        }
    }

    private func period(_ seconds: Int64) throws(HTTPProblem) -> Int64 {
        do throws(ArgumentProblem) {
            return try LimitArguments.seconds(seconds, .per)
        } catch {
            let field = self == .addRule ? "window" : "window_duration_seconds"
            throw HTTPProblem(.invalidField, "\(field) is out of range", field: field)
        }
    }

    private func body(_ exchange: HTTPExchange) throws(HTTPProblem) -> Numbers {
        let text = try exchange.jsonBody()
        var numbers = Numbers()
        do throws(JSONError) {
            var reader = JSONReader(text.buffer)
            try reader.beginObject()
            while let field = try reader.nextField(Field.self, ignoresUnknown: true) {
                guard try !reader.null() else { continue }
                switch field {
                case .maximum, .rate:
                    numbers.units = try reader.integer()
                    if numbers.units! < 0 { throw reader.error(.invalid("must not be negative")) }
                case .window, .shortWindow:
                    numbers.seconds = try reader.integer()
                    if numbers.seconds! < 1 { throw reader.error(.invalid("must be above zero")) }
                case .client: numbers.client = try reader.string().bytes
                case .endpoint: numbers.endpoint = try reader.string().bytes
                }
            }
            try reader.finish()
            let isRule = self == .addRule
            if numbers.units == nil { throw reader.error(.missing, in: isRule ? "rate" : "max_requests") }
            if numbers.seconds == nil {
                throw reader.error(.missing, in: isRule ? "window" : "window_duration_seconds")
            }
            if isRule, numbers.client == nil { throw reader.error(.missing, in: "client_id") }
        } catch {
            throw GatewayText.problem(error)
        }
        return numbers
    }

    private func entry(_ exchange: HTTPExchange, _ numbers: Numbers) throws(HTTPProblem) -> Entry {
        func part(_ number: Int) throws(HTTPProblem) -> [UInt8] {
            try exchange.decoded(exchange.parameters[number], "path")
        }
        switch self {
        case .setGlobal:
            return Entry(policy: Array("global".utf8), subject: RuleSubject(tenant: nil, client: nil, action: nil))
        case .setTenantAction, .deleteTenantAction:
            return Entry(RuleSubject(tenant: try part(0), client: nil, action: try part(1)))
        case .setClientAction, .deleteClientAction:
            return Entry(RuleSubject(tenant: try part(0), client: try part(1), action: try part(2)))
        case .addRule, .listRules:
            return Entry(
                RuleSubject(tenant: CompatCommand.tenant, client: numbers.client ?? [], action: numbers.endpoint))
        }
    }

    // MARK: Changes

    private func edit(
        _ exchange: inout HTTPExchange, _ entry: Entry, _ body: (inout PolicyDraft) throws(PolicyError) -> Void
    ) throws(HTTPProblem) -> GatewayStep {
        let words = [entry.policy]
        return try AdminCommand.compat.answer(
            &exchange, words, exchange.loop.runEdit(for: exchange.connection, entry, body))
    }

    // MARK: Lists

    private func listRules(_ exchange: HTTPExchange) {
        let table = exchange.loop.keyspace.policies
        exchange.response.begin(.ok, .json)
        var writer = JSONWriter(exchange.response.body)
        writer.beginArray()
        var cursor = PolicyTable.RuleCursor()
        var count = 0
        while count < 10_000, let rule = table.nextRule(&cursor) {
            guard rule.subject.tenant == CompatCommand.tenant, let client = rule.subject.client,
                let number = rule.policy.withUnsafeBytes({ table.policyNumber(named: $0) })
            else { continue }
            let limit = table.terms(ofPolicy: number).limit
            writer.beginObject()
            writer.name("client_id")
            writer.string(client)
            writer.name("endpoint")
            if let action = rule.subject.action { writer.string(action) } else { writer.null() }
            writer.name("rate")
            writer.integer(limit.units)
            writer.name("window")
            writer.integer(RateLimitFields.wholeSeconds(limit.period))
            writer.endObject()
            count += 1
        }
        writer.endArray()
        exchange.response.body.append("\n")
    }
}

extension EventLoop {
    /// Changes a policy and its rule in one edit, as a command would: with the journal excluded, admitted again once it
    /// is, logged, and answered after overrides of the rules file are stored.
    fileprivate func runEdit(
        for connection: Connection, _ entry: CompatCommand.Entry,
        _ body: (inout PolicyDraft) throws(PolicyError) -> Void
    ) -> HTTPCommandOutcome {
        guard let index = http.commands(named: "rl.rule|set") else { preconditionFailure("there is no RL.RULE SET") }
        reply.version = .resp3
        let start = reply.count
        var failure: PolicyError?
        let refused = holding(ExclusivePlan(excludesCollections: true)) { () -> HTTPProblem? in
            readClocks()
            if let problem = refusal(of: commands.flat[index]) { return problem }
            do throws(PolicyError) {
                var before: PolicyEntry?
                var after: PolicyEntry?
                try server.editPolicies(now: now) { draft throws(PolicyError) in
                    before = draft.rule(for: entry.subject).map(PolicyEntry.rule)
                    try body(&draft)
                    after = draft.rule(for: entry.subject).map(PolicyEntry.rule)
                }
                keyspace.noteChange()
                if server.log.writes(.notice),
                    let note = PolicyLog.line(before: before, after: after, client: connection)
                {
                    followUp.notes.append(note)
                }
            } catch {
                failure = error
            }
            return nil
        }
        if let refused { return .refused(refused) }
        if let failure {
            if case .unknownRule = failure { return .replied(.integer(0)) }
            return .replied(.error("ERR \(failure.text)"))
        }
        durability.noteChanges()
        buffers.changes[buffers.servedCount - 1] = true
        reply.ok()
        if server.engine.policies.hasUnsavedOverrides {
            followUp.add(.files(.saveOverrides), replyOffset: reply.count)
        }
        if !followUp.isEmpty { finishFollowUp(for: connection, replyStart: start, hasChanged: true) }
        if connection.flags.contains(.blocked) { return .waits }
        reply.truncate(to: start)
        return .replied(.simple("OK"))
    }
}

extension CompatCommand {
    /// The rows of the table.
    static let routes: [HTTPRoute] = [
        row(.put, "/api/config/global", .setGlobal),
        row(.put, "/api/config/tenant/{tenant}/action/{action}", .setTenantAction),
        row(.delete, "/api/config/tenant/{tenant}/action/{action}", .deleteTenantAction),
        row(.put, "/api/config/tenant/{tenant}/client/{client}/action/{action}", .setClientAction),
        row(.delete, "/api/config/tenant/{tenant}/client/{client}/action/{action}", .deleteClientAction),
        row(.post, "/v1/admin/rules", .addRule),
        row(.get, "/rules", .listRules),
    ]

    private static func row(_ method: HTTPMethod, _ template: StaticString, _ command: CompatCommand) -> HTTPRoute {
        HTTPRoute(
            method, template, on: .admin, command: method == .get ? "rl.rule|list" : "rl.rule|set",
            .gateway(.compatCommand(command)),
            RouteDocumentation(summary: "Of another service, with http-compat: see docs/check-api.md"))
    }
}
