// Makes room when memory is full: chooses which key of a shard to evict.
//
// Evicting the key that is replenished soonest loses least, so the soonest of a sample is evicted. Reading a sample
// costs a cache miss per key, so one sample serves several evictions: its soonest third is remembered, and each
// eviction removes one.
//
// Candidates are hints. A candidate is a slot and its key's expiry; by the time it is used the key may have been used
// again, moved or removed, so it is valid only if the slot holds a key that expires no later.

import CLinux
import Synchronization

/// The soonest keys of the last sample, soonest last. Plain memory protected by a shard's lock, allocated by the first
/// eviction; a copy would share it.
struct EvictionCandidates {
    /// A slot of the index, its key's expiry at the time, and the address of its record: only a prefetch hint.
    struct Candidate {
        var slot: Int
        var expiry: Int64
        var hint: UnsafeMutableRawPointer
    }

    static let capacity = 8
    private var memory: UnsafeMutablePointer<Candidate>?
    private(set) var count = 0
    /// The slot at which the next sample begins, modulo the index's capacity.
    var cursor = 0

    /// Removes the soonest candidate.
    mutating func removeSoonest() -> Candidate? {
        guard count > 0 else { return nil }
        count -= 1
        return memory.unsafelyUnwrapped[count]
    }

    /// The candidate that `removeSoonest` would return.
    var soonest: Candidate? { count > 0 ? memory.unsafelyUnwrapped[count - 1] : nil }

    /// Adds a candidate; beyond `limit`, which is at most `capacity`, the latest is dropped.
    mutating func insert(_ candidate: Candidate, limit: Int) {
        assert(limit > 0 && limit <= EvictionCandidates.capacity)
        if memory == nil { memory = .allocate(capacity: EvictionCandidates.capacity) }
        let memory = memory.unsafelyUnwrapped
        var place = count
        while place > 0, memory[place - 1].expiry < candidate.expiry { place -= 1 }
        if count == limit {
            guard place > 0 else { return }
            // The latest is the first.
            place -= 1
            for position in 0..<place { memory[position] = memory[position + 1] }
        } else {
            var position = count
            while position > place {
                memory[position] = memory[position - 1]
                position -= 1
            }
            count += 1
        }
        memory[place] = candidate
    }

    func deallocate() { memory?.deallocate() }
}

extension Shard {
    /// Keys compared per sample.
    static let evictionSample = 24
    /// Index slots examined per sample: enough to fill it at any load of an index in use.
    static let evictionSlotsMax = 128
    /// Upper bound on evictions per new key.
    private static let evictionsMax = 16

    /// Evicts keys of this shard until `extra` bytes fit the limit. False when the policy forbids it.
    ///
    /// If no key to evict is found, the new key is admitted all the same: the limit is the engine's, the next search
    /// continues where this one ended, and the sweep takes the excess from other shards.
    mutating func makeRoom(_ extra: Int, now: Int64) -> Bool {
        guard gauge.policy.load(ordering: .relaxed) == EvictionPolicy.evictSoonest.rawValue else { return false }
        var freed = 0
        var evictions = 0
        while freed < extra, evictions < Shard.evictionsMax {
            guard let bytes = evictSoonest(now: now).freed else { return true }
            freed += bytes
            evictions += 1
        }
        return true
    }

    /// Evicts one of the keys that are replenished soonest.
    ///
    /// - Returns: Bytes freed, nil when no key was found, and the number of index slots examined: a few, or at most
    ///   `evictionSlotsMax` more, however large the index is and however few keys it has.
    mutating func evictSoonest(now: Int64) -> (freed: Int?, slots: Int) {
        let isRetiring = (retiring?.live ?? 0) > current.live
        let index = isRetiring ? retiring! : current
        var slots = 0
        while let candidate = evictionCandidates.removeSoonest() {
            slots += 1
            guard candidate.slot < index.capacity else { continue }
            let entry = index.entries + candidate.slot
            guard let address = Index.address(entry.pointee), Record(address).expiry <= candidate.expiry else {
                continue
            }
            prefetchNextCandidate(index)
            return (evict(Place(entry: entry, isRetiring: isRetiring), now: now), slots)
        }
        slots += sampleForEviction(index, from: isRetiring ? migratedBuckets * Index.bucketSlots : 0)
        guard let soonest = evictionCandidates.removeSoonest() else { return (nil, slots) }
        prefetchNextCandidate(index)
        return (evict(Place(entry: index.entries + soonest.slot, isRetiring: isRetiring), now: now), slots)
    }

    /// Prefetches the memory that the next eviction will touch.
    private func prefetchNextCandidate(_ index: Index) {
        guard let next = evictionCandidates.soonest, next.slot < index.capacity else { return }
        clinux_prefetch(index.entries + next.slot)
        clinux_prefetch(next.hint)
        slab.prefetchToFree(next.hint)
    }

    /// Finds new candidates, or none when the part of the index searched has no keys. Returns its number of slots.
    ///
    /// The keyed hash has shuffled the entries, so any part of the index is a fair sample. Each search begins where the
    /// last one ended: every key has its turn, and a part without keys is not searched twice.
    private mutating func sampleForEviction(_ index: Index, from first: Int) -> Int {
        var slot = max(first, evictionCandidates.cursor & (index.capacity - 1))
        let slotsMax = min(Shard.evictionSlotsMax, index.capacity)
        return withUnsafeTemporaryAllocation(of: Int.self, capacity: Shard.evictionSample) { sample in
            var slots = 0
            var sampled = 0
            while sampled < Shard.evictionSample, slots < slotsMax {
                if let address = Index.address(index.entries[slot]) {
                    // Records are scattered in memory: prefetched here, they arrive while the next ones are being
                    // found.
                    clinux_prefetch(address)
                    sample[sampled] = slot
                    sampled += 1
                }
                slot = slot + 1 == index.capacity ? 0 : slot + 1
                slots += 1
            }
            evictionCandidates.cursor = slot
            let kept = max(1, sampled * EvictionCandidates.capacity / Shard.evictionSample)
            for position in 0..<sampled {
                let address = Index.address(index.entries[sample[position]]).unsafelyUnwrapped
                evictionCandidates.insert(
                    .init(slot: sample[position], expiry: Record(address).expiry, hint: address), limit: kept)
            }
            return slots
        }
    }

    /// Evicts this key and returns its bytes.
    private mutating func evict(_ place: Place, now: Int64) -> Int {
        let record = place.record
        let footprint = Slab.footprint(record.size)
        let hash = watchCount == 0 ? 0 : seed.hash(record)
        if record.expiry <= now {
            expire(place, hash: hash)
        } else {
            remove(place, hash: hash)
            evicted &+= 1
        }
        return footprint
    }
}
