// A growing run of bytes: bodies, and the fields of a response.

import System

/// A growing byte buffer. Not thread-safe: each event loop has its own, and reuses it for every response.
public final class ByteWriter {
    private struct Fields {
        var base: UnsafeMutablePointer<UInt8>
        var count: Int
        var capacity: Int
    }

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

    /// The bytes written, borrowed until the next change.
    public var bytes: UnsafeBufferPointer<UInt8> {
        UnsafeBufferPointer(start: fields.pointee.base, count: fields.pointee.count)
    }

    /// The bytes written from `start` on, borrowed until the next change.
    public func view(from start: Int = 0) -> ByteView {
        precondition(start >= 0 && start <= count)
        return ByteView(base: fields.pointee.base + start, count: count - start)
    }

    /// Drops everything after the first `length` bytes; `length` is at most `count`.
    public func truncate(to length: Int) {
        precondition(length >= 0 && length <= count)
        fields.pointee.count = length
    }

    /// Empties the buffer, and frees memory if it has become larger than `retained` bytes.
    public func removeAll(retaining retained: Int = 64 * 1024) {
        fields.pointee.count = 0
        guard fields.pointee.capacity > max(retained, 64) else { return }
        fields.pointee.base.deallocate()
        fields.pointee.capacity = max(retained, 64)
        fields.pointee.base = .allocate(capacity: fields.pointee.capacity)
    }

    /// Makes room for `extra` more bytes.
    @inline(__always)
    private func reserve(_ extra: Int) {
        if fields.pointee.capacity &- fields.pointee.count < extra { grow(extra) }
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

    /// Appends bytes.
    public func append(_ bytes: UnsafeBufferPointer<UInt8>) {
        guard let source = bytes.baseAddress, !bytes.isEmpty else { return }
        reserve(bytes.count)
        (fields.pointee.base + fields.pointee.count).update(from: source, count: bytes.count)
        fields.pointee.count &+= bytes.count
    }

    /// Appends bytes.
    public func append(_ bytes: ByteView) { append(bytes.buffer) }

    /// Appends bytes.
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

    /// Appends a byte.
    public func append(byte: UInt8) {
        reserve(1)
        fields.pointee.base[fields.pointee.count] = byte
        fields.pointee.count &+= 1
    }

    /// Appends an integer in decimal.
    public func append(_ value: Int64) {
        reserve(20)
        if value < 0 { append(byte: UInt8(ascii: "-")) }
        var rest = value.magnitude
        var digits = 1
        var bound: UInt64 = 10
        while rest >= bound, digits < 20 {
            digits &+= 1
            let (product, overflow) = bound.multipliedReportingOverflow(by: 10)
            if overflow { break }
            bound = product
        }
        if rest >= 10_000_000_000_000_000_000 { digits = 20 }
        let end = fields.pointee.count &+ digits
        var position = end
        repeat {
            position &-= 1
            fields.pointee.base[position] = 0x30 &+ UInt8(truncatingIfNeeded: rest % 10)
            rest /= 10
        } while position > fields.pointee.count
        fields.pointee.count = end
    }

    /// Appends an integer in decimal, with zeros in front up to `width` digits.
    public func append(_ value: Int, width: Int) {
        var bound = 1
        for _ in 1..<width { bound *= 10 }
        while bound > max(value, 1) {
            append(byte: UInt8(ascii: "0"))
            bound /= 10
        }
        append(Int64(value))
    }
}
