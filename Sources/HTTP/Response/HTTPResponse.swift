// A response: status, fields, body, and how they are written to the connection.
//
// One object per event loop, reused for every response, so nothing is allocated. The body is written first, since the
// head contains its length.

/// The type of a body.
public enum HTTPContentType: Sendable {
    /// No body, or one without a type.
    case none
    case json, problem, plain
    /// Prometheus's text format.
    case prometheus
    case openMetrics
    case html, css, javascript

    /// The value of Content-Type; empty for none.
    public var text: StaticString {
        switch self {
        case .none: ""
        case .json: "application/json"
        case .problem: "application/problem+json"
        case .plain: "text/plain; charset=utf-8"
        case .prometheus: "text/plain; version=0.0.4; charset=utf-8"
        case .openMetrics: "application/openmetrics-text; version=1.0.0; charset=utf-8"
        case .html: "text/html; charset=utf-8"
        case .css: "text/css; charset=utf-8"
        case .javascript: "text/javascript; charset=utf-8"
        }
    }
}

/// A response that is being written. Not thread-safe: belongs to one event loop.
public final class HTTPResponse {
    /// The status.
    public private(set) var status = HTTPStatus.ok
    /// The body's type.
    public var contentType = HTTPContentType.none
    /// The body. Not sent in reply to HEAD, which only gets its length.
    public let body = ByteWriter(capacity: 4096)
    private let fields = ByteWriter(capacity: 1024)
    private let head = ByteWriter(capacity: 1024)
    private let date = HTTPDate()

    /// An empty response.
    public init() {}

    /// Begins a response: no body yet, and no fields besides those that every response has.
    public func begin(_ status: HTTPStatus, _ contentType: HTTPContentType = .none) {
        self.status = status
        self.contentType = contentType
        body.removeAll()
        fields.removeAll()
    }

    // MARK: Fields

    /// Adds a header field.
    public func field(_ name: StaticString, _ value: StaticString) {
        beginField(name).append(value)
        endField()
    }

    /// Adds a header field with an integer.
    public func field(_ name: StaticString, _ value: Int64) {
        beginField(name).append(value)
        endField()
    }

    /// Adds a header field. The text contains neither line ends nor other control characters.
    public func field(_ name: StaticString, text: String) {
        beginField(name).append(text: text)
        endField()
    }

    /// Adds a header field whose value the caller writes; `endField` completes it. The value contains neither line ends
    /// nor other control characters.
    public func beginField(_ name: StaticString) -> ByteWriter {
        fields.append(name)
        fields.append(": ")
        return fields
    }

    /// Completes a field.
    public func endField() { fields.append("\r\n") }

    /// Where whole lines of the header are appended, each with its line end.
    public var lines: ByteWriter { fields }

    // MARK: Writing

    /// The connection after the response.
    public enum Persistence: Sendable {
        /// HTTP/1.1's default.
        case open
        /// HTTP/1.0 with keep-alive: says so.
        case keepAlive
        case close
    }

    /// The bytes of the head, borrowed until the next response; the body follows, except in reply to HEAD.
    ///
    /// - Parameter common: Lines that every response of the listener has, each with its line end.
    public func formatHead(at unixSeconds: Int64, _ persistence: Persistence, common: StaticString) -> ByteView {
        head.removeAll()
        head.append("HTTP/1.1 ")
        head.append(Int64(status.rawValue))
        head.append(byte: 0x20)
        head.append(status.reason)
        head.append("\r\nDate: ")
        head.append(date.view(at: unixSeconds))
        if contentType != .none {
            head.append("\r\nContent-Type: ")
            head.append(contentType.text)
        }
        if status != .noContent {
            head.append("\r\nContent-Length: ")
            head.append(Int64(body.count))
        }
        switch persistence {
        case .open: head.append("\r\n")
        case .keepAlive: head.append("\r\nConnection: keep-alive\r\n")
        case .close: head.append("\r\nConnection: close\r\n")
        }
        head.append(common)
        head.append(fields.view())
        head.append("\r\n")
        return head.view()
    }
}
