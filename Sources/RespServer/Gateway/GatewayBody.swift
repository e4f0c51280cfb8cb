// The bodies of the check API: which fields requests have, and how they become the words of a limit.
//
// JSON and commands share the meaning of a limit (LimitArguments), so both accept the same values and refuse the same
// ones. Errors name the field of the body.

import HTTP
import LimiterEngine
import RESP

/// A limit and a demand in a body: `{"key": …, "limit": 10, "per": "1m", …}`.
struct LimitBody {
    enum Field: UInt8, JSONField {
        case key, limit, per, burst, algorithm, offset, zone, start, policy, cost, atMost, id

        var name: StaticString {
            switch self {
            case .key: "key"
            case .limit: "limit"
            case .per: "per"
            case .burst: "burst"
            case .algorithm: "algorithm"
            case .offset: "offset"
            case .zone: "zone"
            case .start: "start"
            case .policy: "policy"
            case .cost: "cost"
            case .atMost: "at_most"
            case .id: "id"
            }
        }

        var word: LimitWord? {
            switch self {
            case .key: nil
            case .limit: .limit
            case .per: .per
            case .burst: .burst
            case .algorithm: .algo
            case .offset: .offset
            case .zone: .zone
            case .start: .start
            case .policy: .policy
            case .cost: .cost
            case .atMost: .atMost
            case .id: .id
            }
        }
    }

    private(set) var words = LimitArguments()
    private(set) var key: JSONString?
    /// The policy's name, if the limit is one.
    private(set) var policy = ByteView.empty

    /// Reads an object. Fields that are not in `accepted` are refused as unknown.
    mutating func read(
        _ reader: inout JSONReader, accepting accepted: LimitWords, _ memory: inout GatewayMemory
    ) throws(JSONError) {
        try reader.beginObject()
        while let field = try reader.nextField(Field.self) {
            guard let word = field.word else {
                key = try reader.string()
                continue
            }
            guard accepted.contains(LimitWords(word)) else { throw reader.error(.unknown) }
            try read(word, &reader, &memory)
        }
        if key == nil { throw reader.error(.missing, in: "key") }
    }

    private mutating func read(
        _ word: LimitWord, _ reader: inout JSONReader, _ memory: inout GatewayMemory
    ) throws(JSONError) {
        let isInteger =
            switch word {
            case .limit, .burst, .cost, .start: true
            case .per, .offset: try reader.kind() == .number
            default: false
            }
        if word == .atMost {
            if try reader.bool() { words.setPartial() }
        } else if isInteger {
            let value = try reader.integer()
            try GatewayText.naming(reader) { () throws(ArgumentProblem) in try words.set(word, value) }
        } else {
            let value = memory.view(try reader.string())
            if word == .policy { policy = value }
            try GatewayText.naming(reader) { () throws(ArgumentProblem) in
                try words.set(word, Argument(base: value.base, count: value.count))
            }
        }
    }
}

/// The subject and demand of POST /v1/check.
struct CheckBody {
    enum Field: UInt8, JSONField {
        case tenant, client, action, cost, atMost, id

        var name: StaticString {
            switch self {
            case .tenant: "tenant"
            case .client: "client"
            case .action: "action"
            case .cost: "cost"
            case .atMost: "at_most"
            case .id: "id"
            }
        }
    }

    private(set) var words = LimitArguments()
    private(set) var tenant = ByteView.empty
    private(set) var client = ByteView.empty
    private(set) var action = ByteView.empty

    mutating func read(_ reader: inout JSONReader, _ memory: inout GatewayMemory) throws(JSONError) {
        var seen: UInt8 = 0
        try reader.beginObject()
        while let field = try reader.nextField(Field.self) {
            seen |= 1 << field.rawValue
            switch field {
            case .tenant: tenant = memory.view(try reader.string())
            case .client: client = memory.view(try reader.string())
            case .action: action = memory.view(try reader.string())
            case .cost:
                let value = try reader.integer()
                try GatewayText.naming(reader) { () throws(ArgumentProblem) in try words.set(.cost, value) }
            case .atMost: if try reader.bool() { words.setPartial() }
            case .id:
                let value = memory.view(try reader.string())
                try GatewayText.naming(reader) { () throws(ArgumentProblem) in
                    try words.set(.id, Argument(base: value.base, count: value.count))
                }
            }
        }
        // The first three are required.
        guard seen & 7 == 7 else {
            throw reader.error(.missing, in: seen & 1 == 0 ? "tenant" : seen & 2 == 0 ? "client" : "action")
        }
    }
}

/// Error texts of the grammar of limits, in the terms of bodies.
enum GatewayText {
    /// Calls `body`; its error becomes one about the field that the reader is at.
    @inline(__always)
    static func naming(
        _ reader: borrowing JSONReader, _ body: () throws(ArgumentProblem) -> Void
    ) throws(JSONError) {
        do throws(ArgumentProblem) {
            try body()
        } catch {
            throw reader.error(.invalid(predicate(error.text)))
        }
    }

    /// `ERR PER must be …` without its subject, which the path of the field replaces.
    private static func predicate(_ text: String) -> String {
        let rest = text.drop { $0 != " " }.dropFirst()
        guard let end = rest.firstIndex(where: { $0 == " " || $0 == ":" }) else { return "is invalid: \(rest)" }
        return rest[end] == ":" ? "is refused\(rest[end...])" : String(rest[rest.index(after: end)...])
    }

    /// An error of the grammar as a problem: `ERR LIMIT is missing` is about the field `limit`, after `prefix`.
    static func problem(_ error: ArgumentProblem, prefix: String = "") -> HTTPProblem {
        let body = error.text.hasPrefix("ERR ") ? String(error.text.dropFirst(4)) : error.text
        var field: String?
        var text = ""
        for word in body.split(separator: " ", omittingEmptySubsequences: false) {
            let bare = word.prefix { $0.isLetter || $0 == "_" }
            let known = names.first { $0.word == bare }
            if field == nil, let known { field = prefix + known.field }
            text += text.isEmpty ? "" : " "
            text += known.map { $0.field + word.dropFirst(bare.count) } ?? String(word)
        }
        let kind: ProblemKind = body.hasPrefix("POLICY: there is no") ? .noPolicy : .invalidField
        return HTTPProblem(kind, prefix.isEmpty ? text : "\(prefix.dropLast()): \(text)", field: field)
    }

    private static let names: [(word: String, field: String)] = [
        ("LIMIT", "limit"), ("PER", "per"), ("BURST", "burst"), ("ALGO", "algorithm"), ("OFFSET", "offset"),
        ("POLICY", "policy"), ("COST", "cost"), ("ATMOST", "at_most"), ("ID", "id"), ("MODE", "mode"),
        ("ZONE", "zone"), ("START", "start"),
    ]

    /// An error of the body as a problem.
    static func problem(_ error: JSONError) -> HTTPProblem {
        HTTPProblem(
            error.path.isEmpty ? .malformedRequest : .invalidField, error.text,
            field: error.path.isEmpty ? nil : error.path)
    }
}
