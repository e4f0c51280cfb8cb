// The ways in which a request can violate the protocol. Each is answered once, then the connection is closed: the
// server and the client no longer agree on where the next request begins.

/// A violation of the request grammar or of one of its limits.
public enum ProtocolError: Equatable, Sendable {
    /// The first message of a TLS connection. As an inline command it might never end, and both sides would wait
    /// forever.
    case tls
    /// An inline command longer than 64 KiB without a line feed.
    case inlineTooLong
    /// Quotes in an inline command that are not closed, or are closed before something other than white space.
    case unbalancedQuotes
    /// A `*` line longer than 64 KiB.
    case countLineTooLong
    /// The number after `*` is not an integer or above the limit, or an inline command has more words than the limit.
    case invalidCount
    /// More than 10 arguments before authentication.
    case unauthenticatedCount
    /// A `$` line longer than 64 KiB.
    case lengthLineTooLong
    /// An argument that begins with a byte other than `$`: that byte.
    case expectedBulk(got: UInt8)
    /// The number after `$` is not an integer, negative, or above the limit.
    case invalidLength
    /// An argument longer than 16 KiB before authentication.
    case unauthenticatedLength
    /// The two bytes after an argument are not CR LF.
    case missingTerminator

    /// The reply's text, without the leading `-` and the line end. These are Redis's texts, except for TLS and the
    /// missing terminator, which Redis does not detect.
    public var text: String {
        let reason =
            switch self {
            case .tls: "TLS is not supported here"
            case .inlineTooLong: "too big inline request"
            case .unbalancedQuotes: "unbalanced quotes in request"
            case .countLineTooLong: "too big mbulk count string"
            case .invalidCount: "invalid multibulk length"
            case .unauthenticatedCount: "unauthenticated multibulk length"
            case .lengthLineTooLong: "too big bulk count string"
            case .expectedBulk(let byte): "expected '$', got '\(ProtocolError.printable(byte))'"
            case .invalidLength: "invalid bulk length"
            case .unauthenticatedLength: "unauthenticated bulk length"
            case .missingTerminator: "expected CRLF after bulk"
            }
        return "ERR Protocol error: " + reason
    }

    /// CR and LF would end the error line early, so they become spaces. Bytes from 128 on are sent as the character
    /// with that code, so that the line remains UTF-8.
    private static func printable(_ byte: UInt8) -> String {
        byte == 0x0D || byte == 0x0A ? " " : String(UnicodeScalar(byte))
    }
}

/// Limits of a request. Every length is compared with these before it is added to anything.
public struct RequestLimits: Sendable {
    /// Maximum size of an argument in bytes.
    public var bulkLengthMax: Int
    /// Maximum number of arguments in one request.
    public var argumentsMax: Int
    /// Maximum length of a line in bytes, without its line end; at least 32.
    public var lineLengthMax: Int = 64 * 1024

    /// Limits for an authenticated connection.
    public init(bulkLengthMax: Int, argumentsMax: Int) {
        precondition(bulkLengthMax > 0 && bulkLengthMax <= 1 << 30, "ranges count in 32 bits")
        precondition(argumentsMax > 0 && argumentsMax <= Int(Int32.max))
        self.bulkLengthMax = bulkLengthMax
        self.argumentsMax = argumentsMax
    }
}
