// The pass over a shard that drops expired keys and empties sparse pages.

import CLinux

extension Shard {
    /// Examines `buckets` buckets from `first` on: drops expired keys and moves records out of sparse pages.
    ///
    /// - Returns: Number of keys examined, and of those dropped.
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
            // From the last entry down: a removal may move the last one into the gap.
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
}
