// Counters by key: the operations of SET, GETDEL, GETEX, INCREX and MSET on 64-bit integers, and of GET and INCR one at
// a time. Each locks its key's stripe unless it is held already; MSET's caller holds the stripes. O(1) for each key.

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
        try withCounter(key) { shard, hash, name throws(CounterError) in
            try shard.step(step, hash: hash, name: name, now: now.nanoseconds)
        }
    }

    /// Makes the key a counter with this value, whatever it held.
    ///
    /// - Parameter wantsPrevious: Whether to return the previous value, which makes another kind of state an error.
    public func setCounter(
        _ key: UnsafeRawBufferPointer, to value: Int64, if condition: CounterCondition = .always,
        deadline: CounterDeadline = .remove, wantsPrevious: Bool = false, now: EngineTime
    ) throws(CounterError) -> CounterSetting {
        try withCounter(key) { shard, hash, name throws(CounterError) in
            try shard.setCounter(
                value, if: condition, deadline: deadline, wantsPrevious: wantsPrevious, hash: hash, name: name,
                now: now.nanoseconds)
        }
    }

    /// Removes a counter and returns its value; nil when there is no such key.
    public func takeCounter(_ key: UnsafeRawBufferPointer, now: EngineTime) throws(CounterError) -> Int64? {
        try withCounter(key) { shard, hash, name throws(CounterError) in
            try shard.takeCounter(hash, name, now: now.nanoseconds)
        }
    }

    /// The value of a counter, whose deadline is then set; nil when there is no such key.
    public func counter(
        _ key: UnsafeRawBufferPointer, setting deadline: CounterDeadline, now: EngineTime
    ) throws(CounterError) -> Int64? {
        try withCounter(key) { shard, hash, name throws(CounterError) in
            try shard.readCounter(setting: deadline, hash: hash, name: name, now: now.nanoseconds)
        }
    }

    /// Makes several keys counters without deadlines, whatever they held: all of them or none. Of pairs with the same
    /// key the last one counts. O(count).
    ///
    /// - Parameter ifAbsent: Only if none of the keys exists.
    /// - Returns: Whether they were set.
    /// - Precondition: The keys' stripes are held.
    public func setCounters(
        _ count: Int, ifAbsent: Bool, now: EngineTime, pair: (Int) -> (key: UnsafeRawBufferPointer, value: Int64)
    ) throws(CounterError) -> Bool {
        precondition(isHolding)
        let instant = now.nanoseconds
        var bytes = 0
        for number in 0..<count {
            let needed = withShard(of: pair(number).key) { $0.bytesForNewCounter($1, $2, now: instant) }
            if ifAbsent, needed == nil { return false }
            bytes += needed ?? 0
        }
        if engine.gauge.wouldExceed(bytes) {
            for number in 0..<count {
                let isRoomMade = withShard(of: pair(number).key) { shard, hash, name in
                    guard let needed = shard.bytesForNewCounter(hash, name, now: instant) else { return true }
                    return shard.makeRoom(needed, now: instant)
                }
                guard isRoomMade else { throw .outOfMemory }
            }
        }
        for number in 0..<count {
            let (key, value) = pair(number)
            withShard(of: key) { $0.storeCounter(value, hash: $1, name: $2, now: instant) }
        }
        return true
    }

    private func withCounter<Value>(
        _ key: UnsafeRawBufferPointer, _ body: (inout Shard, UInt64, KeyName) throws(CounterError) -> Value
    ) throws(CounterError) -> Value {
        let result = withShard(of: key) { shard, hash, name in
            Result<Value, CounterError> { () throws(CounterError) in try body(&shard, hash, name) }
        }
        return try result.get()
    }
}
