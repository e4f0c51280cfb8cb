// The specified behaviour of the engine, in numbers that cannot overflow and a dictionary that cannot lose a key.
// Slow and short, written from the formula and not from the engine.

import LimiterEngine

/// Integers for the formula: 128 bits hold every product of two 64-bit numbers, and sums of such products.
typealias Exact = Int128

private let representable = Exact(Int64.min)...Exact(Int64.max)

struct ExactLimit: Equatable {
    var emission: Exact
    var limit: Exact
    var cost: Exact

    /// The limit, or its parameter error.
    static func checked(_ call: Call) -> Result<ExactLimit, ThrottleParameterError> {
        if call.maxBurst < 0 { return .failure(.negative(.maxBurst)) }
        if call.count < 0 { return .failure(.negative(.count)) }
        if call.period < 0 { return .failure(.negative(.period)) }
        if call.quantity < 0 { return .failure(.negative(.quantity)) }
        if call.count == 0 || call.period == 0 { return .failure(.zeroRate) }
        let nanoseconds = Exact(call.period) * 1_000_000_000
        if !representable.contains(nanoseconds) { return .failure(.outOfRange) }
        let exact = ExactLimit(
            emission: nanoseconds / Exact(call.count), limit: Exact(call.maxBurst) + 1,
            cost: nanoseconds / Exact(call.count) * Exact(call.quantity))
        if exact.emission < 1 { return .failure(.zeroRate) }
        let products = [exact.limit, exact.emission * exact.limit, exact.cost]
        return products.allSatisfy(representable.contains) ? .success(exact) : .failure(.outOfRange)
    }
}

struct ExactModel {
    struct Entry: Equatable {
        var kind: StateKind
        var word: Exact
        var deadline: Exact?
        /// The grants of windows and logs, whose `word` is their end.
        var meter: ExactMeter?

        /// The first instant at which the key has expired; nil if it never does.
        var end: Exact? {
            let own = kind == .counter ? nil : word
            let end = own.map { min($0, deadline ?? $0) } ?? deadline
            return end == Exact(Int64.max) ? nil : end
        }

        var state: KeyState { KeyState(kind: kind, word: Int64(word), deadline: deadline.map { Int64($0) }) }
    }

    private(set) var entries: [String: Entry] = [:]
    /// First answers by key and token, with their expiry.
    private(set) var tokens: [[String]: (answer: LimitDecision.Shape, end: Exact)] = [:]

    mutating func forgetEnded(_ key: String, now: Exact) {
        if let end = entries[key]?.end, end <= now { entries[key] = nil }
    }

    mutating func forgetAllEnded(now: Exact) {
        entries = entries.filter { $0.value.end.map { $0 > now } ?? true }
        tokens = tokens.filter { $0.value.end > now }
    }

    mutating func throttle(_ key: String, _ limit: ExactLimit, now: Exact) -> LimitDecision {
        forgetEnded(key, now: now)
        let entry = entries[key]
        if let entry, entry.kind != .gcra { return LimitDecision(.wrongKind, retryAfter: 0, foundKind: entry.kind) }
        let tolerance = limit.emission * limit.limit
        let full = max(now, entry?.word ?? now)
        let fullIfTaken = full + limit.cost
        let isAllowed = fullIfTaken - tolerance <= now
        if isAllowed, fullIfTaken > Exact(Int64.max) { return LimitDecision(.outOfRange, retryAfter: 0) }
        if isAllowed, limit.cost > 0 {
            entries[key] = Entry(kind: .gcra, word: fullIfTaken, deadline: entry?.deadline)
        }
        let inForce = isAllowed ? fullIfTaken : full
        let room = tolerance - inForce + now
        let remaining = room < 0 ? 0 : min(room / limit.emission, limit.limit)
        let retry = !isAllowed && limit.cost <= tolerance ? fullIfTaken - tolerance - now : -1
        return LimitDecision(
            isAllowed ? .allowed : .denied, granted: isAllowed ? Int64(limit.cost / limit.emission) : 0,
            limit: Int64(limit.limit), remaining: Int64(remaining), retryAfter: Int64(retry),
            resetAfter: Int64(inForce - now))
    }

    mutating func remove(_ key: String, now: Exact) -> Bool {
        forgetEnded(key, now: now)
        return entries.removeValue(forKey: key) != nil
    }

    mutating func setDeadline(_ key: String, to deadline: Exact, now: Exact) -> Bool {
        forgetEnded(key, now: now)
        guard entries[key] != nil else { return false }
        if deadline <= now { entries[key] = nil } else { entries[key]!.deadline = deadline }
        return true
    }

