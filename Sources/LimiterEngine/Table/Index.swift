// An open-addressing index from keys to record addresses. Knows hashes and tags, and calls a closure to decide whether
// a record matches; never reads a record itself.
//
//   entry    63‥48 tag (hash bits 51‥36)   47‥0 record address        0: never used    1: tombstone
//   bucket   eight entries, one cache line. A key's home bucket is its hash's low bits; when that is full the key
//            goes to the next bucket, and so on round the end.
//
// Invariants: (1) Unused entries come after all others in their bucket. (2) Tombstones occur only in buckets without
// unused entries, so a search that meets an unused entry may stop: no key went past it. (3) At least one entry is
// unused, so every search ends. (4) The number of buckets is a power of two, at least one.

import CLinux
import Glibc

/// Plain fields protected by a shard's lock; copying it copies the pointer, not the entries.
struct Index {
    static let bucketSlots = 8
    private static let tombstone: UInt64 = 1
    private static let addressMask: UInt64 = (1 << 48) - 1
    /// Size from which entries are mapped rather than allocated: the kernel zeroes them page by page, on first use.
    private static let mappedBytesMin = 64 * 1024

    private(set) var entries: UnsafeMutablePointer<UInt64>
    private(set) var bucketMask: UInt64
    private(set) var live = 0
    private(set) var tombstones = 0

    var bucketCount: Int { Int(bucketMask) + 1 }
    var capacity: Int { bucketCount * Index.bucketSlots }
    var byteCount: Int { capacity * 8 }
    /// Bytes that come from the C library's heap.
    var heapByteCount: Int { byteCount < Index.mappedBytesMin ? byteCount : 0 }

    init(buckets: Int) {
        precondition(buckets > 0 && buckets & (buckets - 1) == 0 && buckets <= 1 << 36)
        bucketMask = UInt64(buckets - 1)
        let bytes = buckets * 64
        var memory: UnsafeMutableRawPointer?
        if bytes >= Index.mappedBytesMin {
            memory = clinux_map_pages(UInt64(bytes))
        } else if posix_memalign(&memory, 64, bytes) == 0, let memory {
            memset(memory, 0, bytes)
        }
        guard let memory else { fatalError("no memory for an index of \(bytes) bytes") }
        entries = memory.bindMemory(to: UInt64.self, capacity: buckets * Index.bucketSlots)
    }

    func deallocate() {
        if byteCount >= Index.mappedBytesMin {
            _ = clinux_unmap_pages(entries, UInt64(byteCount))
        } else {
            Glibc.free(entries)
        }
    }

    @inline(__always)
    static func tag(_ hash: UInt64) -> UInt64 { (hash >> 36) & 0xFFFF }

    @inline(__always)
    static func address(_ entry: UInt64) -> UnsafeMutableRawPointer? {
        entry > tombstone ? UnsafeMutableRawPointer(bitPattern: UInt(entry & addressMask)) : nil
    }

    @inline(__always)
    func homeBucket(_ hash: UInt64) -> UnsafeMutablePointer<UInt64> {
        entries + Int(truncatingIfNeeded: (hash & bucketMask) &* 8)
    }

    @inline(__always)
    func bucket(_ number: Int) -> UnsafeMutablePointer<UInt64> { entries + number &* Index.bucketSlots }

    @inline(__always)
    func prefetch(_ hash: UInt64) { clinux_prefetch(homeBucket(hash)) }

    /// The first record with the hash's tag in its home bucket, whether or not it matches: only a prefetch hint.
    @inline(__always)
    func candidate(_ hash: UInt64) -> UnsafeMutableRawPointer? {
        let line = homeBucket(hash)
        let tag = Index.tag(hash)
        for slot in 0..<Index.bucketSlots where line[slot] >> 48 == tag && line[slot] > Index.tombstone {
            return Index.address(line[slot])
        }
        return nil
    }

    /// The entry whose record `matches`, or nil. O(1) expected; `probes` counts buckets after the home bucket.
    @inline(__always)
    func find(
        _ hash: UInt64, probes: inout Int, where matches: (UnsafeMutableRawPointer) -> Bool
    ) -> UnsafeMutablePointer<UInt64>? {
        let tag = Index.tag(hash)
        var number = hash & bucketMask
        while true {
            let line = entries + Int(truncatingIfNeeded: number &* 8)
            var slot = 0
            while slot < Index.bucketSlots {
                let entry = line[slot]
                if entry == 0 { return nil }
                if entry >> 48 == tag, entry > Index.tombstone,
                    matches(UnsafeMutableRawPointer(bitPattern: UInt(entry & Index.addressMask)).unsafelyUnwrapped)
                {
                    return line + slot
                }
                slot &+= 1
            }
            probes &+= 1
            number = (number &+ 1) & bucketMask
        }
    }

    /// Adds a record that is not in the index. There must be an unused entry to spare.
    mutating func insert(_ hash: UInt64, _ record: UnsafeMutableRawPointer) {
        assert(live + tombstones + 1 < capacity)
        let address = UInt64(UInt(bitPattern: record))
        assert(address > Index.tombstone && address & ~Index.addressMask == 0, "addresses have 48 bits")
        var number = hash & bucketMask
        while true {
            let line = entries + Int(truncatingIfNeeded: number &* 8)
            for slot in 0..<Index.bucketSlots where line[slot] <= Index.tombstone {
                if line[slot] == Index.tombstone { tombstones -= 1 }
                line[slot] = Index.tag(hash) << 48 | address
                live += 1
                return
            }
            number = (number &+ 1) & bucketMask
        }
    }

    /// Removes the entry. Within its bucket the last entry may take its place: walk buckets from slot 7 down.
    mutating func remove(_ entry: UnsafeMutablePointer<UInt64>) {
        let line = entries + (entries.distance(to: entry) & ~(Index.bucketSlots - 1))
        live -= 1
        guard line[Index.bucketSlots - 1] == 0 else {
            entry.pointee = Index.tombstone
            tombstones += 1
            return
        }
        var last = Index.bucketSlots - 1
        while line[last] == 0 { last -= 1 }
        entry.pointee = line[last]
        line[last] = 0
    }

    /// Removes the entry and leaves a tombstone in any case: for an index that is being emptied.
    mutating func unlink(_ entry: UnsafeMutablePointer<UInt64>) {
        entry.pointee = Index.tombstone
        live -= 1
        tombstones += 1
    }

    /// Makes the entry refer to another record of the same key.
    static func redirect(_ entry: UnsafeMutablePointer<UInt64>, to record: UnsafeMutableRawPointer) {
        entry.pointee = entry.pointee & ~addressMask | UInt64(UInt(bitPattern: record))
    }
}
