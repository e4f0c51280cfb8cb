// What the reference says of a command beyond its entry in the command table: its replies in both protocols, its own
// errors and its examples. Nothing here runs on a request's path; only docs/commands.md, docs/redis-commands.md and
// their tests read it.
//
// Tests execute everything: each example runs against the real server in both protocols and must reply in a form that
// is listed here, and each error must be the reply to its requests.

/// What the reference says of one command or subcommand.
struct CommandPage: Sendable {
    /// The possible replies other than errors, the usual one first.
    var replies: [ReplySpec]
    /// The errors that depend on this command's arguments or keys. What every command of its flags may reply is in a
    /// section of its own.
    var errors: [ErrorSpec] = []
    /// Markdown between the summary and the facts: what a line of the table cannot say.
    var notes: String = ""
    /// Requests, each after `> `, and replies as redis-cli prints them under RESP2. It runs from first to last on an
    /// empty server, and remaining times may be lower than shown. `...` in a reply is any text.
    var examples: String = ""
}

/// One form of a reply.
struct ReplySpec: Sendable {
    /// The types in both protocols, in the words of the reference.
    enum Form: String, Sendable {
        case ok = "`OK`"
        case simple = "simple string"
        case integer = "integer"
        case bulk = "bulk string"
        case null = "nil"
        case array = "array"
        case map = "array of names and values in RESP2, map in RESP3"
        case record = "array of the values in RESP2, map in RESP3"
        case push = "array in RESP2, push in RESP3"
        case verbatim = "bulk string in RESP2, verbatim string in RESP3"
        case nothing = "no reply"
        case error = "error"
    }

    var form: Form
    /// When the reply has this form, and what it holds: a part of a sentence.
    var meaning: String

    static let ok = ReplySpec(form: .ok, meaning: "")
    static func simple(_ meaning: String) -> ReplySpec { ReplySpec(form: .simple, meaning: meaning) }
    static func integer(_ meaning: String) -> ReplySpec { ReplySpec(form: .integer, meaning: meaning) }
    static func bulk(_ meaning: String) -> ReplySpec { ReplySpec(form: .bulk, meaning: meaning) }
    static func null(_ meaning: String) -> ReplySpec { ReplySpec(form: .null, meaning: meaning) }
    static func array(_ meaning: String) -> ReplySpec { ReplySpec(form: .array, meaning: meaning) }
    static func map(_ meaning: String) -> ReplySpec { ReplySpec(form: .map, meaning: meaning) }
    static func record(_ meaning: String) -> ReplySpec { ReplySpec(form: .record, meaning: meaning) }
    static func push(_ meaning: String) -> ReplySpec { ReplySpec(form: .push, meaning: meaning) }
    static func verbatim(_ meaning: String) -> ReplySpec { ReplySpec(form: .verbatim, meaning: meaning) }
    static func nothing(_ meaning: String) -> ReplySpec { ReplySpec(form: .nothing, meaning: meaning) }
    static func ok(_ meaning: String) -> ReplySpec { ReplySpec(form: .ok, meaning: meaning) }
    /// For a command that only exists to refuse: any command may reply with an error, which is listed elsewhere.
    static func error(_ meaning: String) -> ReplySpec { ReplySpec(form: .error, meaning: meaning) }
}

/// An error that a command may reply.
struct ErrorSpec: Sendable {
    /// Its text, or as much of it as is always the same; `...` is any text.
    var text: String
    var when: String
    /// Requests to an empty server, the last of which gets the error. Empty if requests alone cannot cause it.
    var requests: [String]

    static func error(_ text: String, _ when: String, _ requests: String...) -> ErrorSpec {
        ErrorSpec(text: text, when: when, requests: requests)
    }

    /// The key holds a limiter, and the command is for counters.
    static func notACounter(_ request: String, key: String = "hits") -> ErrorSpec {
        ErrorSpec(
            text: "WRONGTYPE ...", when: "the key holds a limiter, not a counter; the text names its kind",
            requests: ["CL.THROTTLE \(key) 1 1 1", request])
    }

    static func notAnInteger(_ when: String, _ requests: String...) -> ErrorSpec {
        ErrorSpec(text: "ERR value is not an integer or out of range", when: when, requests: requests)
    }

    static func syntax(_ when: String, _ requests: String...) -> ErrorSpec {
        ErrorSpec(text: "ERR syntax error", when: when, requests: requests)
    }

    static func noKey(_ request: String) -> ErrorSpec {
        ErrorSpec(text: "ERR no such key", when: "the key does not exist", requests: [request])
    }
}
