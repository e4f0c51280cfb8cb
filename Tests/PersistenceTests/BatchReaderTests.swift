// Reading batches from files: what counts as a batch, where damage is reported, and no length causes an allocation.

import LimiterEngine
import TestSupport
import Testing

@testable import Persistence

@Suite struct BatchReaderTests {
    private static let now = EngineTime.seconds(1_000_000)

    /// Batches with one key each, encoded from offset `offset` on.
    private func batches(_ count: Int, from offset: Int64) -> [UInt8] {
        let encoder = BatchEncoder(offset: offset)
        encoder.setTime(Self.now)
        for number in 0..<count {
            var word = Self.now.nanoseconds + Int64(number)
            withUnsafeBytes(of: &word) { value in
                "key \(number)".withBytes {
                    encoder.add(StateView(kind: .gcra, value: value, deadline: nil), KeyName($0))
                }
            }
            encoder.end()
        }
        return Array(encoder.buffer.bytes)
    }

    private func read(_ payload: [UInt8], from offset: Int64) throws -> (batches: Int, position: Int, reason: String?) {
        let files = SimulatedFileSystem()
        files.image.plant([UInt8](repeating: 0, count: FileHeader.size) + payload, at: "/f")
        let file = try files.open("/f", .read)
        let reader = BatchReader(file: file, fileSize: try file.size(), streamStart: offset)
        var count = 0
        while true {
            switch try reader.next() {
            case .batch: count += 1
            case .end: return (count, reader.position, nil)
            case .invalid(let reason): return (count, reader.position, reason)
            }
        }
    }

    @Test func roundTrip() throws {
        for offset in [0, 4711, JournalBatch.offsetMax - 1000] {
            let bytes = batches(5, from: offset)
            let result = try read(bytes, from: offset)
            #expect(result.batches == 5 && result.reason == nil)
            #expect(result.position == FileHeader.size + bytes.count)
        }
        #expect(try read([], from: 0).reason == nil)
        #expect(try read(batches(1, from: 8), from: 7).reason?.contains("offset 8") == true)
    }

    @Test func everyTruncationEndsAfterACompleteBatch() throws {
        let bytes = batches(3, from: 0)
        let size = bytes.count / 3
        for count in 0..<bytes.count {
            let result = try read(Array(bytes.prefix(count)), from: 0)
            #expect(result.batches == count / size)
            #expect(result.position == FileHeader.size + count / size * size)
            #expect((result.reason == nil) == (count % size == 0))
        }
    }

    @Test func everyFlippedBitIsFoundInItsBatch() throws {
        let bytes = batches(3, from: 0)
        let size = bytes.count / 3
        for bit in 0..<bytes.count * 8 {
            var damaged = bytes
            damaged[bit / 8] ^= 1 << UInt8(bit % 8)
            let result = try read(damaged, from: 0)
            #expect(result.batches == bit / 8 / size)
            #expect(result.position == FileHeader.size + bit / 8 / size * size)
            #expect(result.reason != nil)
        }
    }

    @Test func zerosAreNotABatch() throws {
        for count in [1, 23, 24, 48, 4096] {
            #expect(try read([UInt8](repeating: 0, count: count), from: 0).batches == 0)
            #expect(try read(batches(1, from: 0) + [UInt8](repeating: 0, count: count), from: 0).batches == 1)
        }
    }

    /// A reader's memory is bounded by the file's size, whatever a length field contains: larger lengths are refused
    /// before any allocation.
    @Test func falseLengthsAreRefused() throws {
        let bytes = batches(1, from: 0)
        let lengths: [UInt32] = [.max, 1 << 31, 1 << 26 + 1, 1 << 26, 1 << 20, UInt32(bytes.count)]
        for length in lengths {
            var damaged = bytes
            withUnsafeBytes(of: length.littleEndian) { damaged.replaceSubrange(0..<4, with: $0) }
            let reason = try #require(try read(damaged, from: 0).reason)
            #expect(reason == (length > 1 << 26 ? "has a header out of range" : "is longer than the file"))
        }
    }

    /// The number of keys in a snapshot's header is a hint: capacity is reserved only for as many as its bytes can
    /// hold.
    @Test func aHugeKeyCountInASnapshotReservesNoMemory() throws {
        let files = SimulatedFileSystem()
        let header = FileHeader(content: .snapshot, number: 1, journalOffset: 0, time: Self.now, keys: .max)
        let encoder = BatchEncoder(offset: 0)
        encoder.setTime(Self.now)
        let body = [UInt8](repeating: 0, count: 8)
        body.withUnsafeBytes {
            encoder.addControl(.endOfSnapshot, key: UnsafeRawBufferPointer(start: nil, count: 0), body: $0)
        }
        encoder.end()
        files.image.plant(header.encoded() + Array(encoder.buffer.bytes), at: "\(simulatedDirectory)/snapshot-1")
        let manifest = Manifest(history: simulatedHistory, snapshot: .init(number: 1, offset: 0))
        files.image.plant(manifest.encoded(), at: "\(simulatedDirectory)/\(Manifest.fileName)")
        let (engine, report) = try PromiseCheck.recover(files, wall: Self.now, workers: 4)
        #expect(report.records == 0)
        #expect(KeyspaceSession(engine: engine).statistics().memory < 1 << 20)
    }

    /// A collection larger than the batch limit is split into several complete batches, even if a single key is
    /// larger.
    @Test func largeCollectionsAreSplit() throws {
        let engine = Engine(shards: 4)
        engine.setJournaling(true)
        let session = KeyspaceSession(engine: engine)
        for number in 0..<40 {
            let key = "\(number)" + String(repeating: "k", count: 20_000)
            session.apply(KeyState(kind: .gcra, word: Self.now.nanoseconds + 5), to: key, now: Self.now)
        }
        let huge = String(repeating: "h", count: 3_000_000)
        session.apply(KeyState(kind: .gcra, word: Self.now.nanoseconds + 5), to: huge, now: Self.now)
        let journal = Journal(engine: engine, offset: 77)
        journal.collect(time: Self.now)
        let part = journal.take(replacement: ByteBuffer())
        let bytes = Array(part.bytes.bytes)
        #expect(part.offset == 77 && part.end == journal.offset)
        let whole = try read(bytes, from: 77)
        #expect(whole.reason == nil)
        #expect(whole.batches >= 3)
        #expect(huge.utf8.count > JournalBatch.payloadTarget)
    }
}
