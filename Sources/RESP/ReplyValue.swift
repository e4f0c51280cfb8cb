// A reply as a value, for tests and for code that reads one reply at a time. Decodes what ReplyScanner found complete.
// Allocates freely and recurses, to a bounded depth: not for hot paths.

/// One decoded RESP2 or RESP3 value.
public indirect enum ReplyValue: Equatable, Sendable {
    /// `+text`
    case simple(String)
    /// `-text` or the bulk form `!`
    case error(String)
    /// `:number`
    case integer(Int64)
    /// `$`: any bytes
    case bulk([UInt8])
    /// `_`, `$-1` or `*-1`
    case null
    /// `#t` or `#f`
    case boolean(Bool)
    /// `,number`
    case double(Double)
    /// `(digits`, as text
    case bigNumber(String)
    /// `=fmt:text`
    case verbatim(format: String, text: String)
    /// `*`
    case array([ReplyValue])
    /// `%`: keys and values in the order sent
    case map([Pair])
    /// `~`, in the order sent
    case set([ReplyValue])
    /// `>`
    case push([ReplyValue])

    /// One entry of a map.
    public struct Pair: Equatable, Sendable {
        /// The entry's key.
        public var key: ReplyValue
        /// The entry's value.
        public var value: ReplyValue

        /// An entry with this key and value.
        public init(key: ReplyValue, value: ReplyValue) {
            self.key = key
            self.value = value
        }
    }

    /// Maximum depth of nested aggregates.
    public static let depthMax = 32

    /// A bulk string with this text.
    public static func text(_ text: String) -> ReplyValue { .bulk(Array(text.utf8)) }

    /// The text of a simple string, a bulk string, a verbatim string or an error; nil for other kinds.
    public var text: String? {
        switch self {
        case .simple(let text), .error(let text), .verbatim(_, let text), .bigNumber(let text): text
        case .bulk(let bytes): String(decoding: bytes, as: UTF8.self)
        default: nil
        }
    }

    /// The number of an integer; nil for other kinds.
    public var integer: Int64? {
        if case .integer(let value) = self { value } else { nil }
    }

    /// The values of an array, a set or a push; nil for other kinds.
    public var elements: [ReplyValue]? {
        switch self {
        case .array(let values), .set(let values), .push(let values): values
        default: nil
        }
    }

    /// The value for the text `key` in a map, or in an array of alternating keys and values, as in RESP2.
    public subscript(_ key: String) -> ReplyValue? {
        switch self {
        case .map(let pairs): return pairs.first { $0.key.text == key }?.value
        case .array(let values):
            let index = stride(from: 0, to: values.count - 1, by: 2).first { values[$0].text == key }
            return index.map { values[$0 + 1] }
        default: return nil
        }
    }

    /// The first reply or push in `bytes` and its length in bytes; nil if it is not complete yet. Attributes are read
    /// and dropped.
    public static func decode(_ bytes: [UInt8]) throws(ReplyError) -> (value: ReplyValue, length: Int)? {
        var scanner = ReplyScanner()
        let length = bytes.withUnsafeBufferPointer { scanner.scan($0, most: 1) }
        if let failure = scanner.failure { throw failure }
        guard scanner.replies + scanner.pushes == 1 else { return nil }
        var decoder = ReplyDecoder(bytes: bytes[..<length])
        return (try decoder.value(depth: 0), length)
    }

    /// All values in `bytes`, which must end with a complete one.
    public static func decodeAll(_ bytes: [UInt8]) throws(ReplyError) -> [ReplyValue] {
        var values: [ReplyValue] = []
        var rest = bytes
        while !rest.isEmpty {
            guard let (value, length) = try decode(rest) else { throw .missingTerminator }
            values.append(value)
            rest.removeFirst(length)
        }
        return values
    }
}

/// Reads values from bytes that a scanner has already found well-formed, so lines and payloads are known to end.
private struct ReplyDecoder {
    var bytes: ArraySlice<UInt8>

    mutating func value(depth: Int) throws(ReplyError) -> ReplyValue {
        let type = bytes.removeFirst()
        switch type {
        case UInt8(ascii: "+"): return .simple(line())
        case UInt8(ascii: "-"): return .error(line())
        case UInt8(ascii: ":"): return .integer(try scalar(line()) { Int64($0) })
        case UInt8(ascii: ","): return .double(try scalar(line()) { Double($0) })
        case UInt8(ascii: "#"): return .boolean(try scalar(line()) { $0 == "t" ? true : $0 == "f" ? false : nil })
        case UInt8(ascii: "("): return .bigNumber(line())
        case UInt8(ascii: "_"):
            guard line().isEmpty else { throw .invalidScalar }
            return .null
        case UInt8(ascii: "$"), UInt8(ascii: "!"), UInt8(ascii: "="): return try payload(type)
        default: return try aggregate(type, depth: depth)
        }
    }

    private mutating func payload(_ type: UInt8) throws(ReplyError) -> ReplyValue {
        guard let length = Int(line()), length >= 0 else { return .null }
        let content = Array(bytes.prefix(length))
        bytes.removeFirst(length + 2)
        switch type {
        case UInt8(ascii: "!"): return .error(String(decoding: content, as: UTF8.self))
        case UInt8(ascii: "="):
            guard content.count >= 4, content[3] == UInt8(ascii: ":") else { throw .invalidScalar }
            return .verbatim(
                format: String(decoding: content[..<3], as: UTF8.self),
                text: String(decoding: content[4...], as: UTF8.self))
        default: return .bulk(content)
        }
    }

    private mutating func aggregate(_ type: UInt8, depth: Int) throws(ReplyError) -> ReplyValue {
        guard let count = Int(line()), count >= 0 else { return .null }
        guard depth < ReplyValue.depthMax else { throw .tooDeep }
        switch type {
        case UInt8(ascii: "%"): return .map(try pairs(count, depth: depth + 1))
        case UInt8(ascii: "~"): return .set(try values(count, depth: depth + 1))
        case UInt8(ascii: ">"): return .push(try values(count, depth: depth + 1))
        case UInt8(ascii: "|"):
            _ = try pairs(count, depth: depth + 1)
            return try value(depth: depth + 1)
        default: return .array(try values(count, depth: depth + 1))
        }
    }

    private mutating func values(_ count: Int, depth: Int) throws(ReplyError) -> [ReplyValue] {
        var values: [ReplyValue] = []
        for _ in 0..<count { values.append(try value(depth: depth)) }
        return values
    }

    private mutating func pairs(_ count: Int, depth: Int) throws(ReplyError) -> [ReplyValue.Pair] {
        var pairs: [ReplyValue.Pair] = []
        for _ in 0..<count {
            let key = try value(depth: depth)
            pairs.append(ReplyValue.Pair(key: key, value: try value(depth: depth)))
        }
        return pairs
    }

    private mutating func line() -> String {
        let end = bytes.firstIndex(of: 0x0D)!
        let text = String(decoding: bytes[bytes.startIndex..<end], as: UTF8.self)
        bytes = bytes[(end + 2)...]
        return text
    }

    private func scalar<Value>(_ text: String, _ parse: (String) -> Value?) throws(ReplyError) -> Value {
        guard let value = parse(text) else { throw .invalidScalar }
        return value
    }
}
