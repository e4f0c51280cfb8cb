// Single limiter calls, and several at once, all or nothing.
//
// An all-or-nothing call is a group of adjacent calls in a batch: hashed and prefetched with all others, decided at its
// own position. So it benefits from the batch's prefetching, keeps the order, and allocates nothing.
//
// It is decided in two phases rather than rolled back when the last limit refuses, because a state that was never in
// force must not be journaled or watched. The first phase plans: it determines whether all limits will allow the call.
// The second commits. The plan keeps the records it found, which do not move while their stripes are held; an index
// entry would not do, since adding one key may move those of others. Only a group that is not plainly allowed is
// evaluated limit by limit.

import System

extension KeyspaceSession {
    /// Decides one call for a key and writes its answer into it. Equivalent to a batch of one.
    public func decide(_ call: inout LimitCall, key: UnsafeRawBufferPointer, now: EngineTime) {
        withName(key) { name in
            let base = name.base.assumingMemoryBound(to: UInt8.self)
            if name.isNumbered {
                call.setNumberedKey(base, count: name.count)
            } else {
                call.setKey(base, count: name.count)
            }
            withUnsafeMutablePointer(to: &call) { decide($0, count: 1, now: now) }
        }
        if call.hasChangedState { noteChange() }
    }

    /// Forgets what a key has spent. False when there was no such key. Answers to idempotency tokens are kept. O(1).
    public func reset(_ key: UnsafeRawBufferPointer, now: EngineTime) -> Bool { remove(key, now: now) }

    // MARK: All or nothing

    /// Maximum number of limits in one all-or-nothing call.
    public static let takeAllMax = 128

    /// How an all-or-nothing call ended.
    public enum TakeAllOutcome: Equatable, Sendable {
        /// Every limit allowed it, and units were taken from all.
        case allowed
        /// Nothing was taken anywhere. The position of the first that refused or failed, and the longest of the waits
        /// in nanoseconds; -1 when one of them never ends.
        case denied(first: Int, retryAfter: Int64)
        /// Two calls name the same key, which has only one state: the positions of both. Nothing was decided.
        case sameKey(Int, Int)
        /// More than `takeAllMax` calls. Nothing was decided.
        case tooMany
    }

    /// Takes from every limit, or from none: atomically, with all stripes of the keys held.
    ///
    /// Each call's own answer is written into it: as by `take` when all was taken; otherwise as by `peek`: what it
    /// would have granted, and the current state. Limits in shadow mode are taken from if they allow it and stop no
    /// call; tokens and operations of the calls are ignored. O(count²) comparisons of hashes, otherwise O(count).
    ///
    public func takeAll(
        _ calls: UnsafeMutablePointer<LimitCall>, count: Int, now: EngineTime
    ) -> TakeAllOutcome {
        guard count <= KeyspaceSession.takeAllMax else { return .tooMany }
        engine.pool.ensureReserve(pages: KeyspaceSession.takeAllPageReserve)
        prepare(calls, count: count)
        let outcome = takeAllPrepared(calls, count: count, now: now.nanoseconds)
        for position in 0..<count where calls[position].hasChangedState { noteChange() }
        return outcome
    }

    /// Adjacent calls of a batch that form one all-or-nothing call: `count` of them from position `first` on.
    public struct Group: Sendable {
        /// The position of the first of them.
        public var first: Int
        /// Number of calls, 1 … `takeAllMax`.
        public var count: Int
        /// How the call ended, once the batch is decided.
        public var outcome = TakeAllOutcome.allowed

        /// `count` calls from `first` on.
        public init(first: Int, count: Int) {
            self.first = first
            self.count = count
        }
    }

    /// Decides a batch of limiter calls, some of which form groups: in order, each group at its position as by
    /// `takeAll`. See `decide(_:count:now:)`.
    ///
    /// - Parameter groups: In order of position, without overlap.
    public func decide(
        _ calls: UnsafeMutablePointer<LimitCall>, count: Int, groups: UnsafeMutableBufferPointer<Group>,
        now: EngineTime
    ) {
        if groups.count > 0 { engine.pool.ensureReserve(pages: KeyspaceSession.takeAllPageReserve) }
        prepare(calls, count: count)
        var position = 0
        for number in 0..<groups.count {
            let first = groups[number].first
            let groupCount = groups[number].count
            precondition(first >= position && groupCount <= KeyspaceSession.takeAllMax && first + groupCount <= count)
            decidePrepared(calls, from: position, to: first, now: now)
            groups[number].outcome = takeAllPrepared(calls + first, count: groupCount, now: now.nanoseconds)
            position = first + groupCount
        }
        decidePrepared(calls, from: position, to: count, now: now)
    }

