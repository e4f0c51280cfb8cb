// Reads a JSON text value by value, in the order in which its caller asks for them.
//
// Borrows the text, allocates nothing unless it is refused, and accepts exactly RFC 8259 with these bounds: at most
// `depthMax` levels, integers within 64 bits. Owns the grammar and the path of the value being read, which errors name.
// Refuses to build a tree: the caller knows the fields of its requests.
//
// Fields are matched by `nextField`, which refuses unknown names and duplicates. `nextName` leaves both to the caller.

/// The fields of an object in requests. Raw values count from 0; there are at most 32.
public protocol JSONField: RawRepresentable<UInt8> {
    /// The field's name in the object.
    var name: StaticString { get }
}

/// A pull reader of one JSON text.
public struct JSONReader {
    /// Maximum number of arrays and objects inside each other.
    public static let depthMax = 8

    /// The type of a value, which its first byte decides.
    public enum Kind: Sendable {
        /// The types of JSON.
        case object, array, string, number, bool, null
    }

    /// An array or object that is being read.
    struct Level {
        /// Where the name of the current field begins, and its length, both as in the text.
        var nameOffset: Int32 = 0
        var nameCount: Int32 = -1
        /// Position of the current element; -1 before the first. For objects, -2.
        var index: Int32 = -2
        /// The fields found by `nextField`.
        var seen: UInt32 = 0
        var isFirst = true
    }

    private let base: UnsafePointer<UInt8>
    private let end: UnsafePointer<UInt8>
    private var cursor: UnsafePointer<UInt8>
    private var depth = 0
    private var levels = InlineArray<8, Level>(repeating: Level())

    /// A reader of the bytes, which must stay in memory and unchanged while it and its strings are used.
    public init(_ text: UnsafeBufferPointer<UInt8>) {
        base = text.baseAddress ?? UnsafePointer(bitPattern: 1).unsafelyUnwrapped
        end = base + text.count
        cursor = base
    }

    // MARK: Objects

    /// Enters the object that is the next value.
    public mutating func beginObject() throws(JSONError) {
        try begin(UInt8(ascii: "{"), .object, "an object", Level())
    }

    /// The name of the object's next field, whose value is read next; nil at the object's end, which is left.
    public mutating func nextName() throws(JSONError) -> JSONString? {
        assert(depth > 0 && levels[depth - 1].index == -2, "not in an object")
        levels[depth - 1].nameCount = -1
        guard try !isAtEnd(UInt8(ascii: "}")) else { return nil }
        skipSpace()
        guard cursor < end else { throw error(.incomplete) }
        guard cursor.pointee == UInt8(ascii: "\"") else { throw error(.unexpected(expected: "a name in quotes")) }
        let name = try text()
        levels[depth - 1].nameOffset = Int32(truncatingIfNeeded: name.base - base)
        levels[depth - 1].nameCount = Int32(truncatingIfNeeded: name.rawCount)
        try expect(UInt8(ascii: ":"), "a colon")
        return name
    }

    /// The object's next field, whose value is read next; nil at the object's end, which is left.
    ///
    /// - Parameter ignoresUnknown: Skips fields that are not in `Field`, instead of refusing them.
    /// - Throws: An error that names the field if it is unknown or given twice.
    public mutating func nextField<Field: JSONField>(
        _ type: Field.Type, ignoresUnknown: Bool = false
    ) throws(JSONError) -> Field? {
        while let name = try nextName() {
            guard let field = JSONReader.find(Field.self, name) else {
                guard ignoresUnknown else { throw error(.unknown) }
                try skip()
                continue
            }
            let bit: UInt32 = 1 << UInt32(field.rawValue)
            guard levels[depth - 1].seen & bit == 0 else { throw error(.duplicate) }
            levels[depth - 1].seen |= bit
            return field
        }
        return nil
    }

    private static func find<Field: JSONField>(_ type: Field.Type, _ name: JSONString) -> Field? {
        var number: UInt8 = 0
        while let field = Field(rawValue: number) {
            if name.equals(field.name) { return field }
            number += 1
        }
        return nil
    }

    // MARK: Arrays

    /// Enters the array that is the next value.
    public mutating func beginArray() throws(JSONError) {
        try begin(UInt8(ascii: "["), .array, "an array", Level(index: -1))
    }

    /// Whether the array has another element, which is read next. At its end the array is left.
    public mutating func nextElement() throws(JSONError) -> Bool {
        assert(depth > 0 && levels[depth - 1].index > -2, "not in an array")
        guard try !isAtEnd(UInt8(ascii: "]")) else { return false }
        levels[depth - 1].index += 1
        return true
    }

    // MARK: Values

