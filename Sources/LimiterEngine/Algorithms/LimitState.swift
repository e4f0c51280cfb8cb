// The entry to all algorithms: a limit asked over a state's bytes, whatever its kind. Reads the state and writes none;
// the shard does that with what is returned here.

/// What a state becomes when a decision is carried out. GCRA's is not among them: its calls are decided and stored in
/// place.
enum NextState {
    case fixedWindow(FixedWindow)
    case slidingWindow(SlidingWindow)
    /// A grant is added that counts until then.
    case slidingLog(end: Int64)
}

extension Limit {
    /// Decides a demand over the state at `state`, of this limit's kind; nil is a full limit. What the state becomes is
    /// nil for GCRA.
    @inline(__always)
    func evaluate(
        _ demand: Demand, state: UnsafeMutableRawPointer?, now: Int64
    ) -> (decision: LimitDecision, next: NextState?) {
        switch algorithm {
        case .gcra, .tokenBucket:
            let arrivalTime = state?.loadUnaligned(as: Int64.self) ?? now
            return (GCRA.decide(self, demand, arrivalTime: arrivalTime, now: now).decision, nil)
        case .fixedWindow:
            let (decision, next) = FixedWindow.decide(self, demand, stored: state.map { FixedWindow($0) }, now: now)
            return (decision, .fixedWindow(next))
        case .slidingWindow:
            let stored = state.map { SlidingWindow($0) }
            let (decision, next) = SlidingWindow.decide(self, demand, stored: stored, now: now)
            return (decision, .slidingWindow(next))
        case .slidingLog:
            let (decision, end) = SlidingLog.decide(self, demand, log: state.map { SlidingLog($0) }, now: now)
            return (decision, .slidingLog(end: end))
        }
    }

    /// How a demand ends over the state at `state`, without the rest of the answer.
    func outcome(_ demand: Demand, state: UnsafeMutableRawPointer?, now: Int64) -> LimitDecision.Outcome {
        evaluate(demand, state: state, now: now).decision.outcome
    }

    // MARK: Carrying over

    /// Memory that `carry` writes at most.
    static let carriedSizeMax = SlidingLog.byteCount(capacity: 1)

    /// Units of another algorithm's state that count against this limit: as many as are in force there, a debt in time
    /// at the price it was made at (`debtPrice`). Nil for a state that is no limiter's.
    func carriedUnits(_ state: StateView, now: Int64) -> Int64? {
        guard let base = state.value.baseAddress else { return nil }
        switch state.kind {
        case .gcra: return ceilingUnits(max(now, base.loadUnaligned(as: Int64.self)) - now, unit: debtPrice(at: now))
        case .fixedWindow: return FixedWindow(base).spent
        case .slidingWindow: return SlidingWindow(base).advanced(to: now).used(at: now)
        case .slidingLog: return SlidingLog(UnsafeMutableRawPointer(mutating: base)).load(at: now).used
        case .counter, .token: return nil
        }
    }

    /// The most spent units that a state of this kind can hold. A debt in time is no longer than the limit tolerates:
    /// whoever spent more by another algorithm is not kept out for longer than a full refill takes.
    var carriedMax: Int64 {
        switch algorithm {
        case .gcra, .tokenBucket: capacity
        case .fixedWindow: Int64.max
        case .slidingWindow: SlidingWindow.unitsMax
        case .slidingLog: SlidingLog.unitsMax
        }
    }

    /// Writes a state of this limit's kind in which `units`, 1 … `carriedMax`, have just been spent. Returns its size;
    /// nil when it would end behind the last representable instant.
    func carry(_ units: Int64, now: Int64, to memory: UnsafeMutableRawPointer) -> Int? {
        guard algorithm.kind != .gcra else {
            let (arrivalTime, overflows) = now.addingReportingOverflow(units * emissionInterval)
            memory.storeBytes(of: arrivalTime, as: Int64.self)
            return overflows ? nil : 8
        }
        let size = algorithm.kind.fixedSize ?? Limit.carriedSizeMax
        switch algorithm {
        case .gcra, .tokenBucket: return nil
        case .fixedWindow:
            guard let end = FixedWindow.end(self, now: now) else { return nil }
            FixedWindow(end: end, spent: units).store(to: memory)
        case .slidingWindow:
            var window = SlidingWindow.empty(period: period, now: now)
            window.current = UInt32(units)
            guard window.expiry != nil else { return nil }
            window.store(to: memory)
        case .slidingLog:
            let (end, overflows) = now.addingReportingOverflow(period)
            guard !overflows else { return nil }
            SlidingLog(memory).initialize(capacity: 1)
            SlidingLog(memory).append(units, until: end)
        }
        return size
    }
}
