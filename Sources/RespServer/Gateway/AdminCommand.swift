// Policies, rules and keys over HTTP, on the admin listener.
//
//   GET    /v1/policies, /v1/policies/NAME, /v1/rules, /v1/rules/resolve         read the table in force
//   PUT    /v1/policies/NAME, /v1/rules/TENANT/CLIENT/ACTION                     RL.POLICY SET, RL.RULE SET
//   DELETE /v1/policies/NAME, /v1/rules/TENANT/CLIENT/ACTION, /v1/keys/KEY       RL.POLICY DEL, RL.RULE DEL, RL.RESET
//   POST   /v1/rules/reload                                                      RL.RULE RELOAD
//
// In paths a name is percent-encoded, so every byte can be written; `*` alone stands for all names, as in commands.

import HTTP
import LimiterEngine
import RESP

/// What a route does to policies, rules and keys.
enum AdminCommand: UInt8, Sendable {
    case listPolicies, getPolicy, setPolicy, deletePolicy
    case listRules, getRule, setRule, deleteRule, resolve, reload
    case resetKey
    /// A change by CompatCommand, which has no words of its own.
    case compat

    func read(_ exchange: inout HTTPExchange) throws(HTTPProblem) -> GatewayStep {
        let loop = exchange.loop
        loop.decideBatch()
        let table = loop.keyspace.policies
        switch self {
        case .listPolicies: try AdminLists.policies(exchange, table)
        case .listRules: try AdminLists.rules(exchange, table)
        case .getPolicy:
            let name = try exchange.pathName(0)
            guard let number = name.withUnsafeBytes({ table.policyNumber(named: $0) }) else {
                throw HTTPProblem(.notFound, "there is no policy '\(PolicyError.shown(name))'")
            }
            AdminJSON.answer(exchange) { AdminJSON.policy(table.policies[number], now: loop.now, to: &$0) }
        case .getRule:
            let subject = RuleSubject(try exchange.pathNames())
            guard let rule = table.rule(for: subject) else {
                throw HTTPProblem(.notFound, "there is no rule for '\(subject.shown)'")
            }
            AdminJSON.answer(exchange) { AdminJSON.rule(rule, to: &$0) }
        case .resolve: try resolve(exchange, table)
        case .setPolicy, .deletePolicy, .setRule, .deleteRule, .reload, .resetKey, .compat: return try change(&exchange)
        }
        GatewayCorrelation.addField(exchange.note, to: exchange.response)
        return .answered
    }

    private func resolve(_ exchange: HTTPExchange, _ table: PolicyTable) throws(HTTPProblem) {
        var names: [[UInt8]] = []
        for name in ["tenant", "client", "action"] as [StaticString] { names.append(try exchange.parameter(name)) }
        let found = names[0].withUnsafeBytes { tenant in
            names[1].withUnsafeBytes { client in
                names[2].withUnsafeBytes { table.resolve(tenant: tenant, client: client, action: $0) }
            }
        }
        guard let found else { throw HTTPProblem(.noRule, "no rule matches this tenant, client and action") }
        AdminJSON.answer(exchange) { AdminJSON.rule(table.rule(of: found), because: found.level, to: &$0) }
    }

    // MARK: Changes

    private func change(_ exchange: inout HTTPExchange) throws(HTTPProblem) -> GatewayStep {
        let words = try words(exchange)
        return try answer(&exchange, words, exchange.loop.runCommand(words, for: exchange.connection))
    }

    /// Answers a request by what became of its command, at once or later.
    func answer(
        _ exchange: inout HTTPExchange, _ words: [[UInt8]], _ outcome: HTTPCommandOutcome
    ) throws(HTTPProblem) -> GatewayStep {
        let loop = exchange.loop
        switch outcome {
        case .refused(let problem): throw problem
        case .replied(let value):
            exchange.response.begin(.noContent)
            AdminCommand.fill(self, words, value, exchange.note, on: loop)
            return .answered
        case .waits:
            guard case .http(let session) = exchange.connection.session else { preconditionFailure("not HTTP") }
            let correlation = Array(exchange.note.correlation.buffer)
            var note = exchange.note
            // Their bytes belong to the request.
            (note.correlation, note.text) = (.empty, .empty)
            session.pending = PendingHTTPAnswer(action: self, words: words, note: note, correlation: correlation)
            return .waits
        }
    }

