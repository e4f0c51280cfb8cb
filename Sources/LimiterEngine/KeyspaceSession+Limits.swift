// Limits by single calls, and several at once: all or nothing.
//
// Batches of calls go through `decide(_:count:now:)` together with CL.THROTTLE, whatever they ask. An all-or-nothing
// call is a group of neighbouring calls of such a batch: hashed and fetched with all others, decided at its own place.
// So it has the batch's prefetching and keeps the order, and nothing is allocated for it.
//
// Why it is decided in two rounds, and not undone where the last limit refuses: no state may be journaled or watched
// that was never in force. The first round looks whether all will allow it, the second takes. What the first found
// serves the second where that is a record, which stays where it is as long as its stripe is held; an index entry would
// not do, since adding one key may move those of others. Only where a call is not plainly allowed, its limits are asked
// one by one what they would answer.

import System

extension KeyspaceSession {
    /// Decides one call and writes its answer into it. As a batch of one.
    public func decide(_ take: inout TakeRequest, key: UnsafeRawBufferPointer, now: EngineTime) {
        withUnsafeMutablePointer(to: &take) { take in
            let base = (key.baseAddress ?? emptyKey).assumingMemoryBound(to: UInt8.self)
            var request = ThrottleRequest(key: base, keyLength: key.count, take: take)
            decide(&request, count: 1, now: now)
            if request.hasChangedState { noteChange() }
        }
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
    /// have granted and what stands. Limits in shadow mode are taken from where they allow it and stop nobody; tokens
    /// and operations of the calls are ignored. O(count²) comparisons of hashes, O(count) else.
    ///
    /// - Parameter requests: Calls made with `ThrottleRequest(key:keyLength:take:)`.
    public func takeAll(
        _ requests: UnsafeMutablePointer<ThrottleRequest>, count: Int, now: EngineTime
    ) -> TakeAllOutcome {
        guard count <= KeyspaceSession.takeAllMax else { return .tooMany }
        engine.pool.ensureReserve(pages: KeyspaceSession.takeAllPageReserve)
        prepare(requests, count: count)
        let outcome = takeAllPrepared(requests, count: count, now: now.nanoseconds)
        for position in 0..<count where requests[position].hasChangedState { noteChange() }
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
        _ requests: UnsafeMutablePointer<ThrottleRequest>, count: Int, groups: UnsafeMutableBufferPointer<Group>,
        now: EngineTime
    ) {
        if groups.count > 0 { engine.pool.ensureReserve(pages: KeyspaceSession.takeAllPageReserve) }
        prepare(requests, count: count)
        var position = 0
        for number in 0..<groups.count {
            let first = groups[number].first
            let groupCount = groups[number].count
            precondition(first >= position && groupCount <= KeyspaceSession.takeAllMax && first + groupCount <= count)
            decidePrepared(requests, from: position, to: first, now: now)
            groups[number].outcome = takeAllPrepared(requests + first, count: groupCount, now: now.nanoseconds)
            position = first + groupCount
        }
        decidePrepared(requests, from: position, to: count, now: now)
    }

    /// Free pages wanted before an all-or-nothing call.
    private static var takeAllPageReserve: Int { 2 * takeAllMax }

    private func takeAllPrepared(
        _ requests: UnsafeMutablePointer<ThrottleRequest>, count: Int, now: Int64
    ) -> TakeAllOutcome {
        for position in 1..<max(1, count) {
            for earlier in 0..<position where isSameKey(requests[earlier], requests[position]) {
                return .sameKey(earlier, position)
            }
        }
        guard !isHolding else { return takeAllHolding(requests, count: count, now: now) }
        let stripes = acquireStripes(requests, count: count)
        let outcome = takeAllHolding(requests, count: count, now: now)
        releaseStripes(stripes)
        return outcome
    }

    /// With all stripes held. First the usual case, in which every limit has room and no question is open; whatever is
    /// not sure to be that is looked at as a whole.
    private func takeAllHolding(
        _ requests: UnsafeMutablePointer<ThrottleRequest>, count: Int, now: Int64
    ) -> TakeAllOutcome {
        if isSure(requests, count: count, now: now) {
            for position in 0..<count { carryOut(requests + position, groupPlans[position], now: now) }
            return .allowed
        }
        for position in 0..<count {
            requests[position].take.unsafelyUnwrapped.pointee.hasRewritten = false
            decideOne(requests[position], as: .peek, now: now)
        }
        if !requests.allAllow(count) || !makeRoom(requests, count: count, now: now) {
            let isAnswer = requests.isAnswer(count)
            for position in 0..<count where requests[position].take!.pointee.decision.outcome == .denied {
                shard(of: requests[position].hash).pointee.denied &+= 1
                if isAnswer { beginWait(requests[position], now: now) }
            }
            return requests.denial(count)
        }
        // The same states at the same instant under the same locks: what was allowed above is allowed here.
        for position in 0..<count {
            decideOne(requests[position], as: .take, now: now)
            assert(requests[position].take!.pointee.decision.outcome == .allowed)
        }
        return .allowed
    }

    /// Whether every call would certainly be allowed, and there is memory for whatever that needs. Then `groupPlans`
    /// says how.
    private func isSure(_ requests: UnsafeMutablePointer<ThrottleRequest>, count: Int, now: Int64) -> Bool {
        var keyBytes = 0
        let plans = groupPlans
        for position in 0..<count {
            let take = requests[position].take.unsafelyUnwrapped
            let hash = requests[position].hash
            let keyLength = requests[position].keyLength
            keyBytes += keyLength
            take.pointee.operation = .take
            take.pointee.hasRewritten = false
            guard
                shard(of: hash).pointee.plan(
                    take, UnsafeRawPointer(requests[position].key), keyLength, hash: hash, now: now,
                    to: plans + position)
            else { return false }
        }
        return !engine.gauge.wouldExceed(keyBytes + count * KeyspaceSession.stateBytesMax)
    }

    /// Takes what `isSure` found to be allowed. Nothing has been added or removed since but by calls of the same group,
    /// and memory is there, so records are where they were.
    @inline(__always)
    private func carryOut(_ request: UnsafeMutablePointer<ThrottleRequest>, _ plan: TakePlan, now: Int64) {
        let hash = request.pointee.hash
        guard let record = plan.record else {
            decideOne(request.pointee, as: .take, now: now)
            assert(request.pointee.take!.pointee.decision.outcome == .allowed)
            return
        }
        shard(of: hash).pointee.carryOut(
            request.pointee.take.unsafelyUnwrapped, record, arrivalTime: plan.arrivalTime, hash: hash)
    }

    /// More than any state may grow by in one call, record and rounding included, but for the key.
    private static var stateBytesMax: Int { 2 * SlidingLog.byteCount(capacity: Int(SlidingLog.unitsMax)) }

    @inline(__always)
    private func decideOne(_ request: ThrottleRequest, as operation: TakeRequest.Operation, now: Int64) {
        let take = request.take.unsafelyUnwrapped
        take.pointee.operation = operation
        guard take.pointee.mode != .off else {
            take.pointee.decision = .unlimited(take.pointee)
            return
        }
        shard(of: request.hash).pointee.decide(
            take, UnsafeRawPointer(request.key), request.keyLength, hash: request.hash, now: now, isRoomMade: true)
    }

    /// Another algorithm's state is rewritten by whoever is told a wait, as by a single call that takes.
    private func beginWait(_ request: ThrottleRequest, now: Int64) {
        shard(of: request.hash).pointee.beginWait(
            request.take.unsafelyUnwrapped, UnsafeRawPointer(request.key), request.keyLength, hash: request.hash,
            now: now)
    }

    /// Makes sure that all calls find memory, or marks those that would not.
    private func makeRoom(_ requests: UnsafeMutablePointer<ThrottleRequest>, count: Int, now: Int64) -> Bool {
        var sum = 0
        for position in 0..<count where requests[position].isTaking { sum += bytesNeeded(requests[position]) }
        guard sum > 0, engine.gauge.wouldExceed(sum) else { return true }
        var isMade = true
        for position in 0..<count where requests[position].isTaking {
            let bytes = bytesNeeded(requests[position])
            guard bytes > 0, !shard(of: requests[position].hash).pointee.makeRoom(bytes, now: now) else { continue }
            requests[position].take!.pointee.decision = .failure(.outOfMemory)
            isMade = false
        }
        return isMade
    }

    private func bytesNeeded(_ request: ThrottleRequest) -> Int {
        shard(of: request.hash).pointee.bytesNeeded(
            request.take!, UnsafeRawPointer(request.key), request.keyLength, hash: request.hash)
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
    private func acquireStripes(_ requests: UnsafeMutablePointer<ThrottleRequest>, count: Int) -> Int {
        assert(count <= KeyspaceSession.takeAllMax)
        var stripes = 0
        for position in 0..<count {
            let number = engine.shardNumber(requests[position].hash)
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

    private func isSameKey(_ left: ThrottleRequest, _ right: ThrottleRequest) -> Bool {
        left.hash == right.hash && left.keyLength == right.keyLength
            && bytesAreEqual(left.key, right.key, count: left.keyLength)
    }
}

extension ThrottleRequest {
    /// Whether the call, decided as a peek, goes on to take something.
    fileprivate var isTaking: Bool {
        let take = take!.pointee
        return take.mode != .off && !take.decision.isShadowed && take.decision.granted > 0
    }
}

extension UnsafeMutablePointer<ThrottleRequest> {
    fileprivate func allAllow(_ count: Int) -> Bool {
        (0..<count).allSatisfy { self[$0].take!.pointee.decision.outcome == .allowed }
    }

    /// Whether every limit was asked without an error.
    fileprivate func isAnswer(_ count: Int) -> Bool {
        (0..<count).allSatisfy { self[$0].take!.pointee.decision.isAnswer }
    }

    fileprivate func denial(_ count: Int) -> KeyspaceSession.TakeAllOutcome {
        var first: Int?
        var longest: Int64 = 0
        for position in 0..<count {
            let decision = self[position].take!.pointee.decision
            guard decision.outcome != .allowed else { continue }
            first = first ?? position
            guard decision.outcome == .denied, longest >= 0 else { continue }
            longest = decision.retryAfter < 0 ? -1 : Swift.max(longest, decision.retryAfter)
        }
        return .denied(first: first!, retryAfter: longest)
    }
}
