// Glob patterns over bytes, with Redis's semantics: `*`, `?`, `[a-z]`, `[^a]` and `\x`. Used by CONFIG GET, KEYS,
// SCAN MATCH and PSUBSCRIBE. Not aware of Unicode: `?` matches one byte.
//
// Patterns and texts come from clients, so a match must not take O(text × pattern) time. A pattern is at most
// `lengthMax` bytes, and matching counts steps, so that a caller that matches many texts can pause and resume.
//
// A pattern is compiled once, into parts that match exactly one byte each, and segments: the runs of parts between
// stars. The first and the last segment are anchored to the ends of the text unless a star is there. Each segment in
// between takes the leftmost match after the previous one, which never loses a match, so there is no backtracking
// (GlobPattern+Search).

import RESP

/// A compiled glob pattern. `matches` does not allocate, except a few KiB of stack for rare patterns.
struct GlobPattern: Sendable {
    /// Longest pattern that clients may send, in bytes.
    static let lengthMax = 1024
    /// The error for a longer pattern.
    static let refusal = "ERR pattern is longer than \(lengthMax) bytes"

    /// A range of parts. It matches only texts of the same length.
    struct Segment: Sendable {
        var start: Int
        var count: Int
        /// Every part is one byte: there are no `?` and no classes.
        var isLiteral: Bool
    }

    /// The part that matches any byte; greater values are indices of classes, plus `any` + 1.
    static let any: UInt16 = 256

    /// Each is a literal byte (in lower case if case is ignored), `any`, or a class.
    private(set) var parts: [UInt16] = []
    private(set) var classes: [ByteSet] = []
    private(set) var segments: [Segment] = []
    /// The KMP failure function: for each part of a literal segment, the length of the longest border ending there.
    private(set) var borders: [UInt16] = []
    private var startsWithStar = false
    private var endsWithStar = false
    private var hasStar = false
    /// Whether A–Z and a–z compare equal.
    let ignoringCase: Bool

    /// - Precondition: `bytes` has at most `lengthMax` bytes.
    init(_ bytes: [UInt8], ignoringCase: Bool = false) {
        precondition(bytes.count <= GlobPattern.lengthMax)
        self.ignoringCase = ignoringCase
        read(bytes)
        borders = Array(repeating: 0, count: parts.count)
        for segment in segments where segment.isLiteral { findBorders(segment) }
    }

    init(_ text: String, ignoringCase: Bool = false) {
        self.init(Array(text.utf8), ignoringCase: ignoringCase)
    }

    // MARK: Compiling

    private mutating func read(_ pattern: [UInt8]) {
        var index = 0
        var start = 0
        startsWithStar = pattern.first == UInt8(ascii: "*")
        while index < pattern.count {
            endsWithStar = false
            switch pattern[index] {
            case UInt8(ascii: "*"):
                endSegment(from: start)
                start = parts.count
                hasStar = true
                endsWithStar = true
                index += 1
            case UInt8(ascii: "?"):
                parts.append(GlobPattern.any)
                index += 1
            case UInt8(ascii: "["):
                parts.append(GlobPattern.any + 1 + UInt16(classes.count))
                index = readClass(pattern, at: index + 1)
            case UInt8(ascii: "\\") where index + 1 < pattern.count:
                parts.append(UInt16(fold(pattern[index + 1])))
                index += 2
            case let byte:
                parts.append(UInt16(fold(byte)))
                index += 1
            }
        }
        endSegment(from: start)
    }

    private mutating func endSegment(from start: Int) {
        guard parts.count > start else { return }
        let isLiteral = parts[start...].allSatisfy { $0 < GlobPattern.any }
        segments.append(Segment(start: start, count: parts.count - start, isLiteral: isLiteral))
    }

