// A short and slow glob matcher that GlobPattern must agree with. Backtracking to the last `*` suffices, since every
// part of a pattern except `*` matches exactly one byte.

enum SimpleGlob {
    /// Whether the whole of `text` matches the pattern. O(text × pattern).
    static func matches(
        _ text: UnsafeBufferPointer<UInt8>, pattern: UnsafeBufferPointer<UInt8>, ignoringCase: Bool = false
    ) -> Bool {
        var textIndex = 0
        var patternIndex = 0
        // Where to resume after the last `*`, and the first text byte that this star does not match yet.
        var resumePattern: Int?
        var resumeText = 0
        while true {
            if patternIndex < pattern.count, pattern[patternIndex] == UInt8(ascii: "*") {
                patternIndex += 1
                if patternIndex == pattern.count { return true }
                resumePattern = patternIndex
                resumeText = textIndex
                continue
            }
            if textIndex == text.count {
                // Every other part needs a byte, and a longer match of the star would leave even fewer.
                return patternIndex == pattern.count
            }
            if patternIndex < pattern.count {
                let part = Part(pattern, at: patternIndex, byte: text[textIndex], ignoringCase: ignoringCase)
                if part.fits {
                    patternIndex = part.end
                    textIndex += 1
                    continue
                }
            }
            guard let resume = resumePattern else { return false }
            resumeText += 1
            textIndex = resumeText
            patternIndex = resume
        }
    }
}

/// One part of a pattern that matches exactly one byte, evaluated against that byte.
private struct Part {
    var fits: Bool
    /// The pattern index after the part; independent of the byte.
    var end: Int

    private init(fits: Bool, end: Int) {
        self.fits = fits
        self.end = end
    }

    init(_ pattern: UnsafeBufferPointer<UInt8>, at start: Int, byte: UInt8, ignoringCase: Bool) {
        if pattern[start] == UInt8(ascii: "[") {
            self.init(classIn: pattern, at: start + 1, byte: byte, ignoringCase: ignoringCase)
            return
        }
        switch pattern[start] {
        case UInt8(ascii: "?"):
            self.init(fits: true, end: start + 1)
        case UInt8(ascii: "\\") where start + 1 < pattern.count:
            self.init(fits: fold(pattern[start + 1], ignoringCase) == fold(byte, ignoringCase), end: start + 2)
        case let literal:
            self.init(fits: fold(literal, ignoringCase) == fold(byte, ignoringCase), end: start + 1)
        }
    }

    /// Parses a class from after its `[`. As in Redis, the end of the pattern closes an open class, `]` right after
    /// `[` closes an empty one, a range may be reversed, and the end of a range may be any byte, even `]`.
    private init(classIn pattern: UnsafeBufferPointer<UInt8>, at start: Int, byte: UInt8, ignoringCase: Bool) {
        var index = start
        let isNegated = index < pattern.count && pattern[index] == UInt8(ascii: "^")
        if isNegated { index += 1 }
        let wanted = fold(byte, ignoringCase)
        var isMember = false
        while index < pattern.count, pattern[index] != UInt8(ascii: "]") {
            if pattern[index] == UInt8(ascii: "\\"), index + 1 < pattern.count {
                // As in Redis, an escaped byte is compared verbatim, even when ignoring case.
                if pattern[index + 1] == byte { isMember = true }
                index += 2
            } else if index + 2 < pattern.count, pattern[index + 1] == UInt8(ascii: "-") {
                let first = fold(pattern[index], ignoringCase)
                let last = fold(pattern[index + 2], ignoringCase)
                if wanted >= min(first, last), wanted <= max(first, last) { isMember = true }
                index += 3
            } else {
                if fold(pattern[index], ignoringCase) == wanted { isMember = true }
                index += 1
            }
        }
        fits = isMember != isNegated
        end = min(index + 1, pattern.count)
    }
}

/// Folds A–Z to lower case if case is ignored.
private func fold(_ byte: UInt8, _ ignoringCase: Bool) -> UInt8 {
    ignoringCase && byte &- 0x41 < 26 ? byte | 0x20 : byte
}
