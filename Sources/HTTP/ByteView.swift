// A borrowed run of bytes of a request: a path, a field's value, a body.

/// Bytes of a request, borrowed. Valid until the request has been handled; to keep them, copy them.
@frozen
public struct ByteView {
    /// The first byte.
    public let base: UnsafePointer<UInt8>
    /// Length in bytes, 0 or more.
    public let count: Int

    /// Wraps `count` bytes at `base` without copying them.
    @inlinable
    public init(base: UnsafePointer<UInt8>, count: Int) {
        self.base = base
        self.count = count
    }

    /// The bytes of a literal.
    @inlinable
    public init(_ text: StaticString) {
        self.init(base: text.utf8Start, count: text.utf8CodeUnitCount)
    }

    /// No bytes.
    public static var empty: ByteView { ByteView("") }

    /// Whether there are no bytes.
    @inlinable public var isEmpty: Bool { count == 0 }

    /// The byte at `index`, which must exist.
    @inlinable
    public subscript(index: Int) -> UInt8 {
        assert(index >= 0 && index < count)
        return base[index]
    }

    /// The bytes in `range`, which must exist.
    @inlinable
    public subscript(range: Range<Int>) -> ByteView {
        precondition(range.lowerBound >= 0 && range.upperBound <= count)
        return ByteView(base: base + range.lowerBound, count: range.count)
    }

    /// The bytes, borrowed.
    @inlinable public var buffer: UnsafeBufferPointer<UInt8> { UnsafeBufferPointer(start: base, count: count) }

    /// The bytes, borrowed and untyped, as the engine expects keys.
    @inlinable public var raw: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: base, count: count) }

    /// A copy as text; bytes that are not valid UTF-8 become U+FFFD. Allocates.
    public var string: String { String(decoding: buffer, as: UTF8.self) }

    /// The form in which texts for clients quote the bytes: the first 64 as text, control characters replaced.
    /// Allocates.
    public var shown: String {
        var text = ""
        for scalar in ByteView(base: base, count: min(count, 64)).string.unicodeScalars {
            text.unicodeScalars.append(scalar.value < 0x20 || scalar.value == 0x7F ? "?" : scalar)
        }
        return count > 64 ? text + "…" : text
    }

    /// Whether the bytes equal `other`.
    public func equals(_ other: ByteView) -> Bool { count == other.count && buffer.elementsEqual(other.buffer) }

    /// Whether the bytes are `text`.
    public func equals(_ text: StaticString) -> Bool { equals(ByteView(text)) }

    /// Whether the bytes begin with `text`.
    public func hasPrefix(_ text: StaticString) -> Bool {
        count >= text.utf8CodeUnitCount && self[0..<text.utf8CodeUnitCount].equals(text)
    }

    /// Whether the bytes are `text`, ignoring case for A–Z and a–z. `text` is in lower case.
    public func matches(_ text: StaticString) -> Bool { matches(ByteView(text)) }

    /// Whether the bytes equal `other`, ignoring case for A–Z and a–z.
    public func matches(_ other: ByteView) -> Bool {
        guard count == other.count else { return false }
        for index in 0..<count where lowercased(base[index]) != lowercased(other.base[index]) { return false }
        return true
    }

    /// The position of the first `byte`, or nil.
    public func position(of byte: UInt8) -> Int? { buffer.firstIndex(of: byte) }

    /// The bytes without spaces and tabs at both ends.
    public var trimmed: ByteView {
        var start = 0
        var end = count
        while start < end, isBlank(base[start]) { start += 1 }
        while end > start, isBlank(base[end - 1]) { end -= 1 }
        return self[start..<end]
    }

    /// The value of 1 to 18 decimal digits; nil for anything else.
    public var decimal: Int? {
        guard count > 0, count <= 18 else { return nil }
        var value = 0
        for byte in buffer {
            guard byte >= 0x30, byte <= 0x39 else { return nil }
            value = value * 10 + Int(byte - 0x30)
        }
        return value
    }

    /// Calls `body` with each member of a comma-separated list, without spaces at its ends; empty members are omitted.
    /// A `body` that returns false ends the walk.
    public func forEachMember(_ body: (ByteView) -> Bool) {
        var start = 0
        while start <= count {
            var end = start
            while end < count, base[end] != UInt8(ascii: ",") { end += 1 }
            let member = self[start..<end].trimmed
            if !member.isEmpty, !body(member) { return }
            start = end + 1
        }
    }

    /// Appends the bytes to `writer` with `%XX` decoded, and in a query `+` as a space. False, with nothing appended,
    /// if a `%` is not followed by two hexadecimal digits.
    public func appendDecoded(to writer: ByteWriter, isQuery: Bool = false) -> Bool {
        let start = writer.count
        var index = 0
        while index < count {
            let byte = base[index]
            if byte == UInt8(ascii: "%") {
                guard index + 2 < count, let high = hexadecimalValue(base[index + 1]),
                    let low = hexadecimalValue(base[index + 2])
                else {
                    writer.truncate(to: start)
                    return false
                }
                writer.append(byte: high << 4 | low)
                index += 3
            } else {
                writer.append(byte: isQuery && byte == UInt8(ascii: "+") ? UInt8(ascii: " ") : byte)
                index += 1
            }
        }
        return true
    }

    /// The value of a query parameter, still encoded: the first with this name, which needs no encoding. Nil if there
    /// is none.
    public func parameter(_ name: StaticString) -> ByteView? {
        var start = 0
        while start <= count {
            var end = start
            while end < count, base[end] != UInt8(ascii: "&") { end += 1 }
            let pair = self[start..<end]
            let equals = pair.position(of: UInt8(ascii: "=")) ?? pair.count
            if pair[0..<equals].equals(name) { return equals == pair.count ? .empty : pair[equals + 1..<pair.count] }
            start = end + 1
        }
        return nil
    }
}

@inline(__always)
func lowercased(_ byte: UInt8) -> UInt8 { byte >= 0x41 && byte <= 0x5A ? byte | 0x20 : byte }

@inline(__always)
func isBlank(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 }

@inline(__always)
func hexadecimalValue(_ byte: UInt8) -> UInt8? {
    switch byte {
    case 0x30...0x39: byte - 0x30
    case 0x41...0x46: byte - 0x37
    case 0x61...0x66: byte - 0x57
    default: nil
    }
}