    /// Reads a class that begins after its `[`, and returns the index after it. As in Redis, the end of the pattern
    /// closes an open class, `]` right after `[` closes an empty one, a range may be written backwards, and its end may
    /// be any byte, even `]`.
    private mutating func readClass(_ pattern: [UInt8], at start: Int) -> Int {
        var index = start
        let isNegated = index < pattern.count && pattern[index] == UInt8(ascii: "^")
        if isNegated { index += 1 }
        var members = ByteSet()
        while index < pattern.count, pattern[index] != UInt8(ascii: "]") {
            if pattern[index] == UInt8(ascii: "\\"), index + 1 < pattern.count {
                // As in Redis, an escaped byte in a class is always case-sensitive.
                members.insert(pattern[index + 1])
                index += 2
            } else if index + 2 < pattern.count, pattern[index + 1] == UInt8(ascii: "-") {
                let (first, last) = (fold(pattern[index]), fold(pattern[index + 2]))
                for byte in 0...UInt8.max where fold(byte) >= min(first, last) && fold(byte) <= max(first, last) {
                    members.insert(byte)
                }
                index += 3
            } else {
                insert(pattern[index], into: &members)
                index += 1
            }
        }
        classes.append(isNegated ? members.inverted : members)
        return min(index + 1, pattern.count)
    }

    private func insert(_ byte: UInt8, into members: inout ByteSet) {
        members.insert(byte)
        let lower = fold(byte)
        guard ignoringCase, lower &- 0x61 < 26 else { return }
        members.insert(lower)
        members.insert(lower ^ 0x20)
    }

    private mutating func findBorders(_ segment: Segment) {
        var length = 0
        for position in 1..<max(1, segment.count) {
            let part = parts[segment.start + position]
            while length > 0, parts[segment.start + length] != part {
                length = Int(borders[segment.start + length - 1])
            }
            if parts[segment.start + length] == part { length += 1 }
            borders[segment.start + position] = UInt16(length)
        }
    }

    /// Lower case for A–Z when case is ignored.
    @inline(__always)
    func fold(_ byte: UInt8) -> UInt8 { ignoringCase && byte &- 0x41 < 26 ? byte | 0x20 : byte }

    // MARK: Matching

    /// Whether the pattern matches all of `text`. Adds the steps taken to `steps`: at least 1, at most `stepsMax`. A
    /// step takes about a nanosecond.
    func matches(_ text: UnsafeBufferPointer<UInt8>, steps: inout Int) -> Bool {
        steps &+= 1
        guard hasStar ? text.count >= parts.count : text.count == parts.count else { return false }
        var middle = segments[...]
        var (low, high) = (0, text.count)
        if !startsWithStar, let first = middle.popFirst() {
            guard fits(first, text, at: 0, steps: &steps) else { return false }
            low = first.count
        }
        // Check the end before the middle: a mismatch there is found quickly.
        if !endsWithStar, let last = middle.popLast() {
            high -= last.count
            guard fits(last, text, at: high, steps: &steps) else { return false }
        }
        for segment in middle {
            guard let found = find(segment, text, low..<high, steps: &steps) else { return false }
            low = found + segment.count
        }
        return true
    }

    /// Whether the pattern matches all of `text`.
    func matches(_ text: UnsafeBufferPointer<UInt8>) -> Bool {
        var steps = 0
        return matches(text, steps: &steps)
    }

    /// Whether the pattern matches all of `text` in UTF-8. Allocates unless the string is native.
    func matches(_ text: String) -> Bool {
        var text = text
        return text.withUTF8 { matches($0) }
    }
}

/// A set of byte values.
struct ByteSet: Sendable {
    private var words: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)

    @inline(__always)
    func contains(_ byte: UInt8) -> Bool {
        let word =
            switch byte >> 6 {
            case 0: words.0
            case 1: words.1
            case 2: words.2
            default: words.3
            }
        return word >> UInt64(byte & 63) & 1 != 0
    }

    mutating func insert(_ byte: UInt8) {
        let bit: UInt64 = 1 << UInt64(byte & 63)
        switch byte >> 6 {
        case 0: words.0 |= bit
        case 1: words.1 |= bit
        case 2: words.2 |= bit
        default: words.3 |= bit
        }
    }

    var inverted: ByteSet {
        var set = ByteSet()
        set.words = (~words.0, ~words.1, ~words.2, ~words.3)
        return set
    }
}
