import TestSupport
import Testing

@testable import RespServer

@Suite struct GlobPatternTests {
    @Test(arguments: [
        ("", "", true), ("", "a", false), ("*", "", true), ("*", "abc", true), ("**", "abc", true),
        ("a*", "abc", true), ("*c", "abc", true), ("*b*", "abc", true), ("a*c", "abc", true), ("a*d", "abc", false),
        ("a**c", "ac", true), ("abc*", "abc", true), ("abc", "abcd", false), ("abcd", "abc", false),
        ("?", "", false), ("?", "a", true), ("a?c", "abc", true), ("a?", "a", false), ("??*", "a", false),
        ("*ab", "aab", true), ("*aab*b", "aaabxb", true), ("a*b*c", "a1b2b3c", true), ("a*b*c", "a1b2b3", false),
        // Classes.
        ("[abc]", "b", true), ("[abc]", "d", false), ("[a-c]x", "bx", true), ("[c-a]x", "bx", true),
        ("[^a-c]", "b", false), ("[^a-c]", "d", true), ("[^a]", "", false), ("h[ae]llo", "hallo", true),
        ("h[ae]llo", "hillo", false), ("[a", "a", true), ("[a", "b", false), ("[", "a", false), ("[^", "a", true),
        ("[]", "a", false), ("[^]", "a", true), ("[]a", "a", false), ("[a-]", "a", true), ("[\\]]", "]", true),
        ("[\\-a]", "-", true), ("[a\\-z]", "m", false), ("*[0-9]", "key7", true), ("*[0-9]x", "1a2x", true),
        // Escapes.
        ("\\*", "*", true), ("\\*", "a", false), ("\\?x", "?x", true), ("a\\", "a\\", true), ("\\\\", "\\", true),
        ("\\a", "a", true), ("*\\*", "a*", true), ("*\\*", "ab", false),
        // Matching is case-sensitive by default.
        ("ABC", "abc", false),
    ])
    func matches(pattern: String, text: String, expected: Bool) {
        #expect(GlobPattern(pattern).matches(text) == expected)
    }

    @Test(arguments: [
        ("ABC", "abc", true), ("abc", "ABC", true), ("[A-C]", "b", true), ("[a-c]", "B", true), ("[xB]", "b", true),
        ("\\A", "a", true), ("max*", "MAXCLIENTS", true), ("[^a]", "A", false), ("@", "`", false),
        // An escaped byte inside a class stays case-sensitive, as in Redis.
        ("[\\A]", "a", false), ("[\\a]", "a", true),
    ])
    func ignoresCaseWhenAsked(pattern: String, text: String, expected: Bool) {
        #expect(GlobPattern(pattern, ignoringCase: true).matches(text) == expected)
    }

    @Test func bytesThatAreNotTextMatch() {
        let text: [UInt8] = [0xFF, 0x00, 0xFE]
        #expect(text.withUnsafeBufferPointer { GlobPattern([0xFF, 0x3F, 0x2A]).matches($0) })
        #expect(text.withUnsafeBufferPointer { GlobPattern([0xFF, 0x5B, 0x00, 0x2D, 0x01, 0x5D, 0x2A]).matches($0) })
        #expect(!text.withUnsafeBufferPointer { GlobPattern([0xFE, 0x2A]).matches($0) })
    }

    private func steps(_ pattern: GlobPattern, _ text: [UInt8], is expected: Bool) -> Int {
        var steps = 0
        #expect(text.withUnsafeBufferPointer { pattern.matches($0, steps: &steps) } == expected)
        return steps
    }

    /// Patterns and texts that cause heavy backtracking: the work stays proportional to the length of the text.
    @Test func matchingTimeIsLinearForEveryPattern() {
        let text = [UInt8](repeating: UInt8(ascii: "a"), count: 100_000)
        let many = GlobPattern(String(repeating: "a*", count: 500) + "b")
        #expect(steps(many, text, is: false) < 10)
        #expect(steps(many, text + [UInt8(ascii: "b")], is: true) < 10_000)
        let literal = GlobPattern("*" + String(repeating: "a", count: 1_000) + "b*")
        #expect(steps(literal, text, is: false) <= 3 * text.count)
        let ends = GlobPattern("*" + String(repeating: "a", count: 1_000) + "b")
        #expect(steps(ends, text, is: false) <= 2_000)
        for parts in [2, 15, 16, 17, 63, 64, 65, 128, 500, 1_000] {
            let mixed = GlobPattern("*?" + String(repeating: "a", count: parts - 2) + "b*")
            let bound = GlobPattern.stepsMax(textLength: text.count)
            #expect(steps(mixed, text, is: false) <= bound, "\(parts) parts")
            let middle = text.dropLast(50_000) + [UInt8(ascii: "b")] + text.dropLast(50_000)
            #expect(steps(mixed, Array(middle), is: true) <= bound, "\(parts) parts")
        }
        let classes = GlobPattern("*" + String(repeating: "[a-z]", count: 200) + "[b]*")
        #expect(steps(classes, text, is: false) <= GlobPattern.stepsMax(textLength: text.count))
        // A short text must not pay for building tables larger than itself.
        #expect(steps(classes, Array(text.prefix(300)), is: false) < 256 * 220)
        #expect(steps(classes, Array(text.prefix(203)), is: false) < 1_000)
        let tables = GlobPattern(String(repeating: "*?aaaaaaaaaaaaaaab", count: 56) + "*")
        #expect(steps(tables, text, is: false) <= GlobPattern.stepsMax(textLength: text.count))
    }

