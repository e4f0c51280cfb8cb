// A walk over every key in bounded parts, between which everybody else works: what KEYS does.
//
// A key that is there from the walk's beginning to its end is seen, and no key is seen twice. The order is SCAN's,
// whose cursors keep the first promise in any table, and the second unless the table shrinks under them: buckets of the
// larger one that have been visited may share one of the smaller with others that have not. So a shard does not shrink
// while a walk is in it. When all its keys are removed at once, none is left that was there all the time, and the walk
// leaves it.
//
// A walk that is not brought to its end has to be given to `end`, or its shard would never shrink again.

/// Where a walk is. Used with one session, or several of the same engine one after the other.
public struct KeyWalk {
    fileprivate var shard = 0
    fileprivate var position: UInt64 = 0
    /// `Shard.clearings` when the shard was entered; nil outside of one.
    fileprivate var clearings: UInt64?
    /// Every key has been seen.
    public fileprivate(set) var isOver = false

    /// A walk at its beginning.
    public init() {}
}

extension KeyspaceSession {
    /// Continues a walk: calls `body` with the next live keys and their kinds, the key's stripe held, so `body` must
    /// not do more than copy them.
    ///
    /// - Parameters:
    ///   - keys: About how many keys to look at, 1 or more.
    ///   - bytes: About how many bytes of keys to look at, at most.
    public func advance(
        _ walk: inout KeyWalk, keys: Int, bytes: Int, now: EngineTime,
        _ body: (UnsafeRawBufferPointer, StateKind) -> Void
    ) {
        var budget = WalkBudget(keys: keys, bytes: bytes)
        while !walk.isOver, !budget.isSpent {
            let isLeft = withWalkedShard(walk.shard) { shard in
                if walk.clearings == nil {
                    shard.walks += 1
                    walk.clearings = shard.clearings
                }
                if walk.clearings == shard.clearings {
                    shard.scan(&walk.position, &budget, now: now.nanoseconds) { record in
                        if !record.isHidden { body(record.keyBytes, record.kind) }
                    }
                    guard walk.position == 0 else { return false }
                }
                shard.walks -= 1
                return true
            }
            guard isLeft else { continue }
            walk.clearings = nil
            walk.position = 0
            walk.shard += 1
            walk.isOver = walk.shard == engine.shardCount
        }
    }

    /// Ends a walk early.
    public func end(_ walk: inout KeyWalk) {
        guard walk.clearings != nil else { return }
        withWalkedShard(walk.shard) { $0.walks -= 1 }
        walk.clearings = nil
        walk.isOver = true
    }
}
