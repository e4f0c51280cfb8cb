// Buffered input.

/// Bytes of one incomplete request, or of several that have to wait. Grows with the bytes received, never with an
/// announced length. Not thread-safe.
public final class InputBuffer {
    /// The first byte. Moves when the buffer grows.
    public private(set) var base: UnsafeMutablePointer<UInt8>
    /// Number of bytes in the buffer.
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

    /// A copy of the contents.
    public var bytes: [UInt8] { Array(UnsafeBufferPointer(start: base, count: count)) }

    /// Bytes of memory held.
    public var memory: Int { capacity }

    /// Makes room for at least `bytes` more, at least doubling the capacity if it has to grow.
    public func reserve(_ bytes: Int) {
        guard capacity - count < bytes else { return }
        capacity = max(capacity * 2, count + bytes)
        let larger = UnsafeMutablePointer<UInt8>.allocate(capacity: capacity)
        larger.update(from: base, count: count)
        base.deallocate()
        base = larger
    }

    /// The free space to which received bytes are written.
    public var free: UnsafeMutableRawBufferPointer {
        UnsafeMutableRawBufferPointer(start: base + count, count: capacity - count)
    }

    /// Adds `bytes` bytes that were written to `free`.
    public func received(_ bytes: Int) {
        precondition(bytes <= capacity - count)
        count += bytes
    }

    /// Appends a copy of the bytes.
    public func append(_ more: some Collection<UInt8>) {
        guard !more.isEmpty else { return }
        reserve(more.count)
        free.copyBytes(from: more)
        received(more.count)
    }

    /// Drops the first `bytes` bytes. O(bytes left).
    public func consume(_ bytes: Int) {
        precondition(bytes <= count)
        guard bytes > 0 else { return }
        base.update(from: base + bytes, count: count - bytes)
        count -= bytes
    }
}
