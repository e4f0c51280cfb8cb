// Engine contents in a form convenient for tests: keys as strings, states as values.

import LimiterEngine
import Persistence

/// All of a key's state.
struct StoredState: Equatable {
    var kind: StateKind
    var bytes: [UInt8]
    var deadline: Int64?

    init(_ view: StateView) {
        kind = view.kind
        bytes = Array(view.value)
        deadline = view.deadline
    }

    /// When the state expires.
    var end: Int64 {
        let word = bytes.withUnsafeBytes { Int64(littleEndian: $0.loadUnaligned(as: Int64.self)) }
        return min(kind == .counter ? Int64.max : word, deadline ?? Int64.max)
    }
}

/// Policies and rules at one instant, by kind and key.
typealias PolicyBytes = [[UInt8]: [UInt8]]

/// Every key's state at one instant.
typealias States = [String: StoredState]

extension EngineTime {
    static func seconds(_ count: Int64) -> EngineTime { EngineTime(nanoseconds: count * 1_000_000_000) }

    func adding(_ nanoseconds: Int64) -> EngineTime { EngineTime(nanoseconds: self.nanoseconds + nanoseconds) }
}

extension KeyspaceSession {
    /// The states of all keys, including expired ones not yet removed. Answers stored for IDs are followed by
    /// "answer", since their keys may equal other keys; keys of databases other than 0 are prefixed with those.
    func allStates() -> States {
        var states: States = [:]
        var cursor: UInt64 = 0
        repeat {
            cursor = scanStates(cursor: cursor, effort: 1 << 20, now: EngineTime(nanoseconds: 0)) { key, state in
                let database = key.database(state.kind)
                let name = (database == 0 ? "" : "db\(database) ") + String(decoding: key.bytes, as: UTF8.self)
                states[state.kind.isHidden ? name + " answer" : name] = StoredState(state)
            }
        } while cursor != 0
        return states
    }

    @discardableResult
    func throttle(
        _ key: String, burst: Int64, count: Int64, period: Int64, quantity: Int64 = 1, now: EngineTime
    ) -> LimitDecision {
        var call = LimitCall.blank
        let problem = call.setThrottle(maxBurst: burst, count: count, period: period, quantity: quantity)
        precondition(problem == nil)
        return Array(key.utf8).withUnsafeBufferPointer { bytes in
            call.setKey(bytes.baseAddress!, count: bytes.count)
            decide(&call, count: 1, now: now)
            return call.decision
        }
    }

    func state(of key: String, now: EngineTime) -> KeyState? { key.withBytes { state(of: $0, now: now) } }
    func stored(_ key: String, now: EngineTime) -> StoredState? {
        key.withBytes { withState(of: $0, now: now) { StoredState($0) } }
    }
    @discardableResult
    func remove(_ key: String, now: EngineTime) -> Bool { key.withBytes { remove($0, now: now) } }
    @discardableResult
    func setDeadline(_ key: String, to deadline: EngineTime, now: EngineTime) -> Bool {
        key.withBytes { setDeadline($0, to: deadline, now: now) }
    }
    @discardableResult
    func removeDeadline(_ key: String, now: EngineTime) -> Bool { key.withBytes { removeDeadline($0, now: now) } }
    func apply(_ state: KeyState, to key: String, now: EngineTime) {
        _ = key.withBytes { apply(state, to: $0, now: now) }
    }
}

extension String {
    func withBytes<Result>(_ body: (UnsafeRawBufferPointer) -> Result) -> Result {
        Array(utf8).withUnsafeBytes(body)
    }
}

extension States {
    /// The states that are still live after `time`.
    func alive(after time: EngineTime) -> States { filter { $0.value.end > time.nanoseconds } }
}

extension Engine {
    /// The policies and rules in force, as bytes: kind and key, and the contents.
    var policyBytes: PolicyBytes {
        Dictionary(uniqueKeysWithValues: policies.table.records.map { ([$0.kind.rawValue] + $0.key, $0.value) })
    }
}
