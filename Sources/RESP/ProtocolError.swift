// The ways a request can break the protocol. Each one is answered once, then the connection is closed: after it the
// server and the client no longer agree on where the next request begins.

/// A violation of the request grammar or of one of its limits.
public enum ProtocolError: Equatable, Sendable {
    /// The first message of a TLS connection. As an inline command it might never end, and both sides would wait.
    case tls
    /// An inline command longer than 64 KiB without a line feed.
    case inlineTooLong
    /// Quotes in an inline command that do not close, or close in front of something other than white space.
    case unbalancedQuotes
    /// A `*` line longer than 64 KiB.
    case countLineTooLong
    /// The number behind `*` is no integer or above the limit, or an inline command has more words than that.
    case invalidCount
    /// More than 10 arguments before authentication.
    case unauthenticatedCount
    /// A `$` line longer than 64 KiB.
    case lengthLineTooLong
    /// An argument that begins with another byte than `$`: that byte.
    case expectedBulk(got: UInt8)
    /// The number behind `$` is no integer, negative, or above the limit.
    case invalidLength
    /// An argument longer than 16 KiB before authentication.
    case unauthenticatedLength
    /// The two bytes behind an argument are not CR LF.
    case missingTerminator

    /// The reply's text, without the leading `-` and the line end. These are the texts Redis clients know, except for
    /// TLS and the missing terminator, which Redis lets pass.
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

    /// CR and LF would end the error line early, so they become spaces. Bytes from 128 on go out as the character of
    /// that number, so that the line stays UTF-8.
    private static func printable(_ byte: UInt8) -> String {
        byte == 0x0D || byte == 0x0A ? " " : String(UnicodeScalar(byte))
    }
}

/// How much a request may ask for. Every length is compared with these before it is added to anything.
public struct RequestLimits: Sendable {
    /// Largest argument in bytes.
    public var bulkLengthMax: Int
    /// Most arguments in one request.
    public var argumentsMax: Int
    /// Longest line in bytes, its line end not counted; at least 32.
    public var lineLengthMax: Int = 64 * 1024

    /// Limits for an authenticated connection.
    public init(bulkLengthMax: Int, argumentsMax: Int) {
        precondition(bulkLengthMax > 0 && bulkLengthMax <= 1 << 30, "ranges count in 32 bits")
        precondition(argumentsMax > 0 && argumentsMax <= Int(Int32.max))
        self.bulkLengthMax = bulkLengthMax
        self.argumentsMax = argumentsMax
    }
}
