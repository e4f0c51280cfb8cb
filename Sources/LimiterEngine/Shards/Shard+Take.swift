// Deciding calls: find the state, have it evaluated, carry the decision out.
//
// A call that is denied, only asks, or fails leaves the shard as it was, with two exceptions: an expired state is
// removed by the call that finds it, and a named limit whose algorithm has changed rewrites the old state: see +Carry.
//
// Almost every call takes by GCRA from a key that has a record of it, and nothing else: that is decided in place. What
// GCRA decides is stored in one function, `storeRate`: for a call alone, the first of a key, and each of a group.

extension Shard {
    /// Decides one call and writes the answer into it. Calls are handed on by address: they are long.
    mutating func decide(_ call: UnsafeMutablePointer<LimitCall>, hash: UInt64, now: Int64) {
        guard call.pointee.isPlainTake else { return decideAny(call, hash: hash, now: now) }
        let place = find(hash, call.pointee.key, call.pointee.keyLength)
        guard let record = place?.record, record.isUntimed(.gcra) else {
            return takeOffFastPath(call, place, hash: hash, now: now)
        }
        let arrivalTime = decideRate(call, arrivalTime: record.word, now: now)
        storeRate(call, record, arrivalTime, hash: hash)
        call.pointee.hasChangedState = call.pointee.decision.granted > 0
    }

    /// Decides a plain take from a key that is absent, or has a deadline or another kind of state.
    @inline(never)
    private mutating func takeOffFastPath(
        _ call: UnsafeMutablePointer<LimitCall>, _ place: Place?, hash: UInt64, now: Int64
    ) {
        decideLimit(call, place, hash: hash, now: now, isRoomMade: false)
        call.pointee.noteChange()
    }

    /// Decides a call that is not a plain take.
    @inline(never)
    private mutating func decideAny(_ call: UnsafeMutablePointer<LimitCall>, hash: UInt64, now: Int64) {
        defer { call.pointee.noteChange() }
        switch call.pointee.operation {
        case .add: return add(call, hash: hash, now: now)
        case .read: return read(call, hash: hash, now: now)
        case .take, .peek, .refund: break
        }
        call.pointee.hasRewritten = false
        if call.pointee.mode == .off {
            call.pointee.decision = .unlimited(call.pointee)
        } else if let token = call.pointee.token, call.pointee.operation != .refund {
            takeOnce(call, token: token, hash: hash, now: now)
        } else {
            decideLimit(call, hash: hash, now: now, isRoomMade: false)
        }
    }

    /// Decides one call of a limit without regard to a token, and writes the answer into it.
    ///
    /// - Parameter isRoomMade: There is memory for whatever the call may need.
    mutating func decideLimit(
        _ call: UnsafeMutablePointer<LimitCall>, hash: UInt64, now: Int64, isRoomMade: Bool
    ) {
        let place = find(hash, call.pointee.key, call.pointee.keyLength)
        decideLimit(call, place, hash: hash, now: now, isRoomMade: isRoomMade)
    }

    @inline(never)
    private mutating func decideLimit(
        _ call: UnsafeMutablePointer<LimitCall>, _ place: Place?, hash: UInt64, now: Int64, isRoomMade: Bool
    ) {
        var place = place
        if let known = place, known.record.hasDeadline || known.record.rawKind != call.pointee.limit.rawKind {
            guard settle(call, &place, hash: hash, now: now) else { return }
        }
        guard call.pointee.operation == .take, call.pointee.limit.rawKind == StateKind.gcra.rawValue else {
            return decideOther(call, place, hash: hash, now: now, isRoomMade: isRoomMade)
        }
        guard let record = place?.record else {
            return takeFirst(call, hash: hash, now: now, isRoomMade: isRoomMade)
        }
        let arrivalTime = decideRate(call, arrivalTime: record.word, now: now)
        storeRate(call, record, arrivalTime, hash: hash)
    }

    /// Decides by GCRA, writes the answer into the call and returns the TAT to store.
    @inline(__always)
    private func decideRate(_ call: UnsafeMutablePointer<LimitCall>, arrivalTime: Int64, now: Int64) -> Int64 {
        GCRA.decide(
            &call.pointee.limit, call.pointee.demand, arrivalTime: arrivalTime, now: now, to: &call.pointee.decision)
    }

