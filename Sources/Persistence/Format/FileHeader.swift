// The header at the beginning of a log segment or a snapshot.
//
//   offset  size
//        0     8   magic: `ESCAPLOG` or `ESCAPSNP`
//        8     4   format version: 1
//       12     4   0
//       16     8   file number: the one in its name
//       24     8   offset in the journal. Segment: of the byte after this header. Snapshot: it contains every change
//                  up to here, and maybe later ones
//       32     8   engine time when the file was begun, nanoseconds since 1970
//       40     8   snapshot: approximate number of keys that follow; segment: 0
//       48     4   0
//       52     4   CRC-32C of bytes 0 …< 52
//
// Numbers are little-endian. Batches follow (JournalBatch). A header is valid when all of this holds, nothing is
// negative, and number and offset are below 2⁶².
// Names: `log-N` and `snapshot-N`, N a decimal number without leading zeros that increases over the directory's
// lifetime.

package import LimiterEngine

/// The header of a log segment or a snapshot.
package struct FileHeader: Equatable, Sendable {
    /// Bytes of a header.
    package static let size = 56
    /// The format this version writes, and the only one it reads.
    package static let version: UInt32 = 1

    /// The kind of file.
    package enum Content: UInt64, Sendable {
        /// A segment of the journal.
        case log = 0x474F_4C50_4143_5345  // "ESCAPLOG"
        /// A full set of keys.
        case snapshot = 0x504E_5350_4143_5345  // "ESCAPSNP"
    }

    /// What the file is.
    package var content: Content
    /// The number in its name.
    package var number: Int
    /// Offset in the journal where it begins.
    package var journalOffset: Int64
    /// When the file was begun.
    package var time: EngineTime
    /// Approximate number of keys that follow: a hint that readers bound by the file size.
    package var keys: Int

    /// A header with these fields.
    package init(content: Content, number: Int, journalOffset: Int64, time: EngineTime, keys: Int = 0) {
        self.content = content
        self.number = number
        self.journalOffset = journalOffset
        self.time = time
        self.keys = keys
    }

    /// The header as bytes.
    package func encoded() -> [UInt8] {
        let buffer = ByteBuffer(capacity: FileHeader.size)
        _ = buffer.extend(by: FileHeader.size)
        buffer.store(content.rawValue, at: 0)
        buffer.store(FileHeader.version, at: 8)
        buffer.store(UInt32(0), at: 12)
        buffer.store(Int64(number), at: 16)
        buffer.store(journalOffset, at: 24)
        buffer.store(time.nanoseconds, at: 32)
        buffer.store(Int64(keys), at: 40)
        buffer.store(UInt32(0), at: 48)
        buffer.store(Checksum.crc32c(UnsafeRawBufferPointer(rebasing: buffer.bytes[..<52])), at: 52)
        return Array(buffer.bytes)
    }

    /// Parses a header; the error completes a sentence that begins with the file's name.
    package init(_ bytes: UnsafeRawBufferPointer, expecting content: Content) throws(HeaderError) {
        guard bytes.count >= FileHeader.size else { throw HeaderError("is shorter than its header") }
        func load<Number: FixedWidthInteger>(_ offset: Int, as type: Number.Type) -> Number {
            Number(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: type))
        }
        guard load(0, as: UInt64.self) == content.rawValue else {
            throw HeaderError("is not a \(content == .log ? "log segment" : "snapshot")")
        }
        guard Checksum.crc32c(UnsafeRawBufferPointer(rebasing: bytes[..<52])) == load(52, as: UInt32.self) else {
            throw HeaderError("has a header whose checksum is wrong")
        }
        let version = load(8, as: UInt32.self)
        guard version == FileHeader.version else {
            throw HeaderError(
                "has format version \(version), but this program reads \(FileHeader.version)", isOtherVersion: true)
        }
        let number = load(16, as: Int64.self)
        let offset = load(24, as: Int64.self)
        let time = load(32, as: Int64.self)
        let keys = load(40, as: Int64.self)
        guard number > 0, number <= Manifest.numberMax, offset >= 0, offset <= JournalBatch.offsetMax, time >= 0,
            keys >= 0
        else { throw HeaderError("has a header out of range") }
        self.init(
            content: content, number: Int(number), journalOffset: offset, time: EngineTime(nanoseconds: time),
            keys: Int(keys))
    }
}

/// A header that is not valid.
package struct HeaderError: Error, Equatable, Sendable {
    /// Completes a sentence that begins with the file's name.
    package let reason: String
    /// The header is intact, but of a format that this program does not know.
    package let isOtherVersion: Bool

    init(_ reason: String, isOtherVersion: Bool = false) {
        self.reason = reason
        self.isOtherVersion = isOtherVersion
    }
}
