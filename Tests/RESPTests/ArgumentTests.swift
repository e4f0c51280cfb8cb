import RESP
import TestSupport
import Testing

@Suite("Arguments")
struct ArgumentTests {
    private func integer(_ bytes: [UInt8]) -> Int64? {
        // Exactly sized, so that a sanitizer detects a read past the end.
        let memory = UnsafeMutablePointer<UInt8>.allocate(capacity: max(bytes.count, 1))
        defer { memory.deallocate() }
        for (index, byte) in bytes.enumerated() { memory[index] = byte }
        return Argument(base: memory, count: bytes.count).integer
    }

    /// A slow reference: parsed by the standard library, and accepted only in the canonical form that it prints.
    private func reference(_ bytes: [UInt8]) -> Int64? {
        guard let value = Int64(String(decoding: bytes, as: UTF8.self)), Array("\(value)".utf8) == bytes else {
            return nil
        }
        return value
    }

    @Test("edges of the number format")
    func edges() {
        for (text, value) in [
            ("0", 0), ("1", 1), ("-1", -1), ("9", 9), ("10", 10), ("999999999999999999", 999_999_999_999_999_999),
            ("1000000000000000000", 1_000_000_000_000_000_000), ("9223372036854775807", Int64.max),
            ("-9223372036854775808", Int64.min), ("-9223372036854775807", -Int64.max),
            ("-99999999999999999", -99_999_999_999_999_999),
        ] as [(String, Int64)] {
            #expect(integer(Array(text.utf8)) == value, "\(text)")
        }
        for text in [
            "", "-", "+", "+1", " 1", "1 ", "01", "00", "-0", "-01", "--1", "1-", "1a", "a", "0x10", "1e3", "1.0",
            "9223372036854775808", "-9223372036854775809", "18446744073709551616", "10000000000000000000",
            "99999999999999999999", "-99999999999999999999", "000000000000000000001", "9223372036854775807 ",
            "922337203685477580/", "922337203685477580:", "\u{0}", "1\u{0}", "\u{0661}",
        ] {
            #expect(integer(Array(text.utf8)) == nil, "\(text.debugDescription)")
        }
    }

    @Test("against a slow reference, random and around every power of ten and two")
    func againstReference() {
        var generator = SeededGenerator(for: "integers of requests")
        let seed = generator.seed
        var wrong: [String] = []
        func check(_ bytes: [UInt8]) {
            if integer(bytes) != reference(bytes) {
                wrong.append(String(decoding: bytes, as: UTF8.self).debugDescription)
            }
        }
        for shift in 0..<64 {
            for delta in -2...2 {
                let value = (UInt64(1) << UInt64(shift)) &+ UInt64(bitPattern: Int64(delta))
                check(Array("\(value)".utf8))
                check(Array("-\(value)".utf8))
            }
        }
        var power: UInt64 = 1
        for _ in 0..<20 {
            for value in [power &- 1, power, power &+ 1] {
                check(Array("\(value)".utf8)); check(Array("-\(value)".utf8))
            }
            power = power &* 10
        }
        for _ in 0..<20_000 {
            let value =
                Int64.random(in: .min ... .max, using: &generator) >> Int64.random(in: 0..<64, using: &generator)
            check(Array("\(value)".utf8))
        }
        let alphabet = Array("0123456789-+ 09".utf8)
        for _ in 0..<50_000 {
            check(
                (0..<Int.random(in: 0...22, using: &generator)).map { _ in alphabet.randomElement(using: &generator)! })
        }
        #expect(wrong.isEmpty, "seed \(seed): \(wrong.prefix(10))")
    }

