// Status codes and their reason phrases.

/// The status of a response.
@frozen
public struct HTTPStatus: RawRepresentable, Equatable, Sendable {
    /// The code, of three digits.
    public let rawValue: UInt16

    /// The status with this code.
    public init(rawValue: UInt16) { self.rawValue = rawValue }

    /// 200 OK
    public static let ok = HTTPStatus(rawValue: 200)
    /// 201 Created
    public static let created = HTTPStatus(rawValue: 201)
    /// 204 No Content
    public static let noContent = HTTPStatus(rawValue: 204)
    /// 400 Bad Request
    public static let badRequest = HTTPStatus(rawValue: 400)
    /// 401 Unauthorized
    public static let unauthorized = HTTPStatus(rawValue: 401)
    /// 403 Forbidden
    public static let forbidden = HTTPStatus(rawValue: 403)
    /// 404 Not Found
    public static let notFound = HTTPStatus(rawValue: 404)
    /// 405 Method Not Allowed
    public static let methodNotAllowed = HTTPStatus(rawValue: 405)
    /// 406 Not Acceptable
    public static let notAcceptable = HTTPStatus(rawValue: 406)
    /// 408 Request Timeout
    public static let requestTimeout = HTTPStatus(rawValue: 408)
    /// 409 Conflict
    public static let conflict = HTTPStatus(rawValue: 409)
    /// 411 Length Required
    public static let lengthRequired = HTTPStatus(rawValue: 411)
    /// 413 Content Too Large
    public static let contentTooLarge = HTTPStatus(rawValue: 413)
    /// 414 URI Too Long
    public static let uriTooLong = HTTPStatus(rawValue: 414)
    /// 415 Unsupported Media Type
    public static let unsupportedMediaType = HTTPStatus(rawValue: 415)
    /// 417 Expectation Failed
    public static let expectationFailed = HTTPStatus(rawValue: 417)
    /// 421 Misdirected Request
    public static let misdirected = HTTPStatus(rawValue: 421)
    /// 422 Unprocessable Content
    public static let unprocessable = HTTPStatus(rawValue: 422)
    /// 429 Too Many Requests
    public static let tooManyRequests = HTTPStatus(rawValue: 429)
    /// 431 Request Header Fields Too Large
    public static let headerTooLarge = HTTPStatus(rawValue: 431)
    /// 500 Internal Server Error
    public static let internalError = HTTPStatus(rawValue: 500)
    /// 501 Not Implemented
    public static let notImplemented = HTTPStatus(rawValue: 501)
    /// 503 Service Unavailable
    public static let unavailable = HTTPStatus(rawValue: 503)
    /// 505 HTTP Version Not Supported
    public static let versionNotSupported = HTTPStatus(rawValue: 505)

    /// Every status that the server sends.
    public static let all: [HTTPStatus] = [
        .ok, .created, .noContent, .badRequest, .unauthorized, .forbidden, .notFound, .methodNotAllowed,
        .notAcceptable, .requestTimeout, .conflict, .lengthRequired, .contentTooLarge, .uriTooLong,
        .unsupportedMediaType, .expectationFailed, .misdirected, .unprocessable, .tooManyRequests, .headerTooLarge,
        .internalError, .notImplemented, .unavailable, .versionNotSupported,
    ]

    /// The reason phrase.
    public var reason: StaticString {
        switch rawValue {
        case 200: "OK"
        case 201: "Created"
        case 204: "No Content"
        case 400: "Bad Request"
        case 401: "Unauthorized"
        case 403: "Forbidden"
        case 404: "Not Found"
        case 405: "Method Not Allowed"
        case 406: "Not Acceptable"
        case 408: "Request Timeout"
        case 409: "Conflict"
        case 411: "Length Required"
        case 413: "Content Too Large"
        case 414: "URI Too Long"
        case 415: "Unsupported Media Type"
        case 417: "Expectation Failed"
        case 421: "Misdirected Request"
        case 422: "Unprocessable Content"
        case 429: "Too Many Requests"
        case 431: "Request Header Fields Too Large"
        case 500: "Internal Server Error"
        case 501: "Not Implemented"
        case 503: "Service Unavailable"
        case 505: "HTTP Version Not Supported"
        default: "Status"
        }
    }
}
