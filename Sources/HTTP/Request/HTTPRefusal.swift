// Requests that are not valid HTTP, or exceed a bound.

/// Why a request cannot be served at all. The connection is closed after the answer: where the next request would begin
/// is not known.
public struct HTTPRefusal: Error, Equatable, Sendable {
    /// The status of the answer.
    public let status: HTTPStatus
    /// One sentence for the client, without its full stop.
    public let detail: String

    init(_ status: HTTPStatus, _ detail: String) {
        self.status = status
        self.detail = detail
    }

    static func bad(_ detail: String) -> HTTPRefusal { HTTPRefusal(.badRequest, detail) }
}

extension HTTPRefusal {
    static var requestLineTooLong: HTTPRefusal {
        HTTPRefusal(.uriTooLong, "the request line is longer than \(HTTPRequestParser.requestLineMax) bytes")
    }
    static var headerTooLong: HTTPRefusal {
        HTTPRefusal(.headerTooLarge, "the header fields are longer than \(HTTPRequestParser.headerMax) bytes")
    }
    static var tooManyFields: HTTPRefusal {
        HTTPRefusal(.headerTooLarge, "the request has more than \(HTTPFields.countMax) header fields")
    }
    static var bodyTooLong: HTTPRefusal {
        HTTPRefusal(.contentTooLarge, "the body is longer than \(HTTPRequestParser.bodyMax) bytes")
    }
}