    @Test("words match in any case, for letters only")
    func matching() {
        func matches(_ text: String, _ word: StaticString) -> Bool {
            Array(text.utf8).withUnsafeBufferPointer {
                Argument(base: $0.baseAddress ?? UnsafePointer(bitPattern: 1)!, count: $0.count).matches(word)
            }
        }
        #expect(matches("cl.throttle", "CL.THROTTLE"))
        #expect(matches("Cl.ThRoTtLe", "cl.throttle"))
        #expect(!matches("cl.throttl", "CL.THROTTLE"))
        #expect(!matches("cl.throttlee", "CL.THROTTLE"))
        #expect(matches("", ""))
        // Bytes that differ by 0x20 like letters, but are not: @ and `, [ and {, NUL and space.
        #expect(!matches("@", "`"))
        #expect(!matches("[", "{"))
        #expect(!matches("\u{0}", " "))
        #expect(!matches("token-buckeT\u{0}", "token-bucket") && matches("TOKEN-bucket", "token-bucket"))
    }

    @Test("words against a byte-by-byte comparison: every length, every change of one byte")
    func matchingAnything() {
        let word: StaticString = "Az@[`{19-abcdefghijklm"
        let whole = Array(word.description.utf8)
        func folded(_ bytes: [UInt8]) -> [UInt8] { bytes.map { $0 >= 0x41 && $0 <= 0x5A ? $0 + 0x20 : $0 } }
        func check(_ bytes: [UInt8]) -> Bool {
            bytes.withUnsafeBufferPointer {
                let argument = Argument(base: $0.baseAddress!, count: $0.count)
                guard argument.matches(word) == (folded(bytes) == folded(whole)) else { return false }
                guard argument.count <= 8 else { return true }
                let expected = folded(bytes).enumerated().reduce(0) { $0 | UInt64($1.element) << UInt64(8 * $1.offset) }
                return argument.shortWord == expected
            }
        }
        for length in 1...whole.count {
            for position in 0..<length {
                for byte in UInt8.min ... .max {
                    var bytes = Array(whole[..<length])
                    bytes[position] = byte
                    if !check(bytes) { Issue.record("\(bytes)") }
                }
            }
        }
    }

    @Test("positions of arguments, relative to one of them")
    func layout() {
        let list = ArgumentList()
        list.load(["name", "key", "LIMIT", "10", ""].map { Array($0.utf8) })
        let layout = UnsafeMutablePointer<ArgumentRange>.allocate(capacity: 3)
        defer { layout.deallocate() }
        #expect(list.writeLayout(from: 2, count: 3, to: layout))
        #expect(list.hasLayout(layout, count: 3, from: 2))
        #expect(!list.hasLayout(layout, count: 3, from: 1) && !list.hasLayout(layout, count: 3, from: 3))
        // The same bytes with other argument boundaries.
        list.load(["name", "key", "LIMI", "T10", ""].map { Array($0.utf8) })
        #expect(!list.hasLayout(layout, count: 3, from: 2))
        list.load(["LIMIT", "10", "", "more"].map { Array($0.utf8) })
        #expect(list.hasLayout(layout, count: 3, from: 0))
    }

    @Test("a list grows, saves, restores in another list, and loads copies")
    func list() {
        let list = ArgumentList()
        let words = (0..<1000).map { Array("word \($0)".utf8) } + [[]]
        list.load(words)
        #expect((0..<list.count).map { list[$0].bytes } == words)
        let saved = list.save()
        let elsewhere = words.flatMap { $0 }.map { $0 ^ 0xFF }
        elsewhere.withUnsafeBufferPointer { moved in
            list.restore(saved, base: moved.baseAddress!)
            #expect((0..<list.count).map { list[$0].bytes } == words.map { $0.map { $0 ^ 0xFF } })
        }
        list.load([])
        #expect(list.count == 0)
        list.load([[], []])
        #expect(list.count == 2 && list[1].bytes.isEmpty)
        list.removeAll()
        #expect(list.count == 0)
    }

    @Test("copies, comparison with text")
    func copies() {
        let bytes: [UInt8] = [0x61, 0xFF]
        bytes.withUnsafeBufferPointer {
            let argument = Argument(base: $0.baseAddress!, count: 2)
            #expect(argument.bytes == bytes)
            #expect(argument.string == "a\u{FFFD}")
            #expect(argument.raw.elementsEqual(bytes))
            let first = Argument(base: $0.baseAddress!, count: 1)
            #expect(first.equals("a") && !first.equals("A") && !first.equals("ab") && !first.equals(""))
        }
    }
}