    /// Free pages required before an all-or-nothing call.
    private static var takeAllPageReserve: Int { 2 * takeAllMax }

    private func takeAllPrepared(
        _ calls: UnsafeMutablePointer<LimitCall>, count: Int, now: Int64
    ) -> TakeAllOutcome {
        for position in 1..<max(1, count) {
            for earlier in 0..<position where isSameKey(calls + earlier, calls + position) {
                for position in 0..<count { calls[position].hasChangedState = false }
                return .sameKey(earlier, position)
            }
        }
        defer { for position in 0..<count { calls[position].noteChange() } }
        guard !isHolding else { return takeAllHolding(calls, count: count, now: now) }
        let stripes = acquireStripes(calls, count: count)
        let outcome = takeAllHolding(calls, count: count, now: now)
        releaseStripes(stripes)
        return outcome
    }

    /// Requires all stripes. Tries the usual case first, in which every limit certainly has room; any other group is
    /// decided as a whole.
    private func takeAllHolding(_ calls: UnsafeMutablePointer<LimitCall>, count: Int, now: Int64) -> TakeAllOutcome {
        if planTakeAll(calls, count: count, now: now) {
            for position in 0..<count { commit(calls + position, groupPlans[position], now: now) }
            return .allowed
        }
        for position in 0..<count {
            calls[position].hasRewritten = false
            decideOne(calls + position, as: .peek, now: now)
        }
        if !calls.allAllow(count) || !makeRoom(calls, count: count, now: now) {
            let isAnswer = calls.isAnswer(count)
            for position in 0..<count where calls[position].decision.outcome == .denied {
                shard(of: calls[position].hash).pointee.denied &+= 1
                // A call that is given a wait rewrites another algorithm's state, as a single call that takes does.
                guard isAnswer else { continue }
                let hash = calls[position].hash
                shard(of: hash).pointee.beginWait(calls + position, hash: hash, now: now)
            }
            return calls.denial(count)
        }
        // The same states at the same instant under the same locks: whatever was allowed above is allowed here.
        for position in 0..<count {
            decideOne(calls + position, as: .take, now: now)
            assert(calls[position].decision.outcome == .allowed)
        }
        return .allowed
    }

    /// Whether every call would certainly be allowed, with memory available for it. If so, `groupPlans` contains the
    /// plan.
    private func planTakeAll(_ calls: UnsafeMutablePointer<LimitCall>, count: Int, now: Int64) -> Bool {
        var keyBytes = 0
        let plans = groupPlans
        for position in 0..<count {
            let call = calls + position
            let hash = call.pointee.hash
            keyBytes += call.pointee.keyLength
            call.pointee.operation = .take
            call.pointee.hasRewritten = false
            guard shard(of: hash).pointee.planTake(call, hash: hash, now: now, to: plans + position) else {
                return false
            }
        }
        return !engine.gauge.wouldExceed(keyBytes + count * KeyspaceSession.stateBytesMax)
    }

    /// Commits the plan. Since planning, only calls of the same group have added or removed anything, and memory is
    /// available, so records are still in place.
    @inline(__always)
    private func commit(_ call: UnsafeMutablePointer<LimitCall>, _ plan: TakePlan, now: Int64) {
        guard let record = plan.record else {
            decideOne(call, as: .take, now: now)
            assert(call.pointee.decision.outcome == .allowed)
            return
        }
        let hash = call.pointee.hash
        shard(of: hash).pointee.commitTake(call, record, arrivalTime: plan.arrivalTime, hash: hash)
    }

    /// Upper bound on a state's growth in one call, including record header and rounding, but not the key.
    private static var stateBytesMax: Int { 2 * StateKind.sizeMax }

    @inline(__always)
    private func decideOne(_ call: UnsafeMutablePointer<LimitCall>, as operation: LimitCall.Operation, now: Int64) {
        call.pointee.operation = operation
        guard call.pointee.mode != .off else {
            call.pointee.decision = .unlimited(call.pointee)
            return
        }
        let hash = call.pointee.hash
        shard(of: hash).pointee.decideLimit(call, hash: hash, now: now, isRoomMade: true)
    }

