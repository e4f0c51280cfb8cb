// What a replica reads behind the answer to PSYNC, from any cut of the bytes into pieces.
//
//   ┌──────────┐ 56 bytes ┌─────────────────┐ end record ┌───────────────┐
//   │  header  ├─────────▶│ snapshot batches├───────────▶│ stream batches│◀─┐
//   └──────────┘          └───┬─────────▲───┘            └───┬───────────┘  │
//    ▲ full sync              └─────────┘        partial ──▶ └──────────────┘
//
// Invariants: (1) what is handed on is a whole, valid batch: length, place, checksum and every record. So whoever
// applies it can apply all of it. (2) Held is at most one batch that is not complete, in memory that grows with the
// bytes that came, never with a length that was announced. (3) After an error nothing more is read.
//
// Line feeds in front of a snapshot's header are a primary's sign of life. Not thread-safe.

import LimiterEngine
public import Persistence

/// Why a stream cannot be read on.
public struct StreamError: Error, Equatable, Sendable {
    /// Where: bytes into the snapshot, or the journal's offset.
    public let offset: Int64
    /// A sentence.
    public let reason: String
}

/// Reads a snapshot and the stream behind it, or the stream alone.
public final class StreamDecoder {
    /// Something complete. Bytes are header and records, valid until the next call.
    public enum Event {
        /// A snapshot begins.
        case header(FileHeader)
        /// A batch of the snapshot; its last one is followed by `snapshotEnd`.
        case snapshotBatch(JournalBatch, UnsafeRawBufferPointer)
        /// The snapshot was complete: so many keys, and the state is whole once the journal is there up to `wholeAt`.
        case snapshotEnd(keys: Int, wholeAt: Int64)
        /// A batch of the journal.
        case batch(JournalBatch, UnsafeRawBufferPointer)
    }

    private enum Phase {
        case header, snapshot, stream, failed
    }

    /// Memory kept from batch to batch.
    private static let retained = 1 << 18

    private var phase: Phase
    private let buffer = ByteBuffer(capacity: 256)
    private var isBufferUsed = false
    private var header: FileHeader?
    private var snapshotPosition: Int64 = 0
    private var records = 0
    private var pendingEnd: Event?
    /// Offset of the next byte of the journal; means nothing in front of a snapshot's header.
    public private(set) var offset: Int64 = 0

    /// A decoder of a snapshot and the stream behind it.
    public init() { phase = .header }

    /// A decoder of a stream that begins at `offset` of the journal.
    public init(offset: Int64) {
        phase = .stream
        self.offset = offset
    }

    /// Reads the next complete thing from the front of `input` and takes its bytes away; nil when all of `input` has
    /// been taken and nothing is complete.
    public func next(_ input: inout UnsafeRawBufferPointer) throws(StreamError) -> Event? {
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
            case .failed: throw StreamError(offset: offset, reason: "the stream was invalid before")
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

    /// The first `count` bytes of what is held and of `input`, without taking them; nil, with all of `input` held,
    /// when there are fewer.
    private func gather(_ count: Int, _ input: inout UnsafeRawBufferPointer) -> UnsafeRawBufferPointer? {
        if buffer.count == 0, input.count >= count { return UnsafeRawBufferPointer(rebasing: input[..<count]) }
        let missing = min(max(0, count - buffer.count), input.count)
        buffer.append(UnsafeRawBufferPointer(rebasing: input[..<missing]))
        input = UnsafeRawBufferPointer(rebasing: input[missing...])
        return buffer.count >= count ? UnsafeRawBufferPointer(rebasing: buffer.bytes[..<count]) : nil
    }

    /// Takes what `gather` has returned.
    private func take(_ count: Int, _ input: inout UnsafeRawBufferPointer) {
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
        take(FileHeader.size, &input)
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
            throw StreamError(offset: place, reason: "the batch says that it belongs at offset \(batch.offset)")
        }
        guard let bytes = gather(batch.count, &input) else { return nil }
        guard batch.matches(bytes) else { throw StreamError(offset: place, reason: "the batch has a wrong checksum") }
        take(batch.count, &input)
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
            throw Misplaced(reason: "an end of a snapshot in the stream")
        }
    }

    private func checkSnapshot(_ batch: JournalBatch, _ bytes: UnsafeRawBufferPointer) throws(StreamError) {
        var keys = records
        var end: (keys: Int64, wholeAt: Int64)?
        try check(batch, bytes) { record throws(Misplaced) in
            guard end == nil else { throw Misplaced(reason: "a record behind the end of the snapshot") }
            switch record {
            case .state, .control(.policy, _, _), .control(.rule, _, _): keys += 1
            case .control(.endOfSnapshot, let key, let body) where key.count == 0 && body.count == 16:
                end = (
                    Int64(littleEndian: body.loadUnaligned(as: Int64.self)),
                    Int64(littleEndian: body.loadUnaligned(fromByteOffset: 8, as: Int64.self))
                )
            // No catch-all: whoever adds a kind decides here whether a snapshot has it.
            case .removed, .control(.flushAll, _, _), .control(.endOfSnapshot, _, _),
                .control(.policyRemoval, _, _), .control(.ruleRemoval, _, _):
                throw Misplaced(reason: "a record that has no place in a snapshot")
            }
        }
        records = keys
        guard let end else { return }
        guard end.keys == Int64(keys), end.wholeAt >= offset else {
            throw StreamError(
                offset: batch.offset,
                reason: "the snapshot has \(keys) keys and says it has \(end.keys), "
                    + "and that it is whole at offset \(end.wholeAt)")
        }
        phase = .stream
        pendingEnd = .snapshotEnd(keys: keys, wholeAt: end.wholeAt)
    }
}
