// Input that has to be kept.

/// Bytes of one request that is not complete, or of several that have to wait. Grows with what is received, never with
/// what is announced. Not thread-safe.
public final class InputBuffer {
    /// The first byte. Moves when the buffer grows.
    public private(set) var base: UnsafeMutablePointer<UInt8>
    /// Bytes kept.
    public private(set) var count: Int
    private var capacity: Int

    /// A buffer with a copy of `bytes`.
    public init(_ bytes: UnsafeBufferPointer<UInt8> = UnsafeBufferPointer(start: nil, count: 0)) {
        count = bytes.count
        capacity = max(256, count)
        base = .allocate(capacity: capacity)
        if let source = bytes.baseAddress { base.update(from: source, count: count) }
    }

    deinit { base.deallocate() }

    /// A copy of what is kept.
    public var bytes: [UInt8] { Array(UnsafeBufferPointer(start: base, count: count)) }

    /// Bytes of memory held.
    public var memory: Int { capacity }

    /// Room for at least `bytes` more, doubling what is there.
    public func reserve(_ bytes: Int) {
        guard capacity - count < bytes else { return }
        capacity = max(capacity * 2, count + bytes)
        let larger = UnsafeMutablePointer<UInt8>.allocate(capacity: capacity)
        larger.update(from: base, count: count)
        base.deallocate()
        base = larger
    }

    /// Where received bytes go.
    public var free: UnsafeMutableRawBufferPointer {
        UnsafeMutableRawBufferPointer(start: base + count, count: capacity - count)
    }

    /// Counts `bytes` more that were written to `free`.
    public func received(_ bytes: Int) {
        precondition(bytes <= capacity - count)
        count += bytes
    }

    /// Drops the first `bytes` bytes. O(what is left).
    public func consume(_ bytes: Int) {
        precondition(bytes <= count)
        guard bytes > 0 else { return }
        base.update(from: base + bytes, count: count - bytes)
        count -= bytes
    }
}
