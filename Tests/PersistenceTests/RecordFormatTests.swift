// Records and batches as bytes: round trips, truncation anywhere, any bit flipped, false lengths.

import LimiterEngine
import TestSupport
import Testing

@testable import Persistence

/// A record that owns its bytes, for comparison.
private enum OwnedRecord: Equatable {
    case state(key: [UInt8], isNumbered: Bool = false, KeyState)
    case removed(key: [UInt8], isNumbered: Bool = false)
    case control(ControlKind, key: [UInt8], body: [UInt8])

    init(_ record: JournalRecord) {
        switch record {
        case .state(let key, let state):
            self = .state(key: Array(key.bytes), isNumbered: key.isNumbered, KeyState(state))
        case .removed(let key): self = .removed(key: Array(key.bytes), isNumbered: key.isNumbered)
        case .control(let kind, let key, let body): self = .control(kind, key: Array(key), body: Array(body))
        }
    }

    func encode(into buffer: ByteBuffer) {
        switch self {
        case .state(let key, let isNumbered, let state):
            var word = state.word
            withUnsafeBytes(of: &word) { value in
                key.withUnsafeBytes { key in
                    let view = StateView(kind: state.kind, value: value, deadline: state.deadline)
                    JournalRecord.encodeState(view, KeyName(key, isNumbered: isNumbered), into: buffer)
                }
            }
        case .removed(let key, let isNumbered):
            key.withUnsafeBytes { JournalRecord.encodeRemoval(KeyName($0, isNumbered: isNumbered), into: buffer) }
        case .control(let kind, let key, let body):
            key.withUnsafeBytes { key in
                body.withUnsafeBytes { JournalRecord.encodeControl(kind, key: key, body: $0, into: buffer) }
            }
        }
    }

    var encoded: [UInt8] {
        let buffer = ByteBuffer()
        encode(into: buffer)
        return Array(buffer.bytes)
    }
}

/// Decodes from an allocation of exactly these bytes, so that a sanitizer detects the first byte read past the end.
private func decode(_ bytes: [UInt8]) throws(RecordError) -> (record: OwnedRecord, used: Int) {
    let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes.count, alignment: 1)
    defer { memory.deallocate() }
    memory.copyBytes(from: bytes)
    var offset = 0
    let record = try JournalRecord.decode(UnsafeRawBufferPointer(memory), at: &offset)
    return (OwnedRecord(record), offset)
}

private func key(_ count: Int) -> [UInt8] { (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 37 &+ count) } }

@Suite struct RecordFormatTests {
    private static let records: [OwnedRecord] =
        [0, 1, 127, 128, 300, 16_384].flatMap { count -> [OwnedRecord] in
            [
                .state(key: key(count), KeyState(kind: .gcra, word: 0x0102_0304_0506_0708)),
                .state(key: key(count), KeyState(kind: .gcra, word: .max, deadline: 0)),
                .state(key: key(count), KeyState(kind: .counter, word: -1, deadline: .max - 1)),
                .removed(key: key(count)),
                .state(key: [9] + key(count), isNumbered: true, KeyState(kind: .gcra, word: 77, deadline: 5)),
                .removed(key: [255] + key(count), isNumbered: true),
                .control(.flushAll, key: [], body: []),
                .control(.flushDatabase, key: [], body: [9]),
                .control(.endOfSnapshot, key: [], body: key(8)),
            ]
        } + policyRecords

    private static let policyRecords: [OwnedRecord] = {
        let policy = Policy(name: key(5), limit: try! Limit(.fixedWindow, units: 5, period: 7, offset: -3))
        let subject = RuleSubject(tenant: key(3), client: nil, action: [0])
        let records = [
            PolicyRecord(policy), PolicyRecord(Rule(subject, policy: policy.name)),
            PolicyRecord(removingPolicy: policy.name), PolicyRecord(removingRule: subject),
        ]
        return records.map { .control(ControlKind($0.kind), key: $0.key, body: $0.value) }
    }()

    @Test func roundTrip() throws {
        for record in Self.records {
            let bytes = record.encoded
            // Bytes after a record do not affect it.
            let (decoded, used) = try decode(bytes + [0xFF, 0xFF])
            #expect(decoded == record)
            #expect(used == bytes.count)
        }
    }

    @Test func theBytesMatchTheTable() {
        let state = OwnedRecord.state(key: [0x6B, 0x31], KeyState(kind: .gcra, word: 0x0102, deadline: 0x0304))
        let kind = StateKind.gcra.rawValue
        let word: [UInt8] = [2, 1, 0, 0, 0, 0, 0, 0]
        let deadline: [UInt8] = [4, 3, 0, 0, 0, 0, 0, 0]
        #expect(state.encoded == [0x40 | kind, 2, 8] + word + deadline + [0x6B, 0x31])
        #expect(OwnedRecord.removed(key: [0x6B]).encoded == [0, 1, 0, 0x6B])
        let numbered = OwnedRecord.state(key: [9, 0x6B], isNumbered: true, KeyState(kind: .counter, word: 0x0102))
        #expect(numbered.encoded == [0x22, 2, 8] + word + [9, 0x6B])
        #expect(OwnedRecord.removed(key: [9, 0x6B], isNumbered: true).encoded == [0x20, 2, 0, 9, 0x6B])
        #expect(OwnedRecord.control(.flushDatabase, key: [], body: [9]).encoded == [0x87, 0, 1, 9])
        #expect(OwnedRecord.control(.flushAll, key: [], body: []).encoded == [0x81, 0, 0])
    }

