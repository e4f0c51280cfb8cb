// Memory for one shard's records: pages of 4 KiB cut into slots of one size each, with a size class every four bytes.
//
//   page   0 ┌ next, previous page with a free slot      (8 + 8)
//         16 │ first free slot's offset, 0 for none      (2)
//         18 │ offset of the unused rest of the page     (2)
//         20 │ slots in use                              (2)
//         22 │ slot size in bytes                        (2)
//         24 │ listed among the pages with room: 0 or 1  (2)
//         32 └ slots …
//
// A slot's page is found by clearing the low 12 bits of its address. A page whose last slot is freed returns to the
// pool at once. Records above `slotSizeMax` come from malloc. Touched only with the shard's stripe held.
//
// Invariants: (1) A page is listed ⇔ it has a free slot. (2) Free slots of a page are chained through their first two
// bytes, and 0 ends the chain. (3) Every page of the slab has at least one slot in use.

import CLinux
import Glibc

struct Slab {
    static let slotSizeMax = 256
    private static let granule = 4
    static let classCount = slotSizeMax / granule + 1
    private static let headerSize = 32

    /// Head of the list of pages with room, by size class.
    private let heads: UnsafeMutablePointer<UnsafeMutableRawPointer?>
    let pool: PagePool
    /// Bytes allocated, rounded up to slots; including malloc's own overhead for large ones.
    private(set) var bytesInUse = 0
    private(set) var pageCount = 0
    /// Bytes of large records as counted by the C library, including each one's header.
    private(set) var heapBytes = 0
    /// Number of large records.
    private(set) var heapRecords = 0

    init(pool: PagePool) {
        self.pool = pool
        heads = .allocate(capacity: Slab.classCount)
        heads.initialize(repeating: nil, count: Slab.classCount)
    }

    func deallocate() { heads.deallocate() }

    /// Bytes that a record of `size` bytes occupies.
    static func footprint(_ size: Int) -> Int {
        size <= slotSizeMax ? (size + granule - 1) & ~(granule - 1) : (size + 31) & ~15
    }

    /// Memory for `size` bytes at a multiple of 4. Contents unspecified.
    mutating func allocate(_ size: Int) -> UnsafeMutableRawPointer {
        let footprint = Slab.footprint(size)
        bytesInUse += footprint
        guard size <= Slab.slotSizeMax else {
            guard let memory = malloc(size) else { fatalError("no memory for a record of \(size) bytes") }
            heapBytes += Int(clinux_heap_size(memory))
            heapRecords += 1
            return memory
        }
        let page: Page
        if let head = heads[footprint / Slab.granule] {
            page = Page(head)
        } else {
            page = Page(pool.take())
            page.initialize(slotSize: footprint)
            pageCount += 1
            link(page)
        }
        let slot = page.takeSlot()
        if !page.hasRoom { unlink(page) }
        return slot
    }

    /// Frees memory of `size` bytes.
    mutating func free(_ memory: UnsafeMutableRawPointer, size: Int) {
        bytesInUse -= Slab.footprint(size)
        guard size <= Slab.slotSizeMax else {
            heapBytes -= Int(clinux_heap_size(memory))
            heapRecords -= 1
            return Glibc.free(memory)
        }
        let page = Page(containing: memory)
        page.putSlot(memory)
        if page.used == 0 {
            if page.isListed { unlink(page) }
            pageCount -= 1
            pool.give(page.address)
        } else if !page.isListed {
            link(page)
        }
    }

    /// Prefetches the memory, besides the record's own, that `free` will touch. The record may already be gone.
    func prefetchToFree(_ memory: UnsafeMutableRawPointer) { clinux_prefetch(Page(containing: memory).address) }

    /// Whether moving this record would help to empty its page: at most a quarter of the page is in use and another
    /// page of its class has room.
    func isSparse(_ memory: UnsafeMutableRawPointer, size: Int) -> Bool {
        guard size <= Slab.slotSizeMax else { return false }
        let page = Page(containing: memory)
        guard page.used * 4 <= page.capacity, let head = heads[page.slotSize / Slab.granule] else { return false }
        return head != page.address
    }

    private func link(_ page: Page) {
        let list = heads + page.slotSize / Slab.granule
        page.isListed = true
        page.previous = nil
        page.next = list.pointee
        if let head = list.pointee { Page(head).previous = page.address }
        list.pointee = page.address
    }

    private func unlink(_ page: Page) {
        page.isListed = false
        if let next = page.next { Page(next).previous = page.previous }
        if let previous = page.previous {
            Page(previous).next = page.next
        } else {
            heads[page.slotSize / Slab.granule] = page.next
        }
    }

    /// A borrowed page.
    private struct Page {
        let address: UnsafeMutableRawPointer

        init(_ address: UnsafeMutableRawPointer) { self.address = address }

        init(containing slot: UnsafeMutableRawPointer) {
            let mask = ~UInt(PagePool.pageSize - 1)
            address = UnsafeMutableRawPointer(bitPattern: UInt(bitPattern: slot) & mask)!
        }

        var next: UnsafeMutableRawPointer? {
            get { address.load(as: UnsafeMutableRawPointer?.self) }
            nonmutating set { address.storeBytes(of: newValue, as: UnsafeMutableRawPointer?.self) }
        }
        var previous: UnsafeMutableRawPointer? {
            get { (address + 8).load(as: UnsafeMutableRawPointer?.self) }
            nonmutating set { (address + 8).storeBytes(of: newValue, as: UnsafeMutableRawPointer?.self) }
        }
        private var firstFree: Int {
            get { field(16) }
            nonmutating set { setField(16, newValue) }
        }
        private var fresh: Int {
            get { field(18) }
            nonmutating set { setField(18, newValue) }
        }
        private(set) var used: Int {
            get { field(20) }
            nonmutating set { setField(20, newValue) }
        }
        private(set) var slotSize: Int {
            get { field(22) }
            nonmutating set { setField(22, newValue) }
        }
        var isListed: Bool {
            get { field(24) != 0 }
            nonmutating set { setField(24, newValue ? 1 : 0) }
        }

        var capacity: Int { (PagePool.pageSize - Slab.headerSize) / slotSize }
        var hasRoom: Bool { firstFree != 0 || fresh + slotSize <= PagePool.pageSize }

        func initialize(slotSize: Int) {
            firstFree = 0
            fresh = Slab.headerSize
            used = 0
            self.slotSize = slotSize
            isListed = false
        }

        func takeSlot() -> UnsafeMutableRawPointer {
            assert(hasRoom)
            used += 1
            if firstFree != 0 {
                let slot = address + firstFree
                firstFree = Int(slot.load(as: UInt16.self))
                return slot
            }
            let slot = address + fresh
            fresh += slotSize
            return slot
        }

        func putSlot(_ slot: UnsafeMutableRawPointer) {
            assert(used > 0)
            used -= 1
            slot.storeBytes(of: UInt16(firstFree), as: UInt16.self)
            firstFree = address.distance(to: slot)
        }

        private func field(_ offset: Int) -> Int { Int((address + offset).load(as: UInt16.self)) }

        private func setField(_ offset: Int, _ value: Int) {
            (address + offset).storeBytes(of: UInt16(truncatingIfNeeded: value), as: UInt16.self)
        }
    }
}
