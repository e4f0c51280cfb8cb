// Iteration over keys: counting, SCAN, a random key, removing all keys. KEYS uses its own walk, KeyWalk.
//
// A SCAN cursor is `shard << 40 | v`, where v counts home buckets with its bits reversed, as in Redis: the high bits of
// the bucket number are incremented first, so that a table that doubles or halves between two calls maps every bucket
// to buckets visited entirely or not at all. A key present from start to end is returned at least once.

import System

extension KeyspaceSession {
    private static let cursorShardShift: UInt64 = 40

    /// The sum of the shards' counters, one stripe at a time, so not a consistent snapshot. O(shards). If stripes are
    /// held, all have to be.
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
            sum.addDatabases(of: shard)
        }
        return sum
    }

    /// Resets the counters of calls and keys to 0; keys stay. If stripes are held, all have to be.
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

    /// One stripe after the other, or none if all are held.
    private func forEachShard(_ body: (inout Shard) -> Void) {
        guard isHolding else { return engine.forEachShard(body) }
        for number in 0..<engine.shardCount {
            assert(holds(number), "a command of all keys that does not hold every stripe")
            body(&engine.shard(number).pointee)
        }
    }

    /// Removes every key of every database atomically. O(shards + watched keys): the sweep, or calls of
    /// `Engine.releaseRemains`, free their memory.
    public func removeAll() {
        let remains = holdingAll {
            (0..<engine.shardCount).map { engine.shard($0).pointee.removeAll() }
        }
        engine.remains.append(remains)
    }

    /// Calls `body` with every live key of the database and its kind, atomically: all stripes are held meanwhile, so
    /// the whole server waits. O(keys), for tests; commands use a `KeyWalk`.
    public func forEachKey(now: EngineTime, _ body: (UnsafeRawBufferPointer, StateKind) -> Void) {
        holdingAll {
            for number in 0..<engine.shardCount {
                engine.shard(number).pointee.forEachEntry { _, record in
                    guard record.expiry > now.nanoseconds, record.isListed(inDatabase: database) else { return }
                    body(record.clientKey, record.kind)
                }
            }
        }
    }

    /// Continues an iteration over all keys of the database. It is stateless, so keys may be returned again when a
    /// shard has shrunk.
    ///
    /// - Parameters:
    ///   - cursor: 0 to begin, otherwise the result of the last call. Any other number is a valid position too.
    ///   - effort: Approximate number of keys to visit, 1 or more. Up to a bucket's more are returned.
    ///   - bytes: Approximate upper bound on the bytes of keys to visit.
    /// - Returns: The next cursor; 0 when the walk is over. O(effort), one stripe at a time.
    public func scan(
        cursor: UInt64, effort: Int, bytes: Int = Int.max, now: EngineTime,
        _ body: (UnsafeRawBufferPointer, StateKind) -> Void
    ) -> UInt64 {
        walk(cursor: cursor, effort: effort, bytes: bytes, database: database, now: now) {
            if !$0.isHidden { body($0.clientKey, $0.kind) }
        }
    }

    /// As `scan`, but of all databases, with the keys' states, and including hidden keys: used to take a snapshot while
    /// the server runs.
    /// A key that changes meanwhile may be visited more than once, with either state. `body` runs with the key's stripe
    /// held.
    public func scanStates(
        cursor: UInt64, effort: Int, now: EngineTime, _ body: (KeyName, StateView) -> Void
    ) -> UInt64 {
        walk(cursor: cursor, effort: effort, bytes: Int.max, database: nil, now: now) { body($0.name, StateView($0)) }
    }

    /// - Parameter database: The database whose records are visited; nil for all.
    private func walk(
        cursor: UInt64, effort: Int, bytes: Int, database: Int?, now: EngineTime, _ body: (Record) -> Void
    ) -> UInt64 {
        var number = Int(cursor >> KeyspaceSession.cursorShardShift)
        var position = cursor & ((1 << KeyspaceSession.cursorShardShift) - 1)
        var budget = WalkBudget(keys: effort, bytes: bytes)
        while number < engine.shardCount {
            withWalkedShard(number) {
                $0.scan(&position, &budget, database: database, now: now.nanoseconds, body)
            }
            if position != 0 {
                guard budget.isSpent else { continue }
                return UInt64(number) << KeyspaceSession.cursorShardShift | position
            }
            number += 1
            if budget.isSpent, number < engine.shardCount {
                return UInt64(number) << KeyspaceSession.cursorShardShift
            }
        }
        return 0
    }

    /// Runs `body` on a shard with its stripe held.
    func withWalkedShard<Result>(_ number: Int, _ body: (inout Shard) -> Result) -> Result {
        guard !isHolding else {
            assert(holds(number), "a command of all keys that does not hold every stripe")
            return body(&engine.shard(number).pointee)
        }
        engine.lock(number).acquire()
        defer { engine.lock(number).release() }
        return body(&engine.shard(number).pointee)
    }

    /// Slots of a shard's index that `randomKey` examines.
    private static let randomSlotsMax = 1024

    /// A random live key of the database; nil when none is found, which does not mean that there is none: in a shard
    /// whose index is nearly empty, or full of expired keys or those of other databases, only part of it is searched.
    /// O(shards).
    public func randomKey<Result>(
        random: () -> UInt64, now: EngineTime, _ body: (UnsafeRawBufferPointer) -> Result
    ) -> Result? {
        let start = Int(truncatingIfNeeded: random() % UInt64(engine.shardCount))
        for offset in 0..<engine.shardCount {
            let number = (start + offset) % engine.shardCount
            let result = withWalkedShard(number) { shard in
                let slots = KeyspaceSession.randomSlotsMax
                return shard.randomRecord(random(), slots: slots, database: database, now: now.nanoseconds)
                    .map { body($0.clientKey) }
            }
            if let result { return result }
        }
        return nil
    }
}

