// Finds known scripts: by their SHA-1 as EVALSHA sends it, and by their text as EVAL sends it. Runs for every such
// request of every connection.
//
// By SHA-1: a perfect hash of the first eight of the 40 hexadecimal digits, then a comparison of all of them as five
// words, so nothing is parsed. Digits may be in any case: the bit 0x20 of a letter is not compared.
//
// By text: the text is compared with those remembered. One that is new is hashed once and, if it is that of a known
// script, remembered. So an EVAL costs one comparison more than an EVALSHA.

import Glibc
import RESP

/// Finds known scripts by SHA-1.
///
/// `@unchecked Sendable`: raw memory that only `init` writes, before the object is shared.
final class ScriptLookup: @unchecked Sendable {
    /// What every request needs to know of its script; copying a whole row would retain its strings.
    struct Facts {
        var batched: BatchedScript
        var isReadOnly: Bool
        var needs: KnownScript.Needs
        /// Range of the number of its arguments, after one key.
        var fewest: Int32
        var most: Int32
    }

    private typealias Digits = (UInt64, UInt64, UInt64, UInt64, UInt64)

    private struct Entry {
        var digits: Digits
        /// The bits to compare.
        var mask: Digits
    }

    private static let emptySlot = UInt8.max
    private static let slotBits: UInt64 = 8

    private let slots: UnsafeMutablePointer<UInt8>
    private let entries: UnsafeMutablePointer<Entry>
    /// By script number.
    let facts: UnsafePointer<Facts>
    private let multiplier: UInt64

    init(_ scripts: [KnownScript]) {
        precondition(scripts.count < 128, "more scripts than the slots are made for")
        entries = .allocate(capacity: scripts.count)
        slots = .allocate(capacity: 1 << Int(Self.slotBits))
        let facts = UnsafeMutablePointer<Facts>.allocate(capacity: scripts.count)
        let firstWords = scripts.map { ScriptLookup.entry($0.sha1).digits.0 }
        for (number, script) in scripts.enumerated() {
            (entries + number).initialize(to: ScriptLookup.entry(script.sha1))
            let (fewest, most) = (script.arguments.lowerBound, script.arguments.upperBound)
            (facts + number).initialize(
                to: Facts(
                    batched: script.batched, isReadOnly: script.isReadOnly, needs: script.needs,
                    fewest: Int32(fewest), most: Int32(clamping: most)))
        }
        self.facts = UnsafePointer(facts)
        precondition(Set(firstWords).count == firstWords.count, "two scripts with the same first digits")
        multiplier = ScriptLookup.multiplier(firstWords)
        slots.initialize(repeating: Self.emptySlot, count: 1 << Int(Self.slotBits))
        for (number, word) in firstWords.enumerated() {
            slots[ScriptLookup.slot(word, multiplier)] = UInt8(number)
        }
    }

    /// The number of the script with this SHA-1 in hexadecimal digits of any case; nil for any other argument.
    @inline(__always)
    func find(_ sha1: Argument) -> Int? {
        guard sha1.count == 2 * SHA1.length else { return nil }
        let text = UnsafeRawPointer(sha1.base)
        let first = text.loadUnaligned(as: UInt64.self)
        let number = slots[ScriptLookup.slot(first | ScriptLookup.caseBits, multiplier)]
        guard number != Self.emptySlot else { return nil }
        let entry = entries + Int(number)
        let (digits, mask) = (entry.pointee.digits, entry.pointee.mask)
        var differences = (first ^ digits.0) & mask.0
        differences |= (text.loadUnaligned(fromByteOffset: 8, as: UInt64.self) ^ digits.1) & mask.1
        differences |= (text.loadUnaligned(fromByteOffset: 16, as: UInt64.self) ^ digits.2) & mask.2
        differences |= (text.loadUnaligned(fromByteOffset: 24, as: UInt64.self) ^ digits.3) & mask.3
        differences |= (text.loadUnaligned(fromByteOffset: 32, as: UInt64.self) ^ digits.4) & mask.4
        return differences == 0 ? Int(number) : nil
    }

