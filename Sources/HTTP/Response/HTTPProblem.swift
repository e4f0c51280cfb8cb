// Refusals of a well-formed request, as problem+json (RFC 9457).

/// Why a request is refused: thrown by the reader of a route, and written as the body of the answer.
public struct HTTPProblem: Error, Equatable, Sendable {
    /// The status of the answer.
    public var status: HTTPStatus
    /// One sentence for the client, without its full stop.
    public var detail: String
    /// The name of the offending field of the body, parameter or header field; nil if there is none.
    public var field: String?
    /// The problem's type; `about:blank` means nothing more than the status.
    public var type: String

    /// A refusal.
    public init(_ status: HTTPStatus, _ detail: String, field: String? = nil, type: String = "about:blank") {
        self.status = status
        self.detail = detail
        self.field = field
        self.type = type
    }
}

extension HTTPResponse {
    /// Makes this the answer to a request that is refused. Fields of the header can still be added.
    public func begin(_ problem: HTTPProblem) {
        begin(problem.status, .problem)
        body.append("{\"type\":")
        body.appendQuoted(text: problem.type)
        body.append(",\"title\":\"")
        body.append(problem.status.reason)
        body.append("\",\"status\":")
        body.append(Int64(problem.status.rawValue))
        body.append(",\"detail\":")
        body.appendQuoted(text: problem.detail)
        if let field = problem.field {
            body.append(",\"field\":")
            body.appendQuoted(text: field)
        }
        body.append("}\n")
    }
}

extension ByteWriter {
    /// Appends text as a JSON string, with its quotes.
    public func appendQuoted(text: String) {
        append(byte: UInt8(ascii: "\""))
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"):
                append(byte: UInt8(ascii: "\\"))
                append(byte: byte)
            case 0..<0x20:
                append("\\u00")
                append(byte: byte >= 0x10 ? 0x31 : 0x30)
                append(byte: byte & 15 < 10 ? 0x30 + byte & 15 : 0x57 + byte & 15)
            default: append(byte: byte)
            }
        }
        append(byte: UInt8(ascii: "\""))
    }
}
