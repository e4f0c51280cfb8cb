// What the key commands ask of a shard: deadlines, foreign states, memory.

extension Shard {
    /// Gives a key a deadline, or takes it away (nil). False when the key had none to take away.
    mutating func setDeadline(_ place: Place, hash: UInt64, to deadline: Int64?) -> Bool {
        let record = place.record
        if record.hasDeadline {
            let isSet = record.deadline != Int64.max
            record.deadline = deadline ?? Int64.max
            guard isSet || deadline != nil else { return false }
            changed(record, hash: hash)
            return true
        }
        guard let deadline else { return false }
        changed(rebuild(place, deadline: deadline), hash: hash)
        return true
    }

    /// Moves a record to memory with room for a deadline. The memory limit is not asked: eight bytes.
    private mutating func rebuild(_ place: Place, deadline: Int64) -> Record {
        let old = place.record
        let size = Record.size(kind: old.kind, keyLength: old.keyLength, hasDeadline: true)
        let new = Record(slab.allocate(size))
        report(bytes: Slab.footprint(size))
        new.initialize(kind: old.kind, key: old.key, keyLength: old.keyLength, deadline: deadline)
        new.word = old.word
        replace(old, by: new, entry: place.entry)
        return new
    }

    /// Puts `new` where `old` was, in the index and on the dirty list, and frees `old`.
    mutating func replace(_ old: Record, by new: Record, entry: UnsafeMutablePointer<UInt64>) {
        Index.redirect(entry, to: new.address)
        if old.isDirty {
            // The list is as long as one collection's interval has changes in one shard: short.
            dirty[dirty.firstIndex(of: old.address)!] = new.address
            new.setDirty(true)
        }
        release(old)
    }

    /// Stores a state as it is, whatever the key held: how a journal's record comes back.
    mutating func apply(_ state: KeyState, hash: UInt64, key: UnsafeRawBufferPointer, now: Int64) -> Bool {
        let base = key.baseAddress ?? emptyKey
        var isReplacing = false
        if let place = find(hash, base, key.count) {
            let record = place.record
            if record.kind == state.kind, record.hasDeadline == (state.deadline != nil) {
                record.word = state.word
                if let deadline = state.deadline { record.deadline = deadline }
                changed(record, hash: hash)
                return true
            }
            remove(place, hash: hash)
            isReplacing = true
        }
        guard
            let record = insert(
                state.kind, hash: hash, key: base, keyLength: key.count, deadline: state.deadline, now: now,
                isReplacing: isReplacing)
        else { return false }
        record.word = state.word
        changed(record, hash: hash)
        return true
    }
}

/// What a key of no bytes points at.
nonisolated(unsafe) let emptyKey = UnsafeRawPointer(UnsafeMutableRawPointer.allocate(byteCount: 16, alignment: 16))
