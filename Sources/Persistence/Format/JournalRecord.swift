// One record of the journal: what a key's state is now, that a key is gone, or something about the whole.
//
//   offset        size
//        0           1   kind: bit 7 control, bit 6 a deadline is there, bits 0–5 which (0: the key is gone)
//        1         1–5   k, length of the key, LEB128: seven bits a byte, lowest first, bit 7 says that more follow
//        …         1–5   v, length of the state or of the control record's body, LEB128
//        …           v   state (GCRA: the TAT, 8 bytes) or body
//        …         0/8   deadline in nanoseconds of engine time, where bit 6 says so
//        …           k   key; empty in control records that concern everything, a name in those of policies and rules
//
// Numbers are little-endian. A record is valid when its lengths are spelled in as few bytes as they need, k is at most
// 2²⁵−1, the kind is known and its state is one the engine accepts, bit 6 is set for states alone, a removal has v = 0,
// and nothing of it lies outside of its batch.

public import LimiterEngine

/// What a record that concerns no single key's state says. The raw value is the low bits of the kind byte.
public enum ControlKind: UInt8, Sendable, CaseIterable {
    /// Every key is gone: FLUSHALL. Key and body are empty.
    case flushAll = 1
    /// The snapshot ends here and is complete. Body: number of key records in it, 8 bytes; in a snapshot sent to a
    /// replica also the offset of the journal up to which it may hold changes, 8 bytes.
    case endOfSnapshot = 2
    /// There is this policy. Key: its name. Body: as `PolicyRecord` has it, like those of the kinds below.
    case policy = 3
    /// There is no such policy.
    case policyRemoval = 4
    /// There is this rule. Key: its subject.
    case rule = 5
    /// There is no such rule.
    case ruleRemoval = 6

    /// The kind under which the journal carries a policy's or a rule's record.
    init(_ kind: PolicyRecord.Kind) {
        switch kind {
        case .policy: self = .policy
        case .policyRemoval: self = .policyRemoval
        case .rule: self = .rule
        case .ruleRemoval: self = .ruleRemoval
        }
    }

    /// What such a record says; nil for records of other things.
    var policyKind: PolicyRecord.Kind? {
        switch self {
        case .flushAll, .endOfSnapshot: nil
        case .policy: .policy
        case .policyRemoval: .policyRemoval
        case .rule: .rule
        case .ruleRemoval: .ruleRemoval
        }
    }
}

/// A record as it is read: borrows the bytes it was read from.
public enum JournalRecord {
    /// A key's state.
    case state(key: UnsafeRawBufferPointer, StateView)
    /// A key is gone.
    case removed(key: UnsafeRawBufferPointer)
    /// Something about the whole.
    case control(ControlKind, key: UnsafeRawBufferPointer, body: UnsafeRawBufferPointer)

    private static let controlBit: UInt8 = 0x80
    private static let deadlineBit: UInt8 = 0x40

    // MARK: Writing

    /// Bytes beside key and state that a record needs at most.
    static let overheadMax = 1 + 5 + 5 + 8

    static func encodeState(_ state: StateView, key: UnsafeRawBufferPointer, into buffer: ByteBuffer) {
        let kind = state.kind.rawValue | (state.deadline == nil ? 0 : deadlineBit)
        encode(kind, key: key, value: state.value, deadline: state.deadline, into: buffer)
    }

    static func encodeRemoval(key: UnsafeRawBufferPointer, into buffer: ByteBuffer) {
        encode(0, key: key, value: UnsafeRawBufferPointer(start: nil, count: 0), deadline: nil, into: buffer)
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

    /// Reads the record at `offset` and moves `offset` behind it.
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
                    throw failed("it is no record of kind \(control)", isOtherVersion: record.isOfOtherVersion)
                }
            }
            return .control(control, key: key, body: value)
        }
        if kind & ~deadlineBit == 0 {
            guard kind == 0, valueLength == 0 else { throw failed("a removal that has a state") }
            return .removed(key: key)
        }
        guard let stateKind = StateKind(rawValue: kind & ~deadlineBit) else {
            throw failed("its kind \(kind) is unknown to this version", isOtherVersion: true)
        }
        let state = StateView(kind: stateKind, value: value, deadline: deadline)
        guard state.isValid(forKey: key) else { throw failed("its state is not one of kind \(stateKind.name)") }
        return .state(key: key, state)
    }

    /// A length, or nil when it is cut off, too long or spelled with more bytes than needed.
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
public struct RecordError: Error, Equatable, Sendable {
    /// Where it begins in its batch's payload.
    public let offset: Int
    /// What is wrong with it, as the end of a sentence that begins "the record".
    public let reason: String
    /// It may well be right, for another version of the program.
    public let isOtherVersion: Bool
}
