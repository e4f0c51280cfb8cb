// Why a JSON text is refused, and which of its fields is to blame.

/// An error in a JSON text. Created only when there is one, so it may allocate.
public struct JSONError: Error, Equatable {
    /// The kinds of errors.
    public enum Reason: Equatable, Sendable {
        /// The text ends too early.
        case incomplete
        /// A byte that the grammar does not allow here; the text names what it expects.
        case unexpected(expected: String)
        /// More than `JSONReader.depthMax` arrays and objects inside each other.
        case tooDeep
        /// Bytes that are not UTF-8.
        case notUTF8
        /// A control character in a string, which has to be escaped.
        case controlCharacter
        /// An unknown escape, one without its four digits, or half of a surrogate pair.
        case invalidEscape
        /// Bytes after the value.
        case trailing
        /// The field is given twice.
        case duplicate
        /// The object has no such field.
        case unknown
        /// The value is of another type than the field: the text names the type it has to be.
        case wrongType(expected: String)
        /// A number with a fraction or an exponent where an integer belongs.
        case notInteger
        /// An integer outside of 64 bits.
        case outOfRange
        /// A required field is absent.
        case missing
        /// The value has the right type, but is not acceptable: the rest of a sentence that begins with its field.
        case invalid(String)
    }

    /// The kind of error.
    public let reason: Reason
    /// The field, such as `limits[2].key`; empty if the error concerns no field.
    public let path: String
    /// Bytes before the error.
    public let offset: Int

    /// An error in the field at `path`.
    public init(_ reason: Reason, path: String, offset: Int) {
        self.reason = reason
        self.path = path
        self.offset = offset
    }

    /// One sentence that names the field, without a full stop.
    public var text: String {
        let subject = path.isEmpty ? "the body" : path
        return switch reason {
        case .incomplete: "the body ends too early, in \(path.isEmpty ? "its beginning" : path), at byte \(offset)"
        case .unexpected(let expected): "\(subject) is not valid JSON at byte \(offset): expected \(expected)"
        case .tooDeep: "\(subject) is nested more than \(JSONReader.depthMax) levels deep"
        case .notUTF8: "\(subject) is not valid UTF-8 at byte \(offset)"
        case .controlCharacter: "\(subject) has a control character at byte \(offset), which must be escaped"
        case .invalidEscape: "\(subject) has an invalid escape at byte \(offset)"
        case .trailing: "the body continues after its JSON value, at byte \(offset)"
        case .duplicate: "\(subject) is given twice"
        case .unknown: "\(subject) is not a field of this request"
        case .wrongType(let expected): "\(subject) must be \(expected)"
        case .notInteger: "\(subject) must be an integer, without a fraction or an exponent"
        case .outOfRange: "\(subject) is outside of 64 bits"
        case .missing: "\(subject) is missing"
        case .invalid(let text): "\(subject) \(text)"
        }
    }
}
