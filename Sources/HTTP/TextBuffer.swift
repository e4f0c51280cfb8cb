// A growing run of bytes in which bodies and header fields are built before their length is known.
//
// Owns: its bytes. Knows decimal numbers and nothing else; JSON and header fields are extensions and writers on top.

import System

/// A growing byte buffer. Not thread-safe; each event loop has its own.
///
/// Appending is O(bytes), amortised. The buffer keeps its memory until `removeAll(retaining:)`.
public final class TextBuffer {
    private struct Fields {
        var base: UnsafeMutablePointer<UInt8>
        var count: Int
        var capacity: Int
    }

    /// Pinned: access to a class's variables is checked for exclusivity every time.
    private let fields: Pinned<Fields>

    /// An empty buffer with room for `capacity` bytes.
    public init(capacity: Int = 1024) {
        let capacity = max(capacity, 64)
        fields = Pinned(Fields(base: .allocate(capacity: capacity), count: 0, capacity: capacity))
    }

    deinit {
        fields.pointee.base.deallocate()
        fields.deallocate()
    }

    /// Bytes written.
    public var count: Int { fields.pointee.count }

    /// The bytes written, borrowed until the next append.
    public var bytes: UnsafeBufferPointer<UInt8> {
        UnsafeBufferPointer(start: fields.pointee.base, count: fields.pointee.count)
    }

    /// Empties the buffer, and frees memory if it has grown larger than `retained` bytes.
    public func removeAll(retaining retained: Int = 64 * 1024) {
        fields.pointee.count = 0
        guard fields.pointee.capacity > retained else { return }
        fields.pointee.base.deallocate()
        fields.pointee.capacity = max(retained, 64)
        fields.pointee.base = .allocate(capacity: fields.pointee.capacity)
    }

    /// Drops everything after the first `length` bytes; `length` is at most `count`.
    public func truncate(to length: Int) {
        precondition(length >= 0 && length <= count)
        fields.pointee.count = length
    }

    /// Makes room for `extra` more bytes, and returns where the next one is written.
    @inline(__always)
    func reserve(_ extra: Int) -> UnsafeMutablePointer<UInt8> {
        if fields.pointee.capacity &- fields.pointee.count < extra { grow(extra) }
        return fields.pointee.base + fields.pointee.count
    }

    /// Counts bytes that were written where `reserve` returned.
    @inline(__always)
    func advance(_ written: Int) {
        assert(fields.pointee.count + written <= fields.pointee.capacity)
        fields.pointee.count &+= written
    }

    @inline(never)
    private func grow(_ extra: Int) {
        let larger = max(fields.pointee.capacity * 2, count + extra)
        let memory = UnsafeMutablePointer<UInt8>.allocate(capacity: larger)
        memory.update(from: fields.pointee.base, count: count)
        fields.pointee.base.deallocate()
        fields.pointee.base = memory
        fields.pointee.capacity = larger
    }

    // MARK: Appending

    /// Appends bytes unchanged.
    public func append(_ bytes: UnsafeBufferPointer<UInt8>) {
        guard let source = bytes.baseAddress else { return }
        reserve(bytes.count).update(from: source, count: bytes.count)
        advance(bytes.count)
    }

    /// Appends bytes unchanged.
    public func append(_ bytes: [UInt8]) { bytes.withUnsafeBufferPointer { append($0) } }

    /// Appends text in UTF-8.
    public func append(_ text: StaticString) {
        append(UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
    }

    /// Appends text in UTF-8.
    public func append(text: String) {
        var text = text
        text.withUTF8 { append($0) }
    }

    /// Appends one byte.
    public func append(byte: UInt8) {
        reserve(1).pointee = byte
        advance(1)
    }

    /// Appends the number in decimal.
    public func append(_ value: Int64) {
        let place = reserve(20)
        if value >= 0, value <= 9 {
            place.pointee = 0x30 &+ UInt8(truncatingIfNeeded: value)
            return advance(1)
        }
        var digits = 1
        var rest = value.magnitude
        while rest >= 10 {
            rest /= 10
            digits &+= 1
        }
        let sign = value < 0 ? 1 : 0
        if value < 0 { place.pointee = UInt8(ascii: "-") }
        rest = value.magnitude
        var position = sign &+ digits
        while position > sign {
            position &-= 1
            place[position] = 0x30 &+ UInt8(truncatingIfNeeded: rest % 10)
            rest /= 10
        }
        advance(sign &+ digits)
    }
}
