// The replication backlog: the most recent bytes of the journal, in memory. All replicas are served from this ring.
//
//     first block                                   last block
//   ┌──────────────┬──────────────┬─────────────┬─────────┐
//   │ whole batches│ whole batches│      …      │    …    │ ◀── append
//   └──────────────┴──────────────┴─────────────┴─────────┘
//   ▲ start                                               ▲ end
//
// It is a ring of blocks, not of bytes: dropping a block drops complete batches, and a slow replica retains blocks
// instead of a copy of its own.
//
// Invariants: (1) the bytes are those of the journal from `start` to `end`; every block begins and ends between
// batches.
// (2) At least the last `capacity` bytes are kept, if that many were ever added. (3) More are kept only while a link
// still needs them, so memory is bounded by the larger of `capacity` and the links' output limit, plus a block and a
// batch.
//
// Owns: the bytes. Does not decide who may have them. Not thread-safe: the appending thread also serves.

import Persistence

/// The end of the journal, in memory.
package final class Backlog {
    private let blockSize: Int
    /// Smallest size of a backlog in bytes.
    package static let capacityMin = 1 << 14

    private struct Block {
        let offset: Int64
        let bytes: ByteBuffer
        var end: Int64 { offset + Int64(bytes.count) }
    }

    private var blocks: [Block] = []
    /// Number of dropped blocks at the beginning of `blocks`, so that dropping one does not move the others.
    private var gone = 0
    /// Bytes kept even if no link needs them; at least `capacityMin`.
    package var capacity: Int {
        didSet { capacity = max(capacity, Backlog.capacityMin) }
    }
    /// Offset of the first byte kept.
    package private(set) var start: Int64
    /// Offset after the last byte.
    package private(set) var end: Int64

    /// An empty backlog of a journal that is at `offset`.
    package convenience init(capacity: Int, offset: Int64) {
        self.init(capacity: max(capacity, Backlog.capacityMin), offset: offset, blockSize: 1 << 18)
    }

    /// As above, with blocks that are full at `blockSize` bytes.
    init(capacity: Int, offset: Int64, blockSize: Int) {
        self.capacity = capacity
        self.blockSize = blockSize
        start = offset
        end = offset
    }

    /// Number of bytes kept.
    package var count: Int { Int(end - start) }

    /// Upper bound on the bytes that `trim` leaves when no link needs more: a link may start this far before the end.
    package var keptMost: Int {
        capacity + max(blockSize, gone < blocks.count ? blocks[gone].bytes.count : 0)
    }

    /// Continues at `offset`, empty: another journal has replaced this one.
    package func restart(at offset: Int64) {
        blocks = []
        gone = 0
        start = offset
        end = offset
    }

    /// Appends complete batches that begin at `offset`, the current end.
    package func append(_ bytes: UnsafeRawBufferPointer, at offset: Int64) {
        precondition(offset == end, "the bytes do not follow the last ones appended")
        guard bytes.count > 0 else { return }
        assert(JournalBatch(bytes)?.offset == offset)
        if let last = blocks.last, gone < blocks.count, last.bytes.count + bytes.count <= blockSize {
            last.bytes.append(bytes)
        } else {
            let block = ByteBuffer(capacity: bytes.count)
            block.append(bytes)
            blocks.append(Block(offset: offset, bytes: block))
        }
        end += Int64(bytes.count)
    }

    /// Drops blocks that are not needed: everything but the last `capacity` bytes and what follows `needed`.
    ///
    /// - Parameter needed: The lowest offset still to be sent to a link; nil without links.
    package func trim(needed: Int64?) {
        let limit = min(end - Int64(capacity), needed ?? Int64.max)
        while gone < blocks.count, blocks[gone].end <= limit {
            start = blocks[gone].end
            blocks[gone] = Block(offset: start, bytes: Backlog.nothing)
            gone += 1
        }
        guard gone > 64, gone > blocks.count / 2 else { return }
        blocks.removeFirst(gone)
        gone = 0
    }

    private static let nothing = ByteBuffer(capacity: 64)

    /// Whether a link can be served from `offset`: the bytes are kept, and a batch begins or the journal ends there.
    /// O(batches of a block).
    package func serves(from offset: Int64) -> Bool {
        guard offset >= start, offset <= end else { return false }
        guard offset < end else { return true }
        let block = blocks[position(of: offset)]
        let bytes = block.bytes.bytes
        var boundary = 0
        let wanted = Int(offset - block.offset)
        while boundary < wanted {
            guard let batch = JournalBatch(UnsafeRawBufferPointer(rebasing: bytes[boundary...])) else { return false }
            boundary += batch.count
        }
        return boundary == wanted
    }

    /// Bytes from `offset` on, at least 1 and at most `limit`; nil when they have been dropped or do not exist yet.
    /// Valid until the backlog changes.
    package func bytes(from offset: Int64, limit: Int) -> UnsafeRawBufferPointer? {
        guard offset >= start, offset < end, limit > 0 else { return nil }
        let block = blocks[position(of: offset)]
        let first = Int(offset - block.offset)
        let count = min(limit, block.bytes.count - first)
        return UnsafeRawBufferPointer(rebasing: block.bytes.bytes[first..<first + count])
    }

    /// The block that contains the byte at `offset`, which must be kept.
    private func position(of offset: Int64) -> Int {
        var low = gone
        var high = blocks.count - 1
        while low < high {
            let middle = (low + high + 1) / 2
            if blocks[middle].offset <= offset { low = middle } else { high = middle - 1 }
        }
        assert(blocks[low].offset <= offset && offset < blocks[low].end)
        return low
    }
}
