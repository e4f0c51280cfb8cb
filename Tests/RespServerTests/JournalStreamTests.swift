// The journal's bytes on their way to disk and backlog: none lost, none duplicated, and a bounded number buffered.

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

    /// Drains the bytes that wait for the disk and checks that the parts are contiguous.
    private func drain(from start: Int64) -> Int64 {
        var end = start
        while let part = stream.nextForDisk() {
            #expect(part.offset == end)
            end = part.end
        }
        return end
    }

    @Test func diskAndBacklogGetTheSameBytes() {
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
        #expect(drain(from: start) == journal.offset)
    }

    /// Loops keep appending while a backlog is created: bytes added between two steps must not get lost. A backlog
    /// traps on a part that does not continue its contents.
    @Test(arguments: [true, false]) func aBacklogMayStartDuringAppends(wantsDisk: Bool) {
        let (journal, isOver) = (journal, Locked(false))
        // Not a task: this loop never yields.
        Thread.detach(name: "adding") {
            while !isOver.withLock({ $0 }) {
                // Keeps pace with the reader.
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

    @Test func bytesWaitingForTheDiskAreCounted() {
        add(5)
        #expect(stream.bytesForDisk == 0, "nothing consumes it")
        let start = stream.beginDisk()
        stream.beginBacklog(capacity: 1 << 20)
        add(10)
        #expect(stream.bytesForDisk == Int(journal.offset - start), "including bytes still in the journal")
        stream.drain()
        add(1)
        #expect(stream.bytesForDisk == Int(journal.offset - start))
        stream.endDisk()
        #expect(stream.nextForDisk() == nil && stream.bytesForDisk == 0)
        add(10)
        stream.drain()
        #expect(stream.nextForDisk() == nil && stream.bytesForDisk == 0)
        #expect(stream.withBacklog { $0?.end } == journal.offset, "replicas continue")
        let anew = stream.beginDisk()
        #expect(anew == journal.offset)
        add(1)
        stream.drain()
        #expect(drain(from: anew) == journal.offset)
        #expect(stream.bytesForDisk == 0, "drained bytes no longer wait")
    }
}
