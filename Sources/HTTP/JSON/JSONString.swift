// A string of a JSON text: a borrowed range of it, checked, with its escapes not yet replaced.

/// A string in a JSON text, or a field's name. Borrows the text; decoded only when it is copied.
@frozen
public struct JSONString {
    /// The first byte after the quote.
    public let base: UnsafePointer<UInt8>
    /// Bytes between the quotes.
    public let rawCount: Int
    /// Bytes once escapes are replaced.
    public let count: Int

    init(base: UnsafePointer<UInt8>, rawCount: Int, count: Int) {
        self.base = base
        self.rawCount = rawCount
        self.count = count
    }

    /// Whether it contains escapes. Every escape is longer than the bytes it represents.
    public var hasEscapes: Bool { rawCount != count }

    /// The bytes if there are no escapes in them, borrowed; nil otherwise.
    public var verbatim: UnsafeBufferPointer<UInt8>? {
        hasEscapes ? nil : UnsafeBufferPointer(start: base, count: count)
    }

    /// A copy of the decoded bytes. Allocates.
    public var bytes: [UInt8] {
        [UInt8](unsafeUninitializedCapacity: count) { buffer, length in
            if let target = buffer.baseAddress { write(to: target) }
            length = count
        }
    }

    /// A copy as text. Allocates.
    public var string: String { String(decoding: bytes, as: UTF8.self) }

    /// Whether the decoded bytes are `text`.
    public func equals(_ text: StaticString) -> Bool {
        guard count == text.utf8CodeUnitCount else { return false }
        if !hasEscapes {
            for index in 0..<count where base[index] != text.utf8Start[index] { return false }
            return true
        }
        // Names are hardly ever escaped.
        return bytes.elementsEqual(UnsafeBufferPointer(start: text.utf8Start, count: count))
    }

    /// Writes the decoded bytes to memory with room for `count`.
    public func write(to memory: UnsafeMutablePointer<UInt8>) {
        guard hasEscapes else { return memory.update(from: base, count: count) }
        var source = base
        let end = base + rawCount
        var target = memory
        while source < end {
            guard source.pointee == UInt8(ascii: "\\") else {
                target.pointee = source.pointee
                source += 1
                target += 1
                continue
            }
            let letter = source[1]
            source += 2
            guard letter == UInt8(ascii: "u") else {
                target.pointee = JSONString.unescaped(letter)!
                target += 1
                continue
            }
            var scalar = JSONString.hexadecimal(source)!
            source += 4
            if scalar >= 0xD800, scalar < 0xDC00 {
                // The reader has checked that the other half follows.
                let low = JSONString.hexadecimal(source + 2)!
                source += 6
                scalar = 0x1_0000 + (scalar - 0xD800) << 10 + (low - 0xDC00)
            }
            target += JSONString.encode(scalar, to: target)
        }
        assert(target == memory + count)
    }

    // MARK: Escapes

    /// The byte that an escape of one letter represents; nil if there is no such escape.
    static func unescaped(_ letter: UInt8) -> UInt8? {
        switch letter {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): letter
        case UInt8(ascii: "b"): 0x08
        case UInt8(ascii: "f"): 0x0C
        case UInt8(ascii: "n"): 0x0A
        case UInt8(ascii: "r"): 0x0D
        case UInt8(ascii: "t"): 0x09
        default: nil
        }
    }

    /// The value of four hexadecimal digits; nil if one of them is not a digit.
    static func hexadecimal(_ digits: UnsafePointer<UInt8>) -> UInt32? {
        var value: UInt32 = 0
        for index in 0..<4 {
            let byte = digits[index]
            let letter = byte | 0x20
            if byte >= 0x30, byte <= 0x39 {
                value = value << 4 | UInt32(byte - 0x30)
            } else if letter >= 0x61, letter <= 0x66 {
                value = value << 4 | UInt32(letter - 0x57)
            } else {
                return nil
            }
        }
        return value
    }

    /// Bytes of a scalar in UTF-8.
    static func encodedCount(_ scalar: UInt32) -> Int {
        scalar < 0x80 ? 1 : scalar < 0x800 ? 2 : scalar < 0x1_0000 ? 3 : 4
    }

    private static func encode(_ scalar: UInt32, to target: UnsafeMutablePointer<UInt8>) -> Int {
        func tail(_ shift: UInt32) -> UInt8 { 0x80 | UInt8(scalar >> shift & 0x3F) }
        let count = encodedCount(scalar)
        switch count {
        case 1: target[0] = UInt8(scalar)
        case 2: (target[0], target[1]) = (0xC0 | UInt8(scalar >> 6), tail(0))
        case 3: (target[0], target[1], target[2]) = (0xE0 | UInt8(scalar >> 12), tail(6), tail(0))
        default: (target[0], target[1], target[2], target[3]) = (0xF0 | UInt8(scalar >> 18), tail(12), tail(6), tail(0))
        }
        return count
    }
}

/// Checks of UTF-8, for strings that are read and bytes that are written.
enum UTF8Check {
    /// Length of the character that begins at `base`, 1 to 4; nil if it is not valid within `limit` bytes, which is at
    /// least 1. Refuses overlong forms, surrogates, and scalars above U+10FFFF.
    @inline(__always)
    static func length(_ base: UnsafePointer<UInt8>, limit: Int) -> Int? {
        base[0] < 0x80 ? 1 : longLength(base, limit: limit)
    }

    private static func longLength(_ base: UnsafePointer<UInt8>, limit: Int) -> Int? {
        let first = base[0]
        // The range of the second byte excludes overlong forms, surrogates and too large scalars.
        let length: Int
        var second: ClosedRange<UInt8> = 0x80...0xBF
        switch first {
        case 0xC2...0xDF: length = 2
        case 0xE0: (length, second) = (3, 0xA0...0xBF)
        case 0xED: (length, second) = (3, 0x80...0x9F)
        case 0xE1...0xEF: length = 3
        case 0xF0: (length, second) = (4, 0x90...0xBF)
        case 0xF4: (length, second) = (4, 0x80...0x8F)
        case 0xF1...0xF3: length = 4
        default: return nil
        }
        guard length <= limit, second.contains(base[1]) else { return nil }
        for index in 2..<max(2, length) where base[index] & 0xC0 != 0x80 { return nil }
        return length
    }
}
