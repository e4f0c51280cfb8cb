// Current and peak memory use of the process.
//
//   used = dataset + overhead
//   dataset    records and index, compared with `maxmemory`; the engine updates the count with every change
//   overhead   everything else allocated from the C library: buffers, connections, tables
//
// The C library computes its statistics by visiting every free chunk while holding the arena's lock. So only the sweep
// thread samples them: about once a second while there are few free chunks, and very rarely while there are many.
// Deleting a million keys of more than 200 bytes leaves so many that a sample would stall an event loop. Between
// samples the overhead is adjusted by the memory counted for clients.

import CLinux
import LimiterEngine
import Synchronization
import System

/// Memory use of the process. Any thread reads; the sweep thread samples.
final class MemoryMonitor: Sendable {
    private let engine: Engine
    private let overheadBytes: Atomic<Int>
    /// The clients' part of `overheadBytes` at the last sample.
    private let clientBytes = Atomic<Int>(0)
    private let peakBytes: Atomic<Int>
    /// Bytes in use when the server was created, before any state or client.
    let startup: Int

    // Used only by the sweep thread, which samples the heap.
    private let checkedAt = Atomic<SteadyInstant>(.boot)
    private let sampledAt = Atomic<SteadyInstant>(.boot)
    /// Free chunks at the last sample, and the most heap-allocated records seen at any check since.
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

    /// Bytes of everything but keys and their index, with clients using `clients` bytes now.
    func overhead(clients: Int) -> Int {
        max(0, overheadBytes.load(ordering: .relaxed) + clients - clientBytes.load(ordering: .relaxed))
    }

    /// The highest number of bytes ever seen in use, including `used`.
    func peak(with used: Int) -> Int { peakBytes.max(used, ordering: .relaxed).newValue }

    /// Called by the sweep thread at every tick.
    func sample(steady: SteadyInstant, clients: Int) {
        if steady - checkedAt.load(ordering: .relaxed) >= MemoryMonitor.pause(freePieces: 0) {
            checkedAt.store(steady, ordering: .relaxed)
            sampleHeapIfDue(steady: steady, clients: clients)
        }
        _ = peak(with: engine.memoryInUse + overhead(clients: clients))
    }

    private func sampleHeapIfDue(steady: SteadyInstant, clients: Int) {
        let use = engine.heapUse
        let recordsMax = max(use.records, recordsMax.load(ordering: .relaxed))
        // Each record deleted since then may have left a free chunk.
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

    /// Time between two samples of the heap: one second for up to a thousand free chunks, each of which costs 0.1 to
    /// 0.6 µs to visit. Beyond that it grows quadratically: the longer a loop might stall, the rarer the samples.
    static func pause(freePieces: Int) -> Nanoseconds {
        let thousands = Double(max(1000, freePieces)) / 1000
        return .milliseconds(Int64(min(thousands * thousands * 1000, 1e12)))
    }

    private static func heap(_ use: Engine.HeapUse) -> (overhead: Int, freePieces: Int) {
        var pieces: UInt64 = 0
        let bytes = Int(clinux_heap_in_use(&pieces))
        return (max(0, bytes - use.bytes), Int(pieces))
    }
}
