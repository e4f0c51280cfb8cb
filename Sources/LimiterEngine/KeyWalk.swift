// A walk over every key of a database in bounded steps, between which other threads work: used by KEYS.
//
// A key present from the walk's beginning to its end is visited, and no key is visited twice. The order is SCAN's,
// whose cursors guarantee the first in any table, and the second unless the table shrinks during the walk: visited
// buckets of the larger table may then share a bucket of the smaller one with others not yet visited. So a shard does
// not shrink while a walk is in it. When all its keys are removed at once, no key is left that was present throughout,
// and the walk leaves the shard.
//
// A walk that is not completed has to be passed to `end`, or its shard would never shrink again.

/// A walk's position. Used with one session, or with several of the same engine one after the other.
public struct KeyWalk {
    fileprivate var shard = 0
    fileprivate var position: UInt64 = 0
    /// `Shard.clearings` when the shard was entered; nil outside a shard.
    fileprivate var clearings: UInt64?
    /// Whether every key has been visited.
    public fileprivate(set) var isOver = false

    /// A walk at its beginning.
    public init() {}
}

extension KeyspaceSession {
    /// Continues a walk: calls `body` with the next live keys and their kinds. The key's stripe is held, so `body` must
    /// only copy them.
    ///
    /// - Parameters:
    ///   - keys: Approximate number of keys to visit, 1 or more.
    ///   - bytes: Approximate upper bound on the bytes of keys to visit.
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
                    shard.scan(&walk.position, &budget, database: database, now: now.nanoseconds) { record in
                        if !record.isHidden { body(record.clientKey, record.kind) }
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