    /// Counts a call decided by GCRA, and stores what it took.
    @inline(__always)
    private mutating func storeRate(
        _ call: UnsafeMutablePointer<LimitCall>, _ record: Record, _ arrivalTime: Int64, hash: UInt64
    ) {
        guard call.pointee.decision.outcome == .allowed else { return count(call) }
        allowed &+= 1
        guard call.pointee.decision.granted > 0 else { return }
        record.word = arrivalTime
        changed(record, hash: hash)
    }

    /// Takes by GCRA where the key is absent.
    @inline(never)
    private mutating func takeFirst(
        _ call: UnsafeMutablePointer<LimitCall>, hash: UInt64, now: Int64, isRoomMade: Bool
    ) {
        let arrivalTime = decideRate(call, arrivalTime: now, now: now)
        guard call.pointee.decision.outcome == .allowed, call.pointee.decision.granted > 0 else { return count(call) }
        let inserted = insert(
            .gcra, stateSize: 8, hash: hash, key: call.pointee.key, keyLength: call.pointee.keyLength, deadline: nil,
            now: now, isRoomMade: isRoomMade)
        guard let record = inserted else {
            call.pointee.decision = .failure(.outOfMemory)
            return
        }
        storeRate(call, record, arrivalTime, hash: hash)
    }

    /// Brings a state with a deadline, or of another kind, to where a decision may begin: one of the limit's own kind,
    /// or none. False when the call is answered already.
    @inline(never)
    private mutating func settle(
        _ call: UnsafeMutablePointer<LimitCall>, _ place: inout Place?, hash: UInt64, now: Int64
    ) -> Bool {
        // An expired state of the limit's own kind would be decided as none; its deadline ends with it.
        let found = place!.record
        guard found.expiry > now else {
            expire(place!, hash: hash)
            place = nil
            return true
        }
        guard found.rawKind != call.pointee.limit.rawKind else { return true }
        guard call.pointee.carriesOver, let units = call.pointee.limit.carriedUnits(StateView(found), now: now) else {
            call.pointee.decision = .failure(.wrongKind, found: found.kind)
            return false
        }
        return settleOther(call, units, &place, hash: hash, now: now)
    }

    /// Decides a call that takes nothing, or takes by another algorithm than GCRA.
    @inline(never)
    private mutating func decideOther(
        _ call: UnsafeMutablePointer<LimitCall>, _ place: Place?, hash: UInt64, now: Int64, isRoomMade: Bool
    ) {
        switch call.pointee.operation {
        case .peek where call.pointee.limit.rawKind == StateKind.gcra.rawValue && call.pointee.mode == .enforce:
            return peekRate(call, arrivalTime: place?.record.word ?? now, now: now)
        case .peek:
            call.pointee.decision = call.pointee.peek(state: place?.record.state, now: now)
            return
        case .refund:
            call.pointee.decision = refund(call.pointee, place, hash: hash, now: now)
            return
        case .take, .add, .read: break
        }
        let (decision, next) = call.pointee.limit.evaluate(call.pointee.demand, state: place?.record.state, now: now)
        call.pointee.decision = decision
        if decision.outcome == .allowed, decision.granted > 0 {
            guard commit(next!, decision.granted, call, place, hash: hash, now: now, isRoomMade: isRoomMade) else {
                call.pointee.decision = .failure(.outOfMemory)
                return
            }
        }
        count(call)
    }

    /// As `LimitCall.peek`, for GCRA and in place.
    private func peekRate(_ call: UnsafeMutablePointer<LimitCall>, arrivalTime: Int64, now: Int64) {
        var standing = LimitDecision(.denied)
        _ = GCRA.decide(
            &call.pointee.limit, call.pointee.demand, arrivalTime: arrivalTime, now: now, to: &call.pointee.decision)
        guard call.pointee.decision.isAnswer else { return }
        _ = GCRA.decide(&call.pointee.limit, .nothing, arrivalTime: arrivalTime, now: now, to: &standing)
        call.pointee.decision.remaining = standing.remaining
        call.pointee.decision.resetAfter = standing.resetAfter
    }

    /// Whether a call of `take` would certainly be allowed, and how: what keeps it from being certain, such as another
    /// kind of state, is left to the general way. Changes nothing but the call's answer.
    mutating func planTake(
        _ call: UnsafeMutablePointer<LimitCall>, hash: UInt64, now: Int64, to plan: UnsafeMutablePointer<TakePlan>
    ) -> Bool {
        plan.initialize(to: TakePlan())
        guard call.pointee.mode == .enforce else { return call.pointee.mode == .off }
        let record = find(hash, call.pointee.key, call.pointee.keyLength)?.record
        if let record, record.hasDeadline || record.rawKind != call.pointee.limit.rawKind { return false }
        guard call.pointee.limit.rawKind == StateKind.gcra.rawValue else {
            return call.pointee.limit.outcome(call.pointee.demand, state: record?.state, now: now) == .allowed
        }
        plan.pointee.arrivalTime = decideRate(call, arrivalTime: record?.word ?? now, now: now)
        plan.pointee.record = record
        return call.pointee.decision.outcome == .allowed
    }