    /// Makes sure that there is memory for all calls, or marks those without.
    private func makeRoom(_ calls: UnsafeMutablePointer<LimitCall>, count: Int, now: Int64) -> Bool {
        var sum = 0
        for position in 0..<count where calls[position].isTaking { sum += bytesNeeded(calls + position) }
        guard sum > 0, engine.gauge.wouldExceed(sum) else { return true }
        var isMade = true
        for position in 0..<count where calls[position].isTaking {
            let bytes = bytesNeeded(calls + position)
            guard bytes > 0, !shard(of: calls[position].hash).pointee.makeRoom(bytes, now: now) else { continue }
            calls[position].decision = .failure(.outOfMemory)
            isMade = false
        }
        return isMade
    }

    private func bytesNeeded(_ call: UnsafeMutablePointer<LimitCall>) -> Int {
        let hash = call.pointee.hash
        return shard(of: hash).pointee.bytesNeeded(call, hash: hash)
    }

    // MARK: Stripes of a group

    /// One stripe of an all-or-nothing call.
    struct GroupStripe {
        var number: Int
        /// Buckets that the shard's index should have; 0 for no change.
        var bucketsWanted: Int
    }

    @inline(__always)
    private func shard(of hash: UInt64) -> UnsafeMutablePointer<Shard> {
        precondition(mayTouch(hash), "a key outside the stripes held")
        return engine.shard(engine.shardNumber(hash))
    }

    /// Acquires the stripes of these keys, each once and in shard order, and returns their number. Their numbers are
    /// sorted into `groupStripes`, so nothing is allocated; there are few.
    private func acquireStripes(_ calls: UnsafeMutablePointer<LimitCall>, count: Int) -> Int {
        assert(count <= KeyspaceSession.takeAllMax)
        var stripes = 0
        for position in 0..<count {
            let number = engine.shardNumber(calls[position].hash)
            var place = stripes
            while place > 0, groupStripes[place - 1].number > number { place -= 1 }
            if place > 0, groupStripes[place - 1].number == number { continue }
            var moved = stripes
            while moved > place {
                groupStripes[moved] = groupStripes[moved - 1]
                moved -= 1
            }
            groupStripes[place] = GroupStripe(number: number, bucketsWanted: 0)
            stripes += 1
        }
        for place in 0..<stripes { engine.lock(groupStripes[place].number).acquire() }
        return stripes
    }

    /// Releases the stripes and then, with nothing held, provides the indexes that the shards requested.
    private func releaseStripes(_ stripes: Int) {
        for place in 0..<stripes {
            let number = groupStripes[place].number
            groupStripes[place].bucketsWanted = engine.shard(number).pointee.bucketsWanted
            engine.lock(number).release()
        }
        for place in 0..<stripes where groupStripes[place].bucketsWanted != 0 {
            engine.provideIndex(groupStripes[place].number, buckets: groupStripes[place].bucketsWanted)
        }
    }

    @inline(__always)
    private func isSameKey(_ left: UnsafePointer<LimitCall>, _ right: UnsafePointer<LimitCall>) -> Bool {
        left.pointee.hash == right.pointee.hash && left.pointee.keyLength == right.pointee.keyLength
            && left.pointee.isNumbered == right.pointee.isNumbered
            && bytesAreEqual(left.pointee.key, right.pointee.key, count: left.pointee.keyLength)
    }
}

extension LimitCall {
    /// Whether the call, decided as a peek, would take any units.
    fileprivate var isTaking: Bool { mode != .off && !decision.isShadowed && decision.granted > 0 }
}

extension UnsafeMutablePointer<LimitCall> {
    fileprivate func allAllow(_ count: Int) -> Bool {
        (0..<count).allSatisfy { self[$0].decision.outcome == .allowed }
    }

    /// Whether every limit was evaluated without an error.
    fileprivate func isAnswer(_ count: Int) -> Bool { (0..<count).allSatisfy { self[$0].decision.isAnswer } }

    fileprivate func denial(_ count: Int) -> KeyspaceSession.TakeAllOutcome {
        var first: Int?
        var longest: Int64 = 0
        for position in 0..<count {
            let outcome = self[position].decision.outcome
            guard outcome != .allowed else { continue }
            first = first ?? position
            guard outcome == .denied, longest >= 0 else { continue }
            let wait = self[position].decision.retryAfter
            longest = wait < 0 ? -1 : Swift.max(longest, wait)
        }
        return .denied(first: first!, retryAfter: longest)
    }
}
