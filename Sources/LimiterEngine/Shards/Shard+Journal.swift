// The dirty list: which keys changed since the last collection. A key that changed a million times is in it once.
//
// A collection may drain the list in parts, releasing the stripe in between. The list is in the order of first changes,
// so the tombstone of a key that was removed and created again precedes its new state.

import CLinux

/// One change, as seen by a reader of the journal. Borrows the name and the state.
public enum JournalChange {
    /// The key was removed.
    case removed(KeyName)
    /// The key's newest state.
    case state(KeyName, StateView)
}

extension Shard {
    /// Prefetch distance in records: a dirty key was last touched a while ago.
    private static let prefetchDistance = 16

    /// Passes up to `limit` changes to `body`, in the order in which their keys first changed, and removes them.
    mutating func collect(limit: Int, _ body: (JournalChange) -> Void) {
        let end = min(dirty.count, limit)
        for position in 0..<end {
            if position + Shard.prefetchDistance < end {
                clinux_prefetch_to_write(dirty[position + Shard.prefetchDistance])
            }
            let record = dirtyRecord(position)
            if record.isDetached {
                if !record.isHidden { body(.removed(record.name)) }
                release(record)
            } else {
                body(.state(record.name, StateView(record)))
                record.setDirty(false)
            }
        }
        dirty.removeFirst(end)
    }

    /// The record that an entry of the dirty list refers to. If it has moved, the record it was moved from is freed:
    /// call once for each entry, when it is removed from the list.
    mutating func dirtyRecord(_ position: Int) -> Record {
        let record = Record(dirty[position])
        guard record.isDetached, let target = dirtyMoves.remove(record.address) else { return record }
        release(record)
        return Record(target)
    }

    /// Starts or stops recording changes; stopping discards those recorded.
    mutating func setJournaling(_ enabled: Bool) {
        if isJournaling, !enabled { collect(limit: Int.max) { _ in } }
        isJournaling = enabled
    }
}
