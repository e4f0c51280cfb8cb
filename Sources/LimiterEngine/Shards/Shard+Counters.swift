// Integer counters, used by rate limiters built from INCR and EXPIRE. 64 bits, checked; nothing else is a counter.

/// Why a counter call changed nothing.
public enum CounterError: Error, Equatable, Sendable {
    /// The key holds another kind of state.
    case wrongKind(StateKind)
    /// The sum does not fit 64 bits.
    case overflow
    /// A new key would not fit the memory limit.
    case outOfMemory
}

/// The effect of writing a counter on the key's deadline.
public enum CounterDeadline: Equatable, Sendable {
    /// None.
    case keep
    /// The key lives until it is removed.
    case remove
    /// The key expires at this instant; one that has passed removes it at once.
    case at(EngineTime)
    /// As `at` for a key without a deadline; otherwise the deadline is kept.
    case ifNone(at: EngineTime)
}

/// The condition for setting a counter.
public enum CounterCondition: Equatable, Sendable {
    /// Whatever the key holds.
    case always
    /// Only if there is no such key.
    case ifAbsent
    /// Only if there is such a key, of whatever kind.
    case ifPresent
}

/// The result of setting a counter.
public struct CounterSetting: Equatable, Sendable {
    /// Whether the condition held.
    public var isSet: Bool
    /// The previous counter; nil when there was none, or another kind of state that was not requested.
    public var previous: Int64?

    /// A result with these fields.
    public init(isSet: Bool, previous: Int64?) {
        self.isSet = isSet
        self.previous = previous
    }
}

/// A bounded increment.
public struct CounterStep: Equatable, Sendable {
    /// The amount to add; negative to subtract.
    public var increment: Int64
    /// Lower bound on the counter's value.
    public var lowerBound = Int64.min
    /// Upper bound on the counter's value.
    public var upperBound = Int64.max
    /// Stops at the bound instead of failing.
    public var saturates = false
    /// The effect on the deadline when the step is made.
    public var deadline = CounterDeadline.keep

    /// A step by `increment` without bounds.
    public init(_ increment: Int64) { self.increment = increment }

    /// The value after the step; nil when it exceeds the bounds or 64 bits.
    func applied(to value: Int64) -> Int64? {
        let (sum, overflows) = value.addingReportingOverflow(increment)
        if !overflows, sum >= lowerBound, sum <= upperBound { return sum }
        guard saturates else { return nil }
        let end = overflows ? (increment < 0 ? Int64.min : Int64.max) : sum
        return min(max(end, lowerBound), upperBound)
    }
}

extension LimitCall {
    /// Why this decided counter call changed nothing or found no number; nil when it did not fail.
    public var counterProblem: CounterError? {
        switch decision.outcome {
        case .wrongKind: decision.foundKind.map { .wrongKind($0) }
        case .outOfMemory: .outOfMemory
        case .outOfRange: .overflow
        case .allowed, .denied, .tooManyTokens, .absent, .unknownZone: nil
        }
    }
}

extension Shard {
    /// The counter of a key: its value and its place; nil when there is no such key.
    private mutating func counter(
        _ hash: UInt64, _ name: KeyName, now: Int64
    ) throws(CounterError) -> Place? {
        guard let place = findLive(hash, name, now: now) else { return nil }
        guard place.record.kind == .counter else { throw .wrongKind(place.record.kind) }
        return place
    }

    /// Reads a counter's value for a call.
    mutating func read(_ call: UnsafeMutablePointer<LimitCall>, hash: UInt64, now: Int64) {
        guard let place = findLive(hash, call.pointee.name, now: now) else {
            call.pointee.decision = .failure(.absent)
            return
        }
        guard place.record.kind == .counter else {
            call.pointee.decision = .failure(.wrongKind, found: place.record.kind)
            return
        }
        call.pointee.decision.set(counter: place.record.word)
    }

    /// Adds to a counter for a call. The deadline is kept.
    mutating func add(_ call: UnsafeMutablePointer<LimitCall>, hash: UInt64, now: Int64) {
        var place = find(call, hash: hash)
        if let found = place, !found.record.isUntimed(.counter) {
            if found.record.expiry <= now {
                expire(found, hash: hash)
                place = nil
            } else if found.record.kind != .counter {
                call.pointee.decision = .failure(.wrongKind, found: found.record.kind)
                return
            }
        }
        guard let record = place?.record else { return addFirst(call, hash: hash, now: now) }
        let (sum, overflows) = record.word.addingReportingOverflow(call.pointee.amount)
        guard !overflows else {
            call.pointee.decision = .failure(.outOfRange)
            return
        }
        record.word = sum
        changed(record, hash: hash)
        call.pointee.decision.set(counter: sum)
    }

