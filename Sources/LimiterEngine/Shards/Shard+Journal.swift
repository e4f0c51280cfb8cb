// The dirty list: which keys changed since the last collection. A key changed a million times stands in it once.
//
// A collection may take the list in parts, giving the stripe back in between. The list is in the order of first
// changes, so the tombstone of a key removed and made anew stands in front of the new state.

import CLinux

/// One change, as a reader of the journal sees it. Borrows the key and the state.
public enum JournalChange {
    /// The key is gone.
    case removed(key: UnsafeRawBufferPointer)
    /// The key's newest state.
    case state(key: UnsafeRawBufferPointer, StateView)
}

extension Shard {
    /// Records fetched into the cache ahead: a dirty key was last touched a while ago.
    private static let prefetchDistance = 16

    /// Hands up to `limit` changes to `body`, in the order in which their keys first changed, and forgets them.
    mutating func collect(limit: Int, _ body: (JournalChange) -> Void) {
        let end = min(dirty.count, limit)
        for position in 0..<end {
            if position + Shard.prefetchDistance < end {
                clinux_prefetch_to_write(dirty[position + Shard.prefetchDistance])
            }
            let record = dirtyRecord(position)
            if record.isDetached {
                if !record.isHidden { body(.removed(key: record.keyBytes)) }
                release(record)
            } else {
                body(.state(key: record.keyBytes, StateView(record)))
                record.setDirty(false)
            }
        }
        dirty.removeFirst(end)
    }

    /// The record that an entry of the dirty list is about. One that has moved leaves what it was moved from, which is
    /// freed: call once for each entry, when it is taken off the list.
    mutating func dirtyRecord(_ position: Int) -> Record {
        let record = Record(dirty[position])
        guard record.isDetached, let target = dirtyMoves.remove(record.address) else { return record }
        release(record)
        return Record(target)
    }

    /// Starts or stops keeping changes; stopping forgets those kept.
    mutating func setJournaling(_ enabled: Bool) {
        if isJournaling, !enabled { collect(limit: Int.max) { _ in } }
        isJournaling = enabled
    }
}
