// The memory of a batch: where calls, groups and keys are stored, and which counters a batch keeps.

import LimiterEngine
import RESP
import Testing

@testable import RespServer

@Suite struct BatchTests {
    private let batch = Batch()

    private func note(_ command: Int16, _ form: Batch.ReplyForm = .limit) -> Batch.Note {
        Batch.Note(owner: 3, command: command, form: form, version: .resp3)
    }

    @Test func aCallOccupiesThreeCacheLines() {
        #expect(MemoryLayout<LimitCall>.stride == 192)
        #expect(UInt(bitPattern: batch.calls) % 64 == 0)
    }

    @Test func theCommandIsKnownWhileAllCallsShareIt() {
        batch.add(1, note(7))
        batch.add(1, note(7))
        #expect(batch.command == 7 && batch.count == 2 && batch.room == Batch.callsMax - 2)
        batch.add(1, note(0))
        batch.add(1, note(7))
        #expect(batch.command == nil && batch.requestCount == 4)
        batch.removeAll()
        batch.add(1, note(0))
        #expect(batch.command == 0 && batch.count == 1)
    }

    @Test func aGroupIsOneRequest() {
        batch.add(1, note(1))
        batch.add(3, note(2, .group))
        batch.add(2, note(2, .group))
        batch.add(1, note(1))
        #expect(batch.count == 7 && batch.requestCount == 4)
        #expect(batch.groups.map(\.first) == [1, 4] && batch.groups.map(\.count) == [3, 2])
        #expect((0..<7).map { batch.notes[$0].command } == [1, 2, 2, 2, 2, 2, 1])
        #expect((0..<7).allSatisfy { batch.notes[$0].owner == 3 && batch.notes[$0].version == .resp3 })
        batch.removeAll()
        #expect(batch.groups.isEmpty && batch.requestCount == 0)
    }

    @Test func aKeyOfAnyLengthFitsIntoAnEmptyBatch() {
        let first = batch.keyMemory(Batch.keyCapacity - 10)
        batch.add(1, note(1))
        #expect(batch.hasKeyMemory(10) && !batch.hasKeyMemory(11))
        #expect(batch.keyMemory(10) == first + (Batch.keyCapacity - 10))
        batch.removeAll()
        // Once decided and cleared, it accepts a key longer than its whole key buffer, and short keys after it.
        for count in [Batch.keyCapacity + 1, 1 << 20] {
            #expect(batch.hasKeyMemory(count))
            let long = batch.keyMemory(count)
            long.initialize(repeating: 7, count: count)
            batch.add(1, note(1))
            #expect(!batch.hasKeyMemory(count) && batch.hasKeyMemory(Batch.keyCapacity))
            #expect(batch.keyMemory(5) == first)
            #expect(long[count - 1] == 7)
            batch.removeAll()
        }
    }

    @Test func everyBatchedCommandHasNoHandlerAndAcceptsWhatItsArityAllows() {
        let registry = CommandRegistry(specs: CommandTable.specs)
        for (number, spec) in CommandTable.specs.enumerated() {
            // A script that is not decided in the batch has one.
            let isScript = spec.flags.contains(.script)
            #expect(spec.batched == nil || spec.handler == nil || isScript, "\(spec.name) would never run its handler")
            for count in 1...8 {
                let isAccepted = spec.batched != nil && spec.accepts(argumentCount: count)
                #expect((registry.batched[number].command(count) != nil) == isAccepted, "\(spec.name) \(count)")
            }
        }
    }
}
