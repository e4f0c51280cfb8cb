// What the process has allocated, and the most it ever had.
//
//   used = dataset + overhead
//   dataset    records and index: what `maxmemory` is compared with; counted by the engine with every change
//   overhead   all else that the C library has given out: buffers, connections, tables
//
// The C library counts by looking at each free piece, under the lock of the arena it is in. So only the sweep thread
// asks, about once a second where there are few pieces, and hardly ever where there are many: a million keys of more
// than 200 bytes that were removed leave so many that asking would keep a loop waiting. Between two samples the
// overhead follows what is counted of clients.

import CLinux
import LimiterEngine
import Synchronization
import System

/// The process's use of memory. Any thread reads; the sweep thread samples.
final class MemoryMonitor: Sendable {
    private let engine: Engine
    private let overheadBytes: Atomic<Int>
    /// What clients had of it.
    private let clientBytes = Atomic<Int>(0)
    private let peakBytes: Atomic<Int>
    /// Bytes in use when the server was made, before any state or client.
    let startup: Int

    // The sweep thread's alone: a sample is a look at the heap.
    private let checkedAt = Atomic<SteadyInstant>(.boot)
    private let sampledAt = Atomic<SteadyInstant>(.boot)
    /// Free pieces at the last sample, and the most records that were pieces of the heap at any check since.
    private let freePieces = Atomic<Int>(0)
    private let recordsMax = Atomic<Int>(0)

    init(engine: Engine) {
        self.engine = engine
        overheadBytes = Atomic(0)
        let dataset = engine.memoryInUse
        let overhead = MemoryMonitor.heap(engine.heapUse).overhead
        startup = dataset + overhead
        peakBytes = Atomic(dataset + overhead)
        overheadBytes.store(overhead, ordering: .relaxed)
    }

    /// Bytes of everything but keys and their index, where clients have so much now.
    func overhead(clients: Int) -> Int {
        max(0, overheadBytes.load(ordering: .relaxed) + clients - clientBytes.load(ordering: .relaxed))
    }

    /// The most bytes that were ever found in use, `used` now among them.
    func peak(with used: Int) -> Int { peakBytes.max(used, ordering: .relaxed).newValue }

    /// Called by the sweep thread at every tick.
    func sample(steady: SteadyInstant, clients: Int) {
        if steady - checkedAt.load(ordering: .relaxed) >= MemoryMonitor.pause(freePieces: 0) {
            checkedAt.store(steady, ordering: .relaxed)
            considerHeap(steady: steady, clients: clients)
        }
        _ = peak(with: engine.memoryInUse + overhead(clients: clients))
    }

    private func considerHeap(steady: SteadyInstant, clients: Int) {
        let use = engine.heapUse
        let recordsMax = max(use.records, recordsMax.load(ordering: .relaxed))
        // Each record that is gone since may have left a piece.
        let pieces = freePieces.load(ordering: .relaxed) + recordsMax - use.records
        let isDue = steady - sampledAt.load(ordering: .relaxed) >= MemoryMonitor.pause(freePieces: pieces)
        self.recordsMax.store(isDue ? use.records : recordsMax, ordering: .relaxed)
        guard isDue else { return }
        let heap = MemoryMonitor.heap(use)
        overheadBytes.store(heap.overhead, ordering: .relaxed)
        clientBytes.store(clients, ordering: .relaxed)
        freePieces.store(heap.freePieces, ordering: .relaxed)
        sampledAt.store(steady, ordering: .relaxed)
    }

    /// From one look at the heap to the next: a second for up to a thousand free pieces, each of which
    /// takes 0.1 to 0.6 µs; beyond that it grows with their square: the longer a loop might wait, the rarer it is.
    static func pause(freePieces: Int) -> Nanoseconds {
        let thousands = Double(max(1000, freePieces)) / 1000
        return Nanoseconds(Int64(thousands * thousands * 1e9))
    }

    private static func heap(_ use: Engine.HeapUse) -> (overhead: Int, freePieces: Int) {
        var pieces: UInt64 = 0
        let bytes = Int(clinux_heap_in_use(&pieces))
        return (max(0, bytes - use.bytes), Int(pieces))
    }
}
