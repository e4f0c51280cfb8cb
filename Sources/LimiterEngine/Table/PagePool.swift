// The source of the slabs' pages.
//
// Owns: all memory of slab records, mapped from the kernel two mebibytes at a time and handed out in pages of 4 KiB.
// Returned pages stay resident up to a reserve; `trim` returns the others to the kernel, keeping only their addresses.
// Has its own lock, taken under stripe locks and never the other way round; `ensureReserve` makes the system call that
// maps more memory outside stripe locks. It is made under one only if a single turn exhausts the reserve.

import CLinux
import Synchronization
import System

/// Allocates aligned pages of 4 KiB. Thread-safe.
///
/// `@unchecked Sendable`: every access to the two stacks happens with `lock` held.
final class PagePool: @unchecked Sendable {
    static let pageSize = 4096
    private static let regionSize = 1 << 21
    /// Free pages kept resident, so that a burst of new keys causes no page faults.
    private static let residentReserve = 1024

    private let lock = Lock.allocate(rank: .pagePool)
    private var resident: [UnsafeMutableRawPointer] = []
    private var released: [UnsafeMutableRawPointer] = []
    private var regions: [UnsafeMutableRawPointer] = []
    /// Number of free pages; changed with the lock held, read without it.
    private let freeCount = Atomic<Int>(0)

    /// Number of free pages. Callable from any thread.
    var freePages: Int { freeCount.load(ordering: .relaxed) }

    deinit {
        for region in regions { _ = clinux_unmap_pages(region, UInt64(PagePool.regionSize)) }
        lock.deallocate()
    }

    /// Allocates a page with unspecified contents. Traps when the kernel cannot map more memory.
    func take() -> UnsafeMutableRawPointer {
        lock.acquire()
        defer { lock.release() }
        if resident.isEmpty, released.isEmpty { mapRegion() }
        freeCount.subtract(1, ordering: .relaxed)
        return resident.popLast() ?? released.removeLast()
    }

    /// Frees a page, which must no longer be in use.
    func give(_ page: UnsafeMutableRawPointer) {
        lock.acquire()
        resident.append(page)
        freeCount.add(1, ordering: .relaxed)
        lock.release()
    }

    /// Maps more memory when fewer than `pages` are free. Call with no stripe held. One load when there are enough.
    @inline(__always)
    func ensureReserve(pages: Int) {
        if freeCount.load(ordering: .relaxed) < pages { growReserve() }
    }

    private func growReserve() {
        lock.acquire()
        mapRegion()
        lock.release()
    }

    /// Returns up to `pages` pages beyond the reserve to the kernel. Call with no stripe held.
    func trim(pages: Int) {
        for _ in 0..<pages {
            lock.acquire()
            guard resident.count > PagePool.residentReserve, let page = resident.popLast() else {
                lock.release()
                return
            }
            lock.release()
            _ = clinux_forget_pages(page, UInt64(PagePool.pageSize))
            lock.acquire()
            released.append(page)
            lock.release()
        }
    }

    /// Requires the lock.
    private func mapRegion() {
        guard let region = clinux_map_huge(UInt64(PagePool.regionSize)) else {
            fatalError("the kernel refused to map \(PagePool.regionSize) bytes")
        }
        regions.append(region)
        var offset = PagePool.regionSize - PagePool.pageSize
        freeCount.add(PagePool.regionSize / PagePool.pageSize, ordering: .relaxed)
        while offset >= 0 {
            released.append(region + offset)
            offset -= PagePool.pageSize
        }
    }
}
