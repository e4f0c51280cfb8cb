// Decodes what a replica reads after the answer to PSYNC, however the bytes are split.
//
//   ┌──────────┐ 56 bytes ┌─────────────────┐ end record ┌───────────────┐
//   │  header  ├─────────▶│ snapshot batches├───────────▶│ stream batches│◀─┐
//   └──────────┘          └───┬─────────▲───┘            └───┬───────────┘  │
//    ▲ full sync              └─────────┘        partial ──▶ └──────────────┘
//
// Invariants: (1) Every batch returned is complete and valid: length, position, checksum and every record. So all of it
// can be applied. (2) At most one incomplete batch is buffered, in memory that grows with the bytes received, never
// with an announced length. (3) After an error nothing more is read.
//
// Line feeds before a snapshot's header are the primary's keep-alives. Not thread-safe.

import LimiterEngine
package import Persistence

/// Why a stream cannot be decoded further.
package struct StreamError: Error, Equatable, Sendable {
    /// The position: bytes into the snapshot, or the journal's offset.
    package let offset: Int64
    /// A sentence.
    package let reason: String
}

/// Decodes a snapshot and the stream after it, or only the stream.
package final class StreamDecoder {
    /// A complete element. Bytes are header and records, valid until the next call.
    package enum Event {
        /// A snapshot begins.
        case header(FileHeader)
        /// A batch of the snapshot; its last one is followed by `snapshotEnd`.
        case snapshotBatch(JournalBatch, UnsafeRawBufferPointer)
        /// The snapshot is complete: its number of keys; the state is consistent once the journal is present up to
        /// `wholeAt`.
        case snapshotEnd(keys: Int, wholeAt: Int64)
        /// A batch of the journal.
        case batch(JournalBatch, UnsafeRawBufferPointer)
    }

    private enum Phase {
        case header, snapshot, stream, failed
    }

    /// Memory kept between batches.
    private static let retained = 1 << 18

    private var phase: Phase
    private let buffer = ByteBuffer(capacity: 256)
    private var isBufferUsed = false
    private var header: FileHeader?
    private var snapshotPosition: Int64 = 0
    private var records = 0
    private var pendingEnd: Event?
    /// Offset of the next byte of the journal; meaningless before a snapshot's header.
    package private(set) var offset: Int64 = 0

    /// A decoder of a snapshot and the stream after it.
    package init() { phase = .header }

    /// A decoder of a stream that begins at journal offset `offset`.
    package init(offset: Int64) {
        phase = .stream
        self.offset = offset
    }

    /// Consumes the next complete element from the front of `input`; nil when all of `input` has been consumed and
    /// nothing is complete.
    package func next(_ input: inout UnsafeRawBufferPointer) throws(StreamError) -> Event? {
        if isBufferUsed {
            buffer.removeAll(retaining: StreamDecoder.retained)
            isBufferUsed = false
        }
        if let event = pendingEnd {
            pendingEnd = nil
            return event
        }
        do throws(StreamError) {
            switch phase {
            case .failed: throw StreamError(offset: offset, reason: "the stream has already failed")
            case .header: return try readHeader(&input)
            case .snapshot:
                guard let (batch, bytes) = try readBatch(&input, at: snapshotPosition) else { return nil }
                try checkSnapshot(batch, bytes)
                snapshotPosition += Int64(batch.count)
                return .snapshotBatch(batch, bytes)
            case .stream:
                guard let (batch, bytes) = try readBatch(&input, at: offset) else { return nil }
                try checkStream(batch, bytes)
                offset += Int64(batch.count)
                return .batch(batch, bytes)
            }
        } catch {
            phase = .failed
            throw error
        }
    }

    // MARK: Pieces

    /// The first `count` bytes of the buffer and `input`, without consuming them; nil when there are fewer, after
    /// buffering all of `input`.
    private func gather(_ count: Int, _ input: inout UnsafeRawBufferPointer) -> UnsafeRawBufferPointer? {
        if buffer.count == 0, input.count >= count { return UnsafeRawBufferPointer(rebasing: input[..<count]) }
        let missing = min(max(0, count - buffer.count), input.count)
        buffer.append(UnsafeRawBufferPointer(rebasing: input[..<missing]))
        input = UnsafeRawBufferPointer(rebasing: input[missing...])
        return buffer.count >= count ? UnsafeRawBufferPointer(rebasing: buffer.bytes[..<count]) : nil
    }

    /// Consumes what `gather` returned.
    private func removeFirst(_ count: Int, _ input: inout UnsafeRawBufferPointer) {
        if buffer.count > 0 {
            assert(buffer.count == count)
            isBufferUsed = true
        } else {
            input = UnsafeRawBufferPointer(rebasing: input[count...])
        }
    }

    private func readHeader(_ input: inout UnsafeRawBufferPointer) throws(StreamError) -> Event? {
        while buffer.count == 0, input.first == UInt8(ascii: "\n") {
            input = UnsafeRawBufferPointer(rebasing: input.dropFirst())
        }
        guard let bytes = gather(FileHeader.size, &input) else { return nil }
        let header: FileHeader
        do throws(HeaderError) {
            header = try FileHeader(bytes, expecting: .snapshot)
        } catch {
            throw StreamError(offset: 0, reason: "the snapshot \(error.reason)")
        }
        removeFirst(FileHeader.size, &input)
        self.header = header
        offset = header.journalOffset
        phase = .snapshot
        return .header(header)
    }

    private func readBatch(
        _ input: inout UnsafeRawBufferPointer, at place: Int64
    ) throws(StreamError) -> (JournalBatch, UnsafeRawBufferPointer)? {
        guard let start = gather(JournalBatch.headerSize, &input) else { return nil }
        guard let batch = JournalBatch(start) else {
            throw StreamError(offset: place, reason: "the batch has a header out of range")
        }
        guard batch.offset == place, !place.addingReportingOverflow(Int64(batch.count)).overflow else {
            throw StreamError(offset: place, reason: "the batch claims to be at offset \(batch.offset)")
        }
        guard let bytes = gather(batch.count, &input) else { return nil }
        guard batch.matches(bytes) else { throw StreamError(offset: place, reason: "the batch has a wrong checksum") }
        removeFirst(batch.count, &input)
        return (batch, bytes)
    }

    // MARK: Records

    private struct Misplaced: Error { let reason: String }

    private func check(
        _ batch: JournalBatch, _ bytes: UnsafeRawBufferPointer, _ body: (JournalRecord) throws(Misplaced) -> Void
    ) throws(StreamError) {
        do throws(BatchError<Misplaced>) {
            try JournalBatch.forEachRecord(in: bytes, body)
        } catch {
            switch error {
            case .record(let error):
                throw StreamError(offset: batch.offset, reason: "a record of the batch is not valid: \(error.reason)")
            case .body(let error): throw StreamError(offset: batch.offset, reason: error.reason)
            }
        }
    }

    private func checkStream(_ batch: JournalBatch, _ bytes: UnsafeRawBufferPointer) throws(StreamError) {
        try check(batch, bytes) { record throws(Misplaced) in
            guard case .control(.endOfSnapshot, _, _) = record else { return }
            throw Misplaced(reason: "an end-of-snapshot record in the stream")
        }
    }

    private func checkSnapshot(_ batch: JournalBatch, _ bytes: UnsafeRawBufferPointer) throws(StreamError) {
        var keys = records
        var end: (keys: Int64, wholeAt: Int64)?
        try check(batch, bytes) { record throws(Misplaced) in
            guard end == nil else { throw Misplaced(reason: "a record after the end of the snapshot") }
            switch record {
            case .state, .control(.policy, _, _), .control(.rule, _, _): keys += 1
            case .control(.endOfSnapshot, let key, let body) where key.count == 0 && body.count == 16:
                end = (
                    Int64(littleEndian: body.loadUnaligned(as: Int64.self)),
                    Int64(littleEndian: body.loadUnaligned(fromByteOffset: 8, as: Int64.self))
                )
            // No catch-all: a new kind of record has to be classified here.
            case .removed, .control(.flushAll, _, _), .control(.flushDatabase, _, _), .control(.endOfSnapshot, _, _),
                .control(.policyRemoval, _, _), .control(.ruleRemoval, _, _):
                throw Misplaced(reason: "a record that is not allowed in a snapshot")
            }
        }
        records = keys
        guard let end else { return }
        guard end.keys == Int64(keys), end.wholeAt >= offset else {
            throw StreamError(
                offset: batch.offset,
                reason: "the snapshot has \(keys) keys, but its end record states \(end.keys) "
                    + "and consistency at offset \(end.wholeAt)")
        }
        phase = .stream
        pendingEnd = .snapshotEnd(keys: keys, wholeAt: end.wholeAt)
    }
}
