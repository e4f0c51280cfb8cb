// The engine's calls with keys as arrays and strings, and limits in the form of CL.THROTTLE.

import LimiterEngine

/// A limit and a cost as written in a command.
struct Call: Equatable {
    var maxBurst: Int64
    var count: Int64
    var period: Int64
    var quantity: Int64 = 1

    /// The call without a key.
    var limitCall: LimitCall {
        var call = LimitCall.blank
        let problem = call.setThrottle(maxBurst: maxBurst, count: count, period: period, quantity: quantity)
        precondition(problem == nil, "\(self): \(problem!)")
        return call
    }

    /// A call of `quantity` units with the same limit.
    func taking(_ quantity: Int64) -> Call {
        Call(maxBurst: maxBurst, count: count, period: period, quantity: quantity)
    }
}

/// A burst of a thousand units, replenished one every eleven and a half days: none while a test runs.
let thousandOnce = Call(maxBurst: 999, count: 1, period: 1_000_000)

extension EngineTime {
    static func milliseconds(_ count: Int64) -> EngineTime { EngineTime(nanoseconds: count * 1_000_000) }
    static func seconds(_ count: Int64) -> EngineTime { EngineTime(nanoseconds: count * 1_000_000_000) }
}

extension KeyspaceSession {
    func throttle(_ key: [UInt8], _ call: LimitCall, now: EngineTime) -> LimitDecision {
        // Exactly sized, so that a sanitizer detects a read past the end.
        let memory = UnsafeMutablePointer<UInt8>.allocate(capacity: max(1, key.count))
        defer { memory.deallocate() }
        key.withUnsafeBufferPointer { source in
            memory.initialize(from: source.baseAddress ?? UnsafePointer(memory), count: key.count)
        }
        var call = call
        call.setKey(memory, count: key.count)
        decide(&call, count: 1, now: now)
        return call.decision
    }

    @discardableResult
    func throttle(_ key: String, _ call: Call, now: EngineTime) -> LimitDecision {
        throttle(Array(key.utf8), call.limitCall, now: now)
    }

    /// Decides all of `keys` in one batch.
    func throttle(batch keys: [[UInt8]], _ call: LimitCall, now: EngineTime) -> [LimitDecision] {
        let bytes = UnsafeMutablePointer<UInt8>.allocate(capacity: max(1, keys.reduce(0) { $0 + $1.count }))
        defer { bytes.deallocate() }
        var calls: [LimitCall] = []
        var end = bytes
        for key in keys {
            for (offset, byte) in key.enumerated() { end[offset] = byte }
            calls.append(call)
            calls[calls.count - 1].setKey(end, count: key.count)
            end += key.count
        }
        calls.withUnsafeMutableBufferPointer { decide($0.baseAddress!, count: $0.count, now: now) }
        return calls.map(\.decision)
    }

    func state(of key: String, now: EngineTime) -> KeyState? { key.bytes { state(of: $0, now: now) } }
    func exists(_ key: String, now: EngineTime) -> Bool { key.bytes { exists($0, now: now) } }
    func timeToLive(_ key: String, now: EngineTime) -> TimeToLive { key.bytes { timeToLive($0, now: now) } }
    @discardableResult
    func remove(_ key: String, now: EngineTime) -> Bool { key.bytes { remove($0, now: now) } }
    @discardableResult
    func setDeadline(_ key: String, to deadline: EngineTime, now: EngineTime) -> Bool {
        key.bytes { setDeadline($0, to: deadline, now: now) }
    }
    @discardableResult
    func removeDeadline(_ key: String, now: EngineTime) -> Bool { key.bytes { removeDeadline($0, now: now) } }
    @discardableResult
    func apply(_ state: KeyState, to key: String, now: EngineTime) -> Bool {
        key.bytes { apply(state, to: $0, now: now) }
    }

    func watch(_ key: String, token: WatchToken, now: EngineTime) { watch(Array(key.utf8), token: token, now: now) }
    func unwatch(_ key: String, token: WatchToken) { unwatch(Array(key.utf8), token: token) }

    /// Every live key.
    func allKeys(now: EngineTime) -> Set<String> {
        var keys: Set<String> = []
        forEachKey(now: now) { key, _ in keys.insert(String(decoding: key, as: UTF8.self)) }
        return keys
    }
}

extension String {
    func bytes<Result>(_ body: (UnsafeRawBufferPointer) throws -> Result) rethrows -> Result {
        try Array(utf8).withUnsafeBytes(body)
    }
}

extension KeyspaceSession {
    /// The result of a peek with a limit on the key `k`.
    func standing(_ limit: Limit, at now: Int64, carriesOver: Bool = false) -> LimitDecision {
        var take = LimitCall(limit, .nothing)
        take.operation = .peek
        take.carriesOver = carriesOver
        decide("k", &take, now: EngineTime(nanoseconds: now))
        return take.decision
    }
}

extension Policy {
    /// A policy that has had each of these limits in turn; the last one is current, all since `now`.
    static func having(_ limits: Limit..., since now: Int64) -> Policy {
        var policy = Policy(name: [1], limit: limits[0])
        for limit in limits.dropFirst() { policy = Policy(name: [1], limit: limit).succeeding(policy, now: now) }
        return policy
    }
}
