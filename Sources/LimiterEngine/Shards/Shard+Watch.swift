// Watched keys: how a transaction learns that a key it has read was changed.

extension Shard {
    mutating func addWatch(_ hash: UInt64, _ name: KeyName, token: WatchToken) {
        watches.add(hash, name, token: token)
        watchCount = Int32(clamping: watches.count)
    }

    mutating func removeWatch(_ hash: UInt64, _ name: KeyName, token: WatchToken) {
        guard watchCount != 0 else { return }
        watches.remove(hash, name, token: token)
        watchCount = Int32(clamping: watches.count)
    }

    /// Touches every token that watches this key. O(tokens), once for each token.
    @inline(never)
    mutating func touchWatches(_ hash: UInt64, _ name: KeyName) {
        watches.touch(hash, name)
        watchCount = Int32(clamping: watches.count)
    }

    /// Touches the tokens of every watched key that exists: all keys are about to be removed. O(watched keys).
    mutating func touchWatchesOfExistingKeys() {
        guard watchCount != 0 else { return }
        var watches = watches
        self.watches = WatchTable()
        watches.touchAll { hash, name in
            find(hash, name.base, name.count, in: Namespace(isNumbered: name.isNumbered)) != nil
        }
        self.watches = watches
        watchCount = Int32(clamping: watches.count)
    }
}
