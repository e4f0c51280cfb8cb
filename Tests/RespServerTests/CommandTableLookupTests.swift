// Command lookup: names match in any case, and nothing else matches.

import RESP
import TestSupport
import Testing

@testable import RespServer

@Suite struct CommandTableLookupTests {
    /// Puts the bytes at the very end of an allocation, so that AddressSanitizer detects a read past them.
    static func find(_ lookup: CommandLookup, _ bytes: [UInt8]) -> Int? {
        let memory = UnsafeMutablePointer<UInt8>.allocate(capacity: max(bytes.count, 1))
        defer { memory.deallocate() }
        memory.initialize(repeating: 0xEE, count: max(bytes.count, 1))
        for (index, byte) in bytes.enumerated() { memory[index] = byte }
        return lookup.find(Argument(base: UnsafePointer(memory), count: bytes.count))
    }

    static func toggled(_ name: [UInt8], _ generator: inout some RandomNumberGenerator) -> [UInt8] {
        name.map { $0 &- 0x61 < 26 && Bool.random(using: &generator) ? $0 ^ 0x20 : $0 }
    }

    @Test func everyNameInEveryCaseFindsItself() throws {
        var generator = SeededGenerator(for: "everyNameInEveryCaseFindsItself")
        for (index, spec) in CommandTable.specs.enumerated() {
            let name = Array(spec.name.utf8)
            let letters = name.indices.filter { name[$0] &- 0x61 < 26 }
            // All case variants of names of up to ten letters, 1024 of longer names.
            for choice in 0..<min(1 << letters.count, 1 << 10) {
                var spelling = name
                if letters.count <= 10 {
                    for (bit, letter) in letters.enumerated() where choice >> bit & 1 == 1 { spelling[letter] ^= 0x20 }
                } else {
                    spelling = Self.toggled(name, &generator)
                }
                try #require(
                    Self.find(CommandTable.lookup, spelling) == index, "\(String(decoding: spelling, as: UTF8.self))")
            }
            for (inner, subcommand) in spec.subcommands.enumerated() {
                var upper = Array(subcommand.name.uppercased().utf8)
                let found = upper.withUnsafeMutableBufferPointer {
                    CommandTable.lookup.findSubcommand(
                        of: index, Argument(base: UnsafePointer($0.baseAddress!), count: $0.count))
                }
                #expect(found == inner, "\(spec.name) \(subcommand.name)")
            }
        }
    }

    @Test func nothingElseIsFound() throws {
        var generator = SeededGenerator(for: "nothingElseIsFound")
        let seed = generator.seed
        let names = Dictionary(
            uniqueKeysWithValues: CommandTable.specs.enumerated().map { (Array($1.name.utf8), $0) })
        for _ in 0..<50_000 {
            // Names with a few bytes changed, added or dropped are the hard cases; random noise is tried as well.
            var bytes = CommandTable.specs.randomElement(using: &generator)!.name.utf8.map { $0 }
            for _ in 0..<Int.random(in: 1...2, using: &generator) {
                switch Int.random(in: 0..<4, using: &generator) {
                case 0 where !bytes.isEmpty:
                    bytes[Int.random(in: 0..<bytes.count, using: &generator)] ^=
                        1 << UInt8.random(in: 0..<8, using: &generator)
                case 1 where !bytes.isEmpty: bytes.remove(at: Int.random(in: 0..<bytes.count, using: &generator))
                case 2: bytes.append([0, 0x20, 0x80, 0x61].randomElement(using: &generator)!)
                default:
                    bytes = (0..<Int.random(in: 0...20, using: &generator)).map { _ in
                        .random(in: 0...255, using: &generator)
                    }
                }
            }
            let folded = bytes.map { $0 &- 0x41 < 26 ? $0 | 0x20 : $0 }
            try #require(Self.find(CommandTable.lookup, bytes) == names[folded], "seed \(seed), bytes \(bytes)")
        }
    }

    @Test func paddingIsNotPartOfAName() {
        #expect(Self.find(CommandTable.lookup, Array("get".utf8)) != nil)
        #expect(Self.find(CommandTable.lookup, Array("get\0".utf8)) == nil)
        #expect(Self.find(CommandTable.lookup, Array("get\0\0\0\0\0\0\0\0\0\0\0\0\0".utf8)) == nil)
        #expect(Self.find(CommandTable.lookup, []) == nil)
    }

    /// Every name with every byte value at every position: only the case of letters may differ. `[` is `{` with one
    /// bit cleared, and 0x0E is `.` with the same bit cleared.
    @Test func foldsLettersOnly() throws {
        for (index, spec) in CommandTable.specs.enumerated() {
            let name = Array(spec.name.utf8)
            let names = Set(CommandTable.specs.map { Array($0.name.utf8) })
            for place in name.indices {
                for byte in UInt8.min...UInt8.max {
                    var changed = name
                    changed[place] = byte
                    let folded = changed.map { $0 &- 0x41 < 26 ? $0 | 0x20 : $0 }
                    let found = Self.find(CommandTable.lookup, changed)
                    try #require((found == index) == (folded == name), "\(changed)")
                    try #require((found != nil) == names.contains(folded), "\(changed)")
                }
            }
        }
        let special = CommandLookup(names: ["a-b", "{x}", "`", "a.b|c@d", "exactly-16-bytes"])
        for other in ["A\rB", "[X]", "@", "A\u{0E}B|C@D", "a.b\\c@d", "a.b|c`d", "EXACTLY\r16-BYTES"] {
            #expect(Self.find(special, Array(other.utf8)) == nil, "\(other)")
        }
        #expect(Self.find(special, Array("A.B|C@D".utf8)) == 3)
        #expect(Self.find(special, Array("EXACTLY-16-BYTES".utf8)) == 4)
    }

    /// Names of every length, including names that differ only in the last byte and names longer than two words.
    @Test func manyNamesOfAllLengths() throws {
        var names: [String] = []
        for length in 1...40 {
            for letter in ["a", "b", "z"] { names.append(String(repeating: "x", count: length - 1) + letter) }
        }
        let lookup = CommandLookup(names: names)
        for (index, name) in names.enumerated() {
            try #require(Self.find(lookup, Array(name.utf8)) == index)
            try #require(Self.find(lookup, Array(name.uppercased().utf8)) == index)
            try #require(Self.find(lookup, Array((name.dropLast() + "q").utf8)) == nil)
        }
        #expect(Self.find(CommandLookup(names: []), Array("get".utf8)) == nil)
    }
}
