// The replication backlog: the tail of the journal in memory.

import Persistence
import Testing

@testable import Replication

@Suite struct BacklogTests {
    private func append(_ bytes: [UInt8], to backlog: Backlog) {
        bytes.withUnsafeBytes { backlog.append($0, at: backlog.end) }
    }

    @Test func keepsTheLastBytesAndServesBatchBoundaries() {
        let stream = TestStream(offset: 500)
        let backlog = Backlog(capacity: 400, offset: 500, blockSize: 150)
        var all: [UInt8] = []
        var boundaries: [Int64] = [500]
        #expect(backlog.serves(from: 500) && !backlog.serves(from: 499) && !backlog.serves(from: 501))
        #expect(backlog.bytes(from: 500, limit: 10) == nil)
        for number in 0..<40 {
            let bytes = stream.batch(number..<number + 1 + number % 3)
            all += bytes
            append(bytes, to: backlog)
            boundaries.append(backlog.end)
            backlog.trim(needed: nil)
            #expect(backlog.end == 500 + Int64(all.count))
            #expect(backlog.count >= min(400, all.count) && backlog.count <= 400 + 300)
            #expect(backlog.count == Int(backlog.end - backlog.start))
            for offset in 495...backlog.end + 2 {
                let isThere = offset >= backlog.start && boundaries.contains(offset)
                #expect(backlog.serves(from: offset) == isThere)
            }
        }
        var position = backlog.start
        var read: [UInt8] = []
        while let bytes = backlog.bytes(from: position, limit: 37) {
            #expect(bytes.count >= 1 && bytes.count <= 37)
            read += Array(bytes)
            position += Int64(bytes.count)
        }
        #expect(position == backlog.end)
        #expect(read == Array(all.suffix(read.count)))
        #expect(backlog.bytes(from: backlog.start - 1, limit: 1) == nil)
    }

    @Test func keepsBytesThatALinkNeeds() {
        let stream = TestStream()
        let backlog = Backlog(capacity: 100, offset: 0, blockSize: 100)
        for number in 0..<20 { append(stream.batch(number..<number + 2), to: backlog) }
        backlog.trim(needed: 0)
        #expect(backlog.start == 0)
        let needed = backlog.end - 500
        backlog.trim(needed: needed)
        #expect(backlog.start <= needed && backlog.start > needed - 250)
        backlog.trim(needed: nil)
        #expect(backlog.count >= 100 && backlog.count < 350)
        #expect(backlog.count <= backlog.keptMost && backlog.keptMost < 450)
    }

    @Test func restartsAtAnotherOffset() {
        let stream = TestStream()
        let backlog = Backlog(capacity: 1000, offset: 0)
        append(stream.batch(0..<3), to: backlog)
        backlog.restart(at: 9000)
        #expect(backlog.start == 9000 && backlog.end == 9000 && backlog.serves(from: 9000))
        #expect(!backlog.serves(from: 0))
        let other = TestStream(offset: 9000)
        append(other.batch(0..<3), to: backlog)
        #expect(backlog.bytes(from: 9000, limit: 1 << 20)?.count == backlog.count)
    }

    @Test func hasAMinimumSize() {
        let backlog = Backlog(capacity: 1, offset: 0)
        #expect(backlog.capacity == Backlog.capacityMin)
        backlog.capacity = 2
        #expect(backlog.capacity == Backlog.capacityMin)
        backlog.capacity = 1 << 20
        #expect(backlog.capacity == 1 << 20)
    }
}
