// Operations of the key commands on a shard: deadlines.

extension Shard {
    /// Sets a key's deadline, or removes it (nil). False when the key had none to remove.
    mutating func setDeadline(_ place: Place, hash: UInt64, to deadline: Int64?) -> Bool {
        let record = place.record
        if record.hasDeadline {
            let isSet = record.deadline != Int64.max
            tallyRemoved(record)
            record.deadline = deadline ?? Int64.max
            tallyAdded(record)
            guard isSet || deadline != nil else { return false }
            changed(record, hash: hash)
            return true
        }
        guard let deadline else { return false }
        changed(rebuild(place, deadline: deadline), hash: hash)
        return true
    }

    /// Moves a record to memory with room for a deadline. The memory limit is not checked: it is eight bytes.
    private mutating func rebuild(_ place: Place, deadline: Int64) -> Record {
        let old = place.record
        let new = allocateCopy(of: old, stateSize: old.stateSize, deadline: deadline)
        new.store(old.stateBytes)
        replace(old, by: new, entry: place.entry)
        return new
    }

    /// A record for the same key, and of the same kind unless specified, in its own memory; the caller writes its
    /// state.
    mutating func allocateCopy(of old: Record, kind: StateKind? = nil, stateSize: Int, deadline: Int64?) -> Record {
        let size = Record.size(stateSize: stateSize, keyLength: old.keyLength, hasDeadline: deadline != nil)
        let new = Record(slab.allocate(size))
        report(bytes: Slab.footprint(size))
        new.initialize(
            kind: kind ?? old.kind, stateSize: stateSize, key: old.key, keyLength: old.keyLength,
            isNumbered: old.isNumbered, deadline: deadline)
        return new
    }

    /// Replaces `old` with `new`, whose state is written, in the index and on the dirty list, and frees `old`, now or
    /// when it is collected. O(1).
    mutating func replace(_ old: Record, by new: Record, entry: UnsafeMutablePointer<UInt64>) {
        tallyRemoved(old)
        tallyAdded(new)
        Index.redirect(entry, to: new.address)
        guard old.isDirty else { return release(old) }
        new.setDirty(true)
        if dirtyMoves.redirect(old.address, to: new.address) || dirty.replaceRecent(old.address, by: new.address) {
            return release(old)
        }
        old.setDetached()
        dirtyMoves.add(old.address, to: new.address)
    }
}

/// The address of an empty key.
nonisolated(unsafe) let emptyKey = UnsafeRawPointer(UnsafeMutableRawPointer.allocate(byteCount: 16, alignment: 16))
