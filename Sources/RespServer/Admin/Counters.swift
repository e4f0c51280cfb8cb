// Single-writer counters that any thread may read, without locks or locked instructions.

import CLinux

/// A fixed number of 64-bit counters, initially zero.
///
/// One thread, the owner, adds; any thread may read at any time. Each counter is read without tearing, but several
/// counters are not a consistent snapshot. Overflow wraps.
///
/// `@unchecked Sendable`: the memory is reached only through relaxed atomic loads and stores, and `add` and `reset`,
/// which read before they write, are called only by the owner.
final class CounterBlock: @unchecked Sendable {
    /// How many counters there are.
    let count: Int
    private let base: UnsafeMutablePointer<UInt64>

    /// `count` counters of 8 bytes.
    init(count: Int) {
        precondition(count >= 0)
        self.count = count
        base = .allocate(capacity: max(count, 1))
        base.initialize(repeating: 0, count: max(count, 1))
    }

    deinit { base.deallocate() }

    /// Adds to a counter: a load, an addition and a store. Only for the owner thread.
    @inline(__always)
    func add(_ index: Int, _ amount: UInt64) {
        assert(index >= 0 && index < count)
        clinux_counter_add_owned(base + index, amount)
    }

    /// Adds 1 to a counter. Only for the owner thread.
    @inline(__always)
    func increment(_ index: Int) { add(index, 1) }

    /// The counter's value. For any thread.
    @inline(__always)
    func load(_ index: Int) -> UInt64 {
        assert(index >= 0 && index < count)
        return clinux_counter_load(base + index)
    }

    /// Sets a counter. Only for the owner thread, or while the owner is stopped.
    func store(_ index: Int, _ value: UInt64) {
        precondition(index >= 0 && index < count)
        clinux_counter_store(base + index, value)
    }

    /// Sets all counters to 0. Only for the owner thread, or while the owner is stopped.
    func reset() {
        for index in 0..<count { clinux_counter_store(base + index, 0) }
    }
}
