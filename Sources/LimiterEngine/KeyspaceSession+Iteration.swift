// Walking over keys: counting, SCAN, KEYS, a random key, forgetting everything.
//
// A SCAN cursor is `shard << 40 | v`, where v counts home buckets with its bits reversed, as in Redis: the high bits
// of the bucket number go first, so that a table that doubles or halves between two calls maps every bucket to
// buckets entirely visited or entirely not. A key there from start to end is returned at least once.

import System

extension KeyspaceSession {
    private static let cursorShardShift: UInt64 = 40
    /// Empty buckets that count as much as one key: a table of few keys is walked in few calls.
    private static let emptyBucketsPerKey = 64

    /// Keys held, the expired ones not yet found included. O(shards); exact, since all stripes are held for it.
    public func count() -> Int {
        holdingAll {
            var sum = 0
            for number in 0..<engine.shardCount { sum += engine.shard(number).pointee.count }
            return sum
        }
    }

    /// Adds the shards' counters up, one stripe at a time: no instant has to have had exactly these. O(shards).
    /// With stripes held, all have to be.
    public func statistics() -> Engine.Statistics {
        var sum = Engine.Statistics()
        forEachShard { shard in
            sum.allowed += shard.allowed
            sum.denied += shard.denied
            sum.shadowed += shard.shadowed
            sum.repeated += shard.repeated
            sum.tokensRefused += shard.tokensRefused
            sum.tokens += shard.tokens
            sum.keys += shard.count
            sum.expired += shard.expired
            sum.evicted += shard.evicted
            sum.changes += shard.changes
            sum.probesMax = max(sum.probesMax, shard.probesMax)
            sum.memory += shard.memory
            sum.expiring += shard.deadlines.expiring
            sum.persistent += shard.deadlines.persistent
            sum.deadlineSum += shard.deadlines.deadlineSum
        }
        return sum
    }

    /// Sets the counters of calls and keys back to 0; keys stay. With stripes held, all have to be.
    public func resetStatistics() {
        forEachShard { shard in
            shard.allowed = 0
            shard.denied = 0
            shard.shadowed = 0
            shard.repeated = 0
            shard.tokensRefused = 0
            shard.expired = 0
            shard.evicted = 0
            shard.probesMax = 0
        }
    }

    /// One stripe after the other, or none where all are held.
    private func forEachShard(_ body: (inout Shard) -> Void) {
        guard isHolding else { return engine.forEachShard(body) }
        for number in 0..<engine.shardCount { body(&engine.shard(number).pointee) }
    }

    /// Forgets every key at one instant. O(keys).
    public func removeAll() {
        holdingAll {
            for number in 0..<engine.shardCount { engine.shard(number).pointee.removeAll() }
        }
    }

    /// Calls `body` with every key that is worth something and its kind, at one instant: all stripes are held
    /// meanwhile, so the whole server waits. O(keys).
    public func forEachKey(now: EngineTime, _ body: (UnsafeRawBufferPointer, StateKind) -> Void) {
        holdingAll {
            for number in 0..<engine.shardCount {
                engine.shard(number).pointee.forEachEntry { _, record in
                    if record.expiry > now.nanoseconds, !record.isHidden { body(record.keyBytes, record.kind) }
                }
            }
        }
    }

    /// Continues a walk over all keys.
    ///
    /// - Parameters:
    ///   - cursor: 0 to begin, else what the last call returned. Any other number is as good as a position.
    ///   - effort: About how many keys to look at, 1 or more. Up to a bucket's more are returned.
    /// - Returns: The next cursor; 0 when the walk is over. O(effort), one stripe at a time.
    public func scan(
        cursor: UInt64, effort: Int, now: EngineTime, _ body: (UnsafeRawBufferPointer, StateKind) -> Void
    ) -> UInt64 {
        walk(cursor: cursor, effort: effort, now: now) { if !$0.isHidden { body($0.keyBytes, $0.kind) } }
    }

    /// As `scan`, but with the keys' states, and with hidden keys: how a snapshot is taken while the server works. A
    /// key changed in between may be seen more than once, with either state. `body` runs with the key's stripe held.
    public func scanStates(
        cursor: UInt64, effort: Int, now: EngineTime, _ body: (UnsafeRawBufferPointer, StateView) -> Void
    ) -> UInt64 {
        walk(cursor: cursor, effort: effort, now: now) { body($0.keyBytes, StateView($0)) }
    }

