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
        // Case counts unless told otherwise.
        ("ABC", "abc", false),
    ])
    func matches(pattern: String, text: String, expected: Bool) {
        #expect(GlobPattern(pattern).matches(text) == expected)
    }

    @Test(arguments: [
        ("ABC", "abc", true), ("abc", "ABC", true), ("[A-C]", "b", true), ("[a-c]", "B", true), ("[xB]", "b", true),
        ("\\A", "a", true), ("max*", "MAXCLIENTS", true), ("[^a]", "A", false), ("@", "`", false),
        // An escape inside a class keeps its case: so does Redis.
        ("[\\A]", "a", false), ("[\\a]", "a", true),
    ])
    func ignoresCaseWhenAsked(pattern: String, text: String, expected: Bool) {
        #expect(GlobPattern(pattern, ignoringCase: true).matches(text) == expected)
    }

    @Test func bytesThatAreNoTextMatch() {
        let text: [UInt8] = [0xFF, 0x00, 0xFE]
        #expect(text.withUnsafeBufferPointer { GlobPattern([0xFF, 0x3F, 0x2A]).matches($0) })
        #expect(text.withUnsafeBufferPointer { GlobPattern([0xFF, 0x5B, 0x00, 0x2D, 0x01, 0x5D, 0x2A]).matches($0) })
        #expect(!text.withUnsafeBufferPointer { GlobPattern([0xFE, 0x2A]).matches($0) })
    }

    /// A matcher that retries every star takes longer than the universe for this one.
    @Test(.timeLimit(.minutes(1))) func manyStarsDoNotExplode() {
        let pattern = GlobPattern(String(repeating: "a*", count: 200) + "b")
        #expect(!pattern.matches(String(repeating: "a", count: 20_000)))
        #expect(pattern.matches(String(repeating: "a", count: 20_000) + "b"))
        let classes = GlobPattern(String(repeating: "*[a-a]?", count: 100) + "\\b")
        #expect(!classes.matches(String(repeating: "a", count: 20_000)))
    }

    /// Small patterns over a small alphabet, against a matcher that tries everything.
    @Test func agreesWithTheObviousMatcher() {
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
