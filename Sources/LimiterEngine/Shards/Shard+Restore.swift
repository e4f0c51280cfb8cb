// Restores states verbatim: applies a record of a journal or a snapshot to a shard.

extension Shard {
    /// Stores a state verbatim, whatever the key held: for a whole state from a client and for a journal's record.
    /// False when the memory limit forbids a new key; it is ignored if room has been made.
    mutating func apply(
        _ state: StateView, hash: UInt64, name: KeyName, now: Int64, isRoomMade: Bool = false
    ) -> Bool {
        assert(state.isValid)
        if let place = find(hash, name.base, name.count, in: name.namespace(of: state.kind)) {
            let record = place.record
            if record.kind == state.kind, record.stateSize == state.value.count,
                record.hasDeadline == (state.deadline != nil)
            {
                record.store(state.value)
                if let deadline = state.deadline {
                    tallyRemoved(record)
                    record.deadline = deadline
                    tallyAdded(record)
                }
                changed(record, hash: hash)
                return true
            }
            // One record for the journal too: with a separate tombstone before it, a crash between the two would lose
            // the previous state. The memory limit is not checked: the key already exists.
            let new = allocateCopy(
                of: record, kind: state.kind, stateSize: state.value.count, deadline: state.deadline)
            new.store(state.value)
            replace(record, by: new, entry: place.entry)
            changed(new, hash: hash)
            return true
        }
        guard
            let record = insert(
                state.kind, stateSize: state.value.count, hash: hash, key: name.base, keyLength: name.count,
                isNumbered: name.isNumbered, deadline: state.deadline, now: now, isRoomMade: isRoomMade)
        else { return false }
        record.store(state.value)
        changed(record, hash: hash)
        return true
    }

    /// As `apply`, for a shard that is not journaled yet; a state that expires by `horizon` leaves no key.
    mutating func restore(_ state: StateView, hash: UInt64, name: KeyName, horizon: Int64) {
        guard state.expiry > horizon else {
            return forget(hash: hash, name: name, isHidden: state.kind.isHidden)
        }
        // Memory limits are set after everything is restored: acknowledged state is not dropped for lack of memory.
        _ = apply(state, hash: hash, name: name, now: horizon)
    }

    /// Removes a key if it is there.
    mutating func forget(hash: UInt64, name: KeyName, isHidden: Bool = false) {
        let namespace = Namespace(isNumbered: name.isNumbered, isHidden: isHidden)
        guard let place = find(hash, name.base, name.count, in: namespace) else { return }
        remove(place, hash: hash)
    }

    /// Makes room for `keys` keys at once, so that none of them waits for the table to grow. For an empty shard.
    mutating func reserve(keys: Int) {
        guard recordCount == 0, retiring == nil, current.tombstones == 0 else { return }
        var buckets = 1
        while buckets * Index.bucketSlots * 3 < keys * 4, buckets < 1 << 32 { buckets *= 2 }
        guard buckets > current.bucketCount else { return }
        let index = Index(buckets: buckets)
        report(bytes: index.byteCount - current.byteCount)
        current.deallocate()
        current = index
        bucketsWanted = 0
    }
}
