// The methods that the server distinguishes.

/// A request's method.
public enum HTTPMethod: UInt8, Sendable, CaseIterable {
    case get, head, post, put, delete, patch, options
    /// Any other token, such as `PROPFIND`: only routes that accept every method accept it.
    case other

    /// The method that `token` names, which is case-sensitive.
    init(_ token: ByteView) {
        self =
            switch token.count {
            case 3 where token.equals("GET"): .get
            case 3 where token.equals("PUT"): .put
            case 4 where token.equals("POST"): .post
            case 4 where token.equals("HEAD"): .head
            case 5 where token.equals("PATCH"): .patch
            case 6 where token.equals("DELETE"): .delete
            case 7 where token.equals("OPTIONS"): .options
            default: .other
            }
    }

    /// The method's name; `other` for any other.
    public var name: StaticString {
        switch self {
        case .get: "GET"
        case .head: "HEAD"
        case .post: "POST"
        case .put: "PUT"
        case .delete: "DELETE"
        case .patch: "PATCH"
        case .options: "OPTIONS"
        case .other: "other"
        }
    }

    /// Whether a request with this method is meant to change nothing.
    public var isSafe: Bool { self == .get || self == .head || self == .options }
}
