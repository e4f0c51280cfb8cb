// Counters by key: the operations of SET, GETDEL and INCREX on 64-bit integers, and of GET and INCR one at a time. Each
// locks its key's stripe unless it is held already. O(1) each.

extension KeyspaceSession {
    /// The value of a counter; nil when there is no such key.
    public func counter(_ key: UnsafeRawBufferPointer, now: EngineTime) throws(CounterError) -> Int64? {
        var call = LimitCall.blank
        call.begin(.read)
        decide(&call, key: key, now: now)
        if let problem = call.counterProblem { throw problem }
        return call.decision.outcome == .allowed ? call.counterValue : nil
    }

    /// Adds to a counter, which is 0 if absent, and returns the sum. The deadline is kept.
    public func add(
        _ increment: Int64, toCounter key: UnsafeRawBufferPointer, now: EngineTime
    ) throws(CounterError) -> Int64 {
        var call = LimitCall.blank
        call.setAdd(increment)
        decide(&call, key: key, now: now)
        if let problem = call.counterProblem { throw problem }
        return call.counterValue
    }

    /// Adds to a counter within bounds. A step that is not made leaves the key and its deadline unchanged, and creates
    /// no key.
    ///
    /// - Returns: The value afterwards, and what was added: 0 when the step was not made.
    /// - Throws: `overflow` only when the amount added does not fit 64 bits, which requires bounds further apart than
    ///   that.
    public func step(
        _ step: CounterStep, counter key: UnsafeRawBufferPointer, now: EngineTime
    ) throws(CounterError) -> (value: Int64, applied: Int64) {
        try withCounter(key) { shard, hash throws(CounterError) in
            try shard.step(step, hash: hash, key: key, now: now.nanoseconds)
        }
    }

    /// Makes the key a counter with this value, whatever it held.
    ///
    /// - Parameter wantsPrevious: Whether to return the previous value, which makes another kind of state an error.
    public func setCounter(
        _ key: UnsafeRawBufferPointer, to value: Int64, if condition: CounterCondition = .always,
        deadline: CounterDeadline = .remove, wantsPrevious: Bool = false, now: EngineTime
    ) throws(CounterError) -> CounterSetting {
        try withCounter(key) { shard, hash throws(CounterError) in
            try shard.setCounter(
                value, if: condition, deadline: deadline, wantsPrevious: wantsPrevious, hash: hash, key: key,
                now: now.nanoseconds)
        }
    }

    /// Removes a counter and returns its value; nil when there is no such key.
    public func takeCounter(_ key: UnsafeRawBufferPointer, now: EngineTime) throws(CounterError) -> Int64? {
        try withCounter(key) { shard, hash throws(CounterError) in
            try shard.takeCounter(hash, key, now: now.nanoseconds)
        }
    }

    private func withCounter<Value>(
        _ key: UnsafeRawBufferPointer, _ body: (inout Shard, UInt64) throws(CounterError) -> Value
    ) throws(CounterError) -> Value {
        precondition(key.count <= keyLengthMax)
        let hash = hash(key)
        let result = withShard(hash) { shard in
            Result<Value, CounterError> { () throws(CounterError) in try body(&shard, hash) }
        }
        return try result.get()
    }
}