    /// Takes by GCRA as planned: the call is allowed and answered already.
    mutating func commitTake(
        _ call: UnsafeMutablePointer<LimitCall>, _ record: Record, arrivalTime: Int64, hash: UInt64
    ) {
        storeRate(call, record, arrivalTime, hash: hash)
    }

    /// Counts a decided call, and makes a denial by a limit that only watches an allowance that reports it.
    mutating func count(_ call: UnsafeMutablePointer<LimitCall>) {
        switch call.pointee.decision.outcome {
        case .allowed: allowed &+= 1
        case .denied where call.pointee.mode == .shadow:
            call.pointee.decision = call.pointee.decision.shadowed(by: call.pointee)
            shadowed &+= 1
        case .denied: denied &+= 1
        default: break
        }
    }

    // MARK: Writing

    /// Writes the state that a decision leads to. False, and nothing changed, when the memory limit forbids it.
    private mutating func commit(
        _ next: NextState, _ granted: Int64, _ call: UnsafeMutablePointer<LimitCall>, _ place: Place?, hash: UInt64,
        now: Int64, isRoomMade: Bool
    ) -> Bool {
        var place = place
        let kind = call.pointee.limit.algorithm.kind
        let (key, keyLength) = (UnsafeRawPointer(call.pointee.key), call.pointee.keyLength)
        if case .slidingLog(let end) = next, let known = place {
            let log = SlidingLog(known.record.state)
            let ended = log.load(at: now).ended
            let capacity = log.capacityNeeded(ended: ended, end: end, limit: call.pointee.limit.units)
            if capacity == log.capacity {
                log.dropFirst(ended)
                log.append(granted, until: end)
                changed(known.record, hash: hash)
                return true
            }
            let growth = SlidingLog.grantSize * (capacity - log.capacity)
            guard isRoomMade || !gauge.wouldExceed(growth) || makeRoom(growth, now: now) else { return false }
            // Making room may have forgotten this very key.
            place = find(hash, key, keyLength)
            if let place {
                growLog(place, capacity: capacity)
                return commit(next, granted, call, place, hash: hash, now: now, isRoomMade: true)
            }
        }
        let size = kind.fixedSize ?? SlidingLog.byteCount(capacity: 1)
        let inserted =
            place?.record
            ?? insert(
                kind, stateSize: size, hash: hash, key: key, keyLength: keyLength, deadline: nil, now: now,
                isRoomMade: isRoomMade)
        guard let record = inserted else { return false }
        switch next {
        case .fixedWindow(let window): window.store(to: record.state)
        case .slidingWindow(let window): window.store(to: record.state)
        case .slidingLog(let end): SlidingLog(record.state).append(granted, until: end)
        }
        changed(record, hash: hash)
        return true
    }

    /// Moves a log to memory with room for more grants.
    private mutating func growLog(_ place: Place, capacity: Int) {
        let old = place.record
        let new = allocateCopy(
            of: old, stateSize: SlidingLog.byteCount(capacity: capacity),
            deadline: old.hasDeadline ? old.deadline : nil)
        SlidingLog(old.state).copy(to: SlidingLog(new.state))
        replace(old, by: new, entry: place.entry)
    }

    /// Makes sure of memory for what the call may need and `extra` bytes. False when the memory limit forbids it.
    mutating func makeRoomFor(
        _ call: UnsafeMutablePointer<LimitCall>, hash: UInt64, extra: Int, now: Int64
    ) -> Bool {
        let bytes = extra + bytesNeeded(call, hash: hash)
        return bytes == 0 || !gauge.wouldExceed(bytes) || makeRoom(bytes, now: now)
    }

    /// Memory that the call may need at most beyond what its key has.
    mutating func bytesNeeded(_ call: UnsafeMutablePointer<LimitCall>, hash: UInt64) -> Int {
        let keyLength = call.pointee.keyLength
        let size = call.pointee.limit.algorithm.kind.fixedSize ?? SlidingLog.byteCount(capacity: 1)
        guard let record = find(hash, call.pointee.key, keyLength)?.record else {
            return Slab.footprint(Record.size(stateSize: size, keyLength: keyLength, hasDeadline: false))
        }
        guard record.rawKind == StateKind.slidingLog.rawValue else { return 0 }
        let log = SlidingLog(record.state)
        return log.count < log.capacity ? 0 : SlidingLog.grantSize * log.capacity
    }

