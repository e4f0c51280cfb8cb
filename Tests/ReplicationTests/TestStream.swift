// Small engines, journals and streams for tests of a single state machine.

import LimiterEngine
import Persistence
import TestSupport

@testable import Replication

/// A primary's engine and journal.
final class TestStream {
    static let start: Int64 = 1_700_000_000_000_000_000
    let engine = Engine(shards: 1)
    let journal: Journal
    var time = EngineTime(nanoseconds: TestStream.start)

    init(offset: Int64 = 0) {
        journal = Journal(engine: engine, offset: offset)
        engine.setJournaling(true)
    }

    func write(_ keys: Range<Int>) {
        let session = KeyspaceSession(engine: engine)
        for number in keys {
            Array("key-\(number)".utf8).withUnsafeBytes {
                let state = KeyState(kind: .gcra, word: time.nanoseconds + 1_000_000_000 + Int64(number))
                _ = session.apply(state, to: $0, now: time)
            }
        }
    }

    /// The bytes since the previous `drain`.
    func drain() -> [UInt8] { TestStream.drain(journal) }

    /// A copy of the journal's pending bytes.
    static func drain(_ journal: Journal) -> [UInt8] {
        let part = journal.take(replacement: ByteBuffer())
        return withExtendedLifetime(part.bytes) { Array($0.bytes) }
    }

    /// A batch with the states of these keys.
    func batch(_ keys: Range<Int>) -> [UInt8] {
        write(keys)
        journal.collect(time: time)
        return drain()
    }

    /// A batch without records.
    func emptyBatch() -> [UInt8] {
        journal.recordTime(time)
        return drain()
    }

    /// A snapshot for a replica, complete at the journal's end. `during` is called after the walk over the keys.
    func snapshot(during: () -> Void = {}) -> [UInt8] {
        journal.collect(time: time)
        let stream = SnapshotStream(journalOffset: journal.offset, engine: engine, time: time)
        var bytes: [UInt8] = []
        while !stream.hasSeenAllKeys { bytes += Array(stream.next(time: time).bytes) }
        during()
        journal.collect(time: time)
        return bytes + Array(stream.finish(wholeAt: journal.offset, time: time).bytes)
    }

    static func id(_ digit: Character) -> ReplicationID { ReplicationID(String(repeating: digit, count: 40))! }

    /// Calls `body` for the complete, valid batches at the beginning of `bytes`.
    static func forEachBatch(
        _ bytes: UnsafeRawBufferPointer, _ body: (JournalBatch, UnsafeRawBufferPointer) -> Void
    ) {
        var position = 0
        while bytes.count - position >= JournalBatch.headerSize {
            let rest = UnsafeRawBufferPointer(rebasing: bytes[position...])
            guard let batch = JournalBatch(rest), batch.count <= rest.count else { return }
            let whole = UnsafeRawBufferPointer(rebasing: rest[..<batch.count])
            guard batch.matches(whole) else { return }
            body(batch, whole)
            position += batch.count
        }
    }
}

extension [UInt8] {
    init(text: String) { self = Array(text.utf8) }
    var text: String { String(decoding: self, as: UTF8.self) }
}
