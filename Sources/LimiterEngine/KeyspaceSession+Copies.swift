// A key's whole state under another name or in another database: what COPY, RENAME and MOVE do. The caller holds the
// stripes of both keys.
//
// The state is copied byte for byte with its deadline, whatever its kind. Idempotency tokens stay with the old name: a
// retry names the key that the first call named.

/// How copying or moving a key's state ended.
public enum KeyCopy: Equatable, Sendable {
    /// The state is at the other key now.
    case done
    /// There is no such key.
    case missing
    /// The other key exists, and was not to be replaced.
    case exists
    /// A new key would not fit the memory limit.
    case outOfMemory
}

extension KeyspaceSession {
    /// Copies the state of a key, with its deadline, to another key. O(bytes).
    ///
    /// - Parameters:
    ///   - other: The database of the other key; nil for the selected one.
    ///   - replaces: Whatever the other key holds is replaced; otherwise it must not exist.
    ///   - moves: The key is removed. Then the memory limit is not asked.
    /// - Precondition: The stripes of both keys are held, and the keys differ.
    public func copy(
        _ source: UnsafeRawBufferPointer, to destination: UnsafeRawBufferPointer, inDatabase other: Int? = nil,
        replaces: Bool, moves: Bool, now: EngineTime
    ) -> KeyCopy {
        precondition(isHolding)
        let other = other ?? database
        return withName(source) { source in
            withName(destination, in: other) { destination in
                copy(source, to: destination, replaces: replaces, moves: moves, now: now)
            }
        }
    }

    private func copy(
        _ source: KeyName, to destination: KeyName, replaces: Bool, moves: Bool, now: EngineTime
    ) -> KeyCopy {
        let (sourceHash, destinationHash) = (hash(source), hash(destination))
        let found = withShard(sourceHash) { $0.findLive(sourceHash, source, now: now.nanoseconds)?.record }
        guard let found else { return .missing }
        let isTaken = withShard(destinationHash) {
            $0.findLive(destinationHash, destination, now: now.nanoseconds) != nil
        }
        if !replaces, isTaken { return .exists }
        let view = StateView(found)
        // Removing the key, or making room for the other one, frees the record.
        return withUnsafeTemporaryAllocation(byteCount: view.value.count, alignment: 8) { memory in
            memory.copyMemory(from: view.value)
            let state = StateView(kind: view.kind, value: UnsafeRawBufferPointer(memory), deadline: view.deadline)
            if moves { withShard(sourceHash) { $0.forget(hash: sourceHash, name: source) } }
            let isStored = withShard(destinationHash) { shard in
                shard.apply(
                    state, hash: destinationHash, name: destination, now: now.nanoseconds, isRoomMade: moves)
            }
            return isStored ? .done : .outOfMemory
        }
    }

    /// Passes the uncollected changes of the key's shard to `body` and forgets them, as a collection does.
    /// O(changed keys of the shard).
    ///
    /// - Precondition: The key's stripe is held.
    public func collectChanges(ofShardOf key: UnsafeRawBufferPointer, _ body: (JournalChange) -> Void) {
        precondition(isHolding)
        withShard(of: key) { shard, _, _ in shard.collect(limit: Int.max, body) }
    }
}
