// The contents of shards whose keys were all removed at once. Detaching them is O(1); freeing their memory visits every
// record, which is done later, in steps and with no stripe held.

import Synchronization
import System

/// The memory of one shard's former keys. Nothing else refers to it any more.
struct ShardRemains {
    private var slab: Slab
    private var dirty: DirtyList
    private var dirtyMoves: DirtyMoves
    private var indexes: [Index]
    /// Number of processed entries of the dirty list, and then of slots of the last index.
    private var done = 0
    private var isListDone = false

    init(slab: Slab, dirty: DirtyList, dirtyMoves: DirtyMoves, indexes: [Index]) {
        self.slab = slab
        self.dirty = dirty
        self.dirtyMoves = dirtyMoves
        self.indexes = indexes
    }

    /// Frees memory, visiting up to `steps` records or empty slots, and subtracts them. True when everything is freed:
    /// the remains must not be used afterwards.
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

    /// Frees records that are in no index: tombstones of removed keys, and the old memory of moved records.
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

/// Remains that wait to be freed. Thread-safe.
///
/// `@unchecked Sendable`: the list is touched only with the lock held, and remains removed from it belong to the thread
/// that removed them.
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

    /// Frees memory as far as the steps allow. True when nothing is left except what other threads are freeing.
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
    /// Frees the memory of keys that were removed all at once, visiting up to `steps` of their records.
    ///
    /// - Returns: Whether all of it has been freed, or other threads are freeing the rest.
    public func releaseRemains(steps: Int) -> Bool {
        var steps = steps
        return remains.release(steps: &steps)
    }
}
