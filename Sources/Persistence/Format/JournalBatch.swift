// A batch: the records of one collection, or some of them. Log, snapshot and replication stream consist of batches.
//
//   offset  size
//        0     4   n, bytes of records after the header, 0 … 2²⁶
//        4     4   CRC-32C of everything after this field: bytes 8 …< 24 + n
//        8     8   offset of this batch's first byte in its stream: in the journal counted from the journal's
//                  beginning, in a snapshot from the end of the file's header
//       16     8   engine time of the collection, nanoseconds since 1970: no state in it is later
//       24     n   records, one after the other (JournalRecord)
//
// Numbers are little-endian. A batch is valid when n is in range, the checksum is correct, the offset matches its
// position and is below 2⁶², the time is not negative and its records fill the n bytes exactly. An empty batch is a
// heartbeat: it carries only the time.

package import LimiterEngine
import System

/// The header of a batch.
package struct JournalBatch: Equatable, Sendable {
    /// Bytes of a header.
    package static let headerSize = 24
    /// Upper bound on bytes of records in one batch.
    package static let payloadMax = 1 << 26
    /// Largest offset in a stream: adding the length of a file to one of these cannot overflow.
    static let offsetMax = (Int64(1) << 62) - 1
    /// A batch is closed when its records reach this many bytes, so a torn one loses little.
    static let payloadTarget = 1 << 18

    /// Bytes of records.
    package var payloadCount: Int
    /// The stored checksum.
    package var checksum: UInt32
    /// Where the batch begins in its stream.
    package var offset: Int64
    /// When it was collected.
    package var time: EngineTime

    /// Bytes of header and records.
    package var count: Int { JournalBatch.headerSize + payloadCount }

    /// Parses a header from `bytes`; nil when its fields are impossible.
    package init?(_ bytes: UnsafeRawBufferPointer) {
        precondition(bytes.count >= JournalBatch.headerSize)
        func load<Number: FixedWidthInteger>(_ offset: Int, as type: Number.Type) -> Number {
            Number(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: type))
        }
        let length = load(0, as: UInt32.self)
        guard length <= UInt32(JournalBatch.payloadMax) else { return nil }
        payloadCount = Int(length)
        checksum = load(4, as: UInt32.self)
        offset = load(8, as: Int64.self)
        time = EngineTime(nanoseconds: load(16, as: Int64.self))
        guard offset >= 0, offset <= JournalBatch.offsetMax, time.nanoseconds >= 0 else { return nil }
    }

    /// Whether the checksum matches these bytes: header and records, `count` of them.
    package func matches(_ bytes: UnsafeRawBufferPointer) -> Bool {
        bytes.count == count && Checksum.crc32c(UnsafeRawBufferPointer(rebasing: bytes[8...])) == checksum
    }

    /// Passes the records of a batch to `body` in order. `bytes` are header and records.
    package static func forEachRecord<Failure: Error>(
        in bytes: UnsafeRawBufferPointer, _ body: (JournalRecord) throws(Failure) -> Void
    ) throws(BatchError<Failure>) {
        let payload = UnsafeRawBufferPointer(rebasing: bytes[headerSize...])
        var offset = 0
        while offset < payload.count {
            let record: JournalRecord
            do throws(RecordError) {
                record = try JournalRecord.decode(payload, at: &offset)
            } catch {
                throw .record(error)
            }
            do throws(Failure) {
                try body(record)
            } catch {
                throw .body(error)
            }
        }
    }
}

/// Why iteration over a batch's records ended early.
package enum BatchError<Failure: Error>: Error {
    /// A record is not valid.
    case record(RecordError)
    /// The body threw.
    case body(Failure)
}

