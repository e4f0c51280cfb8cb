// Commands on single keys. Each locks its key's stripe unless it is held already. An expired key is absent for all of
// them.

/// A key's time to live.
public enum TimeToLive: Equatable, Sendable {
    /// There is no such key.
    case missing
    /// The key lives until it is removed.
    case forever
    /// Nanoseconds until the key expires, above 0.
    case nanoseconds(Int64)
}

extension KeyspaceSession {
    /// The state of a key, or nil when there is none. O(1).
    public func state(of key: UnsafeRawBufferPointer, now: EngineTime) -> KeyState? {
        find(key, now: now) { _, _, place in KeyState(place.record) }
    }

    /// Whether there is such a key. O(1).
    public func exists(_ key: UnsafeRawBufferPointer, now: EngineTime) -> Bool {
        find(key, now: now) { _, _, _ in true } ?? false
    }

    /// A key's time to live. O(1).
    public func timeToLive(_ key: UnsafeRawBufferPointer, now: EngineTime) -> TimeToLive {
        find(key, now: now) { _, _, place in
            let expiry = place.record.expiry
            return expiry == Int64.max ? .forever : .nanoseconds(expiry - now.nanoseconds)
        } ?? .missing
    }

    /// When the key expires; nil in `expiry` when it lives until removed. Nil when there is no key. O(1).
    public func expiry(of key: UnsafeRawBufferPointer, now: EngineTime) -> EngineTime?? {
        find(key, now: now) { _, _, place in
            place.record.expiry == Int64.max ? EngineTime?.none : EngineTime(nanoseconds: place.record.expiry)
        }
    }

    /// Removes a key. False when there was none. O(1).
    public func remove(_ key: UnsafeRawBufferPointer, now: EngineTime) -> Bool {
        find(key, now: now) { shard, hash, place in
            shard.remove(place, hash: hash)
            return true
        } ?? false
    }

    /// Sets a key's deadline; a limiter that is replenished sooner expires sooner. A deadline that has passed removes
    /// the key at once. False when there is no such key. O(1).
    public func setDeadline(_ key: UnsafeRawBufferPointer, to deadline: EngineTime, now: EngineTime) -> Bool {
        find(key, now: now) { shard, hash, place in
            if deadline <= now {
                shard.remove(place, hash: hash)
            } else {
                _ = shard.setDeadline(place, hash: hash, to: min(deadline.nanoseconds, Int64.max - 1))
            }
            return true
        } ?? false
    }

    /// The deadline set on a key; nil if only its state determines its expiry. Nil when there is no such key. O(1).
    public func deadline(of key: UnsafeRawBufferPointer, now: EngineTime) -> EngineTime?? {
        find(key, now: now) { _, _, place in
            KeyState(place.record).deadline.map { EngineTime(nanoseconds: $0) }
        }
    }

    /// Removes a key's deadline. False when there is no such key or it had none. O(1).
    public func removeDeadline(_ key: UnsafeRawBufferPointer, now: EngineTime) -> Bool {
        find(key, now: now) { shard, hash, place in shard.setDeadline(place, hash: hash, to: nil) } ?? false
    }

    /// Bytes the key uses: its record and its entry in the index. Nil when there is no such key. O(1).
    public func memoryUsage(of key: UnsafeRawBufferPointer, now: EngineTime) -> Int? {
        find(key, now: now) { _, _, place in Slab.footprint(place.record.size) + 8 }
    }

    /// Stores a one-word state verbatim, whatever the key held. False when the memory limit forbids a new key. O(1).
    @discardableResult
    public func apply(_ state: KeyState, to key: UnsafeRawBufferPointer, now: EngineTime) -> Bool {
        var word = state.word
        return withUnsafeBytes(of: &word) { value in
            apply(StateView(kind: state.kind, value: value, deadline: state.deadline), to: key, now: now)
        }
    }

    /// Stores a state verbatim, whatever the key held. False when the memory limit forbids a new key. O(bytes).
    ///
    /// - Precondition: The state is valid for the key (`StateView.isValid(for:)`).
    @discardableResult
    public func apply(_ state: StateView, to key: UnsafeRawBufferPointer, now: EngineTime) -> Bool {
        withName(key) { apply(state, to: $0, now: now) }
    }

    /// As above, for a name of any database.
    @discardableResult
    public func apply(_ state: StateView, to name: KeyName, now: EngineTime) -> Bool {
        precondition(name.count <= keyLengthMax)
        precondition(state.value.count == state.kind.fixedSize ?? state.value.count, "a state of the wrong size")
        let hash = engine.seed.hash(name.bytes, isHidden: state.kind.isHidden)
        return withShard(hash) { $0.apply(state, hash: hash, name: name, now: now.nanoseconds) }
    }

    /// Passes a key's state to `body`, with the stripe held; nil when there is no such key. O(1).
    public func withState<Result>(
        of key: UnsafeRawBufferPointer, now: EngineTime, _ body: (StateView) -> Result
    ) -> Result? {
        find(key, now: now) { _, _, place in body(StateView(place.record)) }
    }

    // MARK: Watching

    /// Touches `token` when the key next changes. O(1).
    public func watch(_ key: [UInt8], token: WatchToken, now: EngineTime) {
        key.withUnsafeBytes { bytes in
            withShard(of: bytes) { shard, hash, name in
                // Removes the key if it has already expired, so that noticing that later does not count as a change.
                _ = shard.findLive(hash, name, now: now.nanoseconds)
                shard.addWatch(hash, name, token: token)
            }
        }
    }

    /// Ends the token's watch on a key; its watches on other keys remain. O(1).
    public func unwatch(_ key: [UInt8], token: WatchToken) {
        key.withUnsafeBytes { bytes in
            withShard(of: bytes) { $0.removeWatch($1, $2, token: token) }
        }
    }

    /// Touches the token if the key has expired since it was watched and the expiry has not been noticed yet.
    public func noticeExpiry(of key: UnsafeRawBufferPointer, now: EngineTime) {
        _ = exists(key, now: now)
    }

    private func find<Result>(
        _ key: UnsafeRawBufferPointer, now: EngineTime, _ body: (inout Shard, UInt64, Shard.Place) -> Result
    ) -> Result? {
        guard key.count < keyLengthMax || database == 0 && key.count == keyLengthMax else { return nil }
        return withShard(of: key) { shard, hash, name in
            guard let place = shard.findLive(hash, name, now: now.nanoseconds) else { return nil }
            return body(&shard, hash, place)
        }
    }
}
