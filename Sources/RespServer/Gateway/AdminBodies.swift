// Bodies of requests that change policies and rules, and the lists and objects that show them.

import HTTP
import LimiterEngine
import RESP

enum PolicyBody {
    private enum Field: UInt8, JSONField {
        case limit, per, burst, algorithm, offset, zone, start, mode

        var name: StaticString {
            switch self {
            case .limit: "limit"
            case .per: "per"
            case .burst: "burst"
            case .algorithm: "algorithm"
            case .offset: "offset"
            case .zone: "zone"
            case .start: "start"
            case .mode: "mode"
            }
        }

        var word: LimitWord {
            switch self {
            case .limit: .limit
            case .per: .per
            case .burst: .burst
            case .algorithm: .algo
            case .offset: .offset
            case .zone: .zone
            case .start: .start
            case .mode: .mode
            }
        }
    }

    /// RL.POLICY SET with the fields of the body. A PUT describes the whole policy, so the fields that a command would
    /// keep from an existing one are set to their defaults.
    static func words(_ exchange: HTTPExchange, name: [UInt8]) throws(HTTPProblem) -> [[UInt8]] {
        let text = try exchange.jsonBody()
        var values: [LimitWord: [UInt8]] = [:]
        do throws(JSONError) {
            var reader = JSONReader(text.buffer)
            try reader.beginObject()
            while let field = try reader.nextField(Field.self) {
                let isInteger =
                    switch field {
                    case .limit, .burst, .start: true
                    case .per, .offset: try reader.kind() == .number
                    case .algorithm, .zone, .mode: false
                    }
                values[field.word] = isInteger ? Array("\(try reader.integer())".utf8) : try reader.string().bytes
            }
            try reader.finish()
        } catch {
            throw GatewayText.problem(error)
        }
        for required in [LimitWord.limit, .per] where values[required] == nil {
            throw GatewayText.problem(ArgumentProblem("ERR \(required.text) is missing"))
        }
        let algorithm = values[.algo].map { String(decoding: $0, as: UTF8.self).lowercased() } ?? "gcra"
        let known = Limit.Algorithm.allCases.first { "\($0.name)" == algorithm }
        var defaults: [LimitWord: [UInt8]] = [.algo: Array("gcra".utf8), .mode: Array("enforce".utf8)]
        if let known {
            if known.hasBurst, values[.limit] != [UInt8(ascii: "0")] { defaults[.burst] = values[.limit] }
            if known.facts.hasOffset { defaults[.offset] = [UInt8(ascii: "0")] }
            if known.facts.usesCalendar { defaults[.zone] = Array("UTC".utf8) }
        }
        values.merge(defaults) { given, _ in given }
        let words = values.sorted { $0.key.rawValue < $1.key.rawValue }
        return [Array("RL.POLICY".utf8), Array("SET".utf8), name]
            + words.flatMap { [Array($0.key.text.utf8), $0.value] }
    }

    private enum ReloadField: UInt8, JSONField {
        case force

        var name: StaticString { "force" }
    }

    /// Whether the body of a reload, if it has one, says `{"force": true}`.
    static func forces(_ exchange: HTTPExchange) throws(HTTPProblem) -> Bool {
        guard !exchange.request.body.isEmpty else { return false }
        let text = try exchange.jsonBody()
        do throws(JSONError) {
            var force = false
            var reader = JSONReader(text.buffer)
            try reader.beginObject()
            while try reader.nextField(ReloadField.self) != nil { force = try reader.bool() }
            try reader.finish()
            return force
        } catch {
            throw GatewayText.problem(error)
        }
    }

    private enum RuleField: UInt8, JSONField {
        case policy

        var name: StaticString { "policy" }
    }

    /// The policy that the body of a rule names.
    static func ruleTarget(_ exchange: HTTPExchange) throws(HTTPProblem) -> [UInt8] {
        let text = try exchange.jsonBody()
        do throws(JSONError) {
            var policy: [UInt8]?
            var reader = JSONReader(text.buffer)
            try reader.beginObject()
            while try reader.nextField(RuleField.self) != nil {
                let name = try reader.string().bytes
                guard (1...Policy.nameLengthMax).contains(name.count) else {
                    throw reader.error(.invalid("must have 1 to \(Policy.nameLengthMax) bytes"))
                }
                policy = name
            }
            try reader.finish()
            guard let policy else { throw reader.error(.missing, in: "policy") }
            return policy
        } catch {
            throw GatewayText.problem(error)
        }
    }
}

/// Lists, page by page: there may be a million rules.
enum AdminLists {
    private static let usual = 100
    private static let most = 1000

    private static func limit(_ exchange: HTTPExchange) throws(HTTPProblem) -> Int {
        guard let text = exchange.request.query.parameter("limit") else { return usual }
        guard let limit = text.decimal, (1...most).contains(limit) else {
            throw HTTPProblem(.invalidField, "limit must be an integer from 1 to \(most)", field: "limit")
        }
        return limit
    }

