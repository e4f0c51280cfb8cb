// Finding what has expired and making room: the walk that forgets worthless keys and empties sparse pages, and the
// choice of a key to forget when memory is full.

import CLinux
import Synchronization

extension Shard {
    /// Entries looked at for one eviction.
    private static let evictionSample = 32
    /// Keys forgotten for one new key at most.
    private static let evictionsMax = 16

    /// Looks at `buckets` buckets from `first` on: forgets what expired, moves records out of sparse pages.
    ///
    /// - Returns: How many keys were looked at and how many of them forgotten.
    mutating func sweep(from first: Int, buckets: Int, now: Int64) -> (seen: Int, expired: Int) {
        migrate(buckets: buckets)
        let end = min(first + buckets, current.bucketCount)
        guard first < end else { return (0, 0) }
        for slot in first * Index.bucketSlots..<end * Index.bucketSlots {
            if let address = Index.address(current.entries[slot]) { clinux_prefetch(address) }
        }
        var seen = 0
        var forgotten = 0
        for number in first..<end {
            let line = current.bucket(number)
            // From the last entry down: a removal may put the last one in the gap.
            for slot in stride(from: Index.bucketSlots - 1, through: 0, by: -1) {
                guard let address = Index.address(line[slot]) else { continue }
                let record = Record(address)
                seen += 1
                if record.expiry <= now {
                    let hash = watchCount == 0 ? 0 : seed.hash(record)
                    expire(Place(entry: line + slot, isRetiring: false), hash: hash)
                    forgotten += 1
                } else {
                    moveIfSparse(record, entry: line + slot)
                }
            }
        }
        return (seen, forgotten)
    }

    private mutating func moveIfSparse(_ record: Record, entry: UnsafeMutablePointer<UInt64>) {
        let size = record.size
        guard slab.isSparse(record.address, size: size) else { return }
        let memory = slab.allocate(size)
        memory.copyMemory(from: record.address, byteCount: size)
        report(bytes: Slab.footprint(size))
        replace(record, by: Record(memory), entry: entry)
    }

    /// Forgets keys of this shard until `extra` bytes fit the limit. False when the policy forbids it.
    ///
    /// With nothing left to forget here the new key is let in all the same: the limit is the engine's, and the sweep
    /// takes the excess from other shards.
    mutating func makeRoom(_ extra: Int, now: Int64) -> Bool {
        guard gauge.policy.load(ordering: .relaxed) == EvictionPolicy.evictSoonest.rawValue else { return false }
        var freed = 0
        for _ in 0..<Shard.evictionsMax where freed < extra {
            guard let bytes = evictSoonest(now: now) else { return true }
            freed += bytes
        }
        return true
    }

    /// Forgets the key nearest to being full again among a sample, and returns its bytes; nil when there is none.
    mutating func evictSoonest(now: Int64) -> Int? {
        let isRetiring = (retiring?.live ?? 0) > current.live
        let index = isRetiring ? retiring! : current
        guard index.live > 0 else { return nil }
        // A start that moves with every eviction; the keyed hash has already shuffled the entries.
        var slot = Int(truncatingIfNeeded: (evicted &* 0x9E37_79B9) % UInt64(index.capacity))
        var sampled = 0
        var soonest: UnsafeMutablePointer<UInt64>?
        var soonestExpiry = Int64.max
        for _ in 0..<index.capacity where sampled < Shard.evictionSample {
            let entry = index.entries + slot
            slot = slot + 1 == index.capacity ? 0 : slot + 1
            guard let address = Index.address(entry.pointee) else { continue }
            sampled += 1
            let expiry = Record(address).expiry
            if soonest == nil || expiry < soonestExpiry {
                soonest = entry
                soonestExpiry = expiry
            }
        }
        guard let soonest else { return nil }
        let place = Place(entry: soonest, isRetiring: isRetiring)
        let record = place.record
        let footprint = Slab.footprint(record.size)
        let hash = watchCount == 0 ? 0 : seed.hash(record)
        if soonestExpiry <= now {
            expire(place, hash: hash)
        } else {
            remove(place, hash: hash)
            evicted &+= 1
        }
        return footprint
    }
}
