// One record of the journal: a key's current state, a removal, or something that concerns more than one key.
//
//   offset        size
//        0           1   kind: bit 7 control, bit 6 has a deadline, bit 5 numbered, bits 0–4 its number (0: a removal);
//                        bits 0–5 of a control record are its number
//        1         1–5   k, length of the key, LEB128: seven bits a byte, lowest first, bit 7 set if more follow
//        …         1–5   v, length of the state or of the control record's body, LEB128
//        …           v   state (GCRA: the TAT, 8 bytes) or body
//        …         0/8   deadline in nanoseconds of engine time, if bit 6 is set
//        …           k   key; empty in control records that concern everything, a name in those of policies and rules
//
// A numbered key belongs to another database than 0 and begins with a byte 1 … 255, the number of the database. In the
// key of a token, which contains that of a limit, the latter does.
//
// Numbers are little-endian. A record is valid when its lengths use as few bytes as possible, k is at most 2²⁵−1, the
// kind is known and its state is one the engine accepts, bit 6 is set for states only, bit 5 for states and removals
// only, a numbered key has its number, a removal has v = 0, and no part of it is outside its batch.

package import LimiterEngine

/// The kind of a record that is not about a single key's state. The raw value is the low bits of the kind byte.
package enum ControlKind: UInt8, Sendable, CaseIterable {
    /// All keys were removed: FLUSHALL. Key and body are empty.
    case flushAll = 1
    /// The snapshot ends here and is complete. Body: its number of key records, 8 bytes; in a snapshot sent to a
    /// replica also the journal offset up to which it may contain changes, 8 bytes.
    case endOfSnapshot = 2
    /// This policy exists. Key: its name. Body: encoded by `PolicyRecord`, as for the kinds below.
    case policy = 3
    /// This policy does not exist.
    case policyRemoval = 4
    /// This rule exists. Key: its subject.
    case rule = 5
    /// This rule does not exist.
    case ruleRemoval = 6
    /// All keys of one database were removed, while others have keys: FLUSHDB. Body: its number, a byte.
    case flushDatabase = 7

    /// The journal's kind for a policy or rule record.
    init(_ kind: PolicyRecord.Kind) {
        switch kind {
        case .policy: self = .policy
        case .policyRemoval: self = .policyRemoval
        case .rule: self = .rule
        case .ruleRemoval: self = .ruleRemoval
        }
    }

    /// The policy record kind; nil for records of other things.
    var policyKind: PolicyRecord.Kind? {
        switch self {
        case .flushAll, .endOfSnapshot, .flushDatabase: nil
        case .policy: .policy
        case .policyRemoval: .policyRemoval
        case .rule: .rule
        case .ruleRemoval: .ruleRemoval
        }
    }
}

