// Watched keys: how a transaction learns that somebody changed what it had looked at.

import Synchronization

/// Somebody's wish to know of changes. One per watching connection; any thread may touch it.
public final class WatchToken: Sendable {
    private let touched = Atomic<Bool>(false)

    /// A token that nothing has touched.
    public init() {}

    /// Whether a watched key changed.
    public var isTouched: Bool { touched.load(ordering: .acquiring) }

    func touch() { touched.store(true, ordering: .releasing) }
}

struct Watch {
    let hash: UInt64
    let key: [UInt8]
    let token: WatchToken
}

extension Shard {
    mutating func addWatch(_ hash: UInt64, key: UnsafeRawBufferPointer, token: WatchToken) {
        watches.append(Watch(hash: hash, key: Array(key), token: token))
        watchCount = Int32(watches.count)
    }

    mutating func removeWatches(_ hash: UInt64, key: UnsafeRawBufferPointer, token: WatchToken) {
        watches.removeAll { $0.token === token && $0.hash == hash && $0.key.elementsEqual(key) }
        watchCount = Int32(watches.count)
    }

    /// The watched key's record, if it has one.
    mutating func find(_ watch: Watch) -> Place? {
        watch.key.withUnsafeBytes { find(watch.hash, $0.baseAddress ?? emptyKey, $0.count) }
    }

    /// Tells everybody who watches this key. O(watched keys of the shard).
    @inline(never)
    func touchWatches(_ hash: UInt64, _ key: UnsafeRawBufferPointer) {
        for watch in watches where watch.hash == hash && watch.key.elementsEqual(key) { watch.token.touch() }
    }
}
