// The client's side of the protocol, as far as counting goes: finds where replies end and which of them are errors,
// over bytes that arrive in arbitrary pieces. The load generator is built on it, and tests use it to find a reply
// before decoding it.
//
// Owns: a few words of state. Refuses to keep bytes or to build values (see ReplyValue): it never allocates, however
// long or deeply nested a reply is. Nesting needs no stack here: a reply ends when as many values were seen as were
// announced.
//
//   type byte ──▶ rest of its line ──▶ value done, or its elements are owed, or payload ──▶ CR LF ──▶ value done

/// Why bytes are not valid RESP, or exceed the limits.
public enum ReplyError: Error, Equatable, Sendable {
    /// A value that begins with this byte, which is not a type.
    case unknownType(UInt8)
    /// A length or an element count that is not an integer, or larger than `ReplyScanner.lengthMax`.
    case invalidLength
    /// A line longer than `ReplyScanner.lineLengthMax`.
    case lineTooLong
    /// A CR without LF, an LF without CR, or a payload not followed by CR LF.
    case missingTerminator
    /// A reply that has more than `ReplyScanner.lengthMax` values outstanding at once.
    case tooManyElements
    /// More than `ReplyValue.depthMax` levels of nested aggregates.
    case tooDeep
    /// The text of an integer, a double or a boolean is not valid.
    case invalidScalar
}

/// An incremental counter of RESP2 and RESP3 replies. Streamed strings and aggregates (`$?`), which no server sends,
/// are refused as an invalid length.
public struct ReplyScanner: Sendable {
    /// Maximum payload in bytes, and maximum number of values outstanding at once: 2^30.
    public static let lengthMax: Int64 = 1 << 30
    /// Maximum length of a line in bytes, including the type byte and the line end.
    public static let lineLengthMax = 64 * 1024

    /// Complete replies so far, including errors but not pushes.
    public private(set) var replies = 0
    /// Complete replies so far that are errors; an error inside an array counts as an ordinary value.
    public private(set) var errors = 0
    /// Complete pushes so far: messages that the server sent unrequested.
    public private(set) var pushes = 0
    /// The error in the bytes, if any; scanning stops there.
    public private(set) var failure: ReplyError?

    private enum Phase: UInt8 { case type, line, payload, payloadReturn, payloadFeed }
    private var phase = Phase.type
    /// Type byte of the value whose line is open, and of the reply as a whole.
    private var kind: UInt8 = 0
    private var outermost: UInt8 = 0
    /// Values the reply still lacks, including the open one; 0 between replies.
    private var owed: Int64 = 0
    private var number = Number()
    private var lineLength = 0
    private var endsInReturn = false
    private var payloadLeft = 0

    /// A scanner positioned at a reply's first byte.
    public init() {}

    /// True between replies: every byte so far belongs to a complete one.
    public var isBetweenReplies: Bool { owed == 0 && phase == .type }

    /// Scans the next bytes of the stream, each once.
    ///
    /// - Parameters:
    ///   - bytes: The bytes that have arrived; may end anywhere.
    ///   - most: Stop after this many further replies or pushes.
    /// - Returns: The number of bytes scanned: all of them unless `most` was reached or `failure` is set. O(bytes
    ///   scanned), payloads skipped in one step.
    @discardableResult
    public mutating func scan(_ bytes: UnsafeBufferPointer<UInt8>, most: Int = .max) -> Int {
        guard failure == nil, let base = bytes.baseAddress else { return 0 }
        let (before, count) = (replies + pushes, bytes.count)
        var cursor = 0
        while cursor < count, replies + pushes - before < most, failure == nil {
            switch phase {
            case .type:
                begin(base[cursor])
                cursor += 1
            case .line:
                cursor = scanLine(base, from: cursor, count: count)
            case .payload:
                let step = min(payloadLeft, count - cursor)
                payloadLeft -= step
                cursor += step
                if payloadLeft == 0 { phase = .payloadReturn }
            case .payloadReturn:
                expect(0x0D, got: base[cursor], then: .payloadFeed)
                cursor += 1
            case .payloadFeed:
                expect(0x0A, got: base[cursor], then: .type)
                cursor += 1
                if failure == nil { finishValue() }
            }
        }
        return cursor
    }

    private mutating func begin(_ byte: UInt8) {
        guard ReplyKind(byte) != nil else {
            failure = .unknownType(byte)
            return
        }
        kind = byte
        if owed == 0 {
            outermost = byte
            owed = 1
        } else if outermost == UInt8(ascii: "|") {
            outermost = owed == 1 ? byte : outermost
        }
        number = Number()
        lineLength = 1
        endsInReturn = false
        phase = .line
    }