    mutating func removeDeadline(_ key: String, now: Exact) -> Bool {
        forgetEnded(key, now: now)
        guard entries[key]?.deadline != nil else { return false }
        entries[key]!.deadline = nil
        return true
    }

    mutating func timeToLive(_ key: String, now: Exact) -> TimeToLive {
        forgetEnded(key, now: now)
        guard let entry = entries[key] else { return .missing }
        return entry.end.map { .nanoseconds(Int64($0 - now)) } ?? .forever
    }

    mutating func state(_ key: String, now: Exact) -> KeyState? {
        forgetEnded(key, now: now)
        return entries[key]?.state
    }

    mutating func apply(_ state: KeyState, to key: String) {
        entries[key] = Entry(kind: state.kind, word: Exact(state.word), deadline: state.deadline.map { Exact($0) })
    }

    /// Follows the engine's own decision to evict a key when memory is full.
    mutating func evict(_ key: String) { entries[key] = nil }

    mutating func removeAll() {
        entries = [:]
        tokens = [:]
    }

    // MARK: Limits and counters

    mutating func decide(_ key: String, _ take: LimitCall, token: String?, now: Exact) -> LimitDecision.Shape {
        forgetEnded(key, now: now)
        let end = now + Exact(take.tokenWindow)
        if token != nil, end > Exact(Int64.max) { return .init(outcome: .outOfRange) }
        if let token, let first = tokens[[key, token]], first.end > now {
            var answer = first.answer
            answer.isRepeated = true
            return answer
        }
        let shape = decide(key, take, now: now)
        if let token, shape.outcome == .allowed || shape.outcome == .denied { tokens[[key, token]] = (shape, end) }
        return shape
    }

    private mutating func decide(_ key: String, _ take: LimitCall, now: Exact) -> LimitDecision.Shape {
        let kind = take.limit.algorithm.kind
        let entry = entries[key]
        if let entry, entry.kind != kind { return .init(outcome: .wrongKind) }
        var meter = entry?.meter ?? ExactMeter(take.limit, arrivalTime: entry?.word ?? 0)
        var shape: LimitDecision.Shape
        switch take.operation {
        case .peek:
            let answer = meter.take(take.demand, now: now, isKept: false)
            return .init(outcome: answer.outcome, granted: answer.granted, remaining: answer.remaining)
        case .take:
            let answer = meter.take(take.demand, now: now)
            shape = .init(outcome: answer.outcome, granted: answer.granted, remaining: answer.remaining)
        case .refund:
            let given = meter.refund(Exact(take.demand.units), now: now)
            let room = max(0, Exact(take.limit.capacity) - meter.used(now))
            shape = .init(outcome: .allowed, granted: given, remaining: room)
        case .add, .read, .count: preconditionFailure("a counter")
        }
        guard shape.granted > 0 else { return shape }
        let expiry = meter.expiry ?? now
        guard expiry > now else {
            entries[key] = nil
            return shape
        }
        entries[key] = Entry(kind: kind, word: expiry, deadline: entry?.deadline, meter: kind == .gcra ? nil : meter)
        return shape
    }

    /// Adds one; nil if the engine should return an error.
    mutating func raiseCounter(_ key: String, now: Exact) -> Int64? {
        forgetEnded(key, now: now)
        let entry = entries[key] ?? Entry(kind: .counter, word: 0)
        guard entry.kind == .counter, entry.word < Exact(Int64.max) else { return nil }
        entries[key] = Entry(kind: .counter, word: entry.word + 1, deadline: entry.deadline)
        return Int64(entry.word + 1)
    }
}

extension LimitDecision {
    /// The part of a decision that the models predict; waits are checked separately.
    struct Shape: Equatable {
        var outcome: Outcome
        var granted: Exact = 0
        var remaining: Exact = 0
        var isRepeated = false
    }

    var shape: Shape {
        Shape(outcome: outcome, granted: Exact(granted), remaining: Exact(remaining), isRepeated: isRepeated)
    }
}

extension KeyspaceSession {
    func decide(_ key: String, _ take: LimitCall, token: String?, now: EngineTime) -> LimitDecision {
        var take = take
        return Array((token ?? "").utf8).withUnsafeBytes { bytes in
            if token != nil { take.token = bytes }
            decide(key, &take, now: now)
            return take.decision
        }
    }

    func raise(_ key: String, now: EngineTime) -> Int64? {
        try? key.bytes { try add(1, toCounter: $0, now: now) }
    }
}