    /// The number of the script with this SHA-1.
    func find(_ sha1: SHA1) -> Int? {
        var text = sha1.text
        return text.withUTF8 { find(Argument(base: $0.baseAddress!, count: $0.count)) }
    }

    // MARK: Building

    private static let caseBits: UInt64 = 0x2020_2020_2020_2020

    @inline(__always)
    private static func slot(_ word: UInt64, _ multiplier: UInt64) -> Int {
        Int(truncatingIfNeeded: (word &* multiplier) &>> (64 &- slotBits))
    }

    private static func entry(_ sha1: String) -> Entry {
        let text = Array(sha1.utf8)
        precondition(text.count == 2 * SHA1.length, "not a SHA-1: \(sha1)")
        func word(_ position: Int, _ byte: (UInt8) -> UInt8) -> UInt64 {
            (0..<8).reduce(0) { $0 | UInt64(byte(text[8 * position + $1])) << UInt64(8 * $1) }
        }
        func words(_ byte: (UInt8) -> UInt8) -> Digits {
            (word(0, byte), word(1, byte), word(2, byte), word(3, byte), word(4, byte))
        }
        let isLetter = { (byte: UInt8) in byte >= UInt8(ascii: "a") && byte <= UInt8(ascii: "f") }
        precondition(text.allSatisfy { isLetter($0) || $0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9") })
        return Entry(digits: words { $0 }, mask: words { isLetter($0) ? ~0x20 : 0xFF })
    }

    /// A multiplier that maps each word to a slot of its own.
    private static func multiplier(_ words: [UInt64]) -> UInt64 {
        var candidate: UInt64 = 0x9E37_79B9_7F4A_7C15
        while true {
            if Set(words.map { slot($0, candidate) }).count == words.count { return candidate }
            candidate = candidate &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407 | 1
        }
    }
}

/// Finds known scripts by text. Belongs to one event loop.
final class ScriptTexts {
    /// Longer texts are not hashed, and are not known. The longest text of a known script has about 2,000 bytes.
    static let lengthMax = 64 * 1024

    enum Found: Equatable {
        case known(Int)
        case unknown(SHA1)
        case tooLong
    }

    private struct Entry {
        let text: UnsafeMutableBufferPointer<UInt8>
        let number: Int
    }

    private let lookup: ScriptLookup
    /// The texts of known scripts that were sent, the last one first. At most one for each script: the memory is
    /// bounded by their number and by `lengthMax`.
    private var entries: [Entry] = []

    init(_ lookup: ScriptLookup) { self.lookup = lookup }

    deinit { for entry in entries { entry.text.deallocate() } }

    /// Number of texts remembered.
    var count: Int { entries.count }

    /// The script with this text.
    @inline(__always)
    func find(_ text: Argument) -> Found {
        if let first = entries.first, isText(first, text) { return .known(first.number) }
        return search(text)
    }

    @inline(__always)
    private func isText(_ entry: Entry, _ text: Argument) -> Bool {
        entry.text.count == text.count && memcmp(entry.text.baseAddress!, text.base, text.count) == 0
    }

    @inline(never)
    private func search(_ text: Argument) -> Found {
        if let position = entries.firstIndex(where: { isText($0, text) }) {
            entries.swapAt(0, position)
            return .known(entries[0].number)
        }
        guard text.count <= ScriptTexts.lengthMax else { return .tooLong }
        let sha1 = SHA1(text.buffer)
        guard let number = lookup.find(sha1) else { return .unknown(sha1) }
        // Another text with the same SHA-1 would have to be forged; it is not remembered.
        guard !entries.contains(where: { $0.number == number }) else { return .unknown(sha1) }
        let copy = UnsafeMutableBufferPointer<UInt8>.allocate(capacity: text.count)
        _ = copy.initialize(from: text.buffer)
        entries.insert(Entry(text: copy, number: number), at: 0)
        return .known(number)
    }
}
