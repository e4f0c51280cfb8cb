// Calls of limits, whatever the algorithm: find the state, have it evaluated, carry the decision out.
//
// A call that is denied, only asks, or fails leaves the shard as it was, but for two things: a state worth nothing is
// removed by whoever meets it, and a named limit whose algorithm changed rewrites the old state: see +Carry.

extension Shard {
    /// Decides one call and writes the answer into it. Calls are handed on by address: they are long.
    mutating func take(
        _ take: UnsafeMutablePointer<TakeRequest>, _ key: UnsafePointer<UInt8>, _ keyLength: Int, hash: UInt64,
        now: Int64
    ) {
        let key = UnsafeRawPointer(key)
        take.pointee.hasRewritten = false
        if take.pointee.mode == .off {
            take.pointee.decision = .unlimited(take.pointee)
        } else if let token = take.pointee.token, take.pointee.operation != .refund {
            takeOnce(take, token: token, key, keyLength, hash: hash, now: now)
        } else {
            decide(take, key, keyLength, hash: hash, now: now, isRoomMade: false)
        }
    }

    /// Decides one call without regard to a token, and writes the answer into it.
    ///
    /// - Parameter isRoomMade: Memory for what the call may need has been made sure of.
    mutating func decide(
        _ take: UnsafeMutablePointer<TakeRequest>, _ key: UnsafeRawPointer, _ keyLength: Int, hash: UInt64, now: Int64,
        isRoomMade: Bool
    ) {
        var place = find(hash, key, keyLength)
        if let known = place, known.record.hasDeadline || known.record.rawKind != take.pointee.limit.rawKind {
            guard settle(take, &place, key, keyLength, hash: hash, now: now) else { return }
        }
        guard take.pointee.operation == .take, take.pointee.limit.rawKind == StateKind.gcra.rawValue else {
            return decideOther(take, place, key, keyLength, hash: hash, now: now, isRoomMade: isRoomMade)
        }
        guard let record = place?.record else {
            return takeFirst(take, key, keyLength, hash: hash, now: now, isRoomMade: isRoomMade)
        }
        let arrivalTime = GCRA.decide(
            &take.pointee.limit, take.pointee.demand, arrivalTime: record.word, now: now, to: &take.pointee.decision)
        guard take.pointee.decision.outcome == .allowed else { return count(take) }
        allowed &+= 1
        guard take.pointee.decision.granted > 0 else { return }
        record.word = arrivalTime
        changed(record, hash: hash)
    }

    /// Takes by GCRA where the key is absent.
    @inline(never)
    private mutating func takeFirst(
        _ take: UnsafeMutablePointer<TakeRequest>, _ key: UnsafeRawPointer, _ keyLength: Int, hash: UInt64, now: Int64,
        isRoomMade: Bool
    ) {
        let arrivalTime = GCRA.decide(
            &take.pointee.limit, take.pointee.demand, arrivalTime: now, now: now, to: &take.pointee.decision)
        if take.pointee.decision.outcome == .allowed, take.pointee.decision.granted > 0 {
            let inserted = insert(
                .gcra, stateSize: 8, hash: hash, key: key, keyLength: keyLength, deadline: nil, now: now,
                isRoomMade: isRoomMade)
            guard let record = inserted else {
                take.pointee.decision = .failure(.outOfMemory)
                return
            }
            record.word = arrivalTime
            changed(record, hash: hash)
        }
        count(take)
    }