    /// The type of the next value.
    public mutating func kind() throws(JSONError) -> Kind {
        skipSpace()
        guard cursor < end else { throw error(.incomplete) }
        switch cursor.pointee {
        case UInt8(ascii: "{"): return .object
        case UInt8(ascii: "["): return .array
        case UInt8(ascii: "\""): return .string
        case UInt8(ascii: "t"), UInt8(ascii: "f"): return .bool
        case UInt8(ascii: "n"): return .null
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return .number
        default: throw error(.unexpected(expected: "a value"))
        }
    }

    /// The next value, which must be a string.
    public mutating func string() throws(JSONError) -> JSONString {
        try require(.string, "a string")
        return try text()
    }

    /// The next value, which must be an integer of at most 64 bits.
    public mutating func integer() throws(JSONError) -> Int64 {
        try require(.number, "an integer")
        let start = cursor
        let isWhole = try number()
        guard isWhole else { throw error(.notInteger, at: start) }
        var digit = start
        let isNegative = start.pointee == UInt8(ascii: "-")
        if isNegative { digit += 1 }
        // Negative numbers reach one further.
        var value: Int64 = 0
        while digit < cursor {
            let (tens, overTens) = value.multipliedReportingOverflow(by: 10)
            let (sum, overSum) = tens.subtractingReportingOverflow(Int64(digit.pointee - 0x30))
            guard !overTens, !overSum else { throw error(.outOfRange, at: start) }
            value = sum
            digit += 1
        }
        guard !isNegative else { return value }
        guard value != Int64.min else { throw error(.outOfRange, at: start) }
        return -value
    }

    /// The next value, which must be true or false.
    public mutating func bool() throws(JSONError) -> Bool {
        try require(.bool, "true or false")
        let isTrue = cursor.pointee == UInt8(ascii: "t")
        try isTrue ? word("true") : word("false")
        return isTrue
    }

    /// Reads past a null; false if the next value is something else.
    public mutating func null() throws(JSONError) -> Bool {
        guard try kind() == .null else { return false }
        try word("null")
        return true
    }

    /// Reads past the next value, whatever it is. Names inside of it may repeat.
    public mutating func skip() throws(JSONError) {
        switch try kind() {
        case .object:
            try beginObject()
            while try nextName() != nil { try skip() }
        case .array:
            try beginArray()
            while try nextElement() { try skip() }
        case .string: _ = try text()
        case .number: _ = try number()
        case .bool: _ = try bool()
        case .null: try word("null")
        }
    }

    /// Checks that nothing follows the value that was read.
    public mutating func finish() throws(JSONError) {
        assert(depth == 0, "an array or object has not been read to its end")
        skipSpace()
        guard cursor == end else { throw error(.trailing) }
    }

    // MARK: Errors

    /// An error about the field that is being read, or about `field` of the object that is being read.
    public func error(_ reason: JSONError.Reason, in field: StaticString? = nil) -> JSONError {
        var path = path()
        if let field { path += path.isEmpty ? "\(field)" : ".\(field)" }
        return JSONError(reason, path: path, offset: cursor - base)
    }

    private func error(_ reason: JSONError.Reason, at place: UnsafePointer<UInt8>) -> JSONError {
        JSONError(reason, path: path(), offset: place - base)
    }

    /// The current value's field, such as `limits[2].key`. Control characters are written as escapes, and long names
    /// are shortened.
    private func path() -> String {
        var path = ""
        for number in 0..<depth {
            let level = levels[number]
            if level.index >= 0 { path += "[\(level.index)]" }
            guard level.nameCount >= 0 else { continue }
            if !path.isEmpty { path += "." }
            let shown = min(Int(level.nameCount), 64)
            path += String(
                decoding: UnsafeBufferPointer(start: base + Int(level.nameOffset), count: shown), as: UTF8.self)
            if shown < level.nameCount { path += "…" }
        }
        return path
    }

    // MARK: Grammar

    private mutating func require(_ kind: Kind, _ expected: String) throws(JSONError) {
        guard try self.kind() == kind else { throw error(.wrongType(expected: expected)) }
    }

    private mutating func begin(
        _ bracket: UInt8, _ kind: Kind, _ expected: String, _ level: Level
    ) throws(JSONError) {
        try require(kind, expected)
        guard depth < JSONReader.depthMax else { throw error(.tooDeep) }
        cursor += 1
        levels[depth] = level
        depth += 1
    }

    /// Whether the innermost array or object ends here with `bracket`, which is then left; otherwise reads past the
    /// comma before anything but the first element.
    private mutating func isAtEnd(_ bracket: UInt8) throws(JSONError) -> Bool {
        skipSpace()
        guard cursor < end else { throw error(.incomplete) }
        if cursor.pointee == bracket {
            cursor += 1
            depth -= 1
            return true
        }
        if levels[depth - 1].isFirst {
            levels[depth - 1].isFirst = false
        } else {
            try expect(UInt8(ascii: ","), bracket == UInt8(ascii: "}") ? "a comma or }" : "a comma or ]")
        }
        return false
    }

