// Decides calls: find the state, evaluate it, apply the decision.
//
// A call that is denied, is only a query, or fails leaves the shard unchanged, with two exceptions: the call that finds
// an expired state removes it, and a named limit whose algorithm has changed rewrites the old state: see +Carry.
//
// Almost every call takes by GCRA from a key that has a GCRA record, and nothing else: this is decided in place. One
// function, `storeRate`, stores every GCRA decision: for a single call, for the first call of a key, and for each call
// of a group.

extension Shard {
    /// Decides one call and writes the answer into it. Calls are passed by address: they are large.
    mutating func decide(_ call: UnsafeMutablePointer<LimitCall>, hash: UInt64, now: Int64) {
        guard call.pointee.isPlainTake else { return decideAny(call, hash: hash, now: now) }
        let place = find(call, hash: hash)
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
        case .count: return count(call, hash: hash, now: now)
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

    /// Decides one call of a limit, ignoring its token, and writes the answer into it.
    ///
    /// - Parameter isRoomMade: Whether memory for everything the call may need is available.
    mutating func decideLimit(
        _ call: UnsafeMutablePointer<LimitCall>, hash: UInt64, now: Int64, isRoomMade: Bool
    ) {
        let place = find(call, hash: hash)
        decideLimit(call, place, hash: hash, now: now, isRoomMade: isRoomMade)
    }

    @inline(never)
    private mutating func decideLimit(
        _ call: UnsafeMutablePointer<LimitCall>, _ place: Place?, hash: UInt64, now: Int64, isRoomMade: Bool
    ) {
        var place = place
        if let known = place, known.record.hasDeadline || known.record.rawKind != call.pointee.limit.rawKind {
            guard resolveStoredState(call, &place, hash: hash, now: now) else { return }
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

    /// Takes by GCRA from an absent key.
    @inline(never)
    private mutating func takeFirst(
        _ call: UnsafeMutablePointer<LimitCall>, hash: UInt64, now: Int64, isRoomMade: Bool
    ) {
        let arrivalTime = decideRate(call, arrivalTime: now, now: now)
        guard call.pointee.decision.outcome == .allowed, call.pointee.decision.granted > 0 else { return count(call) }
        let inserted = insert(
            .gcra, stateSize: 8, hash: hash, key: call.pointee.key, keyLength: call.pointee.keyLength,
            isNumbered: call.pointee.isNumbered, deadline: nil, now: now, isRoomMade: isRoomMade)
        guard let record = inserted else {
            call.pointee.decision = .failure(.outOfMemory)
            return
        }
        storeRate(call, record, arrivalTime, hash: hash)
    }

    /// Prepares a state with a deadline, or of another kind, for a decision: the result is a state of the limit's own
    /// kind, or none. False when the call has already been answered.
    @inline(never)
    private mutating func resolveStoredState(
        _ call: UnsafeMutablePointer<LimitCall>, _ place: inout Place?, hash: UInt64, now: Int64
    ) -> Bool {
        // An expired state of the limit's own kind would be decided as absent; its deadline is removed with it.
        let found = place!.record
        guard found.expiry > now else {
            expire(place!, hash: hash)
            place = nil
            return true
        }
        guard found.rawKind != call.pointee.limit.rawKind else { return true }
        guard call.pointee.carriesOver, let units = call.pointee.limit.unitsInForce(StateView(found), now: now) else {
            call.pointee.decision = .failure(.wrongKind, found: found.kind)
            return false
        }
        return convertForeignState(call, units, &place, hash: hash, now: now)
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
        case .take, .add, .read, .count: break
        }
        let algorithm = call.pointee.limit.algorithm
        withUnsafeMutablePointer(to: &self) {
            algorithm.dispatch(
                Taking(shard: $0, call: call, place: place, hash: hash, now: now, isRoomMade: isRoomMade))
        }
    }

    /// Takes by any algorithm, over a state of its own kind or none.
    @inline(__always)
    fileprivate mutating func take<Witness: LimiterWitness>(
        by witness: Witness.Type, _ call: UnsafeMutablePointer<LimitCall>, _ place: Place?, hash: UInt64, now: Int64,
        isRoomMade: Bool
    ) {
        let (decision, next) = Witness.decide(
            call.pointee.limit, call.pointee.demand, state: place?.record.state, now: now)
        call.pointee.decision = decision
        if decision.outcome == .allowed, decision.granted > 0 {
            let isWritten = commit(
                by: witness, next, decision.granted, call, place, hash: hash, now: now, isRoomMade: isRoomMade)
            guard isWritten else {
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

    /// Whether a `take` call would certainly be allowed, and how. Anything that makes it uncertain, such as another
    /// kind of state, is left to the general path. Changes nothing but the call's answer.
    mutating func planTake(
        _ call: UnsafeMutablePointer<LimitCall>, hash: UInt64, now: Int64, to plan: UnsafeMutablePointer<TakePlan>
    ) -> Bool {
        plan.initialize(to: TakePlan())
        guard call.pointee.mode == .enforce else { return call.pointee.mode == .off }
        let record = find(call, hash: hash)?.record
        if let record, record.hasDeadline || record.rawKind != call.pointee.limit.rawKind { return false }
        guard call.pointee.limit.rawKind == StateKind.gcra.rawValue else {
            let decision = call.pointee.limit.evaluate(call.pointee.demand, state: record?.state, now: now)
            return decision.outcome == .allowed
        }
        plan.pointee.arrivalTime = decideRate(call, arrivalTime: record?.word ?? now, now: now)
        plan.pointee.record = record
        return call.pointee.decision.outcome == .allowed
    }

    /// Takes by GCRA as planned: the call has already been allowed and answered.
    mutating func commitTake(
        _ call: UnsafeMutablePointer<LimitCall>, _ record: Record, arrivalTime: Int64, hash: UInt64
    ) {
        storeRate(call, record, arrivalTime, hash: hash)
    }

    /// Counts a decided call, and turns a denial in shadow mode into an allowance that reports it.
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

    /// Writes the state that results from a decision. False, and nothing changed, when the memory limit forbids it.
    private mutating func commit<Witness: LimiterWitness>(
        by witness: Witness.Type, _ next: Witness.Next, _ granted: Int64, _ call: UnsafeMutablePointer<LimitCall>,
        _ place: Place?, hash: UInt64, now: Int64, isRoomMade: Bool
    ) -> Bool {
        var (place, isRoomMade) = (place, isRoomMade)
        if let known = place {
            let size = Witness.byteCount(known.record.state)
            let needed = Witness.sizeNeeded(next, known.record.state, call.pointee.limit, now: now)
            if needed > size {
                guard isRoomMade || !gauge.wouldExceed(needed - size) || makeRoom(needed - size, now: now) else {
                    return false
                }
                isRoomMade = true
                // Making room may have evicted this very key.
                place = find(call, hash: hash)
                if let place { grow(place, by: witness, to: needed) }
            }
            if let record = place?.record {
                Witness.store(next, granted: granted, to: record.state, isNew: false, now: now)
                changed(record, hash: hash)
                return true
            }
        }
        let inserted = insert(
            Witness.kind, stateSize: Witness.initialSize, hash: hash, key: call.pointee.key,
            keyLength: call.pointee.keyLength, isNumbered: call.pointee.isNumbered, deadline: nil, now: now,
            isRoomMade: isRoomMade)
        guard let record = inserted else { return false }
        Witness.store(next, granted: granted, to: record.state, isNew: true, now: now)
        changed(record, hash: hash)
        return true
    }

    /// Moves a state to larger memory. Its index entry then refers to the new record.
    private mutating func grow<Witness: LimiterWitness>(_ place: Place, by witness: Witness.Type, to size: Int) {
        let old = place.record
        let new = allocateCopy(of: old, stateSize: size, deadline: old.hasDeadline ? old.deadline : nil)
        Witness.copy(old.state, to: new.state)
        replace(old, by: new, entry: place.entry)
    }

    /// Makes sure of memory for the call's needs plus `extra` bytes. False when the memory limit forbids it.
    mutating func makeRoomFor(
        _ call: UnsafeMutablePointer<LimitCall>, hash: UInt64, extra: Int, now: Int64
    ) -> Bool {
        let bytes = extra + bytesNeeded(call, hash: hash)
        return bytes == 0 || !gauge.wouldExceed(bytes) || makeRoom(bytes, now: now)
    }

    /// Upper bound on the memory that the call may need beyond its key's.
    mutating func bytesNeeded(_ call: UnsafeMutablePointer<LimitCall>, hash: UInt64) -> Int {
        guard let record = find(call, hash: hash)?.record else {
            let size = call.pointee.limit.algorithm.kind.facts.initialSize
            return Slab.footprint(
                Record.size(stateSize: size, keyLength: call.pointee.keyLength, hasDeadline: false))
        }
        // A state of another kind is replaced; its memory is not counted.
        guard record.rawKind == call.pointee.limit.rawKind else { return 0 }
        return call.pointee.limit.algorithm.dispatch(GrowthMax(state: record.state))
    }

    // MARK: Refunds

    private mutating func refund(_ call: LimitCall, _ place: Place?, hash: UInt64, now: Int64) -> LimitDecision {
        let limit = call.limit
        guard let place else { return .refunded(0, limit, state: nil, now: now) }
        let refunded = refund(call.demand.units, limit, place, hash: hash, now: now)
        return .refunded(refunded.units, limit, state: refunded.isFull ? nil : place.record.state, now: now)
    }

    /// Takes up to `units` off what a state of any kind has spent, in its own terms; a debt in time is converted at the
    /// price that `limit` knows. Returns how many units there were to refund, and whether nothing is left, in which
    /// case the key is removed.
    mutating func refund(
        _ units: Int64, _ limit: Limit, _ place: Place, hash: UInt64, now: Int64
    ) -> (units: Int64, isFull: Bool) {
        let record = place.record
        let refunded = record.kind.dispatch(Refunding(units: units, state: record.state, limit: limit, now: now))
        guard refunded.units > 0 else { return (0, false) }
        if refunded.isFull { remove(place, hash: hash) } else { changed(record, hash: hash) }
        return refunded
    }
}

private struct Taking: LimiterVisitor {
    let shard: UnsafeMutablePointer<Shard>
    let call: UnsafeMutablePointer<LimitCall>
    let place: Shard.Place?
    let hash: UInt64
    let now: Int64
    let isRoomMade: Bool

    @inline(__always)
    func visit<Witness: LimiterWitness>(_ witness: Witness.Type) {
        shard.pointee.take(by: witness, call, place, hash: hash, now: now, isRoomMade: isRoomMade)
    }
}

private struct GrowthMax: LimiterVisitor {
    let state: UnsafeMutableRawPointer
    func visit<Witness: LimiterWitness>(_ witness: Witness.Type) -> Int { Witness.growthMax(state) }
}

private struct Refunding: StateVisitor {
    let units: Int64
    let state: UnsafeMutableRawPointer
    let limit: Limit
    let now: Int64

    func visit<Witness: StateWitness>(_ witness: Witness.Type) -> (units: Int64, isFull: Bool) {
        Witness.refund(units, state, limit, now: now)
    }
}

/// How to carry out a call that is certain to be allowed.
struct TakePlan {
    /// The record, if the key has one and its state is GCRA's; otherwise the call has to be decided again.
    var record: Record?
    /// The TAT to store there.
    var arrivalTime: Int64 = 0
}

extension LimitCall {
    /// What `take` would answer, with the current state as remaining and reset.
    func peek(state: UnsafeMutableRawPointer?, now: Int64) -> LimitDecision {
        var decision = limit.evaluate(demand, state: state, now: now)
        guard decision.isAnswer else { return decision }
        let standing = limit.evaluate(.nothing, state: state, now: now)
        decision.remaining = standing.remaining
        decision.resetAfter = standing.resetAfter
        return decision.shadowed(by: self)
    }
}

extension LimitDecision {
    /// The answer of a limit with mode `off`.
    static func unlimited(_ call: LimitCall) -> LimitDecision {
        LimitDecision(
            .allowed, granted: call.operation == .refund ? 0 : call.demand.units, limit: call.limit.capacity,
            remaining: call.limit.capacity)
    }

    /// A denial as reported by a limit in shadow mode.
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
        let standing = limit.evaluate(.nothing, state: state, now: now)
        return LimitDecision(
            .allowed, granted: units, limit: limit.capacity, remaining: standing.remaining,
            resetAfter: standing.resetAfter)
    }
}