    /// Reads to the line's end or the end of the bytes, and returns the index after the last byte read.
    private mutating func scanLine(_ base: UnsafePointer<UInt8>, from start: Int, count: Int) -> Int {
        var (cursor, length, returned) = (start, lineLength, endsInReturn)
        let countsBytes = ReplyKind(kind)!.hasLength
        while cursor < count {
            let byte = base[cursor]
            cursor += 1
            length += 1
            if byte == 0x0A || returned {
                guard byte == 0x0A, returned else {
                    failure = .missingTerminator
                    return cursor
                }
                finishLine()
                return cursor
            }
            if byte == 0x0D {
                returned = true
            } else if countsBytes {
                number.append(byte)
            }
            guard length < ReplyScanner.lineLengthMax else {
                failure = .lineTooLong
                return cursor
            }
        }
        lineLength = length
        endsInReturn = returned
        return cursor
    }

    private mutating func finishLine() {
        phase = .type
        guard let kind = ReplyKind(kind), kind.hasLength else { return finishValue() }
        guard let length = number.length(nullable: kind.isNullable) else {
            failure = .invalidLength
            return
        }
        switch kind {
        case .line: finishValue()
        case .payload:
            guard length >= 0 else { return finishValue() }
            payloadLeft = Int(length)
            phase = length == 0 ? .payloadReturn : .payload
        case .elements, .pairs, .attributes:
            // Attributes precede the value they belong to, so they do not complete a value themselves.
            let values = max(length, 0) * (kind == .elements ? 1 : 2) + (kind == .attributes ? 1 : 0)
            guard owed + values <= ReplyScanner.lengthMax else {
                failure = .tooManyElements
                return
            }
            owed += values
            finishValue()
        }
    }

    private mutating func finishValue() {
        owed -= 1
        guard owed == 0 else { return }
        if outermost == UInt8(ascii: ">") {
            pushes += 1
        } else {
            replies += 1
            if outermost == UInt8(ascii: "-") || outermost == UInt8(ascii: "!") { errors += 1 }
        }
    }

    private mutating func expect(_ byte: UInt8, got: UInt8, then next: Phase) {
        if got == byte { phase = next } else { failure = .missingTerminator }
    }

    /// The digits of a length, one at a time.
    private struct Number {
        var value: Int64 = 0
        var digits = 0
        var isNegative = false
        var isMalformed = false

        mutating func append(_ byte: UInt8) {
            if byte == UInt8(ascii: "-"), digits == 0, !isNegative {
                isNegative = true
                return
            }
            let digit = byte &- 0x30
            // Once above the limit it stays above it, so the product cannot overflow.
            guard digit <= 9, value <= ReplyScanner.lengthMax, !(digits == 1 && value == 0) else {
                isMalformed = true
                return
            }
            value = value * 10 + Int64(digit)
            digits += 1
        }

        /// The length; -1 for a null where that is allowed; nil for anything else.
        func length(nullable: Bool) -> Int64? {
            guard !isMalformed, digits > 0, value <= ReplyScanner.lengthMax else { return nil }
            guard isNegative else { return value }
            return nullable && value == 1 ? -1 : nil
        }
    }
}

/// What follows a type byte.
enum ReplyKind {
    /// The text up to the line end is the whole value.
    case line
    /// A length, then that many bytes and CR LF.
    case payload
    /// A count, then that many values.
    case elements
    /// A count, then twice that many values.
    case pairs
    /// As pairs, but followed by the value they belong to.
    case attributes

    @inline(__always)
    init?(_ byte: UInt8) {
        switch byte {
        case UInt8(ascii: ":"), UInt8(ascii: "+"), UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "#"),
            UInt8(ascii: ","), UInt8(ascii: "("):
            self = .line
        case UInt8(ascii: "$"), UInt8(ascii: "="), UInt8(ascii: "!"): self = .payload
        case UInt8(ascii: "*"), UInt8(ascii: "~"), UInt8(ascii: ">"): self = .elements
        case UInt8(ascii: "%"): self = .pairs
        case UInt8(ascii: "|"): self = .attributes
        default: return nil
        }
    }

    var hasLength: Bool { self != .line }
    /// `$-1` and `*-1` are RESP2's nulls. Accepted for all types of these kinds: a client loses nothing by it.
    var isNullable: Bool { self == .payload || self == .elements }
}
