// What shards held when all their keys were removed at once. Taking it away takes no time; giving its memory back takes
// a look at every record, which is done later, bit by bit and with no stripe held.

import Synchronization
import System

/// The memory of one shard's former keys. Nothing else knows of it any more.
struct ShardRemains {
    private var slab: Slab
    private var dirty: DirtyList
    private var dirtyMoves: DirtyMoves
    private var indexes: [Index]
    /// Entries of the dirty list, and then slots of the last index, that are done.
    private var done = 0
    private var isListDone = false

    init(slab: Slab, dirty: DirtyList, dirtyMoves: DirtyMoves, indexes: [Index]) {
        self.slab = slab
        self.dirty = dirty
        self.dirtyMoves = dirtyMoves
        self.indexes = indexes
    }

    /// Gives memory back, looking at up to `steps` records or empty slots, and counts them off. True when all is given
    /// back: then the remains must not be used any more.
    mutating func release(steps: inout Int) -> Bool {
        while steps > 0 {
            steps -= 1
            if !isListDone {
                releaseListed()
            } else if let index = indexes.last {
                release(from: index)
            } else {
                slab.deallocate()
                return true
            }
        }
        return false
    }

    /// Records that no index knows: what is left of keys that were removed, or of records that have moved.
    private mutating func releaseListed() {
        guard done < dirty.count else {
            dirty.deallocate()
            isListDone = true
            done = 0
            return
        }
        var record = Record(dirty[done])
        done += 1
        guard record.isDetached else { return }
        if let target = dirtyMoves.remove(record.address) {
            free(record)
            record = Record(target)
        }
        if record.isDetached { free(record) }
    }

    private mutating func release(from index: Index) {
        guard done < index.capacity else {
            index.deallocate()
            indexes.removeLast()
            done = 0
            return
        }
        if let address = Index.address(index.entries[done]) { free(Record(address)) }
        done += 1
    }

    private mutating func free(_ record: Record) { slab.free(record.address, size: record.size) }
}

/// Remains that wait to be given back. Thread-safe.
///
/// `@unchecked Sendable`: the list is touched only with the lock held, and what has been taken off it belongs to the
/// thread that took it.
final class RemainsQueue: @unchecked Sendable {
    private let lock = Lock.allocate(rank: .value)
    private var waiting: [ShardRemains] = []
    private let count = Atomic<Int>(0)

    deinit {
        var steps = Int.max
        while !release(steps: &steps) {}
        lock.deallocate()
    }

    func append(_ remains: [ShardRemains]) {
        lock.acquire()
        waiting += remains
        count.store(waiting.count, ordering: .relaxed)
        lock.release()
    }

    /// Gives memory back as far as the steps go. True when nothing is left that no other thread is at.
    func release(steps: inout Int) -> Bool {
        while count.load(ordering: .relaxed) > 0, steps > 0 {
            lock.acquire()
            let taken = waiting.popLast()
            count.store(waiting.count, ordering: .relaxed)
            lock.release()
            guard var remains = taken else { continue }
            if !remains.release(steps: &steps) { append([remains]) }
        }
        return count.load(ordering: .relaxed) == 0
    }
}

extension Engine {
    /// Gives back memory of keys that were removed all at once, looking at up to `steps` of their records.
    ///
    /// - Returns: Whether all of it has been given back, or other threads are at it.
    public func releaseRemains(steps: Int) -> Bool {
        var steps = steps
        return remains.release(steps: &steps)
    }
}
