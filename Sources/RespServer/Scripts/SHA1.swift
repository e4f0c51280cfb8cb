// SHA-1 (FIPS 180-4), with which Redis names the text of a script. It identifies texts here and protects nothing: a
// text that is remembered is compared byte by byte.

/// The SHA-1 of a text.
struct SHA1: Hashable, Sendable {
    /// Length in bytes.
    static let length = 20

    private let words: (UInt32, UInt32, UInt32, UInt32, UInt32)

    /// The digest of these bytes. O(count): about 2 ns a byte. Allocates nothing.
    init(_ bytes: UnsafeBufferPointer<UInt8>) {
        var state: State = (0x6745_2301, 0xEFCD_AB89, 0x98BA_DCFE, 0x1032_5476, 0xC3D2_E1F0)
        let whole = bytes.count / SHA1.blockLength * SHA1.blockLength
        withUnsafeTemporaryAllocation(of: UInt32.self, capacity: 80) { schedule in
            let base = UnsafeRawPointer(bytes.baseAddress ?? UnsafePointer(SHA1.nothing))
            var offset = 0
            while offset < whole {
                SHA1.absorb(base + offset, schedule.baseAddress!, &state)
                offset += SHA1.blockLength
            }
            SHA1.absorbEnd(UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(bytes)[whole...]), bytes.count) {
                SHA1.absorb($0, schedule.baseAddress!, &state)
            }
        }
        words = state
    }

    /// The digest in 40 lower-case hexadecimal digits.
    var text: String {
        [words.0, words.1, words.2, words.3, words.4].map { word in
            let digits = String(word, radix: 16)
            return String(repeating: "0", count: 8 - digits.count) + digits
        }.joined()
    }

    func hash(into hasher: inout Hasher) { hasher.combine(words.0) }

    static func == (left: SHA1, right: SHA1) -> Bool { left.words == right.words }

    // MARK: Blocks

    private typealias State = (UInt32, UInt32, UInt32, UInt32, UInt32)
    private static let blockLength = 64
    /// The address of an empty text.
    nonisolated(unsafe) private static let nothing = UnsafeMutablePointer<UInt8>.allocate(capacity: 1)

    /// Absorbs the last bytes, fewer than a block, followed by a one bit, zeros and the text's length in bits.
    private static func absorbEnd(_ rest: UnsafeRawBufferPointer, _ length: Int, _ body: (UnsafeRawPointer) -> Void) {
        let count = rest.count < blockLength - 8 ? blockLength : 2 * blockLength
        withUnsafeTemporaryAllocation(byteCount: count, alignment: 8) { end in
            end.initializeMemory(as: UInt8.self, repeating: 0)
            end.copyMemory(from: rest)
            end[rest.count] = 0x80
            end.storeBytes(of: UInt64(length * 8).bigEndian, toByteOffset: count - 8, as: UInt64.self)
            body(end.baseAddress!)
            if count > blockLength { body(end.baseAddress! + blockLength) }
        }
    }

    private static func absorb(
        _ block: UnsafeRawPointer, _ schedule: UnsafeMutablePointer<UInt32>, _ state: inout State
    ) {
        for index in 0..<16 {
            schedule[index] = UInt32(bigEndian: block.loadUnaligned(fromByteOffset: 4 * index, as: UInt32.self))
        }
        for index in 16..<80 {
            let word = schedule[index - 3] ^ schedule[index - 8] ^ schedule[index - 14] ^ schedule[index - 16]
            schedule[index] = rotated(word, 1)
        }
        var (a, b, c, d, e) = state
        func round(_ index: Int, _ mixed: UInt32, _ constant: UInt32) {
            let next = rotated(a, 5) &+ mixed &+ e &+ constant &+ schedule[index]
            (e, d, c, b, a) = (d, c, rotated(b, 30), a, next)
        }
        for index in 0..<20 { round(index, (b & c) | (~b & d), 0x5A82_7999) }
        for index in 20..<40 { round(index, b ^ c ^ d, 0x6ED9_EBA1) }
        for index in 40..<60 { round(index, (b & c) | (b & d) | (c & d), 0x8F1B_BCDC) }
        for index in 60..<80 { round(index, b ^ c ^ d, 0xCA62_C1D6) }
        state = (state.0 &+ a, state.1 &+ b, state.2 &+ c, state.3 &+ d, state.4 &+ e)
    }

    @inline(__always)
    private static func rotated(_ word: UInt32, _ bits: UInt32) -> UInt32 { word &<< bits | word &>> (32 &- bits) }
}
