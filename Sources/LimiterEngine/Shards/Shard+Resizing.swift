// Grows, shrinks and rehashes a shard's index to remove tombstones, a few buckets with every change, so that no call
// waits for a whole table to move.

extension Shard {
    /// Load factor above which a larger index is requested: 13/16.
    private static let loadMax = (of: 13, in: 16)
    /// Load factor at which the larger index, if it has not arrived, is allocated synchronously: 15/16.
    private static let loadUrgent = (of: 15, in: 16)
    /// Largest factor by which an index shrinks in one step; the buckets moved per change are proportional to it.
    private static let shrinkFactorMax = 8

    /// Makes room for one more entry and advances the resize.
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
            // If mostly tombstones, the same size again. If mostly keys, twice as many buckets.
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

    /// Requests a smaller index when most of this one is empty.
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

    /// Whether an index of this many buckets may be installed: it has room for the current keys and those added while
    /// they move, and no walk forbids a smaller one. Between the request and the index's arrival a transaction may have
    /// added any number of keys, and a walk may have begun.
    func fits(buckets: Int) -> Bool {
        current.live * 8 <= buckets * Index.bucketSlots * 5 && (walks == 0 || buckets >= current.bucketCount)
    }

    /// Installs an empty index, which takes all new entries. The old one must have been emptied.
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