/// How much an iteration may still visit.
struct WalkBudget {
    /// Empty buckets that count as one key: a table with few keys takes few calls.
    private static let emptyBucketsPerKey = 64
    /// Records of other databases that count as one key: looking at one may take a cache miss, like an empty bucket.
    private static let othersPerKey = 16
    /// Keys visited per hold of a stripe.
    fileprivate static let keysPerHold = 128

    private var buckets: Int
    private var bytes: Int

    init(keys: Int, bytes: Int) {
        buckets = min(max(1, keys), 1 << 40) * WalkBudget.emptyBucketsPerKey
        self.bytes = bytes
    }

    var isSpent: Bool { buckets <= 0 || bytes <= 0 }

    mutating func spend(_ visited: Visited, bytes: Int) {
        let others = visited.others * WalkBudget.emptyBucketsPerKey / WalkBudget.othersPerKey
        buckets -= max(1, visited.keys * WalkBudget.emptyBucketsPerKey + others)
        self.bytes -= bytes
    }
}

/// How many records an iteration has looked at.
struct Visited {
    /// Of the database.
    var keys = 0
    var others = 0

    static func += (sum: inout Visited, more: Visited) {
        sum.keys += more.keys
        sum.others += more.others
    }
}

extension Record {
    /// Whether the record belongs to the database, or `database` is nil.
    @inline(__always)
    func isIn(_ database: Int?) -> Bool {
        guard let database else { return true }
        return database == 0 ? !isNumbered : isNumbered && Int(self.database) == database
    }

    /// Whether commands in this database list the key.
    func isListed(inDatabase database: Int) -> Bool { isIn(database) && !isHidden }

    /// The key as clients know it: without the number of its database. Not for a hidden one.
    var clientKey: UnsafeRawBufferPointer {
        isNumbered ? UnsafeRawBufferPointer(rebasing: keyBytes.dropFirst()) : keyBytes
    }
}

