// Growing, shrinking and clearing tombstones out of a shard's index, a few buckets with every change, so that no call
// waits for a whole table to move.

extension Shard {
    /// Entries per slot above which a larger index is wanted: 13/16.
    private static let loadMax = (of: 13, in: 16)
    /// At 15/16 with the larger index not here yet it is allocated on the spot.
    private static let loadUrgent = (of: 15, in: 16)
    /// How much smaller an index may become in one step; a change moves in proportion.
    private static let shrinkFactorMax = 8

    /// Leaves room for one more entry and moves the resize on.
    @inline(__always)
    mutating func prepareForInsert() {
        if retiring != nil { migrate(buckets: migrationStride) }
        let filled = current.live &+ current.tombstones &+ 1
        if filled &* Shard.loadMax.in > current.capacity &* Shard.loadMax.of { requestIndex() }
    }

    private var migrationStride: Int {
        2 * max(1, (retiring?.bucketCount ?? 0) / current.bucketCount)
    }

    @inline(never)
    private mutating func requestIndex() {
        let filled = current.live + current.tombstones + 1
        let isUrgent =
            filled * Shard.loadUrgent.in > current.capacity * Shard.loadUrgent.of || current.capacity <= 64
        if retiring == nil {
            // Mostly tombstones: the same size again. Mostly keys: twice as many buckets.
            let wanted = current.live * 5 >= current.capacity * 2 ? current.bucketCount * 2 : current.bucketCount
            if isUrgent {
                install(Index(buckets: wanted))
            } else {
                bucketsWanted = wanted
            }
        } else if isUrgent {
            migrate(buckets: Int.max)
            requestIndex()
        }
    }

    /// Asks for a smaller index when most of this one is empty.
    mutating func considerShrinking() {
        guard retiring == nil, bucketsWanted == 0, current.bucketCount > 1, walks == 0 else { return }
        guard current.live * 16 < current.capacity else { return }
        var wanted = current.bucketCount
        while wanted > 1, current.bucketCount / wanted < Shard.shrinkFactorMax,
            current.live * 4 < wanted * Index.bucketSlots
        {
            wanted /= 2
        }
        bucketsWanted = wanted
    }

    /// Whether an index of so many buckets may be installed: it has room for the keys there are now and those that come
    /// while they move, and no walk forbids a smaller one. Between asking for one and getting it a transaction may have
    /// added any number, and a walk may have come.
    func fits(buckets: Int) -> Bool {
        current.live * 8 <= buckets * Index.bucketSlots * 5 && (walks == 0 || buckets >= current.bucketCount)
    }

    /// Makes a fresh index the one that new entries go to. The old one must have been emptied.
    mutating func install(_ index: Index) {
        assert(retiring == nil)
        report(bytes: index.byteCount)
        retiring = current
        current = index
        migratedBuckets = 0
        bucketsWanted = 0
        if current.bucketCount <= 16 { migrate(buckets: Int.max) }
    }

    /// Moves the entries of up to `buckets` buckets. O(buckets), one hash per entry.
    mutating func migrate(buckets: Int) {
        guard var old = retiring else { return }
        var left = buckets
        while left > 0, migratedBuckets < old.bucketCount, old.live > 0 {
            let line = old.bucket(migratedBuckets)
            for slot in 0..<Index.bucketSlots {
                guard let address = Index.address(line[slot]) else { continue }
                let record = Record(address)
                current.insert(seed.hash(record), address)
                old.unlink(line + slot)
            }
            migratedBuckets += 1
            left -= 1
        }
        guard old.live == 0 else {
            retiring = old
            return
        }
        report(bytes: -old.byteCount)
        old.deallocate()
        retiring = nil
    }
}
