// Keys whose named limit has changed its algorithm: units in force under the old one count as spent under the new one.
//
// The state is rewritten by the first call that takes something or is given a wait: from then on units are replenished
// as the new algorithm specifies, so the wait ends as announced. Any other call leaves the state unchanged, in
// particular one that requests too much or is blocked: if the algorithm is changed back, nothing has happened. Refunds
// are taken off the old state, in its own terms.

extension Shard {
    /// Prepares another algorithm's state, with `units` in force, so that the call can be decided like any other. False
    /// when the call has already been answered.
    @inline(never)
    mutating func convertForeignState(
        _ call: UnsafeMutablePointer<LimitCall>, _ units: Int64, _ place: inout Place?, hash: UInt64, now: Int64
    ) -> Bool {
        let limit = call.pointee.limit
        let request = call.pointee
        let kept = min(units, limit.carriedMax)
        switch request.operation {
        case .peek:
            call.pointee.decision = limit.withCarried(kept, now: now) { request.peek(state: $0, now: now) }
            return false
        case .take, .add, .read, .count:
            guard rewriteToTake(call, kept, place!.record, hash: hash, now: now) else {
                count(call)
                return false
            }
            place = find(call, hash: hash)
            return true
        case .refund:
            let given = refund(request.demand.units, limit, place!, hash: hash, now: now).units
            let left = min(units - given, limit.carriedMax)
            call.pointee.decision = limit.withCarried(left, now: now) {
                .refunded(given, limit, state: $0, now: now)
            }
            return false
        }
    }

    /// Rewrites another algorithm's state, if the key has one, for a call that was denied. Its answer is kept.
    mutating func beginWait(
        _ call: UnsafeMutablePointer<LimitCall>, hash: UInt64, now: Int64
    ) {
        guard call.pointee.carriesOver, let found = find(call, hash: hash)?.record,
            found.rawKind != call.pointee.limit.rawKind,
            let units = call.pointee.limit.unitsInForce(StateView(found), now: now)
        else { return }
        let answer = call.pointee.decision
        _ = rewriteToTake(call, min(units, call.pointee.limit.carriedMax), found, hash: hash, now: now)
        call.pointee.decision = answer
    }

    /// Rewrites another algorithm's state for a call that takes, if it gets something or a wait. Otherwise the call is
    /// answered, and nothing is changed.
    private mutating func rewriteToTake(
        _ call: UnsafeMutablePointer<LimitCall>, _ kept: Int64, _ found: Record, hash: UInt64, now: Int64
    ) -> Bool {
        let (limit, demand) = (call.pointee.limit, call.pointee.demand)
        let decision = limit.withCarried(kept, now: now) { limit.evaluate(demand, state: $0, now: now) }
        call.pointee.decision = decision
        // A call that requests nothing is only a query.
        let isWait = decision.outcome == .denied && decision.retryAfter >= 0 && demand.units > 0
        guard isWait || (decision.outcome == .allowed && decision.granted > 0) else { return false }
        let outcome = rewrite(found, as: limit, kept, hash: hash, name: call.pointee.name, now: now)
        guard outcome == .allowed else {
            call.pointee.decision = .failure(outcome)
            return false
        }
        call.pointee.hasRewritten = true
        return true
    }

    /// Rewrites another algorithm's state as one of `limit` with `units` spent, or removes it if nothing is spent. Any
    /// outcome but `allowed` is the reason why there is no such state; nothing has changed then.
    private mutating func rewrite(
        _ found: Record, as limit: Limit, _ units: Int64, hash: UInt64, name: KeyName, now: Int64
    ) -> LimitDecision.Outcome {
        let deadline = StateView(found).deadline
        guard units > 0 else {
            forget(hash: hash, name: name)
            return .allowed
        }
        return withUnsafeTemporaryAllocation(byteCount: Limit.carriedSizeMax, alignment: 8) { memory in
            let outcome = limit.carry(units, now: now, to: memory.baseAddress!)
            guard outcome == .allowed else { return outcome }
            let kind = limit.algorithm.kind
            let view = StateView(
                kind: kind, value: UnsafeRawBufferPointer(rebasing: memory[..<kind.facts.initialSize]),
                deadline: deadline)
            // The key exists, so the memory limit is not checked.
            return apply(view, hash: hash, name: name, now: now) ? .allowed : .outOfMemory
        }
    }
}

extension Limit {
    /// The result of `decide` for a state in which `units` have just been spent; a failure when there is no such state.
    fileprivate func withCarried(
        _ units: Int64, now: Int64, _ decide: (UnsafeMutableRawPointer?) -> LimitDecision
    ) -> LimitDecision {
        guard units > 0 else { return decide(nil) }
        return withUnsafeTemporaryAllocation(byteCount: Limit.carriedSizeMax, alignment: 8) { memory in
            let outcome = carry(units, now: now, to: memory.baseAddress!)
            return outcome == .allowed ? decide(memory.baseAddress) : .failure(outcome)
        }
    }
}