extension Shard {
    /// Continues the iteration over the shard until it is complete (position 0), the budget is spent, or the stripe has
    /// been held long enough. Passes only records of the database to `body`, or all if it is nil.
    mutating func scan(
        _ position: inout UInt64, _ budget: inout WalkBudget, database: Int?, now: Int64, _ body: (Record) -> Void
    ) {
        // A shard without such records is done at once, wherever in it the iteration is.
        if let database, tally(of: UInt8(database)).records == 0 {
            position = 0
            return budget.spend(Visited(), bytes: 0)
        }
        var hold = WalkBudget(keys: WalkBudget.keysPerHold, bytes: Int.max)
        repeat {
            var bytes = 0
            let visited = scanStep(&position, database: database, now: now) { record in
                bytes += record.keyLength
                body(record)
            }
            budget.spend(visited, bytes: bytes)
            hold.spend(visited, bytes: bytes)
        } while position != 0 && !budget.isSpent && !hold.isSpent
    }

    /// Visits the keys of the home buckets at `position` and advances it; 0 when the shard is done.
    private mutating func scanStep(
        _ position: inout UInt64, database: Int?, now: Int64, _ body: (Record) -> Void
    ) -> Visited {
        guard let retiring else {
            let home = position & current.bucketMask
            let visited = visit(current, homeBucket: home, database: database, now: now, body)
            position = Shard.successor(position, mask: current.bucketMask)
            return visited
        }
        // The smaller table's bucket, then every bucket of the larger table that it splits into.
        let isGrowing = retiring.bucketMask < current.bucketMask
        let smaller = isGrowing ? retiring : current
        let larger = isGrowing ? current : retiring
        let home = position & smaller.bucketMask
        var visited = visit(smaller, homeBucket: home, database: database, now: now, body)
        if smaller.bucketMask == larger.bucketMask {
            visited += visit(larger, homeBucket: home, database: database, now: now, body)
            position = Shard.successor(position, mask: larger.bucketMask)
            return visited
        }
        repeat {
            let home = position & larger.bucketMask
            visited += visit(larger, homeBucket: home, database: database, now: now, body)
            position = Shard.successor(position, mask: larger.bucketMask)
        } while position & (smaller.bucketMask ^ larger.bucketMask) != 0
        return visited
    }

    /// The next position, counting bits from the mask's highest down.
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

    /// Visits the live keys whose home is this bucket: they are in it or, if it is full, in the following ones.
    private func visit(
        _ index: Index, homeBucket: UInt64, database: Int?, now: Int64, _ body: (Record) -> Void
    ) -> Visited {
        var visited = Visited()
        var number = homeBucket
        repeat {
            let line = index.bucket(Int(number))
            for slot in 0..<Index.bucketSlots {
                guard let address = Index.address(line[slot]) else { continue }
                let record = Record(address)
                guard seed.hash(record) & index.bucketMask == homeBucket else { continue }
                guard record.isIn(database) else {
                    visited.others += 1
                    continue
                }
                visited.keys += 1
                if record.expiry > now { body(record) }
            }
            guard line[Index.bucketSlots - 1] != 0 else { break }
            number = (number + 1) & index.bucketMask
        } while number != homeBucket
        return visited
    }

    fileprivate func randomRecord(_ random: UInt64, slots: Int, database: Int, now: Int64) -> Record? {
        guard tally(of: UInt8(database)).keys > 0 else { return nil }
        for index in [current, retiring].compactMap({ $0 }) where index.live > 0 {
            let start = Int(truncatingIfNeeded: random % UInt64(index.capacity))
            for offset in 0..<min(slots, index.capacity) {
                guard let address = Index.address(index.entries[(start + offset) & (index.capacity - 1)]) else {
                    continue
                }
                let record = Record(address)
                if record.expiry > now, record.isListed(inDatabase: database) { return record }
            }
        }
        return nil
    }
}