/// A record being read: borrows the bytes it was read from.
package enum JournalRecord {
    /// A key's state.
    case state(KeyName, StateView)
    /// A removed key.
    case removed(KeyName)
    /// A control record.
    case control(ControlKind, key: UnsafeRawBufferPointer, body: UnsafeRawBufferPointer)

    private static let controlBit: UInt8 = 0x80
    private static let deadlineBit: UInt8 = 0x40
    private static let numberedBit: UInt8 = 0x20

    // MARK: Writing

    /// Upper bound on the bytes of a record besides key and state.
    static let overheadMax = 1 + 5 + 5 + 8

    static func encodeState(_ state: StateView, _ name: KeyName, into buffer: ByteBuffer) {
        let kind = state.kind.rawValue | (state.deadline == nil ? 0 : deadlineBit) | (name.isNumbered ? numberedBit : 0)
        encode(kind, key: name.bytes, value: state.value, deadline: state.deadline, into: buffer)
    }

    static func encodeRemoval(_ name: KeyName, into buffer: ByteBuffer) {
        let kind = name.isNumbered ? numberedBit : 0
        encode(kind, key: name.bytes, value: UnsafeRawBufferPointer(start: nil, count: 0), deadline: nil, into: buffer)
    }

    static func encodeControl(
        _ kind: ControlKind, key: UnsafeRawBufferPointer, body: UnsafeRawBufferPointer, into buffer: ByteBuffer
    ) {
        encode(kind.rawValue | controlBit, key: key, value: body, deadline: nil, into: buffer)
    }

    @inline(__always)
    private static func encode(
        _ kind: UInt8, key: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer, deadline: Int64?,
        into buffer: ByteBuffer
    ) {
        let start = buffer.count
        let memory = buffer.extend(by: overheadMax + key.count + value.count)
        memory.storeBytes(of: kind, as: UInt8.self)
        var used = 1
        used += writeLength(key.count, to: memory + used)
        used += writeLength(value.count, to: memory + used)
        if let base = value.baseAddress { (memory + used).copyShort(from: base, count: value.count) }
        used += value.count
        if let deadline {
            (memory + used).storeBytes(of: deadline.littleEndian, as: Int64.self)
            used += 8
        }
        if let base = key.baseAddress { (memory + used).copyShort(from: base, count: key.count) }
        buffer.truncate(to: start + used + key.count)
    }

    @inline(__always)
    private static func writeLength(_ length: Int, to memory: UnsafeMutableRawPointer) -> Int {
        var rest = length
        var used = 0
        while rest >= 0x80 {
            memory.storeBytes(of: UInt8(truncatingIfNeeded: rest) | 0x80, toByteOffset: used, as: UInt8.self)
            rest >>= 7
            used += 1
        }
        memory.storeBytes(of: UInt8(truncatingIfNeeded: rest), toByteOffset: used, as: UInt8.self)
        return used + 1
    }

    // MARK: Reading

    /// Reads the record at `offset` and advances `offset` past it.
    static func decode(
        _ bytes: UnsafeRawBufferPointer, at offset: inout Int
    ) throws(RecordError) -> JournalRecord {
        let start = offset
        func failed(_ reason: String, isOtherVersion: Bool = false) -> RecordError {
            RecordError(offset: start, reason: reason, isOtherVersion: isOtherVersion)
        }
        let kind = bytes[offset]
        var position = offset + 1
        guard let keyLength = readLength(bytes, &position), keyLength <= keyLengthMax else {
            throw failed("the length of its key is not valid")
        }
        guard let valueLength = readLength(bytes, &position), valueLength <= JournalBatch.payloadMax else {
            throw failed("the length of its state is not valid")
        }
        let deadlineLength = kind & deadlineBit == 0 ? 0 : 8
        guard bytes.count - position >= keyLength + valueLength + deadlineLength else {
            throw failed("it is longer than its batch")
        }
        let value = UnsafeRawBufferPointer(rebasing: bytes[position..<position + valueLength])
        position += valueLength
        var deadline: Int64?
        if deadlineLength > 0 {
            deadline = Int64(littleEndian: bytes.loadUnaligned(fromByteOffset: position, as: Int64.self))
            position += 8
        }
        let key = UnsafeRawBufferPointer(rebasing: bytes[position..<position + keyLength])
        offset = position + keyLength
        if kind & controlBit != 0 {
            guard kind & deadlineBit == 0, let control = ControlKind(rawValue: kind & ~controlBit) else {
                throw failed("its kind \(kind) is unknown to this version", isOtherVersion: true)
            }
            if let kind = control.policyKind {
                let record = PolicyRecord(kind: kind, key: Array(key), value: Array(value))
                guard record.isValid else {
                    throw failed("it is not a valid record of kind \(control)", isOtherVersion: record.isOfOtherVersion)
                }
            }
            if control == .flushDatabase, key.count > 0 || value.count != 1 {
                throw failed("it is not a valid record of kind \(control)")
            }
            return .control(control, key: key, body: value)
        }
        let name = KeyName(key, isNumbered: kind & numberedBit != 0)
        if kind & ~(deadlineBit | numberedBit) == 0 {
            guard kind & deadlineBit == 0, valueLength == 0 else { throw failed("a removal with a state") }
            guard name.isValid(for: nil) else { throw failed("a numbered key without a number") }
            return .removed(name)
        }
        guard let stateKind = StateKind(rawValue: kind & ~(deadlineBit | numberedBit)) else {
            throw failed("its kind \(kind) is unknown to this version", isOtherVersion: true)
        }
        guard name.isValid(for: stateKind) else { throw failed("a numbered key without a number") }
        let state = StateView(kind: stateKind, value: value, deadline: deadline)
        guard state.isValid(for: name) else { throw failed("its state is not a valid \(stateKind.name)") }
        return .state(name, state)
    }

    /// A length, or nil when it is cut off, too long or not minimally encoded.
    @inline(__always)
    private static func readLength(_ bytes: UnsafeRawBufferPointer, _ position: inout Int) -> Int? {
        var value = 0
        for shift in stride(from: 0, to: 35, by: 7) {
            guard position < bytes.count else { return nil }
            let byte = bytes[position]
            position += 1
            value |= Int(byte & 0x7F) << shift
            if byte < 0x80 { return byte == 0 && shift > 0 ? nil : value }
        }
        return nil
    }
}

/// A record that is not valid.
package struct RecordError: Error, Equatable, Sendable {
    /// Where it begins in its batch's payload.
    package let offset: Int
    /// What is wrong with it; completes a sentence that begins "the record".
    package let reason: String
    /// It may be valid for another version of the program.
    package let isOtherVersion: Bool
}
