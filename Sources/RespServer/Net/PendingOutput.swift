// Output that the peer has not taken yet.

/// Bytes waiting for the socket to take them. Exists only while there are any.
final class PendingOutput {
    private var bytes: [UInt8] = []
    private var head = 0
    /// Since when the soft limit has been exceeded, in seconds of the monotonic clock; nil while it is not.
    var overSoftLimitSince: Int64?

    /// Bytes not yet sent.
    var count: Int { bytes.count - head }

    /// Bytes of memory held.
    var memory: Int { bytes.capacity }

    func append(_ more: UnsafeBufferPointer<UInt8>) {
        // What was sent is dropped once it is the larger part, so that every byte is moved at most twice.
        if head > 65536, head > bytes.count / 2 {
            bytes.removeFirst(head)
            head = 0
        }
        bytes.append(contentsOf: more)
    }

    /// Offers the unsent bytes to `send`, which returns how many it took, until it takes none or all are gone.
    func drain(_ send: (UnsafeBufferPointer<UInt8>) -> Int) {
        while count > 0 {
            let taken = bytes.withUnsafeBufferPointer { send(UnsafeBufferPointer(rebasing: $0[head...])) }
            guard taken > 0 else { return }
            head += taken
        }
    }
}