    // MARK: Giving back

    private mutating func refund(_ call: LimitCall, _ place: Place?, hash: UInt64, now: Int64) -> LimitDecision {
        let limit = call.limit
        guard let place else { return .refunded(0, limit, state: nil, now: now) }
        let given = giveBack(call.demand.units, limit, place, hash: hash, now: now)
        return .refunded(given.units, limit, state: given.isFull ? nil : place.record.state, now: now)
    }

    /// Takes up to `units` off what a state of any kind has spent, in its own terms; of a debt in time at the price
    /// that `limit` knows. Returns how many there were to give back, and whether nothing is left: the key is gone.
    mutating func giveBack(
        _ units: Int64, _ limit: Limit, _ place: Place, hash: UInt64, now: Int64
    ) -> (units: Int64, isFull: Bool) {
        let state = place.record.state
        var given: Int64 = 0
        var isFull = false
        switch place.record.kind {
        case .gcra:
            let price = limit.debtPrice(at: now)
            let ahead = max(place.record.word, now) - now
            let (time, overflows) = units.multipliedReportingOverflow(by: price)
            let back = overflows ? ahead : min(time, ahead)
            given = min(units, ceilingUnits(back, unit: price))
            isFull = back == ahead
            if given > 0, !isFull { place.record.word = now + ahead - back }
        case .fixedWindow:
            let window = FixedWindow(state)
            given = window.end > now ? min(units, window.spent) : 0
            if given > 0, let next = window.refunding(units) { next.store(to: state) } else { isFull = given > 0 }
        case .slidingWindow:
            // As much as is in force less by it: what has faded is not given back a second time.
            let window = SlidingWindow(state).advanced(to: now)
            let next = window.refunding(units)
            given = window.used(at: now) - (next?.used(at: now) ?? 0)
            isFull = next == nil
            if given > 0 { next?.store(to: state) }
        case .slidingLog:
            let log = SlidingLog(state)
            let load = log.load(at: now)
            given = min(units, load.used)
            guard given > 0 else { break }
            log.dropFirst(load.ended)
            log.refund(given)
            isFull = log.count == 0
        case .counter, .token: break
        }
        guard given > 0 else { return (0, false) }
        if isFull { remove(place, hash: hash) } else { changed(place.record, hash: hash) }
        return (given, isFull)
    }
}

/// How a call that is certain to be allowed is carried out.
struct TakePlan {
    /// The record, where the key has one and its state is GCRA's; else the call has to be decided anew.
    var record: Record?
    /// The TAT to store there.
    var arrivalTime: Int64 = 0
}

extension LimitCall {
    /// What `take` would answer, with what is in force now as remaining and reset.
    func peek(state: UnsafeMutableRawPointer?, now: Int64) -> LimitDecision {
        var decision = limit.evaluate(demand, state: state, now: now).decision
        guard decision.isAnswer else { return decision }
        let standing = limit.evaluate(.nothing, state: state, now: now).decision
        decision.remaining = standing.remaining
        decision.resetAfter = standing.resetAfter
        return decision.shadowed(by: self)
    }
}

extension LimitDecision {
    /// The answer of a limit that is switched off.
    static func unlimited(_ call: LimitCall) -> LimitDecision {
        LimitDecision(
            .allowed, granted: call.operation == .refund ? 0 : call.demand.units, limit: call.limit.capacity,
            remaining: call.limit.capacity)
    }

    /// A denial as a limit that only watches reports it.
    func shadowed(by call: LimitCall) -> LimitDecision {
        guard call.mode == .shadow, outcome == .denied else { return self }
        var decision = self
        decision.outcome = .allowed
        decision.granted = call.demand.units
        decision.retryAfter = -1
        decision.isShadowed = true
        return decision
    }

    /// The answer to a refund that left this state.
    static func refunded(
        _ units: Int64, _ limit: Limit, state: UnsafeMutableRawPointer?, now: Int64
    ) -> LimitDecision {
        let standing = limit.evaluate(.nothing, state: state, now: now).decision
        return LimitDecision(
            .allowed, granted: units, limit: limit.capacity, remaining: standing.remaining,
            resetAfter: standing.resetAfter)
    }
}