    private mutating func expect(_ byte: UInt8, _ expected: String) throws(JSONError) {
        skipSpace()
        guard cursor < end else { throw error(.incomplete) }
        guard cursor.pointee == byte else { throw error(.unexpected(expected: expected)) }
        cursor += 1
    }

    @inline(__always)
    private mutating func skipSpace() {
        while cursor < end {
            switch cursor.pointee {
            case 0x20, 0x0A, 0x0D, 0x09: cursor += 1
            default: return
            }
        }
    }

    private mutating func word(_ word: StaticString) throws(JSONError) {
        for index in 0..<word.utf8CodeUnitCount {
            guard cursor < end else { throw error(.incomplete) }
            guard cursor.pointee == word.utf8Start[index] else { throw error(.unexpected(expected: "\(word)")) }
            cursor += 1
        }
    }

    /// Reads past a number; whether it is an integer, without a fraction and an exponent.
    private mutating func number() throws(JSONError) -> Bool {
        if cursor.pointee == UInt8(ascii: "-") { cursor += 1 }
        guard cursor < end else { throw error(.incomplete) }
        if cursor.pointee == 0x30 {
            cursor += 1
            if cursor < end, isDigit(cursor.pointee) {
                throw error(.unexpected(expected: "a number without leading zeros"))
            }
        } else {
            try digits()
        }
        var isWhole = true
        if cursor < end, cursor.pointee == UInt8(ascii: ".") {
            isWhole = false
            cursor += 1
            try digits()
        }
        if cursor < end, cursor.pointee | 0x20 == UInt8(ascii: "e") {
            isWhole = false
            cursor += 1
            if cursor < end, cursor.pointee == UInt8(ascii: "+") || cursor.pointee == UInt8(ascii: "-") { cursor += 1 }
            try digits()
        }
        return isWhole
    }

    /// One digit or more.
    private mutating func digits() throws(JSONError) {
        guard cursor < end else { throw error(.incomplete) }
        guard isDigit(cursor.pointee) else { throw error(.unexpected(expected: "a digit")) }
        while cursor < end, isDigit(cursor.pointee) { cursor += 1 }
    }

    @inline(__always)
    private func isDigit(_ byte: UInt8) -> Bool { byte &- 0x30 <= 9 }

    /// Reads a string, whose quote is next, and checks all of it.
    private mutating func text() throws(JSONError) -> JSONString {
        cursor += 1
        let start = cursor
        var saved = 0
        while true {
            guard cursor < end else { throw error(.incomplete) }
            let byte = cursor.pointee
            switch byte {
            case UInt8(ascii: "\""):
                let rawCount = cursor - start
                cursor += 1
                return JSONString(base: start, rawCount: rawCount, count: rawCount - saved)
            case UInt8(ascii: "\\"): saved += try escape()
            case 0..<0x20: throw error(.controlCharacter)
            default:
                guard let length = UTF8Check.length(cursor, limit: end - cursor) else { throw error(.notUTF8) }
                cursor += length
            }
        }
    }

    /// Reads past an escape; returns how much shorter its character is.
    private mutating func escape() throws(JSONError) -> Int {
        let start = cursor
        guard end - cursor >= 2 else { throw error(.incomplete) }
        let letter = cursor[1]
        guard letter == UInt8(ascii: "u") else {
            guard JSONString.unescaped(letter) != nil else { throw error(.invalidEscape) }
            cursor += 2
            return 1
        }
        var scalar = try unit()
        if scalar & 0xFC00 == 0xDC00 { throw error(.invalidEscape, at: start) }
        if scalar & 0xFC00 == 0xD800 {
            guard cursor < end else { throw error(.incomplete) }
            guard cursor.pointee == UInt8(ascii: "\\"), end - cursor < 2 || cursor[1] == UInt8(ascii: "u") else {
                throw error(.invalidEscape, at: start)
            }
            let low = try unit()
            guard low & 0xFC00 == 0xDC00 else { throw error(.invalidEscape, at: start) }
            scalar = 0x1_0000 + (scalar - 0xD800) << 10 + (low - 0xDC00)
        }
        return cursor - start - JSONString.encodedCount(scalar)
    }

    /// Reads past `\uXXXX`, of which the backslash has been seen.
    private mutating func unit() throws(JSONError) -> UInt32 {
        guard end - cursor >= 6 else { throw error(.incomplete) }
        guard let unit = JSONString.hexadecimal(cursor + 2) else { throw error(.invalidEscape) }
        cursor += 6
        return unit
    }
}
