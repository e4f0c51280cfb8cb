// The entry point to all algorithms: evaluates a limit over a state's bytes, whatever its kind. Reads the state without
// writing it; the shard writes.

extension Limit {
    /// Decides a demand over the state at `state`, which is of this limit's kind; nil is a full limit.
    func evaluate(_ demand: Demand, state: UnsafeMutableRawPointer?, now: Int64) -> LimitDecision {
        algorithm.dispatch(Evaluation(limit: self, demand: demand, state: state, now: now))
    }

    // MARK: Carrying over

    /// Upper bound on the bytes that `carry` writes: no kind's initial size is larger.
    static let carriedSizeMax = 32

    /// Units of another algorithm's state that count against this limit. Nil for a state that is not a limiter's.
    func unitsInForce(_ state: StateView, now: Int64) -> Int64? {
        guard let base = state.value.baseAddress else { return nil }
        // Never written through: witnesses use one pointer type for both.
        let state = (kind: state.kind, base: UnsafeMutableRawPointer(mutating: base))
        return state.kind.dispatch(UnitsInForce(limit: self, state: state.base, now: now))
    }

    /// The most spent units that a state of this limit's kind can hold. A debt in time is no longer than the limit
    /// tolerates: a client that spent more under another algorithm waits no longer than a full refill takes.
    var carriedMax: Int64 { algorithm.dispatch(CarriedMax(limit: self)) }

    /// Writes a state of this limit's kind, of `initialSize` bytes, in which `units`, 1 … `carriedMax`, have just been
    /// spent. Any outcome but `allowed` is the reason why there is no such state.
    func carry(_ units: Int64, now: Int64, to memory: UnsafeMutableRawPointer) -> LimitDecision.Outcome {
        algorithm.dispatch(Carrying(limit: self, units: units, now: now, memory: memory))
    }
}

private struct Evaluation: LimiterVisitor {
    let limit: Limit
    let demand: Demand
    let state: UnsafeMutableRawPointer?
    let now: Int64

    @inline(__always)
    func visit<Witness: LimiterWitness>(_ witness: Witness.Type) -> LimitDecision {
        Witness.decide(limit, demand, state: state, now: now).decision
    }
}

private struct UnitsInForce: StateVisitor {
    let limit: Limit
    let state: UnsafeMutableRawPointer
    let now: Int64

    func visit<Witness: StateWitness>(_ witness: Witness.Type) -> Int64? {
        Witness.unitsInForce(state, against: limit, now: now)
    }
}

private struct CarriedMax: LimiterVisitor {
    let limit: Limit

    func visit<Witness: LimiterWitness>(_ witness: Witness.Type) -> Int64 { Witness.carriedMax(limit) }
}

private struct Carrying: LimiterVisitor {
    let limit: Limit
    let units: Int64
    let now: Int64
    let memory: UnsafeMutableRawPointer

    func visit<Witness: LimiterWitness>(_ witness: Witness.Type) -> LimitDecision.Outcome {
        assert(Witness.initialSize <= Limit.carriedSizeMax)
        Witness.initialize(memory, byteCount: Witness.initialSize)
        return Witness.carry(units, limit, now: now, to: memory)
    }
}
