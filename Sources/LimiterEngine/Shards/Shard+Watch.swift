// Watched keys: how a transaction learns that a key it has read was changed.

extension Shard {
    mutating func addWatch(_ hash: UInt64, key: [UInt8], token: WatchToken) {
        watches.add(hash, key: key, token: token)
        watchCount = Int32(clamping: watches.count)
    }

    mutating func removeWatch(_ hash: UInt64, key: UnsafeRawBufferPointer, token: WatchToken) {
        guard watchCount != 0 else { return }
        watches.remove(hash, key: key, token: token)
        watchCount = Int32(clamping: watches.count)
    }

    /// Touches every token that watches this key. O(tokens), once for each token.
    @inline(never)
    mutating func touchWatches(_ hash: UInt64, _ key: UnsafeRawBufferPointer) {
        watches.touch(hash, key)
        watchCount = Int32(clamping: watches.count)
    }

    /// Touches the tokens of every watched key that exists: all keys are about to be removed. O(watched keys).
    mutating func touchWatchesOfExistingKeys() {
        guard watchCount != 0 else { return }
        var watches = watches
        self.watches = WatchTable()
        watches.touchAll { hash, key in find(hash, key.baseAddress ?? emptyKey, key.count) != nil }
        self.watches = watches
        watchCount = Int32(clamping: watches.count)
    }
}
