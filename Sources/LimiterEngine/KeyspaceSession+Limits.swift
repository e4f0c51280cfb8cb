// Limits by single calls, and several at once: all or nothing.
//
// An all-or-nothing call is a group of neighbouring calls of a batch: hashed and fetched with all others, decided at
// its own place. So it has the batch's prefetching and keeps the order, and nothing is allocated for it.
//
// It is decided in two rounds, and not undone where the last limit refuses, because no state may be journaled or
// watched that was never in force. The first round plans: it finds out whether all will allow it. The second commits.
// The plan keeps the records it found, which stay where they are as long as their stripes are held; an index entry
// would not do, since adding one key may move those of others. Only where a group is not plainly allowed is each of
// its limits asked what it would answer.

import System

extension KeyspaceSession {
    /// Decides one call for a key and writes its answer into it. As a batch of one.
    public func decide(_ call: inout LimitCall, key: UnsafeRawBufferPointer, now: EngineTime) {
        call.setKey((key.baseAddress ?? emptyKey).assumingMemoryBound(to: UInt8.self), count: key.count)
        withUnsafeMutablePointer(to: &call) { decide($0, count: 1, now: now) }
        if call.hasChangedState { noteChange() }
    }

    /// Forgets what a key has spent. False when there was no such key. Answers that idempotency tokens were given stay.
    /// O(1).
    public func reset(_ key: UnsafeRawBufferPointer, now: EngineTime) -> Bool { remove(key, now: now) }

    // MARK: All or nothing

    /// Limits that one all-or-nothing call may name.
    public static let takeAllMax = 128

    /// How an all-or-nothing call ended.
    public enum TakeAllOutcome: Equatable, Sendable {
        /// Every limit allowed it, and units were taken of all.
        case allowed
        /// Nothing was taken anywhere. The position of the first that refused or failed, and the longest of the waits
        /// in nanoseconds; -1 when one of them never ends.
        case denied(first: Int, retryAfter: Int64)
        /// Two calls name the same key, which holds one state: the positions of both. Nothing was decided.
        case sameKey(Int, Int)
        /// More than `takeAllMax` calls. Nothing was decided.
        case tooMany
    }

    /// Takes from every limit, or from none: at one instant, with all stripes of the keys held.
    ///
    /// Each call's own answer is written into it: when all was taken as by `take`; else, as by `peek`, what it would
    /// have granted and what stands. Limits in shadow mode are taken from where they allow it and stop no call;
    /// tokens and operations of the calls are ignored. O(count²) comparisons of hashes, O(count) else.
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

    /// Calls of a batch that make one all-or-nothing call together: `count` of them from position `first` on.
    public struct Group: Sendable {
        /// The position of the first of them.
        public var first: Int
        /// How many they are, 1 … `takeAllMax`.
        public var count: Int
        /// How the call ended, once the batch is decided.
        public var outcome = TakeAllOutcome.allowed

        /// So many calls from `first` on.
        public init(first: Int, count: Int) {
            self.first = first
            self.count = count
        }
    }

    /// Decides a batch of limiter calls, some of which belong together: in order, each group at its place as by
    /// `takeAll`. See `decide(_:count:now:)`.
    ///
    /// - Parameter groups: By position, apart from each other.
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

    /// Free pages wanted before an all-or-nothing call.
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

    /// With all stripes held. First the usual case, in which every limit has room and no question is open; any other
    /// group is decided as a whole.
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
                // Another algorithm's state is rewritten by the call that is told a wait, as by a single call that
                // takes.
                guard isAnswer else { continue }
                let hash = calls[position].hash
                shard(of: hash).pointee.beginWait(calls + position, hash: hash, now: now)
            }
            return calls.denial(count)
        }
        // The same states at the same instant under the same locks: what was allowed above is allowed here.
        for position in 0..<count {
            decideOne(calls + position, as: .take, now: now)
            assert(calls[position].decision.outcome == .allowed)
        }
        return .allowed
    }

    /// Whether every call would certainly be allowed, and there is memory for whatever that needs. Then `groupPlans`
    /// has how.
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

    /// Takes what was planned. Nothing has been added or removed since but by calls of the same group, and memory is
    /// there, so records are where they were.
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

    /// More than any state may grow by in one call, record and rounding included, but for the key.
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

    /// Makes sure that all calls find memory, or marks those that would not.
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

    // MARK: Stripes of a call

    /// One stripe of an all-or-nothing call.
    struct GroupStripe {
        var number: Int
        /// Buckets that the shard's index should have; 0 while it is fine.
        var bucketsWanted: Int
    }

    @inline(__always)
    private func shard(of hash: UInt64) -> UnsafeMutablePointer<Shard> {
        precondition(mayTouch(hash), "a key outside of the stripes held")
        return engine.shard(engine.shardNumber(hash))
    }

    /// Takes the stripes of these keys, each once and in the order of shards, and returns how many there are. Their
    /// numbers are sorted into `groupStripes`, so nothing is allocated; they are few.
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

    /// Gives the stripes taken back, and then, with nothing held, the shards what they want of an index.
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
            && bytesAreEqual(left.pointee.key, right.pointee.key, count: left.pointee.keyLength)
    }
}

extension LimitCall {
    /// Whether the call, decided as a peek, would take something.
    fileprivate var isTaking: Bool { mode != .off && !decision.isShadowed && decision.granted > 0 }
}

extension UnsafeMutablePointer<LimitCall> {
    fileprivate func allAllow(_ count: Int) -> Bool {
        (0..<count).allSatisfy { self[$0].decision.outcome == .allowed }
    }

    /// Whether every limit was asked without an error.
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
