// Growable memory into which records are encoded before they are written. No copy on write, no check per byte.
//
// Invariants: `base` has room for `capacity` bytes, of which the first `count` are in use.

import CLinux
import System

/// A growable byte buffer. Not thread-safe; the holder of the only reference may hand it to another thread.
///
/// `@unchecked Sendable`: never used by two threads at a time; it is handed over under a lock.
package final class ByteBuffer: @unchecked Sendable {
    private struct Fields {
        var base: UnsafeMutableRawPointer
        var capacity: Int
        var count = 0
    }

    private let fields: Pinned<Fields>

    /// An empty buffer with room for `capacity` bytes.
    package init(capacity: Int = 4096) {
        let capacity = max(64, capacity)
        fields = Pinned(Fields(base: .allocate(byteCount: capacity, alignment: 8), capacity: capacity))
    }

    deinit {
        fields.pointee.base.deallocate()
        fields.deallocate()
    }

    /// Bytes in use.
    package var count: Int { fields.pointee.count }

    /// The contents. Valid until they change.
    package var bytes: UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(start: fields.pointee.base, count: fields.pointee.count)
    }

    /// Writes the contents to a file.
    func write(to file: any StorageFile, at offset: Int) throws(StorageError) {
        try file.writeAll(bytes, at: offset)
        // `bytes` alone would not keep the memory alive.
        withExtendedLifetime(self) {}
    }

    /// Removes the contents and frees memory beyond `retained` bytes.
    package func removeAll(retaining retained: Int) {
        fields.pointee.count = 0
        guard fields.pointee.capacity > retained, retained >= 64 else { return }
        fields.pointee.base.deallocate()
        fields.pointee.capacity = retained
        fields.pointee.base = .allocate(byteCount: retained, alignment: 8)
    }

    /// Removes everything after the first `count` bytes.
    func truncate(to count: Int) {
        assert(count <= self.count)
        fields.pointee.count = count
    }

    /// Appends `length` uninitialized bytes and returns their address; the caller must write them.
    @inline(__always)
    func extend(by length: Int) -> UnsafeMutableRawPointer {
        if fields.pointee.capacity - fields.pointee.count < length { grow(length) }
        let start = fields.pointee.base + fields.pointee.count
        fields.pointee.count += length
        return start
    }

    /// Appends bytes.
    package func append(_ bytes: UnsafeRawBufferPointer) {
        guard let source = bytes.baseAddress else { return }
        extend(by: bytes.count).copyMemory(from: source, byteCount: bytes.count)
    }

    /// Overwrites existing bytes with a number.
    @inline(__always)
    func store<Number: FixedWidthInteger>(_ number: Number, at offset: Int) {
        assert(offset + MemoryLayout<Number>.size <= count)
        fields.pointee.base.storeBytes(of: number.littleEndian, toByteOffset: offset, as: Number.self)
    }

    @inline(never)
    private func grow(_ length: Int) {
        let (base, count) = (fields.pointee.base, fields.pointee.count)
        fields.pointee.capacity = max(fields.pointee.capacity * 2, count + length)
        let larger = UnsafeMutableRawPointer.allocate(byteCount: fields.pointee.capacity, alignment: 8)
        larger.copyMemory(from: base, byteCount: count)
        base.deallocate()
        fields.pointee.base = larger
    }
}

extension UnsafeMutableRawPointer {
    /// Copies bytes. Most keys are so short that two overlapping words cover them.
    @inline(__always)
    func copyShort(from source: UnsafeRawPointer, count: Int) {
        if count >= 8 && count <= 16 {
            let first = source.loadUnaligned(as: UInt64.self)
            let last = source.loadUnaligned(fromByteOffset: count &- 8, as: UInt64.self)
            storeBytes(of: first, as: UInt64.self)
            storeBytes(of: last, toByteOffset: count &- 8, as: UInt64.self)
        } else {
            copyMemory(from: source, byteCount: count)
        }
    }
}
