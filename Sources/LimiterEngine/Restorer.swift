// Fills an engine from a snapshot or a journal: many records at once, in order for each key.
//
// Owns: the buffered records. Several restorers may work on one engine at a time: each receives every record and
// applies those of its own shards, so that a key's records stay in order; or, if no key occurs twice, each receives
// some of the records and applies all of them.

import CLinux
import System

/// Restores records into an engine. Used by one thread; not thread-safe.
public final class Restorer {
    /// Records looked up together, so that their cache misses overlap.
    private static let batchMax = 64
    private static let pageReserve = 64

    private struct Pending {
        var hash: UInt64
        var name: KeyName
        /// Nil to remove the key.
        var state: StateView?
    }

    private let engine: Engine
    private let horizon: Int64
    /// Bit mask of the shard number, and the value of those bits for this restorer's shards.
    private let mask: Int
    private let own: Int
    private let pending: UnsafeMutablePointer<Pending>
    private var count = 0

    /// A restorer for all shards, or for one part of `parts`.
    ///
    /// - Parameters:
    ///   - horizon: A state that expires by this instant is dropped.
    ///   - part: Which of the parts, 0 ..< `parts`.
    ///   - parts: How many restorers share the shards: a power of two, at most as many as there are shards.
    public init(engine: Engine, horizon: EngineTime, part: Int = 0, of parts: Int = 1) {
        precondition(parts >= 1 && parts & (parts - 1) == 0 && parts <= engine.shardCount && part < parts)
        self.engine = engine
        self.horizon = horizon.nanoseconds
        mask = parts - 1
        own = part
        pending = .allocate(capacity: Restorer.batchMax)
    }

    deinit { pending.deallocate() }

    /// Adds a key's state, which must be valid (`StateView.isValid(for:)`). Key and state must stay in memory until
    /// `flush`. O(1), amortised.
    public func put(_ state: StateView, _ name: KeyName) { add(name, state) }

    /// Adds a key's removal.
    public func remove(_ name: KeyName) { add(name, nil) }

    /// Removes every key in this restorer's shards, including those restored before.
    public func removeAll() {
        flush()
        for number in stride(from: own, to: engine.shardCount, by: mask + 1) {
            engine.lock(number).acquire()
            var remains = engine.shard(number).pointee.removeAll()
            engine.lock(number).release()
            // At once: the memory is needed for the state that follows.
            var steps = Int.max
            _ = remains.release(steps: &steps)
        }
    }

    /// Removes every record of a database in this restorer's shards. O(records), unless the database has none.
    public func removeAll(ofDatabase database: UInt8) {
        flush()
        for number in stride(from: own, to: engine.shardCount, by: mask + 1) {
            engine.lock(number).acquire()
            engine.shard(number).pointee.removeAll(ofDatabase: database)
            engine.lock(number).release()
        }
    }

    private func add(_ name: KeyName, _ state: StateView?) {
        let hash = engine.seed.hash(name.bytes, isHidden: state?.kind.isHidden ?? false)
        guard engine.shardNumber(hash) & mask == own else { return }
        if count == Restorer.batchMax { flush() }
        (pending + count).initialize(to: Pending(hash: hash, name: name, state: state))
        count += 1
    }

    /// Applies everything added to the engine. The bytes passed in are not needed afterwards.
    public func flush() {
        engine.pool.ensureReserve(pages: Restorer.pageReserve)
        for position in 0..<count {
            withShard(position) { shard, pending in shard.current.prefetch(pending.hash) }
        }
        for position in 0..<count {
            let number = withShard(position) { shard, pending in
                if let state = pending.state {
                    shard.restore(state, hash: pending.hash, name: pending.name, horizon: horizon)
                } else {
                    shard.forget(hash: pending.hash, name: pending.name)
                }
            }
            if let number { engine.provideIndex(number.shard, buckets: number.buckets) }
        }
        count = 0
    }

    /// Returns the shard that requests another index.
    @discardableResult
    @inline(__always)
    private func withShard(
        _ position: Int, _ body: (inout Shard, Pending) -> Void
    ) -> (shard: Int, buckets: Int)? {
        let number = engine.shardNumber(pending[position].hash)
        let lock = engine.lock(number)
        lock.acquire()
        body(&engine.shard(number).pointee, pending[position])
        let wanted = engine.shard(number).pointee.bucketsWanted
        lock.release()
        return wanted == 0 ? nil : (number, wanted)
    }
}

extension Engine {
    /// Makes room for approximately `keys` keys in an empty engine. O(keys) of memory, none of it touched.
    public func reserve(keys: Int) {
        forEachShard { $0.reserve(keys: keys / shardCount + 1) }
    }
}
