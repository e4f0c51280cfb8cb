// One thread's use of the engine: batches of limiter calls, key commands, and holding several stripes at once.
//
// Owns: which stripes its thread holds. A command on several keys, and EXEC, acquire all their stripes first, in shard
// order, so that no intermediate state is visible; inside, every call finds its stripe held and does not lock.
//
// A key that a command names is one of the database selected at the time; a call of a batch contains its database.
//
// Continued in: +Keys, +Databases, +Iteration, +Limits, +Counters.

import CLinux
import System

/// One thread's access to an engine. Not thread-safe: every event loop and every background job has its own.
public final class KeyspaceSession {
    /// The session's engine.
    public let engine: Engine
    /// The database of the keys of single commands and walks: 0 ..< `KeyName.databasesMax`.
    public var database = 0
    /// Stripes held by `hold`; calls for other shards are then a programming error.
    private var held: StripeSet?
    /// Memory for the stripes of a few keys; empty between its uses.
    private var fewStripes: StripeSet
    /// Changes made through this session one call at a time: comparing it before and after a command shows whether the
    /// command changed anything. Batches of limiter calls are not counted, since each of their calls reports that
    /// itself.
    public private(set) var changesMade: UInt64 = 0
    private var policyTable: PolicyTable
    private var policyVersion: UInt64
    /// The stripes of one all-or-nothing call, and the index sizes their shards requested: see +Limits.
    let groupStripes: UnsafeMutablePointer<GroupStripe>
    /// The plan for each of its limits.
    let groupPlans: UnsafeMutablePointer<TakePlan>

    /// A session that holds nothing.
    public init(engine: Engine) {
        self.engine = engine
        groupStripes = .allocate(capacity: KeyspaceSession.takeAllMax)
        groupPlans = .allocate(capacity: KeyspaceSession.takeAllMax)
        policyVersion = engine.policies.version
        policyTable = engine.policies.table
        fewStripes = StripeSet(count: engine.shardCount)
    }

    deinit {
        groupStripes.deallocate()
        groupPlans.deallocate()
    }

    /// The policies and rules in force. One load unless they have changed since the last call; fetch it once per batch.
    public var policies: PolicyTable {
        let version = engine.policies.version
        if version != policyVersion {
            // The table may be newer than the version: it is then fetched once more.
            policyTable = engine.policies.table
            policyVersion = version
        }
        return policyTable
    }

    // MARK: Limiter calls

    /// Minimum number of calls for which records are prefetched: below, the pass costs more than it saves.
    private static let recordPrefetchMin = 4
    /// Free pages required before a batch, so that no stripe is held across a system call for memory.
    private static let pageReserve = 64

    /// Decides a batch of limiter calls in order, at one instant.
    ///
    /// Hashes all keys, prefetches their index lines, then their records, then decides: a lookup in a table larger than
    /// the cache costs two misses, and these overlap. The gain is largest from 16 calls on and stops growing at 64.
    /// Locks each stripe for one call at a time unless stripes are held. O(count).
    public func decide(_ calls: UnsafeMutablePointer<LimitCall>, count: Int, now: EngineTime) {
        prepare(calls, count: count)
        decidePrepared(calls, from: 0, to: count, now: now)
    }

    /// Hashes the keys of a batch and prefetches the data for its decisions.
    @inline(__always)
    func prepare(_ calls: UnsafeMutablePointer<LimitCall>, count: Int) {
        let seed = engine.seed
        let engine = engine
        engine.pool.ensureReserve(pages: KeyspaceSession.pageReserve)
        for number in 0..<count {
            let hash = seed.hash(calls[number].key, count: calls[number].keyLength)
            calls[number].hash = hash
            clinux_prefetch(engine.shard(engine.shardNumber(hash)))
        }
        if held == nil, count >= KeyspaceSession.recordPrefetchMin { prefetch(calls, count: count) }
    }

    /// Decides the calls of a prepared batch from one position to another, in order.
    @inline(__always)
    func decidePrepared(
        _ calls: UnsafeMutablePointer<LimitCall>, from start: Int, to end: Int, now: EngineTime
    ) {
        if held != nil { return decideHolding(calls, from: start, to: end, now: now) }
        let engine = engine
        for position in start..<end {
            let hash = calls[position].hash
            let number = engine.shardNumber(hash)
            let shard = engine.shard(number)
            let lock = engine.lock(number)
            lock.acquire()
            shard.pointee.decide(calls + position, hash: hash, now: now.nanoseconds)
            let wanted = shard.pointee.bucketsWanted
            lock.release()
            if wanted != 0 { engine.provideIndex(number, buckets: wanted) }
        }
    }

    /// Also acquires the stripes: reading an index that another thread may be replacing would be a race.
    private func prefetch(_ calls: UnsafeMutablePointer<LimitCall>, count: Int) {
        let engine = engine
        // The home bucket's address depends on the shard's fields, so this also requires the stripe.
        for position in 0..<count {
            let hash = calls[position].hash
            let number = engine.shardNumber(hash)
            let lock = engine.lock(number)
            lock.acquire()
            engine.shard(number).pointee.current.prefetch(hash)
            lock.release()
        }
        for position in 0..<count {
            let hash = calls[position].hash
            let number = engine.shardNumber(hash)
            let lock = engine.lock(number)
            lock.acquire()
            if let candidate = engine.shard(number).pointee.current.candidate(hash) {
                clinux_prefetch_to_write(candidate)
                // The key's end is in the next cache line almost half of the time.
                clinux_prefetch(candidate + Record.lastKeyByte(of: calls[position].keyLength))
            }
            lock.release()
        }
    }