    private func walk(cursor: UInt64, effort: Int, now: EngineTime, _ body: (Record) -> Void) -> UInt64 {
        var number = Int(cursor >> KeyspaceSession.cursorShardShift)
        var position = cursor & ((1 << KeyspaceSession.cursorShardShift) - 1)
        var left = min(max(1, effort), 1 << 40) * KeyspaceSession.emptyBucketsPerKey
        while number < engine.shardCount {
            let lock = engine.lock(number)
            let isHeld = isHolding
            if !isHeld { lock.acquire() }
            repeat {
                let visited = engine.shard(number).pointee.scanStep(&position, now: now.nanoseconds, body)
                left -= max(1, visited * KeyspaceSession.emptyBucketsPerKey)
            } while position != 0 && left > 0
            if !isHeld { lock.release() }
            if position != 0 { return UInt64(number) << KeyspaceSession.cursorShardShift | position }
            number += 1
            if left <= 0, number < engine.shardCount { return UInt64(number) << KeyspaceSession.cursorShardShift }
        }
        return 0
    }

    /// Some key that is worth something; nil when none is found. O(table) at worst, O(1) in a filled one.
    public func randomKey<Result>(
        random: () -> UInt64, now: EngineTime, _ body: (UnsafeRawBufferPointer) -> Result
    ) -> Result? {
        let start = Int(truncatingIfNeeded: random() % UInt64(engine.shardCount))
        for offset in 0..<engine.shardCount {
            let number = (start + offset) % engine.shardCount
            let lock = engine.lock(number)
            let isHeld = isHolding
            if !isHeld { lock.acquire() }
            let result = engine.shard(number).pointee.randomRecord(random(), now: now.nanoseconds)
                .map { body($0.keyBytes) }
            if !isHeld { lock.release() }
            if let result { return result }
        }
        return nil
    }
}

extension Shard {
    /// Visits the keys of the home buckets at `position` and moves it on; 0 when the shard is done.
    fileprivate mutating func scanStep(
        _ position: inout UInt64, now: Int64, _ body: (Record) -> Void
    ) -> Int {
        guard let retiring else {
            let visited = visit(current, homeBucket: position & current.bucketMask, now: now, body)
            position = Shard.successor(position, mask: current.bucketMask)
            return visited
        }
        // The smaller table's bucket, then every bucket of the larger one that it splits into.
        let isGrowing = retiring.bucketMask < current.bucketMask
        let smaller = isGrowing ? retiring : current
        let larger = isGrowing ? current : retiring
        var visited = visit(smaller, homeBucket: position & smaller.bucketMask, now: now, body)
        if smaller.bucketMask == larger.bucketMask {
            visited += visit(larger, homeBucket: position & larger.bucketMask, now: now, body)
            position = Shard.successor(position, mask: larger.bucketMask)
            return visited
        }
        repeat {
            visited += visit(larger, homeBucket: position & larger.bucketMask, now: now, body)
            position = Shard.successor(position, mask: larger.bucketMask)
        } while position & (smaller.bucketMask ^ larger.bucketMask) != 0
        return visited
    }

    /// The next position when bits are counted from the mask's top down.
    private static func successor(_ position: UInt64, mask: UInt64) -> UInt64 {
        var reversed = bitReversed(position | ~mask)
        reversed &+= 1
        return bitReversed(reversed)
    }

    private static func bitReversed(_ value: UInt64) -> UInt64 {
        var value = value.byteSwapped
        value = (value >> 4) & 0x0F0F_0F0F_0F0F_0F0F | (value & 0x0F0F_0F0F_0F0F_0F0F) << 4
        value = (value >> 2) & 0x3333_3333_3333_3333 | (value & 0x3333_3333_3333_3333) << 2
        value = (value >> 1) & 0x5555_5555_5555_5555 | (value & 0x5555_5555_5555_5555) << 1
        return value
    }

    /// Visits the live keys whose home is this bucket: they stand in it or, where it is full, in those behind it.
    private func visit(
        _ index: Index, homeBucket: UInt64, now: Int64, _ body: (Record) -> Void
    ) -> Int {
        var visited = 0
        var number = homeBucket
        repeat {
            let line = index.bucket(Int(number))
            for slot in 0..<Index.bucketSlots {
                guard let address = Index.address(line[slot]) else { continue }
                let record = Record(address)
                guard seed.hash(record) & index.bucketMask == homeBucket else { continue }
                visited += 1
                if record.expiry > now { body(record) }
            }
            guard line[Index.bucketSlots - 1] != 0 else { break }
            number = (number + 1) & index.bucketMask
        } while number != homeBucket
        return visited
    }

    fileprivate func randomRecord(_ random: UInt64, now: Int64) -> Record? {
        for index in [current, retiring].compactMap({ $0 }) where index.live > 0 {
            let start = Int(truncatingIfNeeded: random % UInt64(index.capacity))
            for offset in 0..<index.capacity {
                guard let address = Index.address(index.entries[(start + offset) % index.capacity]) else { continue }
                if Record(address).expiry > now, !Record(address).isHidden { return Record(address) }
            }
        }
        return nil
    }
}
