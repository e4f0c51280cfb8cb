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
    /// A short description of the type; nil for the status's reason phrase.
    public var title: String?

    /// A refusal.
    public init(
        _ status: HTTPStatus, _ detail: String, field: String? = nil, type: String = "about:blank", title: String? = nil
    ) {
        self.status = status
        self.detail = detail
        self.field = field
        self.type = type
        self.title = title
    }
}

extension HTTPResponse {
    /// Makes this the answer to a request that is refused. Fields of the header can still be added.
    public func begin(_ problem: HTTPProblem) {
        begin(problem.status, .problem)
        var writer = JSONWriter(body)
        writer.beginObject()
        writer.name("type")
        writer.string(problem.type)
        writer.name("title")
        if let title = problem.title { writer.string(title) } else { writer.string(problem.status.reason) }
        writer.name("status")
        writer.integer(Int64(problem.status.rawValue))
        writer.name("detail")
        writer.string(problem.detail)
        if let field = problem.field {
            writer.name("field")
            writer.string(field)
        }
        writer.endObject()
        body.append("\n")
    }
}

extension ByteWriter {
    /// Appends text as a JSON string, with its quotes.
    public func appendQuoted(text: String) {
        var text = text
        text.withUTF8 { appendJSON(string: $0) }
    }
}
