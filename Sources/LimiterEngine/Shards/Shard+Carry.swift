// A key whose named limit has changed its algorithm: what is in force by the old one counts as spent under the new.
//
// The state is rewritten by the first call that takes or gives back something, and by no other: the algorithm may be
// changed back before, and then nothing has happened.

extension Shard {
    /// Brings another algorithm's state, with `units` in force, to where the call may be decided as any other. False
    /// when the call is answered already.
    @inline(never)
    mutating func settleOther(
        _ take: UnsafeMutablePointer<TakeRequest>, _ units: Int64, _ place: inout Place?, _ key: UnsafeRawBufferPointer,
        hash: UInt64, now: Int64
    ) -> Bool {
        let limit = take.pointee.limit
        let request = take.pointee
        let kept = min(units, limit.carriedMax)
        switch request.operation {
        case .peek:
            take.pointee.decision = limit.withCarried(kept, now: now) { request.peek(state: $0, now: now) }
            return false
        case .take:
            let decision = limit.withCarried(kept, now: now) {
                limit.evaluate(request.demand, state: $0, now: now).decision
            }
            guard decision.outcome == .allowed, decision.granted > 0 else {
                take.pointee.decision = decision
                count(take)
                return false
            }
            guard rewrite(place!.record, as: limit, kept, hash: hash, key: key, now: now) else {
                take.pointee.decision = .failure(.outOfRange)
                return false
            }
            place = find(hash, key.baseAddress!, key.count)
            return true
        case .refund:
            let given = kept == 0 ? 0 : min(units, request.demand.units)
            let left = min(units - given, limit.carriedMax)
            guard given == 0 || rewrite(place!.record, as: limit, left, hash: hash, key: key, now: now) else {
                take.pointee.decision = .failure(.outOfRange)
                return false
            }
            take.pointee.decision = limit.withCarried(left, now: now) {
                .refunded(given, limit, state: $0, now: now)
            }
            return false
        }
    }

    /// Rewrites another algorithm's state as one of `limit` with `units` spent, or forgets it where that is none.
    /// False, and nothing changed, when its end is no representable instant.
    private mutating func rewrite(
        _ found: Record, as limit: Limit, _ units: Int64, hash: UInt64, key: UnsafeRawBufferPointer, now: Int64
    ) -> Bool {
        let deadline = StateView(found).deadline
        guard units > 0 else {
            forget(hash: hash, key: key)
            return true
        }
        return withUnsafeTemporaryAllocation(byteCount: Limit.carriedSizeMax, alignment: 8) { memory in
            guard let size = limit.carry(units, now: now, to: memory.baseAddress!) else { return false }
            let view = StateView(
                kind: limit.algorithm.kind, value: UnsafeRawBufferPointer(rebasing: memory[..<size]),
                deadline: deadline)
            return apply(view, hash: hash, key: key, now: now)
        }
    }
}

extension Limit {
    /// What `decide` says of a state in which `units` have just been spent; a failure when there is no such state.
    fileprivate func withCarried(
        _ units: Int64, now: Int64, _ decide: (UnsafeMutableRawPointer?) -> LimitDecision
    ) -> LimitDecision {
        guard units > 0 else { return decide(nil) }
        return withUnsafeTemporaryAllocation(byteCount: Limit.carriedSizeMax, alignment: 8) { memory in
            carry(units, now: now, to: memory.baseAddress!) == nil ? .failure(.outOfRange) : decide(memory.baseAddress)
        }
    }
}