    /// Brings a key's state with a deadline, or of another kind, to where a decision may begin: one of the limit's own
    /// kind, or none. False when the call is answered already.
    @inline(never)
    private mutating func settle(
        _ take: UnsafeMutablePointer<TakeRequest>, _ place: inout Place?, _ key: UnsafeRawPointer, _ keyLength: Int,
        hash: UInt64, now: Int64
    ) -> Bool {
        // A state of the limit's own kind that has ended counts as none by itself; its deadline ends with it.
        let found = place!.record
        guard found.expiry > now else {
            expire(place!, hash: hash)
            place = nil
            return true
        }
        guard found.rawKind != take.pointee.limit.rawKind else { return true }
        guard take.pointee.carriesOver, let units = take.pointee.limit.carriedUnits(StateView(found), now: now) else {
            take.pointee.decision = .failure(.wrongKind, found: found.kind)
            return false
        }
        return settleOther(
            take, units, &place, UnsafeRawBufferPointer(start: key, count: keyLength), hash: hash, now: now)
    }

    /// Decides a call that takes nothing, or takes by another algorithm than GCRA.
    @inline(never)
    private mutating func decideOther(
        _ take: UnsafeMutablePointer<TakeRequest>, _ place: Place?, _ key: UnsafeRawPointer, _ keyLength: Int,
        hash: UInt64, now: Int64, isRoomMade: Bool
    ) {
        switch take.pointee.operation {
        case .peek where take.pointee.limit.rawKind == StateKind.gcra.rawValue && take.pointee.mode == .enforce:
            return peekRate(take, arrivalTime: place?.record.word ?? now, now: now)
        case .peek:
            take.pointee.decision = take.pointee.peek(state: place?.record.state, now: now)
            return
        case .refund:
            take.pointee.decision = refund(take.pointee, place, hash: hash, now: now)
            return
        case .take: break
        }
        let (decision, next) = take.pointee.limit.evaluate(take.pointee.demand, state: place?.record.state, now: now)
        take.pointee.decision = decision
        if decision.outcome == .allowed, decision.granted > 0 {
            guard
                commit(
                    next, decision.granted, take, place, hash: hash, key: key, keyLength, now: now,
                    isRoomMade: isRoomMade)
            else {
                take.pointee.decision = .failure(.outOfMemory)
                return
            }
        }
        count(take)
    }

    /// As `TakeRequest.peek`, for GCRA and in place.
    private func peekRate(_ take: UnsafeMutablePointer<TakeRequest>, arrivalTime: Int64, now: Int64) {
        var standing = LimitDecision(.denied)
        _ = GCRA.decide(
            &take.pointee.limit, take.pointee.demand, arrivalTime: arrivalTime, now: now, to: &take.pointee.decision)
        guard take.pointee.decision.isAnswer else { return }
        _ = GCRA.decide(&take.pointee.limit, .nothing, arrivalTime: arrivalTime, now: now, to: &standing)
        take.pointee.decision.remaining = standing.remaining
        take.pointee.decision.resetAfter = standing.resetAfter
    }

    /// Whether a call decided by `take` would certainly be allowed as it stands, and how: what keeps it from being
    /// certain, such as another kind of state, is left to the general way. Changes nothing but the call's answer.
    mutating func plan(
        _ take: UnsafeMutablePointer<TakeRequest>, _ key: UnsafeRawPointer, _ keyLength: Int, hash: UInt64, now: Int64,
        to plan: UnsafeMutablePointer<TakePlan>
    ) -> Bool {
        plan.initialize(to: TakePlan())
        guard take.pointee.mode == .enforce else { return take.pointee.mode == .off }
        let record = find(hash, key, keyLength)?.record
        if let record, record.hasDeadline || record.rawKind != take.pointee.limit.rawKind { return false }
        guard take.pointee.limit.rawKind == StateKind.gcra.rawValue else {
            return take.pointee.limit.outcome(take.pointee.demand, state: record?.state, now: now) == .allowed
        }
        plan.pointee.arrivalTime = GCRA.decide(
            &take.pointee.limit, take.pointee.demand, arrivalTime: record?.word ?? now, now: now,
            to: &take.pointee.decision)
        plan.pointee.record = record
        return take.pointee.decision.outcome == .allowed
    }

