// Known scripts: SHA-1, the table, and finding scripts by SHA-1 and by text.

import LimiterEngine
import RESP
import Testing

@testable import RespServer

private func digest(_ text: [UInt8]) -> String { text.withUnsafeBufferPointer { SHA1($0).text } }

/// Calls `body` with the text as an argument.
private func withArgument<Result>(_ text: String, _ body: (Argument) -> Result) -> Result {
    var bytes = Array(text.utf8)
    // `Argument` must not have a nil base.
    bytes.append(0)
    return bytes.withUnsafeBufferPointer { body(Argument(base: $0.baseAddress!, count: $0.count - 1)) }
}

@Suite struct SHA1Tests {
    /// The vectors of FIPS 180-4 and RFC 3174.
    @Test func knownVectors() {
        #expect(digest([]) == "da39a3ee5e6b4b0d3255bfef95601890afd80709")
        #expect(digest(Array("abc".utf8)) == "a9993e364706816aba3e25717850c26c9cd0d89d")
        #expect(
            digest(Array("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq".utf8))
                == "84983e441c3bd26ebaae4aa1f95129e5e54670f1")
        #expect(digest(Array(repeating: 0x61, count: 1_000_000)) == "34aa973cd4c4daa4f61eeb2bdbad27316534016f")
        #expect(
            digest(Array("The quick brown fox jumps over the lazy dog".utf8))
                == "2fd4e1c67a2d28fced849ee1bb76e7391b93eb12")
    }

    /// Lengths at which the padding changes, by another implementation.
    @Test(arguments: [
        (55, "c1c8bbdc22796e28c0e15163d20899b65621d65a"), (56, "c2db330f6083854c99d4b5bfb6e8f29f201be699"),
        (63, "03f09f5b158a7a8cdad920bddc29b81c18a551f5"), (64, "0098ba824b5c16427bd7a1122a5a442a25ec644d"),
        (65, "11655326c708d70319be2610e8a57d9a5b959d3b"), (119, "ee971065aaa017e0632a8ca6c77bb3bf8b1dfc56"),
        (120, "f34c1488385346a55709ba056ddd08280dd4c6d6"), (128, "ad5b3fdbcb526778c2839d2f151ea753995e26a0"),
    ])
    func lengths(count: Int, expected: String) {
        #expect(digest(Array(repeating: 0x61, count: count)) == expected)
    }
}

@Suite struct ScriptTableTests {
    @Test func isConsistent() {
        let scripts = ScriptTable.scripts
        #expect(Set(scripts.map(\.sha1)).count == scripts.count)
        for script in scripts {
            #expect(script.sha1.count == 40 && script.sha1 == script.sha1.lowercased(), "\(script.name)")
            #expect(!script.name.isEmpty && !script.releases.isEmpty, "\(script.sha1)")
            #expect(script.checked.count == 7 && script.checked.dropFirst(4).first == "-", "\(script.name)")
            #expect(script.body != nil || script.batched != .none, "nothing runs \(script.name)")
            // The batch has room for one key, and writes.
            #expect(script.batched == .none || script.keys == 1...1 && !script.isReadOnly, "\(script.name)")
            #expect(script.batched == .none || script.needs == .nothing, "\(script.name)")
        }
    }

    @Test func isFoundInAnyCase() {
        let lookup = ScriptTable.lookup
        for (number, script) in ScriptTable.scripts.enumerated() {
            #expect(withArgument(script.sha1) { lookup.find($0) } == number)
            #expect(withArgument(script.sha1.uppercased()) { lookup.find($0) } == number)
        }
    }

    /// A digest that differs in any one byte, by whatever bit, is not found; nor is one of another length.
    @Test func nothingElseIsFound() {
        let lookup = ScriptTable.lookup
        for script in ScriptTable.scripts {
            let digits = Array(script.sha1.utf8)
            for position in digits.indices {
                for bit in 0..<8 {
                    var other = digits
                    other[position] ^= 1 << UInt8(bit)
                    let isSameLetter = bit == 5 && digits[position] >= UInt8(ascii: "a")
                    let found = other.withUnsafeBufferPointer {
                        lookup.find(Argument(base: $0.baseAddress!, count: $0.count))
                    }
                    #expect((found != nil) == isSameLetter, "byte \(position), bit \(bit) of \(script.name)")
                }
            }
            for text in [String(script.sha1.dropLast()), script.sha1 + "0", ""] {
                #expect(withArgument(text) { lookup.find($0) } == nil)
            }
        }
    }
}

@Suite struct ScriptTextsTests {
    private static func script(_ text: String) -> KnownScript {
        KnownScript(
            sha1: digest(Array(text.utf8)), name: text, releases: "1", checked: "2026-11", keys: 1...1,
            arguments: 1...1)
    }

    private let lookup = ScriptLookup([script("first text"), script("another text"), script("")])

    @Test func knownTextsAreRemembered() {
        let texts = ScriptTexts(lookup)
        for _ in 0..<2 {
            #expect(withArgument("first text") { texts.find($0) } == .known(0))
            #expect(withArgument("another text") { texts.find($0) } == .known(1))
            #expect(withArgument("") { texts.find($0) } == .known(2))
        }
        #expect(texts.count == 3)
    }

    @Test func othersAreNot() {
        let texts = ScriptTexts(lookup)
        #expect(withArgument("first text") { texts.find($0) } == .known(0))
        for text in ["first texT", "first tex", "first text ", " first text"] {
            let expected = Array(text.utf8).withUnsafeBufferPointer { SHA1($0) }
            #expect(withArgument(text) { texts.find($0) } == .unknown(expected))
        }
        #expect(texts.count == 1)
    }

