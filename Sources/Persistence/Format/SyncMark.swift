// How far the journal has been synced, in a file of its own, `synced`, overwritten in place after every sync:
//
//   offset  size
//        0     8   journal offset up to which everything had been synced
//        8     4   CRC-32C of bytes 0 …< 8
//
// The mark is rarely synced itself: it may be old, but never ahead. A log or snapshot that does not continue the files
// before it may begin at a lower offset, so a mark of 0 is synced before the manifest names it. A log that ends, or is
// damaged, before the mark has lost acknowledged data; after the mark, that is the torn tail of a crash. A mark that
// cannot be read, or is not below 2⁶², is ignored.

/// The highest offset known to be on disk.
package enum SyncMark {
    /// The name of the file.
    package static let fileName = "synced"
    /// Bytes of the file.
    package static let size = 12

    /// The mark as bytes.
    package static func encoded(_ offset: Int64) -> [UInt8] {
        let buffer = ByteBuffer(capacity: size)
        _ = buffer.extend(by: size)
        buffer.store(offset, at: 0)
        buffer.store(Checksum.crc32c(UnsafeRawBufferPointer(rebasing: buffer.bytes[..<8])), at: 8)
        return Array(buffer.bytes)
    }

    /// The offset, or nil when the bytes are not a valid mark.
    package static func decode(_ bytes: [UInt8]) -> Int64? {
        guard bytes.count == size else { return nil }
        return bytes.withUnsafeBytes { buffer in
            let sum = UInt32(littleEndian: buffer.loadUnaligned(fromByteOffset: 8, as: UInt32.self))
            guard Checksum.crc32c(UnsafeRawBufferPointer(rebasing: buffer[..<8])) == sum else { return nil }
            let offset = Int64(littleEndian: buffer.loadUnaligned(as: Int64.self))
            return offset >= 0 && offset <= JournalBatch.offsetMax ? offset : nil
        }
    }
}
