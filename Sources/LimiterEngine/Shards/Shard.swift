// One shard: an index, a slab, and its record of changed keys. Everything here runs with the shard's stripe held, on
// behalf of the engine; nothing here locks, blocks, logs or reads a clock.
//
// While the index is being resized there are two: `current` takes all new entries, `retiring` only loses them, a few
// buckets with every change. A key is in exactly one.
//
// Continued in: +Take, +Tokens, +Counters, +Resizing, +Keys, +Sweep, +Eviction, +Journal, +Restore, +Watch, +Databases,
// +Invariants.

import Synchronization

struct Shard {
    // With the lock before it, the first cache line holds what every decision needs.
    var current: Index
    var retiring: Index?
    /// Leading buckets of `retiring` that have been emptied.
    var migratedBuckets = 0
    /// Requested number of index buckets; 0 for none. The engine allocates without the stripe and installs the index.
    var bucketsWanted = 0
    /// Whether changes are recorded for readers of the journal.
    var isJournaling = false
    /// Number of watched keys; the table is used only if it is not 0.
    var watchCount: Int32 = 0

    var slab: Slab
    let gauge: MemoryGauge
    let seed: HashSeed
    /// Bytes not yet reported to the gauge.
    var unreportedBytes = 0

    /// Idempotency tokens among the records: hidden from commands that count or list keys.
    var tokens = 0

    var allowed: UInt64 = 0
    var denied: UInt64 = 0
    /// Calls that a limit in shadow mode would have denied, allowed all the same.
    var shadowed: UInt64 = 0
    /// Calls answered with the first answer to their token.
    var repeated: UInt64 = 0
    /// Calls refused because the maximum number of tokens was reached.
    var tokensRefused: UInt64 = 0
    var expired: UInt64 = 0
    var evicted: UInt64 = 0
    /// Changes of keys, each counted once, whether or not they are journaled.
    var changes: UInt64 = 0
    /// Longest probe distance in buckets from a key's home bucket.
    var probesMax = 0
    var evictionCandidates = EvictionCandidates()
    /// Number of walks in the shard: while there is one, the index does not shrink.
    var walks: Int32 = 0
    /// Number of times all keys were removed at once.
    var clearings: UInt64 = 0
    /// Counts of the keys by how they expire.
    var deadlines = DeadlineTally()
    /// Counts of the records of databases other than 0.
    var databases = DatabaseTallies()

    /// Records that changed since the last collection, tombstones included.
    var dirty = DirtyList()
    /// Those of them that have moved since they were added to the list.
    var dirtyMoves = DirtyMoves()
    var watches = WatchTable()

    init(pool: PagePool, gauge: MemoryGauge, seed: HashSeed) {
        slab = Slab(pool: pool)
        current = Index(buckets: 1)
        self.gauge = gauge
        self.seed = seed
        report(bytes: current.byteCount)
    }

    mutating func deallocate() {
        var remains = removeAll()
        var steps = Int.max
        _ = remains.release(steps: &steps)
        current.deallocate()
        slab.deallocate()
        evictionCandidates.deallocate()
    }

    /// Records held, including hidden ones and expired ones not yet found.
    var recordCount: Int { current.live + (retiring?.live ?? 0) }

    /// Keys of all databases visible to commands, including expired ones not yet found.
    var count: Int { recordCount - tokens }

    /// Bytes in use: records and index.
    var memory: Int { slab.bytesInUse + current.byteCount + (retiring?.byteCount ?? 0) }

    /// The part of `memory` that comes from the C library's heap.
    var heapMemory: Int { slab.heapBytes + current.heapByteCount + (retiring?.heapByteCount ?? 0) }

    // MARK: Finding

    /// The location of a record's entry.
    struct Place {
        let entry: UnsafeMutablePointer<UInt64>
        let isRetiring: Bool
        @inline(__always) var record: Record { Record(Index.address(entry.pointee).unsafelyUnwrapped) }
    }

    @inline(__always)
    mutating func find(
        _ hash: UInt64, _ key: UnsafeRawPointer, _ length: Int, in namespace: Namespace
    ) -> Place? {
        var probes = 0
        let entry = current.find(hash, probes: &probes) { Record($0).hasKey(key, count: length, in: namespace) }
        if probes > probesMax { probesMax = probes }
        if let entry { return Place(entry: entry, isRetiring: false) }
        return retiring == nil ? nil : findRetiring(hash, key, length, in: namespace)
    }

    /// The record of a call's key.
    @inline(__always)
    mutating func find(_ call: UnsafeMutablePointer<LimitCall>, hash: UInt64) -> Place? {
        find(hash, call.pointee.key, call.pointee.keyLength, in: call.pointee.namespace)
    }

    @inline(never)
    private mutating func findRetiring(
        _ hash: UInt64, _ key: UnsafeRawPointer, _ length: Int, in namespace: Namespace
    ) -> Place? {
        var probes = 0
        let entry = retiring!.find(hash, probes: &probes) { Record($0).hasKey(key, count: length, in: namespace) }
        return entry.map { Place(entry: $0, isRetiring: true) }
    }