    @Test func aNumberedKeyWithoutANumberIsRefused() {
        let word = [UInt8](repeating: 1, count: 8)
        #expect(throws: Never.self) { try decode([0x22, 1, 8] + word + [1]) }
        for key in [[], [0], [0, 0x6B]] as [[UInt8]] {
            let length = UInt8(key.count)
            #expect(throws: RecordError.self) { try decode([0x22, length, 8] + word + key) }
            #expect(throws: RecordError.self) { try decode([0x20, length, 0] + key) }
        }
        // The key of a token: the length of the limited key, that key, and the token.
        let answer = [UInt8](repeating: 0, count: 56)
        #expect(throws: Never.self) { try decode([0x26, 7, 56] + answer + [2, 0, 0, 0, 1, 0x6B, 0x74]) }
        for key in [[2, 0, 0, 0, 0, 0x6B, 0x74], [0, 0, 0, 0, 1, 0x6B, 0x74], [0, 0, 0, 0]] as [[UInt8]] {
            #expect(throws: RecordError.self) { try decode([0x26, UInt8(key.count), 56] + answer + key) }
            #expect(throws: Never.self) { try decode([0x06, UInt8(key.count), 56] + answer + key) }
        }
        #expect(throws: RecordError.self) { try decode([0x87, 0, 0]) }
        #expect(throws: RecordError.self) { try decode([0x87, 0, 2, 1, 1]) }
        #expect(throws: RecordError.self) { try decode([0x87, 1, 1, 1, 0x6B]) }
    }

    @Test func everyTruncationIsRefused() {
        for record in Self.records {
            let bytes = record.encoded
            for count in 1..<bytes.count where count < 400 || count > bytes.count - 20 {
                #expect(throws: RecordError.self) { try decode(Array(bytes.prefix(count))) }
            }
        }
    }

    /// A record has no checksum of its own: after a bit flip it is refused, or is another valid record within the
    /// bytes.
    @Test func everyFlippedBit() {
        for record in Self.records where record.encoded.count < 400 {
            let bytes = record.encoded
            for bit in 0..<bytes.count * 8 {
                var damaged = bytes
                damaged[bit / 8] ^= 1 << UInt8(bit % 8)
                guard let (other, used) = try? decode(damaged) else { continue }
                #expect(used <= damaged.count)
                #expect(other != record)
                #expect(other.encoded == Array(damaged.prefix(used)), "only one encoding is valid")
            }
        }
    }

    @Test func unknownKindsAreRefused() {
        for kind in UInt8.min...UInt8.max {
            let bytes = [kind, 1, 8] + [UInt8](repeating: 1, count: 8) + [UInt8](repeating: 1, count: 8) + [0x6B]
            let isControl = kind & 0x80 != 0
            let low = kind & 0x3F
            // A known kind may be numbered: its key begins with a number.
            let state = kind & 0x1F
            // The bytes are neither a policy nor a rule, whose kinds are also known; PolicyRecoveryTests covers
            // those.
            let control = ControlKind(rawValue: low).map { $0.policyKind == nil && $0 != .flushDatabase } ?? false
            let isKnown = isControl ? kind & 0x40 == 0 && control : StateKind(rawValue: state)?.fixedSize == 8
            #expect((try? decode(bytes)) != nil ? isKnown : !isKnown, "kind \(kind)")
        }
    }

    @Test func falseLengthsAreRefused() {
        let spellings: [[UInt8]] = [
            [0x80, 0x00], [0x81, 0x00], [0x80, 0x80, 0x00], [0xFF, 0xFF, 0xFF, 0x7F], [0xFF, 0xFF, 0xFF, 0xFF, 0x0F],
            [0xFF, 0xFF, 0xFF, 0xFF, 0x7F], [0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01], [0x80, 0x80, 0x80, 0x10],
            [0x80], [0xFF, 0xFF, 0xFF, 0xFF, 0xFF],
        ]
        let rest = [UInt8](repeating: 0, count: 40)
        for length in spellings {
            #expect(throws: RecordError.self) { try decode([1] + length + [8] + rest) }
            #expect(throws: RecordError.self) { try decode([1, 1] + length + rest) }
        }
        #expect(throws: RecordError.self) { try decode([1] + spellings[8]) }
        // A state of the wrong length, a removal with a state or a deadline, a deadline before the minimum time.
        #expect(throws: RecordError.self) { try decode([1, 0, 7] + rest) }
        #expect(throws: RecordError.self) { try decode([0, 0, 1] + rest) }
        #expect(throws: RecordError.self) { try decode([0x40, 0, 0] + rest) }
        #expect(throws: RecordError.self) {
            try decode([0x41, 0, 8] + [UInt8](repeating: 0, count: 8) + [UInt8](repeating: 0xFF, count: 8))
        }
    }

    @Test func randomBytesAreRefusedOrARecord() {
        var random = SeededGenerator(seed: 4)
        for _ in 0..<20_000 {
            var bytes = (0..<(1 + random.below(30))).map { _ in UInt8(random.below(256)) }
            if random.below(2) == 0 { bytes[0] &= 0x43 }
            if bytes.count > 2, random.below(2) == 0 { (bytes[1], bytes[2]) = (UInt8(random.below(4)), 8) }
            guard let (record, used) = try? decode(bytes) else { continue }
            #expect(record.encoded == Array(bytes.prefix(used)))
        }
    }
}