    /// Sorted by name, from the one after the parameter `after` on.
    static func policies(_ exchange: HTTPExchange, _ table: PolicyTable) throws(HTTPProblem) {
        let limit = try limit(exchange)
        let policies = table.policies
        var start = 0
        if let after = exchange.request.query.parameter("after") {
            let name = try exchange.decoded(after, "after", isQuery: true)
            start = policies.partitioningIndex { name.lexicographicallyPrecedes($0.name) }
        }
        let shown = policies[start..<min(policies.count, start + limit)]
        AdminJSON.answer(exchange) { writer in
            writer.beginObject()
            writer.name("policies")
            writer.beginArray()
            for policy in shown { AdminJSON.policy(policy, now: exchange.loop.now, to: &writer) }
            writer.endArray()
            writer.name("next")
            if shown.endIndex < policies.count, let last = shown.last {
                writer.string(last.name)
            } else {
                writer.null()
            }
            writer.endObject()
        }
    }

    /// In no particular order, from the parameter `cursor` on. Rules that exist throughout are shown; one that is added
    /// or removed meanwhile may be missing, and when many are added, some may be shown twice, as with SCAN.
    static func rules(_ exchange: HTTPExchange, _ table: PolicyTable) throws(HTTPProblem) {
        let limit = try limit(exchange)
        var cursor = PolicyTable.RuleCursor()
        if let text = exchange.request.query.parameter("cursor") {
            guard let value = text.decimal, let known = PolicyTable.RuleCursor(number: value) else {
                throw HTTPProblem(.invalidField, "cursor must be one that a list has returned", field: "cursor")
            }
            cursor = known
        }
        AdminJSON.answer(exchange) { writer in
            writer.beginObject()
            writer.name("rules")
            writer.beginArray()
            var count = 0
            var isComplete = false
            while count < limit {
                guard let rule = table.nextRule(&cursor) else {
                    isComplete = true
                    break
                }
                AdminJSON.rule(rule, to: &writer)
                count += 1
            }
            writer.endArray()
            writer.name("next")
            if isComplete || count == 0 {
                writer.null()
            } else {
                writer.string("\(cursor.number)")
            }
            writer.endObject()
        }
    }
}

extension Array {
    /// The position of the first element for which `isAfter` is true, in an array that is sorted by it.
    fileprivate func partitioningIndex(where isAfter: (Element) -> Bool) -> Int {
        var (low, high) = (0, count)
        while low < high {
            let middle = (low + high) / 2
            if isAfter(self[middle]) { high = middle } else { low = middle + 1 }
        }
        return low
    }
}

/// Policies, rules and replies as JSON: the names of RL.POLICY GET and RL.RULE GET, with `algorithm` for `algo`.
enum AdminJSON {
    static func answer(_ exchange: HTTPExchange, _ body: (inout JSONWriter) -> Void) {
        exchange.response.begin(.ok, .json)
        write(to: exchange.response, body)
    }

    static func write(to response: HTTPResponse, _ body: (inout JSONWriter) -> Void) {
        var writer = JSONWriter(response.body)
        body(&writer)
        response.body.append("\n")
    }

    static func policy(_ policy: Policy, now: EngineTime, to writer: inout JSONWriter) {
        let buffer = ReplyBuffer(capacity: 512)
        buffer.version = .resp3
        PolicyReply.policy(policy, now: now, to: buffer)
        value(buffer, to: &writer)
    }

    static func rule(_ rule: Rule, because level: RuleLevel? = nil, to writer: inout JSONWriter) {
        let buffer = ReplyBuffer(capacity: 512)
        buffer.version = .resp3
        PolicyReply.rule(rule, because: level, to: buffer)
        value(buffer, to: &writer)
    }

    private static func value(_ buffer: ReplyBuffer, to writer: inout JSONWriter) {
        guard let (found, _) = try? ReplyValue.decode(Array(buffer.bytes)) else { return writer.null() }
        value(found, to: &writer)
    }

    static func value(_ value: ReplyValue, to writer: inout JSONWriter) {
        switch value {
        case .integer(let number): writer.integer(number)
        case .bulk(let bytes): writer.string(bytes)
        case .boolean(let flag): writer.bool(flag)
        case .array(let values), .set(let values), .push(let values):
            writer.beginArray()
            for element in values { AdminJSON.value(element, to: &writer) }
            writer.endArray()
        case .map(let pairs):
            writer.beginObject()
            for pair in pairs {
                let name = pair.key.text ?? ""
                writer.name(text: name == "algo" ? "algorithm" : name)
                AdminJSON.value(pair.value, to: &writer)
            }
            writer.endObject()
        default:
            if let text = value.text { writer.string(text) } else { writer.null() }
        }
    }
}
