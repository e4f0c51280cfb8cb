// The dirty list: which keys changed since the last collection. A key changed a million times stands in it once.

/// One change, as a reader of the journal sees it. Borrows the key.
public enum JournalChange {
    /// The key is gone. Comes before any state of the same shard.
    case removed(key: UnsafeRawBufferPointer)
    /// The key's newest state.
    case state(key: UnsafeRawBufferPointer, KeyState)
}

extension Shard {
    /// Hands every change since the last collection to `body`, tombstones first, and forgets them.
    mutating func collect(_ body: (JournalChange) -> Void) {
        for address in dirty {
            let record = Record(address)
            guard record.isDetached else { continue }
            body(.removed(key: record.keyBytes))
        }
        for address in dirty {
            let record = Record(address)
            if record.isDetached {
                release(record)
            } else {
                body(.state(key: record.keyBytes, KeyState(record)))
                record.setDirty(false)
            }
        }
        dirty.removeAll(keepingCapacity: dirty.capacity <= 4096)
    }

    /// Starts or stops keeping changes; stopping forgets those kept.
    mutating func setJournaling(_ enabled: Bool) {
        if isJournaling, !enabled { collect { _ in } }
        isJournaling = enabled
    }
}
