// Problem documents (RFC 9457): why a request was not answered as asked, in a form that programs can read.
//
//   {"type":"urn:escapement:problem:no-rule","title":"No rule","status":404,"detail":"…", further members}
//
// Owns: the kinds of problems with their status, type and title. A client should branch on `type`. The types of the
// ratelimit-headers draft are used where it defines one.

/// The kinds of problems.
public enum ProblemKind: UInt8, CaseIterable, Sendable {
    /// Refused by a limit.
    case quotaExceeded
    /// The body, a parameter or a header field is not acceptable; the member `field` names it.
    case invalidField
    /// The bytes are not a valid request.
    case malformedRequest
    /// No valid credentials.
    case unauthorized
    /// Not allowed to this client.
    case forbidden
    /// No such resource.
    case notFound
    /// No rule matches the tenant, client and action.
    case noRule
    /// The request names a policy that does not exist.
    case noPolicy
    /// The resource does not accept this method.
    case methodNotAllowed
    /// The entry is in use.
    case conflict
    /// The key holds another kind of state.
    case wrongKind
    /// A body without a length.
    case lengthRequired
    /// The body is too large.
    case contentTooLarge
    /// The body is not JSON.
    case unsupportedMediaType
    /// Too many or too large header fields.
    case headersTooLarge
    /// An unknown method.
    case notImplemented
    /// The dataset is being loaded.
    case loading
    /// The disk has failed, and changes are refused without it.
    case diskFailed
    /// A replica accepts no changes.
    case readOnly
    /// A replica without a link to its primary.
    case stale
    /// Too few replicas keep up.
    case lacksReplicas
    /// The memory limit is reached.
    case outOfMemory
    /// The maximum number of idempotency tokens is reached.
    case tooManyTokens
    /// Another failure of the server.
    case unavailable
}

extension ProblemKind {
    /// The response's status code.
    public var status: Int {
        switch self {
        case .quotaExceeded: 429
        case .invalidField, .malformedRequest, .noPolicy: 400
        case .unauthorized: 401
        case .forbidden: 403
        case .notFound, .noRule: 404
        case .methodNotAllowed: 405
        case .conflict, .wrongKind: 409
        case .lengthRequired: 411
        case .contentTooLarge: 413
        case .unsupportedMediaType: 415
        case .headersTooLarge: 431
        case .notImplemented: 501
        case .loading, .diskFailed, .readOnly, .stale, .lacksReplicas, .outOfMemory, .tooManyTokens, .unavailable: 503
        }
    }

    /// The URI that identifies the kind.
    public var type: StaticString {
        switch self {
        case .quotaExceeded: "https://iana.org/assignments/http-problem-types#quota-exceeded"
        case .invalidField: "urn:escapement:problem:invalid-field"
        case .malformedRequest: "urn:escapement:problem:malformed-request"
        case .unauthorized: "urn:escapement:problem:unauthorized"
        case .forbidden: "urn:escapement:problem:forbidden"
        case .notFound: "urn:escapement:problem:not-found"
        case .noRule: "urn:escapement:problem:no-rule"
        case .noPolicy: "urn:escapement:problem:no-policy"
        case .methodNotAllowed: "urn:escapement:problem:method-not-allowed"
        case .conflict: "urn:escapement:problem:conflict"
        case .wrongKind: "urn:escapement:problem:wrong-kind"
        case .lengthRequired: "urn:escapement:problem:length-required"
        case .contentTooLarge: "urn:escapement:problem:content-too-large"
        case .unsupportedMediaType: "urn:escapement:problem:unsupported-media-type"
        case .headersTooLarge: "urn:escapement:problem:headers-too-large"
        case .notImplemented: "urn:escapement:problem:not-implemented"
        case .loading: "urn:escapement:problem:loading"
        case .diskFailed: "urn:escapement:problem:disk-failed"
        case .readOnly: "urn:escapement:problem:read-only"
        case .stale: "urn:escapement:problem:stale"
        case .lacksReplicas: "urn:escapement:problem:lacks-replicas"
        case .outOfMemory: "urn:escapement:problem:out-of-memory"
        case .tooManyTokens: "urn:escapement:problem:too-many-tokens"
        case .unavailable: "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity"
        }
    }

    /// A short description, the same for every problem of the kind.
    public var title: StaticString {
        switch self {
        case .quotaExceeded: "Quota exceeded"
        case .invalidField: "Invalid field"
        case .malformedRequest: "Malformed request"
        case .unauthorized: "Authentication required"
        case .forbidden: "Forbidden"
        case .notFound: "Not found"
        case .noRule: "No rule"
        case .noPolicy: "No such policy"
        case .methodNotAllowed: "Method not allowed"
        case .conflict: "Conflict"
        case .wrongKind: "Key holds another kind of state"
        case .lengthRequired: "Length required"
        case .contentTooLarge: "Content too large"
        case .unsupportedMediaType: "Unsupported media type"
        case .headersTooLarge: "Header fields too large"
        case .notImplemented: "Not implemented"
        case .loading: "Loading"
        case .diskFailed: "Disk failed"
        case .readOnly: "Read-only replica"
        case .stale: "Stale replica"
        case .lacksReplicas: "Too few replicas"
        case .outOfMemory: "Out of memory"
        case .tooManyTokens: "Too many idempotency tokens"
        case .unavailable: "Temporarily unavailable"
        }
    }

    /// Whether the same request may succeed later, so that the response has a Retry-After field.
    public var isTemporary: Bool { status == 503 }
}

extension HTTPProblem {
    /// A refusal of this kind.
    public init(_ kind: ProblemKind, _ detail: String, field: String? = nil) {
        self.init(
            HTTPStatus(rawValue: UInt16(kind.status)), detail, field: field, type: "\(kind.type)",
            title: "\(kind.title)")
    }
}

/// Writes problem documents.
public enum Problem {
    /// The content type of problem documents.
    public static var contentType: StaticString { "application/problem+json" }

    /// Begins a document: the members that every problem has. The caller adds members, and ends the object.
    public static func begin(
        _ kind: ProblemKind, status: Int? = nil, detail: String? = nil, to out: ByteWriter
    ) -> JSONWriter {
        var writer = JSONWriter(out)
        writer.beginObject()
        writer.name("type")
        writer.string(kind.type)
        writer.name("title")
        writer.string(kind.title)
        writer.name("status")
        writer.integer(Int64(status ?? kind.status))
        if let detail {
            writer.name("detail")
            writer.string(detail)
        }
        return writer
    }

    /// Writes a whole document.
    public static func write(_ kind: ProblemKind, detail: String? = nil, field: String? = nil, to out: ByteWriter) {
        var writer = begin(kind, detail: detail, to: out)
        if let field {
            writer.name("field")
            writer.string(field)
        }
        writer.endObject()
    }
}
