// The last bytes of the journal, in memory, for replicas: the ring that all of them are served from.
//
//     first block                                   last block
//   ┌──────────────┬──────────────┬─────────────┬─────────┐
//   │ whole batches│ whole batches│      …      │    …    │ ◀── append
//   └──────────────┴──────────────┴─────────────┴─────────┘
//   ▲ start                                               ▲ end
//
// It is a ring of blocks instead of one of bytes: a block that falls out takes whole batches with it, and a replica
// that has fallen behind holds blocks back instead of a copy of its own.
//
// Invariants: (1) the bytes are those of the journal from `start` to `end`; every block begins and ends between
// batches.
// (2) At least `capacity` bytes are kept once there were so many. (3) More are kept only for a link that still needs
// them; so memory is bounded by the larger of `capacity` and the links' output limit, plus a block and a batch.
//
// Owns: the bytes. Refuses to decide who may have them. Not thread-safe: whoever appends also serves.

import Persistence

/// The end of the journal, in memory.
public final class Backlog {
    private let blockSize: Int
    /// Bytes of a backlog at the least.
    public static let capacityMin = 1 << 14

    private struct Block {
        let offset: Int64
        let bytes: ByteBuffer
        var end: Int64 { offset + Int64(bytes.count) }
    }

    private var blocks: [Block] = []
    /// Blocks at the beginning of `blocks` that are gone: so that dropping one does not move the others.
    private var gone = 0
    /// Bytes that are kept though no link needs them; `capacityMin` or more.
    public var capacity: Int {
        didSet { capacity = max(capacity, Backlog.capacityMin) }
    }
    /// Offset of the first byte that is there.
    public private(set) var start: Int64
    /// Offset behind the last byte.
    public private(set) var end: Int64

    /// An empty backlog of a journal that is at `offset`.
    public convenience init(capacity: Int, offset: Int64) {
        self.init(capacity: max(capacity, Backlog.capacityMin), offset: offset, blockSize: 1 << 18)
    }

    /// As above, with blocks that are full at `blockSize` bytes.
    init(capacity: Int, offset: Int64, blockSize: Int) {
        self.capacity = capacity
        self.blockSize = blockSize
        start = offset
        end = offset
    }

    /// Bytes that are there.
    public var count: Int { Int(end - start) }

    /// Bytes that `trim` leaves at most where no link needs more: so far behind the end a link may begin.
    public var keptMost: Int {
        capacity + max(blockSize, gone < blocks.count ? blocks[gone].bytes.count : 0)
    }

    /// Goes on at `offset`, empty: the journal has become another one.
    public func restart(at offset: Int64) {
        blocks = []
        gone = 0
        start = offset
        end = offset
    }

    /// Adds whole batches that begin at `offset`, the end so far.
    public func append(_ bytes: UnsafeRawBufferPointer, at offset: Int64) {
        precondition(offset == end, "a part of the journal that does not follow the last one")
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

    /// Lets go of what nobody needs: all but `capacity` bytes, and what lies behind `needed`.
    ///
    /// - Parameter needed: The lowest offset that a link is still to be sent; nil when there is none.
    public func trim(needed: Int64?) {
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

    /// Whether a link can be served from `offset`: it is there, and a batch begins or the journal ends at it.
    /// O(batches of a block).
    public func serves(from offset: Int64) -> Bool {
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

    /// Bytes from `offset` on, `limit` at most and 1 at least; nil when they are gone or not there yet. Valid until
    /// the backlog is changed.
    public func bytes(from offset: Int64, limit: Int) -> UnsafeRawBufferPointer? {
        guard offset >= start, offset < end, limit > 0 else { return nil }
        let block = blocks[position(of: offset)]
        let first = Int(offset - block.offset)
        let count = min(limit, block.bytes.count - first)
        return UnsafeRawBufferPointer(rebasing: block.bytes.bytes[first..<first + count])
    }

    /// The block that has the byte at `offset`, which is there.
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
