// How far the journal has been synced, in a file of its own, `synced`, written over in place behind every sync:
//
//   offset  size
//        0     8   offset in the journal up to which everything had reached the disk
//        8     4   CRC-32C of bytes 0 …< 8
//
// It is hardly ever synced itself: it may be old, but it is never ahead. Before a log or a snapshot is named that does
// not continue the files before it, and so may begin at a lower offset, a mark of 0 is synced. A log that ends, or is
// damaged, in front of the mark has lost what was promised; behind the mark that is the torn tail of a crash. A mark
// that cannot be read, or is not below 2⁶², says nothing.

/// The highest offset known to be on disk.
public enum SyncMark {
    /// The name of the file.
    public static let fileName = "synced"
    /// Bytes of the file.
    public static let size = 12

    /// The mark as bytes.
    public static func encoded(_ offset: Int64) -> [UInt8] {
        let buffer = ByteBuffer(capacity: size)
        _ = buffer.extend(by: size)
        buffer.store(offset, at: 0)
        buffer.store(Checksum.crc32c(UnsafeRawBufferPointer(rebasing: buffer.bytes[..<8])), at: 8)
        return Array(buffer.bytes)
    }

    /// The offset, or nil when the bytes are no mark.
    public static func decode(_ bytes: [UInt8]) -> Int64? {
        guard bytes.count == size else { return nil }
        return bytes.withUnsafeBytes { buffer in
            let sum = UInt32(littleEndian: buffer.loadUnaligned(fromByteOffset: 8, as: UInt32.self))
            guard Checksum.crc32c(UnsafeRawBufferPointer(rebasing: buffer[..<8])) == sum else { return nil }
            let offset = Int64(littleEndian: buffer.loadUnaligned(as: Int64.self))
            return offset >= 0 && offset <= JournalBatch.offsetMax ? offset : nil
        }
    }
}