    /// Takes by GCRA as planned: the call is allowed and answered already.
    mutating func carryOut(
        _ take: UnsafeMutablePointer<TakeRequest>, _ record: Record, arrivalTime: Int64, hash: UInt64
    ) {
        allowed &+= 1
        guard take.pointee.decision.granted > 0 else { return }
        record.word = arrivalTime
        changed(record, hash: hash)
    }

    /// Counts a decided call, and makes a denial by a limit that only watches what that says.
    mutating func count(_ take: UnsafeMutablePointer<TakeRequest>) {
        switch take.pointee.decision.outcome {
        case .allowed: allowed &+= 1
        case .denied where take.pointee.mode == .shadow:
            take.pointee.decision = take.pointee.decision.shadowed(by: take.pointee)
            shadowed &+= 1
        case .denied: denied &+= 1
        default: break
        }
    }

    // MARK: Writing

    /// Writes the state that a decision leads to. False, and nothing changed, when the memory limit forbids it.
    private mutating func commit(
        _ next: NextState, _ granted: Int64, _ take: UnsafeMutablePointer<TakeRequest>, _ place: Place?, hash: UInt64,
        key: UnsafeRawPointer, _ keyLength: Int, now: Int64, isRoomMade: Bool
    ) -> Bool {
        var place = place
        let kind = take.pointee.limit.algorithm.kind
        if case .slidingLog(let end) = next, let known = place {
            let log = SlidingLog(known.record.state)
            let ended = log.load(at: now).ended
            let capacity = log.capacityNeeded(ended: ended, end: end, limit: take.pointee.limit.units)
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
                return commit(
                    next, granted, take, place, hash: hash, key: key, keyLength, now: now, isRoomMade: true)
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
        case .gcra(let arrivalTime): record.word = arrivalTime
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
        _ take: UnsafeMutablePointer<TakeRequest>, _ key: UnsafeRawPointer, _ keyLength: Int, hash: UInt64, extra: Int,
        now: Int64
    ) -> Bool {
        let bytes = extra + bytesNeeded(take, key, keyLength, hash: hash)
        return bytes == 0 || !gauge.wouldExceed(bytes) || makeRoom(bytes, now: now)
    }

    /// Memory that the call may need at most beyond what its key has.
    mutating func bytesNeeded(
        _ take: UnsafeMutablePointer<TakeRequest>, _ key: UnsafeRawPointer, _ keyLength: Int, hash: UInt64
    ) -> Int {
        let size = take.pointee.limit.algorithm.kind.fixedSize ?? SlidingLog.byteCount(capacity: 1)
        guard let record = find(hash, key, keyLength)?.record else {
            return Slab.footprint(Record.size(stateSize: size, keyLength: keyLength, hasDeadline: false))
        }
        guard record.rawKind == StateKind.slidingLog.rawValue else { return 0 }
        let log = SlidingLog(record.state)
        return log.count < log.capacity ? 0 : SlidingLog.grantSize * log.capacity
    }

    // MARK: Giving back

    private mutating func refund(_ take: TakeRequest, _ place: Place?, hash: UInt64, now: Int64) -> LimitDecision {
        let limit = take.limit
        guard let place else { return .refunded(0, limit, state: nil, now: now) }
        let given = giveBack(take.demand.units, limit, place, hash: hash, now: now)
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
            log.takeBack(given)
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

extension TakeRequest {
    /// What `take` would answer, with what stands now as remaining and reset.
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
    static func unlimited(_ take: TakeRequest) -> LimitDecision {
        LimitDecision(
            .allowed, granted: take.operation == .refund ? 0 : take.demand.units, limit: take.limit.capacity,
            remaining: take.limit.capacity)
    }

    /// A denial as a limit that only watches says it.
    func shadowed(by take: TakeRequest) -> LimitDecision {
        guard take.mode == .shadow, outcome == .denied else { return self }
        var decision = self
        decision.outcome = .allowed
        decision.granted = take.demand.units
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