    private func decideHolding(
        _ calls: UnsafeMutablePointer<LimitCall>, from start: Int, to end: Int, now: EngineTime
    ) {
        for position in start..<end {
            let hash = calls[position].hash
            let number = engine.shardNumber(hash)
            precondition(held!.contains(number), "a key outside the stripes held")
            engine.shard(number).pointee.decide(calls + position, hash: hash, now: now.nanoseconds)
        }
    }

    // MARK: Stripes

    /// Counts a change that was made by other means, or an event that must be treated as a change.
    public func noteChange() { changesMade &+= 1 }

    /// Runs `body` on a shard whose stripe is held, and counts its changes: no other thread can make any meanwhile.
    @inline(__always)
    private func counting<Result>(_ number: Int, _ body: (inout Shard) -> Result) -> Result {
        let shard = engine.shard(number)
        let before = shard.pointee.changes
        defer { changesMade &+= shard.pointee.changes &- before }
        return body(&shard.pointee)
    }

    /// Runs `body` on the shard of `hash` with its stripe held.
    @inline(__always)
    func withShard<Result>(_ hash: UInt64, _ body: (inout Shard) -> Result) -> Result {
        let number = engine.shardNumber(hash)
        guard held == nil else {
            precondition(held!.contains(number), "a key outside the stripes held")
            return counting(number, body)
        }
        let lock = engine.lock(number)
        lock.acquire()
        let result = counting(number, body)
        let wanted = engine.shard(number).pointee.bucketsWanted
        lock.release()
        if wanted != 0 { engine.provideIndex(number, buckets: wanted) }
        return result
    }

    /// An empty set of this engine's stripes.
    public func stripes() -> StripeSet { StripeSet(count: engine.shardCount) }

    /// Adds the stripe of a key to a set. O(key).
    public func insertStripe(of key: UnsafeRawBufferPointer, into set: inout StripeSet) {
        withName(key) { set.insert(engine.shardNumber(hash($0))) }
    }

    /// Whether the stripe of a hash is held; true if no stripes are held.
    func mayTouch(_ hash: UInt64) -> Bool { held?.contains(engine.shardNumber(hash)) ?? true }

    /// Whether this shard's stripe is held, among those held.
    func holds(_ number: Int) -> Bool { held?.contains(number) ?? false }

    /// Whether stripes are held.
    public var isHolding: Bool { held != nil }

    /// Holds these stripes while `body` runs, so that no other thread sees an intermediate state. Nested calls use the
    /// stripes of the outermost one, which must include theirs. Nothing inside blocks.
    public func holding<Result>(_ stripes: StripeSet, _ body: () -> Result) -> Result {
        guard held == nil else { return body() }
        stripes.forEach { engine.lock($0).acquire() }
        held = stripes
        let result = body()
        held = nil
        // An index requested inside is provided now, with nothing held.
        var wanted: [(Int, Int)] = []
        stripes.forEach { number in
            let buckets = engine.shard(number).pointee.bucketsWanted
            if buckets != 0 { wanted.append((number, buckets)) }
            engine.lock(number).release()
        }
        for (number, buckets) in wanted { engine.provideIndex(number, buckets: buckets) }
        return result
    }

    /// Holds the stripes of `count` keys while `body` runs. As `holding`, but allocates nothing. O(keys).
    public func holding<Result>(
        keys count: Int, _ key: (Int) -> UnsafeRawBufferPointer, _ body: () -> Result
    ) -> Result {
        guard held == nil else { return body() }
        for number in 0..<count { withName(key(number)) { fewStripes.insert(engine.shardNumber(hash($0))) } }
        let result = holding(fewStripes, body)
        fewStripes.removeAll()
        return result
    }

    /// Holds every stripe while `body` runs.
    public func holdingAll<Result>(_ body: () -> Result) -> Result {
        guard held == nil else { return body() }
        var all = stripes()
        all.insertAll()
        return holding(all, body)
    }

    func hash(_ name: KeyName) -> UInt64 { engine.seed.hash(name.base, count: name.count) }
}

/// A set of stripes, iterated in the only order in which they may be acquired.
public struct StripeSet: Sendable {
    private var words: [UInt64]
    private let count: Int

    init(count: Int) {
        self.count = count
        words = Array(repeating: 0, count: (count + 63) / 64)
    }

    mutating func removeAll() {
        for place in words.indices { words[place] = 0 }
    }

    mutating func insert(_ number: Int) { words[number >> 6] |= 1 << UInt64(number & 63) }

    /// Adds every stripe.
    public mutating func insertAll() {
        for number in 0..<count { insert(number) }
    }

    func contains(_ number: Int) -> Bool { words[number >> 6] & (1 << UInt64(number & 63)) != 0 }

    func forEach(_ body: (Int) -> Void) {
        for (position, word) in words.enumerated() {
            var rest = word
            while rest != 0 {
                body((position << 6) + rest.trailingZeroBitCount)
                rest &= rest - 1
            }
        }
    }
}