    /// The command.
    private func words(_ exchange: HTTPExchange) throws(HTTPProblem) -> [[UInt8]] {
        switch self {
        case .setPolicy: try PolicyBody.words(exchange, name: try exchange.pathName(0))
        case .deletePolicy: [bytes("RL.POLICY"), bytes("DEL"), try exchange.pathName(0)]
        case .setRule:
            [bytes("RL.RULE"), bytes("SET")] + (try exchange.pathNames())
                + [bytes("POLICY"), try PolicyBody.ruleTarget(exchange)]
        case .deleteRule: [bytes("RL.RULE"), bytes("DEL")] + (try exchange.pathNames())
        case .reload:
            [bytes("RL.RULE"), bytes("RELOAD")]
                + (try PolicyBody.forces(exchange) ? [bytes("FORCE")] : [])
        case .resetKey: [bytes("RL.RESET"), try exchange.decoded(exchange.parameters[0], "key")]
        case .listPolicies, .getPolicy, .listRules, .getRule, .resolve, .compat: preconditionFailure("not a command")
        }
    }

    private func bytes(_ word: String) -> [UInt8] { Array(word.utf8) }

    /// Fills the response from a command's reply.
    static func fill(
        _ action: AdminCommand, _ words: [[UInt8]], _ value: ReplyValue, _ note: HTTPNote, on loop: EventLoop
    ) {
        let response = loop.http.response
        defer { GatewayCorrelation.addField(note, to: response) }
        if case .error(let text) = value {
            response.begin(problem(action, text))
            return
        }
        if value == .integer(0) {
            response.begin(HTTPProblem(.notFound, "there is nothing to delete"))
            return
        }
        let table = loop.keyspace.policies
        switch action {
        case .setPolicy:
            guard let number = words[2].withUnsafeBytes({ table.policyNumber(named: $0) }) else { return }
            response.begin(.ok, .json)
            AdminJSON.write(to: response) { AdminJSON.policy(table.policies[number], now: loop.now, to: &$0) }
        case .setRule:
            guard let rule = table.rule(for: RuleSubject(Array(words[2..<5]))) else { return }
            response.begin(.ok, .json)
            AdminJSON.write(to: response) { AdminJSON.rule(rule, to: &$0) }
        case .compat:
            response.begin(.ok, .json)
            AdminJSON.write(to: response) { writer in
                writer.beginObject()
                writer.name("status")
                writer.string("ok" as StaticString)
                writer.name("policy")
                writer.string(words[0])
                writer.endObject()
            }
        case .reload:
            response.begin(.ok, .json)
            AdminJSON.write(to: response) { AdminJSON.value(value, to: &$0) }
        default: response.begin(.noContent)
        }
    }

    private static func problem(_ action: AdminCommand, _ text: String) -> HTTPProblem {
        if text.hasPrefix("WRONGTYPE ") { return HTTPProblem(.wrongKind, String(text.dropFirst(10))) }
        let problem = GatewayText.problem(ArgumentProblem(text))
        switch action {
        case .deletePolicy, .reload: return HTTPProblem(.conflict, problem.detail)
        case .setRule: return HTTPProblem(.noPolicy, problem.detail, field: "policy")
        default: return problem
        }
    }
}

extension HTTPExchange {
    /// The decoded bytes of a part of the path or the query.
    func decoded(_ part: ByteView, _ name: String, isQuery: Bool = false) throws(HTTPProblem) -> [UInt8] {
        let text = loop.http.text
        text.removeAll()
        guard part.appendDecoded(to: text, isQuery: isQuery) else {
            throw HTTPProblem(.invalidField, "\(name) is not percent-encoded", field: name)
        }
        return Array(text.bytes)
    }

    /// A parameter of the query, decoded.
    fileprivate func parameter(_ name: StaticString) throws(HTTPProblem) -> [UInt8] {
        guard let value = request.query.parameter(name) else {
            throw HTTPProblem(.invalidField, "\(name) is missing", field: "\(name)")
        }
        return try decoded(value, "\(name)", isQuery: true)
    }

    /// A name in the path, decoded.
    fileprivate func pathName(_ number: Int) throws(HTTPProblem) -> [UInt8] {
        let name = try decoded(parameters[number], "name")
        guard name.count <= Policy.nameLengthMax else {
            throw HTTPProblem(.invalidField, "a name must have at most \(Policy.nameLengthMax) bytes", field: "name")
        }
        return name
    }

    /// Tenant, client and action in the path.
    fileprivate func pathNames() throws(HTTPProblem) -> [[UInt8]] {
        var names: [[UInt8]] = []
        for number in 0..<3 {
            let name = try pathName(number)
            guard name != [UInt8(ascii: "*")] || parameters[number].count == 1 else {
                throw HTTPProblem.starName
            }
            names.append(name)
        }
        return names
    }
}

extension RuleSubject {
    /// The subject with these names, where `*` stands for all.
    init(_ names: [[UInt8]]) {
        func name(_ number: Int) -> [UInt8]? { names[number] == [UInt8(ascii: "*")] ? nil : names[number] }
        self.init(tenant: name(0), client: name(1), action: name(2))
    }
}

extension HTTPProblem {
    /// A rule for a client, tenant or action that is itself called `*` could not be told apart from one for all.
    static let starName = HTTPProblem(.invalidField, "a rule cannot be for the name *, which means all", field: "name")
}
