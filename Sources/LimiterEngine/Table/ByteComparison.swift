// Comparison of two byte strings: used for every key and every name of a rule that is looked up.

import Glibc

/// Whether `count` bytes are equal. Most strings are short, and a call of memcmp takes longer than comparing them: word
/// by word, with the last word overlapping the one before if necessary.
@inline(__always)
func bytesAreEqual(_ left: UnsafeRawPointer, _ right: UnsafeRawPointer, count: Int) -> Bool {
    if count > 64 { return memcmp(left, right, count) == 0 }
    if count >= 8 {
        var offset = 0
        while offset &+ 8 < count {
            guard areEqual(left, right, at: offset, as: UInt64.self) else { return false }
            offset &+= 8
        }
        return areEqual(left, right, at: count &- 8, as: UInt64.self)
    }
    if count >= 4 {
        return areEqual(left, right, at: 0, as: UInt32.self) && areEqual(left, right, at: count &- 4, as: UInt32.self)
    }
    for offset in 0..<count where !areEqual(left, right, at: offset, as: UInt8.self) { return false }
    return true
}

@inline(__always)
private func areEqual<Word: FixedWidthInteger & BitwiseCopyable>(
    _ left: UnsafeRawPointer, _ right: UnsafeRawPointer, at offset: Int, as type: Word.Type
) -> Bool {
    left.loadUnaligned(fromByteOffset: offset, as: type) == right.loadUnaligned(fromByteOffset: offset, as: type)
}
