// Queued output leaves in order, whatever its pieces and however little is written at a time.

import TestSupport
import Testing
import Transport

@Suite struct OutputQueueTests {
    /// Pieces and small additions, sent a few bytes at a time, leave in the order they were added.
    @Test func sendsEverythingInOrder() {
        var random = SeededGenerator(for: "output queue")
        let output = OutputQueue()
        var expected: [UInt8] = []
        var sent: [UInt8] = []
        for _ in 0..<3_000 {
            let bytes = (0..<random.below(random.below(20) == 0 ? 100_000 : 300)).map { _ in UInt8(random.below(256)) }
            expected += bytes
            if random.below(4) == 0 {
                output.append(bytes)
            } else {
                bytes.withUnsafeBufferPointer { output.append($0) }
            }
            var room = random.below(4) == 0 ? random.below(200_000) : 0
            output.drain { bytes in
                let taken = min(room, bytes.count, 1 + random.below(70_000))
                sent += bytes[..<taken]
                room -= taken
                return taken
            }
            #expect(output.count == expected.count - sent.count)
            #expect(output.memory >= output.count)
        }
        output.drain { bytes in
            sent += bytes
            return bytes.count
        }
        #expect(output.count == 0 && output.memory == 0)
        #expect(sent == expected)
    }
}