    @Test func longTextsAreNotHashed() {
        let long = String(repeating: "x", count: ScriptTexts.lengthMax + 1)
        let texts = ScriptTexts(ScriptLookup([Self.script(long)]))
        #expect(withArgument(long) { texts.find($0) } == .tooLong)
        #expect(withArgument(String(long.dropLast())) { texts.find($0) } != .tooLong)
    }
}

@Suite struct LuaNumberTests {
    @Test(arguments: [
        ("1", 1.0), ("-5", -5), ("9007199254740993", 9_007_199_254_740_992), ("1.5", 1.5), (" 7", 7), ("7 \t\n", 7),
        ("1e3", 1000), ("0x10", 16), ("-0x10", -16), ("+5", 5), ("05", 5), (".5", 0.5), ("5.", 5), ("5\0x", 5),
        ("1e400", .infinity), ("inf", .infinity), ("99999999999999999999", 1e20),
    ])
    func numbers(text: String, expected: Double) {
        #expect(withArgument(text) { LuaNumber.read($0) } == expected)
    }

    @Test(arguments: ["", " ", "abc", "1x", "1 2", "--1", "1_0", "0x", "e5", "\u{FF11}", "1,5"])
    func others(text: String) {
        #expect(withArgument(text) { LuaNumber.read($0) } == nil)
    }

    @Test func argumentsOfCommands() {
        #expect(LuaNumber.commandArgument(5) == 5 && LuaNumber.commandArgument(-5) == -5)
        #expect(LuaNumber.commandArgument(0) == 0 && LuaNumber.commandArgument(-0.0) == nil)
        #expect(LuaNumber.commandArgument(99_999_999_999_999_984) == 99_999_999_999_999_984)
        #expect(LuaNumber.commandArgument(1e17) == nil && LuaNumber.commandArgument(-1e17) == nil)
        #expect(LuaNumber.commandArgument(1.5) == nil && LuaNumber.commandArgument(.nan) == nil)
        #expect(LuaNumber.commandArgument(.infinity) == nil)
    }

    @Test func replies() {
        #expect(LuaNumber.reply(1.9) == 1 && LuaNumber.reply(-1.9) == -1)
        #expect(LuaNumber.reply(Double.nan) == Int64.min && LuaNumber.reply(1e19) == Int64.min)
        #expect(LuaNumber.reply(Int64(1) << 53 + 1) == Int64(1) << 53)
        #expect(LuaNumber.reply(Int64.max) == Int64.min && LuaNumber.reply(Int64.min) == Int64.min)
        #expect(LuaNumber.reply(Int64(-7)) == -7)
    }

    /// Seconds as text: the quick way and the C library's agree.
    @Test func secondsAsText() {
        var generator = SystemRandomNumberGenerator()
        var times: [Int64] = [0, 1, 99_999, 100_000, 100_001, 1_000_000_000, 1_500_000_000, 99_999_999_999_999]
        times += [100_000_000_000_000, Int64.max, 3_600_000_000_000, 123_456_789]
        for _ in 0..<2000 { times.append(Int64.random(in: 0...(1 << Int64.random(in: 0...62, using: &generator)))) }
        for time in times {
            let reply = ReplyBuffer(capacity: 64)
            LuaNumber.bulk(seconds: time, to: reply)
            let expected = LuaNumber.text(Double(time) / 1e9)
            let line = Array("$\(expected.count)\r\n".utf8) + expected + [0x0D, 0x0A]
            #expect(Array(reply.bytes) == line, "\(time)")
        }
    }
}

@Suite struct CountdownRulesTests {
    private func rules(_ text: String) -> [String: CountdownRules.Terms]? {
        withArgument(text) { CountdownRules($0) }.map {
            Dictionary(uniqueKeysWithValues: $0.terms.map { (String(decoding: $0, as: UTF8.self), $1) })
        }
    }

    @Test func objects() {
        #expect(rules("{}") == [:])
        #expect(rules(" { } ") == [:])
        #expect(rules(#"{"a": [1, 60]}"#) == ["a": .init(limit: 1, seconds: 60)])
        #expect(
            rules(#"{"a\u0041\ud83d\ude00\n":[1.5,2e1],"b":[-1,0]}"#)
                == ["aA\u{1F600}\n": .init(limit: 1.5, seconds: 20), "b": .init(limit: -1, seconds: 0)])
        #expect(rules(#"{"a":[1,2],"a":[3,4]}"#) == ["a": .init(limit: 3, seconds: 4)])
    }

    @Test(arguments: [
        "", "[]", "{", #"{"a"}"#, #"{"a":1}"#, #"{"a":[1]}"#, #"{"a":[1,2,3]}"#, #"{"a":["1","2"]}"#, #"{"a":[1,2],}"#,
        #"{a:[1,2]}"#, #"{"a":[1,2]} x"#, #"{"a":[1,2]"#, #"{"a":[null,2]}"#, #"{"a":[1,2}"#, #"{"\ud83d":[1,2]}"#,
        #"{"\x":[1,2]}"#, #"{"a":[--1,2]}"#, #"{"\u12":[1,2]}"#, #"{"\u+123":[1,2]}"#,
    ])
    func anythingElse(text: String) { #expect(rules(text) == nil) }
}