    /// Every search strategy against the simple matcher.
    @Test(arguments: [false, true]) func agreesWithTheSimpleMatcher(ignoringCase: Bool) {
        var random = SeededGenerator(for: "globs")
        let pieces = [
            "a", "b", "A", "B", "?", "*", "[ab]", "[^a]", "[A-B]", "[b-]", "\\a", "\\*", "[\\A]", "[]", "[^]", "0",
        ]
        var matches = 0
        for _ in 0..<4_000 {
            var pattern = ""
            let (length, stars) = (random.below(60), random.below(3))
            for _ in 0..<length {
                let piece = pieces[random.below(pieces.count)]
                // Few stars, so that segments are long; mostly pieces that match the texts.
                if piece == "*" { if random.below(8) > stars { continue } }
                if piece.hasPrefix("["), random.below(3) > 0 { continue }
                pattern += random.below(3) > 0 && piece != "*" ? ["a", "?"][random.below(2)] : piece
            }
            if random.below(2) == 0 { pattern = "*" + pattern + "*" }
            let text = (0..<random.below(300)).map { _ in Array("aaaaabAB0".utf8)[random.below(9)] }
            let bytes = Array(pattern.utf8)
            let expected = text.withUnsafeBufferPointer { text in
                bytes.withUnsafeBufferPointer {
                    SimpleGlob.matches(text, pattern: $0, ignoringCase: ignoringCase)
                }
            }
            let glob = GlobPattern(pattern, ignoringCase: ignoringCase)
            let found = text.withUnsafeBufferPointer { glob.matches($0) }
            guard found == expected else {
                Issue.record("\(pattern) on \(String(decoding: text, as: UTF8.self))")
                return
            }
            if found { matches += 1 }
        }
        #expect(matches > 130)
    }

    /// All byte values in patterns and texts.
    @Test func agreesOnArbitraryBytes() {
        var random = SeededGenerator(for: "glob bytes")
        for _ in 0..<20_000 {
            let alphabet = (0..<4).map { _ in UInt8(random.below(256)) } + Array("*?[]^-\\".utf8)
            let pattern = (0..<random.below(24)).map { _ in alphabet[random.below(alphabet.count)] }
            let text = (0..<random.below(24)).map { _ in alphabet[random.below(alphabet.count)] }
            for ignoringCase in [false, true] {
                let expected = text.withUnsafeBufferPointer { text in
                    pattern.withUnsafeBufferPointer {
                        SimpleGlob.matches(text, pattern: $0, ignoringCase: ignoringCase)
                    }
                }
                let glob = GlobPattern(pattern, ignoringCase: ignoringCase)
                guard text.withUnsafeBufferPointer({ glob.matches($0) }) == expected else {
                    Issue.record("\(pattern) on \(text), ignoring case: \(ignoringCase)")
                    return
                }
            }
        }
    }

    /// Every small pattern over a small alphabet, against a brute-force matcher.
    @Test func agreesWithTheBruteForceMatcher() {
        let alphabet = Array("ab*?".utf8)
        let texts = words(over: Array("ab".utf8), longest: 5)
        for pattern in words(over: alphabet, longest: 5) {
            let glob = GlobPattern(pattern)
            for text in texts {
                let expected = obviousMatch(pattern[...], text[...])
                let found = text.withUnsafeBufferPointer { glob.matches($0) }
                guard found == expected else {
                    Issue.record(
                        "\(String(decoding: pattern, as: UTF8.self)) on \(String(decoding: text, as: UTF8.self))")
                    return
                }
            }
        }
    }

    private func words(over alphabet: [UInt8], longest: Int) -> [[UInt8]] {
        var all: [[UInt8]] = [[]]
        var last: [[UInt8]] = [[]]
        for _ in 0..<longest {
            last = last.flatMap { word in alphabet.map { word + [$0] } }
            all += last
        }
        return all
    }

    private func obviousMatch(_ pattern: ArraySlice<UInt8>, _ text: ArraySlice<UInt8>) -> Bool {
        guard let part = pattern.first else { return text.isEmpty }
        if part == UInt8(ascii: "*") {
            return obviousMatch(pattern.dropFirst(), text)
                || (!text.isEmpty && obviousMatch(pattern, text.dropFirst()))
        }
        guard let byte = text.first, part == UInt8(ascii: "?") || part == byte else { return false }
        return obviousMatch(pattern.dropFirst(), text.dropFirst())
    }
}