/// Writes batches one after the other. Not thread-safe.
package final class BatchEncoder {
    private struct Fields {
        var offset: Int64
        /// Where the open batch begins in the buffer; -1 when none is open.
        var openStart = -1
        var time = EngineTime(nanoseconds: 0)
    }

    private let fields: Pinned<Fields>
    /// The closed batches, and the open one.
    package private(set) var buffer: ByteBuffer

    /// An encoder whose first batch begins at `offset` of its stream.
    package init(offset: Int64) {
        fields = Pinned(Fields(offset: offset))
        buffer = ByteBuffer(capacity: 64 * 1024)
    }

    deinit { fields.deallocate() }

    /// Stream offset of the next batch, or of the open one.
    package var offset: Int64 { fields.pointee.offset }

    /// Sets the time for the next batch: a batch carries the last time set before it was closed, and time does not go
    /// back. Batches begun because the previous one was full need no call of their own.
    package func setTime(_ time: EngineTime) { fields.pointee.time = max(fields.pointee.time, time) }

    func start(at offset: Int64) {
        assertClosed()
        precondition(buffer.count == 0)
        fields.pointee.offset = offset
    }

    /// Continues at `offset` with nothing encoded, on the clock of another stream. Discards the previous contents.
    func restart(at offset: Int64, time: EngineTime) {
        assertClosed()
        buffer = ByteBuffer(capacity: 64 * 1024)
        fields.pointee.offset = offset
        fields.pointee.time = time
    }

    /// Adds an empty batch, which carries only the time.
    func addTime() {
        assertClosed()
        fields.pointee.openStart = buffer.count
        _ = buffer.extend(by: JournalBatch.headerSize)
        close(buffer)
    }

    /// Adds a complete batch that was encoded elsewhere for exactly this position.
    func addBatch(_ batch: JournalBatch, _ bytes: UnsafeRawBufferPointer) {
        assertClosed()
        precondition(batch.offset == offset && batch.count == bytes.count)
        assert(batch.matches(bytes))
        buffer.append(bytes)
        fields.pointee.offset += Int64(bytes.count)
        setTime(batch.time)
    }

    private func assertClosed() { precondition(fields.pointee.openStart < 0, "a batch is open") }

    /// Adds a key's state.
    @inline(__always)
    package func add(_ state: StateView, _ name: KeyName) { add(state, name, to: buffer) }

    /// Adds a key's removal.
    package func addRemoval(_ name: KeyName) {
        makeRoom(buffer)
        JournalRecord.encodeRemoval(name, into: buffer)
    }

    /// Adds a control record. The caller bounds `body` and `key` together, far below a batch.
    package func addControl(_ kind: ControlKind, key: UnsafeRawBufferPointer, body: UnsafeRawBufferPointer) {
        makeRoom(buffer)
        JournalRecord.encodeControl(kind, key: key, body: body, into: buffer)
    }

    /// Adds the record of a policy or a rule.
    package func add(_ record: PolicyRecord) {
        record.key.withUnsafeBytes { key in
            record.value.withUnsafeBytes { addControl(ControlKind(record.kind), key: key, body: $0) }
        }
    }

    /// As `add`, for callers that already have the buffer.
    @inline(__always)
    func add(_ state: StateView, _ name: KeyName, to buffer: ByteBuffer) {
        makeRoom(buffer)
        JournalRecord.encodeState(state, name, into: buffer)
    }

    /// Adds a change, for callers that already have the buffer.
    @inline(__always)
    func add(_ change: JournalChange, to buffer: ByteBuffer) {
        switch change {
        case .removed(let name): addRemoval(name)
        case .state(let name, let state): add(state, name, to: buffer)
        }
    }

    /// Closes the open batch if records were added since the last one.
    package func end() {
        if fields.pointee.openStart >= 0 { close(buffer) }
    }

    /// Removes and returns the closed batches, leaving `replacement`, which must be empty.
    package func take(replacement: ByteBuffer) -> ByteBuffer {
        precondition(fields.pointee.openStart < 0 && replacement.count == 0)
        let taken = buffer
        buffer = replacement
        return taken
    }

    @inline(__always)
    private func makeRoom(_ buffer: ByteBuffer) {
        if fields.pointee.openStart >= 0 {
            let used = buffer.count &- fields.pointee.openStart
            if used < JournalBatch.headerSize + JournalBatch.payloadTarget { return }
            close(buffer)
        }
        fields.pointee.openStart = buffer.count
        _ = buffer.extend(by: JournalBatch.headerSize)
    }

    @inline(never)
    private func close(_ buffer: ByteBuffer) {
        let start = fields.pointee.openStart
        let count = buffer.count - start
        precondition(count - JournalBatch.headerSize <= JournalBatch.payloadMax)
        buffer.store(UInt32(count - JournalBatch.headerSize), at: start)
        buffer.store(fields.pointee.offset, at: start + 8)
        buffer.store(fields.pointee.time.nanoseconds, at: start + 16)
        let covered = UnsafeRawBufferPointer(rebasing: buffer.bytes[(start + 8)...])
        buffer.store(Checksum.crc32c(covered), at: start + 4)
        fields.pointee.offset += Int64(count)
        fields.pointee.openStart = -1
    }
}
