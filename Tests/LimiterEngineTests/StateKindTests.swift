// Invariants of every row in the table of state kinds, on which records, journals and the sweep rely.

import TestSupport
import Testing

@testable import LimiterEngine

@Suite struct StateKindTests {
    private struct Witnessed: StateVisitor {
        func visit<Witness: StateWitness>(_ witness: Witness.Type) -> StateKind { Witness.kind }
    }

    private struct WitnessedLimiter: LimiterVisitor {
        func visit<Witness: LimiterWitness>(_ witness: Witness.Type) -> StateKind { Witness.kind }
    }

    @Test func everyKindHasItsOwnWitness() {
        for kind in StateKind.allCases { #expect(kind.dispatch(Witnessed()) == kind) }
        for algorithm in Limit.Algorithm.allCases {
            #expect(algorithm.dispatch(WitnessedLimiter()) == algorithm.kind)
        }
        #expect(Set(StateKind.allCases.map { "\($0.name)" }).count == StateKind.allCases.count)
        #expect(Set(Limit.Algorithm.allCases.map { "\($0.name)" }).count == Limit.Algorithm.allCases.count)
    }

    @Test func everyKindFitsARecord() {
        for kind in StateKind.allCases {
            #expect((1...15).contains(kind.rawValue), "a record has four bits for it")
            // Records distinguish these two from all others without a table lookup.
            #expect((kind.rawValue <= StateKind.counter.rawValue) == (kind == .gcra || kind == .counter))
            if kind == .gcra || kind == .counter { #expect(kind.fixedSize == 8 && !kind.isHidden) }
            #expect(kind.facts.initialSize >= 8 && kind.facts.sizeMax >= kind.facts.initialSize)
            if let size = kind.fixedSize { #expect(kind.facts.initialSize == size && kind.facts.sizeMax == size) }
        }
        for algorithm in Limit.Algorithm.allCases {
            #expect(algorithm.kind.facts.initialSize <= Limit.carriedSizeMax)
            #expect(!algorithm.kind.isHidden)
        }
    }

    /// Further kinds need no change in the reader of records: their header has room for them.
    @Test func aRecordsHeaderKeepsEveryKindWithAllOtherFields() {
        let memory = UnsafeMutableRawPointer.allocate(byteCount: 1 << 16, alignment: 16)
        defer { memory.deallocate() }
        let key = [UInt8](repeating: 7, count: 300)
        for kind in StateKind.allCases {
            for (deadline, isNumbered) in [(nil, false), (5, false), (nil, true), (5, true)] as [(Int64?, Bool)] {
                let record = Record(memory)
                key.withUnsafeBytes {
                    record.initialize(
                        kind: kind, stateSize: kind.facts.initialSize, key: $0.baseAddress!, keyLength: 300,
                        isNumbered: isNumbered, deadline: deadline)
                }
                record.setDirty(true)
                record.setDetached()
                #expect(record.kind == kind && record.isHidden == kind.isHidden && record.keyLength == 300)
                #expect(record.isDirty && record.isDetached && record.hasDeadline == (deadline != nil))
                #expect(record.stateSize == kind.facts.initialSize && record.deadline == deadline ?? Int64.max)
                record.setDirty(false)
                #expect(record.kind == kind && !record.isDirty && record.isDetached)
                let isFound = key.withUnsafeBytes { bytes in
                    [(isNumbered, false), (isNumbered, true), (!isNumbered, kind.isHidden)].map {
                        let namespace = Namespace(isNumbered: $0, isHidden: $1)
                        return record.hasKey(bytes.baseAddress!, count: 300, in: namespace)
                    }
                }
                #expect(isFound == [!kind.isHidden, kind.isHidden, false])
                #expect(record.isNumbered == isNumbered)
            }
        }
    }

    /// A token's key used as a command's key is a different key, whatever kind of state it holds.
    @Test func aHiddenKeyIsNeverAClientsKey() throws {
        let session = KeyspaceSession(engine: Engine(shards: 1))
        let now = EngineTime.seconds(1)
        for (number, algorithm) in Limit.Algorithm.allCases.enumerated() {
            let limit = try Limit.sample(algorithm, units: 3, period: 60_000_000_000)
            let name = "k\(number)"
            #expect(session.decide(name, LimitCall(limit, .one), token: "t", now: now).remaining == 2)
            let same = [UInt8(name.utf8.count), 0, 0, 0] + Array(name.utf8) + Array("t".utf8)
            var call = LimitCall(limit, .one)
            for remaining in [2, 1] as [Int64] {
                same.withUnsafeBytes { session.decide(&call, key: $0, now: now) }
                #expect(call.decision.remaining == remaining && !call.decision.isRepeated)
            }
            #expect(session.decide(name, LimitCall(limit, .one), token: "t", now: now).isRepeated)
        }
        #expect(session.count() == 2 * Limit.Algorithm.allCases.count)
        #expect(session.engine.violatedInvariants() == [])
    }
}