    @inline(never)
    private mutating func addFirst(_ call: UnsafeMutablePointer<LimitCall>, hash: UInt64, now: Int64) {
        let inserted = insert(
            .counter, stateSize: 8, hash: hash, key: call.pointee.key, keyLength: call.pointee.keyLength,
            isNumbered: call.pointee.isNumbered, deadline: nil, now: now)
        guard let record = inserted else {
            call.pointee.decision = .failure(.outOfMemory)
            return
        }
        record.word = call.pointee.amount
        changed(record, hash: hash)
        call.pointee.decision.set(counter: call.pointee.amount)
    }

    mutating func step(
        _ step: CounterStep, hash: UInt64, name: KeyName, now: Int64
    ) throws(CounterError) -> (value: Int64, applied: Int64) {
        let known = try counter(hash, name, now: now)?.record
        let before = known?.word ?? 0
        guard let after = step.applied(to: before) else { return (before, 0) }
        // The difference of two counters on either side of zero may need 65 bits; the reply has only 64.
        let (applied, overflows) = after.subtractingReportingOverflow(before)
        guard !overflows else { throw .overflow }
        let deadline = known.flatMap { StateView($0).deadline }
        try write(after, step.deadline.result(old: deadline), hash: hash, name: name, now: now)
        return (after, applied)
    }

    mutating func setCounter(
        _ value: Int64, if condition: CounterCondition, deadline: CounterDeadline, wantsPrevious: Bool, hash: UInt64,
        name: KeyName, now: Int64
    ) throws(CounterError) -> CounterSetting {
        let known = findLive(hash, name, now: now)?.record
        if wantsPrevious, let known, known.kind != .counter { throw .wrongKind(known.kind) }
        let previous = known.flatMap { $0.kind == .counter ? $0.word : nil }
        switch condition {
        case .ifAbsent where known != nil, .ifPresent where known == nil:
            return CounterSetting(isSet: false, previous: previous)
        default: break
        }
        let old = known.flatMap { StateView($0).deadline }
        try write(value, deadline.result(old: old), hash: hash, name: name, now: now)
        return CounterSetting(isSet: true, previous: previous)
    }

    /// Makes the key a counter with this value and deadline; a deadline that has passed removes it.
    mutating func write(
        _ value: Int64, _ deadline: Int64?, hash: UInt64, name: KeyName, now: Int64
    ) throws(CounterError) {
        if let deadline, deadline <= now { return forget(hash: hash, name: name) }
        var value = value
        let isWritten = withUnsafeBytes(of: &value) { bytes in
            apply(StateView(kind: .counter, value: bytes, deadline: deadline), hash: hash, name: name, now: now)
        }
        if !isWritten { throw .outOfMemory }
    }

    /// Reads a counter and sets its deadline; one that has come removes the key.
    mutating func readCounter(
        setting deadline: CounterDeadline, hash: UInt64, name: KeyName, now: Int64
    ) throws(CounterError) -> Int64? {
        guard let place = try counter(hash, name, now: now) else { return nil }
        let value = place.record.word
        guard deadline != .keep else { return value }
        let new = deadline.result(old: StateView(place.record).deadline)
        if let new, new <= now {
            remove(place, hash: hash)
        } else {
            _ = setDeadline(place, hash: hash, to: new)
        }
        return value
    }

    /// Bytes that a new counter of this key takes; nil when there is such a key, of whatever kind.
    mutating func bytesForNewCounter(_ hash: UInt64, _ name: KeyName, now: Int64) -> Int? {
        guard findLive(hash, name, now: now) == nil else { return nil }
        return Slab.footprint(Record.size(stateSize: 8, keyLength: name.count, hasDeadline: false))
    }

    /// Makes the key a counter without a deadline. There must be memory for it.
    mutating func storeCounter(_ value: Int64, hash: UInt64, name: KeyName, now: Int64) {
        var value = value
        withUnsafeBytes(of: &value) { bytes in
            let view = StateView(kind: .counter, value: bytes, deadline: nil)
            _ = apply(view, hash: hash, name: name, now: now, isRoomMade: true)
        }
    }

    mutating func takeCounter(
        _ hash: UInt64, _ name: KeyName, now: Int64
    ) throws(CounterError) -> Int64? {
        guard let place = try counter(hash, name, now: now) else { return nil }
        let value = place.record.word
        remove(place, hash: hash)
        return value
    }
}

extension CounterDeadline {
    /// The deadline after a write, in nanoseconds; nil for none. The last instant never comes.
    fileprivate func result(old: Int64?) -> Int64? {
        switch self {
        case .keep: old
        case .remove: nil
        case .at(let instant): min(instant.nanoseconds, Int64.max - 1)
        case .ifNone(let instant): old ?? min(instant.nanoseconds, Int64.max - 1)
        }
    }
}
