// The journal's bytes on their way to disk and backlog: no byte missed, none twice, and not too many kept.

import LimiterEngine
import Persistence
import Replication
import System
import TestSupport
import Testing

@testable import RespServer

@Suite struct JournalStreamTests {
    private let journal = Journal(engine: Engine(shards: 1), offset: 0)
    private let stream: JournalStream

    init() { stream = JournalStream(journal: journal) }

    private func add(_ batches: Int) {
        for _ in 0..<batches { journal.recordTime(EngineTime(nanoseconds: 1)) }
    }

    /// Takes everything that waits for the disk; the parts have to follow one another.
    private func take(from start: Int64) -> Int64 {
        var end = start
        while let part = stream.nextForDisk() {
            #expect(part.offset == end)
            end = part.end
        }
        return end
    }

    @Test func diskAndBacklogGetTheSame() {
        add(3)
        let start = stream.beginDisk()
        #expect(start == journal.offset && stream.nextForDisk() == nil)
        add(2)
        stream.beginBacklog(capacity: 1 << 20)
        let middle = journal.offset
        #expect(stream.withBacklog { $0?.start } == middle)
        add(4)
        #expect(stream.drain() && !stream.drain())
        #expect(stream.withBacklog { $0?.end } == journal.offset)
        #expect(take(from: start) == journal.offset)
    }

    /// Whoever begins a backlog is not the only one who writes: bytes added between two steps must not get lost. A
    /// backlog traps when it is handed a part that does not follow what it has.
    @Test(arguments: [true, false]) func aBacklogMayBeginWhileOthersAdd(wantsDisk: Bool) {
        let (journal, isOver) = (journal, Locked(false))
        // A thread of its own, as it never lets another go first.
        Thread.detach(name: "adding") {
            while !isOver.withLock({ $0 }) {
                // No more than somebody takes.
                if journal.pendingBytes < 1 << 12 { journal.recordTime(EngineTime(nanoseconds: 1)) }
            }
        }
        for _ in 0..<3000 {
            let stream = JournalStream(journal: journal)
            if wantsDisk { _ = stream.beginDisk() }
            stream.beginBacklog(capacity: 1 << 20)
            stream.drain()
            #expect(stream.withBacklog { $0.map { $0.end <= journal.offset } } == true)
        }
        isOver.withLock { $0 = true }
    }

    @Test func whatWaitsForTheDiskIsCounted() {
        add(5)
        #expect(stream.bytesForDisk == 0, "nobody wants it")
        let start = stream.beginDisk()
        stream.beginBacklog(capacity: 1 << 20)
        add(10)
        #expect(stream.bytesForDisk == Int(journal.offset - start), "also what is the journal's still")
        stream.drain()
        add(1)
        #expect(stream.bytesForDisk == Int(journal.offset - start))
        stream.endDisk()
        #expect(stream.nextForDisk() == nil && stream.bytesForDisk == 0)
        add(10)
        stream.drain()
        #expect(stream.nextForDisk() == nil && stream.bytesForDisk == 0)
        #expect(stream.withBacklog { $0?.end } == journal.offset, "replicas go on")
        let anew = stream.beginDisk()
        #expect(anew == journal.offset)
        add(1)
        stream.drain()
        #expect(take(from: anew) == journal.offset)
        #expect(stream.bytesForDisk == 0, "what was taken does not wait")
    }
}
