// Counters that one thread writes and any thread reads, without a lock and without a locked instruction.

import CLinux

/// A fixed number of 64-bit counters, all zero at first.
///
/// One thread, the owner, adds; any thread reads at any time and sees each counter whole, though not all of one moment.
/// Overflow wraps.
///
/// `@unchecked Sendable`: the memory is reached only through relaxed atomic loads and stores, and `add` and `reset`,
/// which read before they write, are the owner's alone.
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

    /// Adds to a counter. Only for the owner thread. A load, an addition and a store.
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

    /// Sets a counter. Only for the owner thread, or while it stands still.
    func store(_ index: Int, _ value: UInt64) {
        precondition(index >= 0 && index < count)
        clinux_counter_store(base + index, value)
    }

    /// Sets all counters to 0. Only for the owner thread, or while it stands still.
    func reset() {
        for index in 0..<count { clinux_counter_store(base + index, 0) }
    }
}
