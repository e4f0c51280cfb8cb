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
        body.append("{\"type\":\"")
        HTTPResponse.appendEscaped(problem.type, to: body)
        body.append("\",\"title\":\"")
        body.append(problem.status.reason)
        body.append("\",\"status\":")
        body.append(Int64(problem.status.rawValue))
        body.append(",\"detail\":\"")
        HTTPResponse.appendEscaped(problem.detail, to: body)
        if let field = problem.field {
            body.append("\",\"field\":\"")
            HTTPResponse.appendEscaped(field, to: body)
        }
        body.append("\"}\n")
    }

    /// Appends text as the inside of a JSON string.
    private static func appendEscaped(_ text: String, to writer: ByteWriter) {
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"):
                writer.append(byte: UInt8(ascii: "\\"))
                writer.append(byte: byte)
            case 0..<0x20:
                writer.append("\\u00")
                writer.append(byte: byte >= 0x10 ? 0x31 : 0x30)
                writer.append(byte: "0123456789abcdef".utf8.dropFirst(Int(byte & 15)).first!)
            default: writer.append(byte: byte)
            }
        }
    }
}