    /// As `find`, but an expired key is removed and not found.
    mutating func findLive(
        _ hash: UInt64, _ key: UnsafeRawPointer, _ length: Int, in namespace: Namespace, now: Int64
    ) -> Place? {
        guard let place = find(hash, key, length, in: namespace) else { return nil }
        guard place.record.expiry <= now else { return place }
        expire(place, hash: hash)
        return nil
    }

    /// As `findLive`, for the key of a command.
    mutating func findLive(_ hash: UInt64, _ name: KeyName, now: Int64) -> Place? {
        findLive(hash, name.base, name.count, in: Namespace(isNumbered: name.isNumbered), now: now)
    }

    // MARK: Adding and removing

    /// A new record for a key that has none; the caller writes its state. Nil when the memory limit forbids it. The
    /// limit is not checked if room has been made, or if the record replaces one of the same key.
    mutating func insert(
        _ kind: StateKind, stateSize: Int, hash: UInt64, key: UnsafeRawPointer, keyLength: Int, isNumbered: Bool,
        deadline: Int64?, now: Int64, isRoomMade: Bool = false
    ) -> Record? {
        precondition(keyLength <= keyLengthMax)
        let size = Record.size(stateSize: stateSize, keyLength: keyLength, hasDeadline: deadline != nil)
        let footprint = Slab.footprint(size)
        if !isRoomMade, gauge.wouldExceed(footprint), !makeRoom(footprint, now: now) { return nil }
        let record = Record(slab.allocate(size))
        report(bytes: footprint)
        record.initialize(
            kind: kind, stateSize: stateSize, key: key, keyLength: keyLength, isNumbered: isNumbered, deadline: deadline
        )
        if kind.isHidden { countToken(1) }
        if isNumbered { countNumbered(record, 1) }
        prepareForInsert()
        current.insert(hash, record.address)
        tallyAdded(record)
        return record
    }

    /// Registers a change of the record's state: for the journal and for clients that watch the key.
    @inline(__always)
    mutating func changed(_ record: Record, hash: UInt64) {
        changes &+= 1
        if isJournaling, !record.isDirty {
            record.setDirty(true)
            dirty.append(record.address)
        }
        if watchCount != 0, !record.isHidden { touchWatches(hash, record.name) }
    }

    /// Deletes a key on request and journals a tombstone.
    mutating func remove(_ place: Place, hash: UInt64) {
        let record = place.record
        changes &+= 1
        if watchCount != 0, !record.isHidden { touchWatches(hash, record.name) }
        unlink(place)
        // A tombstone contains only a key, so a hidden one leaves none: the journal's readers keep it until it expires.
        if isJournaling, !record.isDirty, !record.isHidden {
            record.setDirty(true)
            dirty.append(record.address)
        }
        unlink(record)
    }

    /// Drops an expired key. No tombstone: readers can tell from the state that it expired.
    mutating func expire(_ place: Place, hash: UInt64) {
        let record = place.record
        if watchCount != 0, !record.isHidden { touchWatches(hash, record.name) }
        unlink(place)
        unlink(record)
        expired &+= 1
    }

    mutating func unlink(_ place: Place) {
        if place.record.isHidden { countToken(-1) }
        if place.record.isNumbered { countNumbered(place.record, -1) }
        tallyRemoved(place.record)
        if place.isRetiring {
            retiring!.unlink(place.entry)
        } else {
            current.remove(place.entry)
        }
    }

    /// A dirty record is still on the list, so it remains as a tombstone until it is collected.
    mutating func unlink(_ record: Record) {
        guard !record.isDirty else { return record.setDetached() }
        release(record)
    }

    mutating func release(_ record: Record) {
        let size = record.size
        slab.free(record.address, size: size)
        report(bytes: -Slab.footprint(size))
    }

    mutating func report(bytes: Int) {
        unreportedBytes += bytes
        if unreportedBytes >= MemoryGauge.step || unreportedBytes <= -MemoryGauge.step {
            gauge.used.add(unreportedBytes, ordering: .relaxed)
            unreportedBytes = 0
        }
    }

    /// Removes every key and every change, and shrinks the index to its minimum. O(watched keys): the caller frees what
    /// the keys held.
    mutating func removeAll() -> ShardRemains {
        touchWatchesOfExistingKeys()
        clearings &+= 1
        changes &+= UInt64(count)
        report(bytes: -memory)
        let remains = ShardRemains(
            slab: slab, dirty: dirty, dirtyMoves: dirtyMoves, indexes: [current, retiring].compactMap { $0 })
        slab = Slab(pool: slab.pool)
        dirty = DirtyList()
        dirtyMoves = DirtyMoves()
        current = Index(buckets: 1)
        retiring = nil
        bucketsWanted = 0
        report(bytes: current.byteCount)
        countToken(-tokens)
        deadlines = DeadlineTally()
        databases.removeAll()
        return remains
    }

    private mutating func countToken(_ change: Int) {
        guard change != 0 else { return }
        tokens += change
        gauge.tokens.add(change, ordering: .relaxed)
    }

    /// Calls `body` for every record, in no order. `body` must not add or remove entries.
    mutating func forEachEntry(_ body: (inout Shard, Record) -> Void) {
        for index in [current, retiring].compactMap({ $0 }) {
            for slot in 0..<index.capacity {
                if let address = Index.address(index.entries[slot]) { body(&self, Record(address)) }
            }
        }
    }
}
