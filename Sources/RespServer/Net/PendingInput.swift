// Input that has to be kept: the received part of an unfinished request, with the arguments found so far.

import RESP

/// Bytes of one request that is not complete, or of several that have to wait. Grows with what is received, never
/// with what is announced.
final class PendingInput {
    private(set) var base: UnsafeMutablePointer<UInt8>
    private(set) var count: Int
    private(set) var capacity: Int
    /// Arguments of the first request found so far.
    var ranges: [ArgumentRange]

    init(_ bytes: UnsafeBufferPointer<UInt8>, ranges: [ArgumentRange]) {
        count = bytes.count
        capacity = max(256, count)
        base = .allocate(capacity: capacity)
        if let source = bytes.baseAddress { base.update(from: source, count: count) }
        self.ranges = ranges
    }

    deinit { base.deallocate() }

    /// Bytes of memory held.
    var memory: Int { capacity + ranges.capacity * MemoryLayout<ArgumentRange>.stride }

    /// Room for at least `bytes` more, doubling what is there.
    func reserve(_ bytes: Int) {
        guard capacity - count < bytes else { return }
        capacity = max(capacity * 2, count + bytes)
        let larger = UnsafeMutablePointer<UInt8>.allocate(capacity: capacity)
        larger.update(from: base, count: count)
        base.deallocate()
        base = larger
    }

    /// Where received bytes go.
    var free: UnsafeMutableRawBufferPointer {
        UnsafeMutableRawBufferPointer(start: base + count, count: capacity - count)
    }

    /// Counts `bytes` more that were written to `free`.
    func received(_ bytes: Int) {
        precondition(bytes <= capacity - count)
        count += bytes
    }

    /// Drops the first `bytes` bytes.
    func consume(_ bytes: Int) {
        precondition(bytes <= count)
        guard bytes > 0 else { return }
        base.update(from: base + bytes, count: count - bytes)
        count -= bytes
    }
}
