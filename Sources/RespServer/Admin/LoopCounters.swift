// What an event loop counts: written by its own thread with plain stores, read by any thread that answers INFO.

import CLinux

/// Counters of one event loop.
///
/// `@unchecked Sendable`: `add` and `publishConnections` are called by the loop's thread alone (or by a thread that
/// has stopped it), with relaxed atomic stores; readers use relaxed loads.
final class LoopCounters: @unchecked Sendable {
    enum Counter: Int, CaseIterable {
        case commands, inputBytes, outputBytes, protocolErrors, outputLimitDisconnections, connections, waves
        case rejectedCalls, errorReplies, keyHits, keyMisses
    }

    private let values: UnsafeMutablePointer<UInt64>

    init() {
        values = .allocate(capacity: Counter.allCases.count)
        values.initialize(repeating: 0, count: Counter.allCases.count)
    }

    deinit { values.deallocate() }

    @inline(__always)
    func add(_ counter: Counter, _ amount: UInt64) { clinux_counter_add_owned(values + counter.rawValue, amount) }

    func value(_ counter: Counter) -> UInt64 { clinux_counter_load(values + counter.rawValue) }

    func publishConnections(_ count: Int) {
        clinux_counter_store(values + Counter.connections.rawValue, UInt64(count))
    }

    /// CONFIG RESETSTAT. May lose a count made at the same instant.
    func reset() {
        for counter in Counter.allCases where counter != .connections {
            clinux_counter_store(values + counter.rawValue, 0)
        }
    }
}
