// A key's record: its state and its bytes together, so that a decision touches one place besides the index.
//
//   offset  size
//        0     4   header: bits 0–23 key length, 24 numbered, 25–28 kind, 29 dirty, 30 detached, 31 has a deadline
//        4     n   state, n by kind (GCRA 8: the TAT) and, for a sliding log, by the capacity it contains
//      4+n   0/8   deadline in nanoseconds, if the header says so
//      …      0/4   key length k, if the header's bits 0–23 are all set: it is too long for them
//      …        k   key bytes
//
// Addresses are multiples of 4 and fields are read unaligned. A record does not store the size of its memory: it
// follows from the header. Owns nothing and allocates nothing; the slab and the index do.
//
// Invariants: (1) dirty ⇔ the record, or the record it was moved from, is on its shard's dirty list once. (2) detached
// ⇒ dirty, and no index entry refers to the record: it is a tombstone waiting to be collected, or the old memory of a
// moved record. (3) Exactly one index entry refers to a record that is not detached. (4) Keys with the same bytes are
// equal only if their namespaces are: whether they are numbered, and whether their kind is hidden. (5) Kinds 1 and 2
// have one word of state and are not hidden, so that finding their keys does not consult the table of kinds.

/// Longest key in bytes, with the number of its database if it has one: what the journal can encode.
public let keyLengthMax = (1 << 25) - 1

/// A borrowed record. Valid while its shard's stripe is held.
struct Record {
    let address: UnsafeMutableRawPointer

    static let headerSize = 4
    /// Also the length in the header of every key that is as long or longer.
    private static let lengthMask: UInt32 = 0xFF_FFFF
    private static let numberedBit: UInt32 = 1 << 24
    private static let kindMask: UInt32 = 15 << 25
    private static let dirtyBit: UInt32 = 1 << 29
    private static let detachedBit: UInt32 = 1 << 30
    private static let deadlineBit: UInt32 = 1 << 31

    @inline(__always)
    init(_ address: UnsafeMutableRawPointer) { self.address = address }

    @inline(__always)
    var header: UInt32 {
        get { address.load(as: UInt32.self) }
        nonmutating set { address.storeBytes(of: newValue, as: UInt32.self) }
    }

    @inline(__always) var keyLength: Int { isLong ? longKeyLength : Int(header & Record.lengthMask) }
    /// Whether the key begins with the number of its database, which is not 0.
    @inline(__always) var isNumbered: Bool { header & Record.numberedBit != 0 }
    @inline(__always) var rawKind: UInt8 { UInt8(truncatingIfNeeded: header >> 25) & 0xF }
    @inline(__always) var isDirty: Bool { header & Record.dirtyBit != 0 }
    @inline(__always) var isDetached: Bool { header & Record.detachedBit != 0 }
    @inline(__always) var hasDeadline: Bool { header & Record.deadlineBit != 0 }
    @inline(__always) var isHidden: Bool { !hasOneWord && kind.isHidden }

    /// Whether the key's length does not fit the header.
    @inline(__always) private var isLong: Bool { header & Record.lengthMask == Record.lengthMask }

    private var longKeyLength: Int {
        Int((address + Record.headerSize + stateSize + (hasDeadline ? 8 : 0)).loadUnaligned(as: UInt32.self))
    }

    /// Whether the kind is one of those with one word of state, which are not hidden.
    @inline(__always) private var hasOneWord: Bool { rawKind <= StateKind.counter.rawValue }

    var kind: StateKind { StateKind(rawValue: rawKind)! }

    /// Whether the state is of this kind and the record has no deadline: the common case.
    @inline(__always)
    func isUntimed(_ kind: StateKind) -> Bool {
        header & (Record.kindMask | Record.deadlineBit) == UInt32(kind.rawValue) << 25
    }

    func setDirty(_ dirty: Bool) { header = dirty ? header | Record.dirtyBit : header & ~Record.dirtyBit }
    func setDetached() { header |= Record.detachedBit }

    /// The first eight bytes of state, which every kind has: the instant at which it expires, except for counters.
    @inline(__always)
    var word: Int64 {
        get { (address + Record.headerSize).loadUnaligned(as: Int64.self) }
        nonmutating set { (address + Record.headerSize).storeBytes(of: newValue, as: Int64.self) }
    }

    /// Address of the state.
    @inline(__always)
    var state: UnsafeMutableRawPointer { address + Record.headerSize }

    /// Bytes of state. One-word kinds are recognized by a comparison, so that finding a key waits for no memory.
    @inline(__always)
    var stateSize: Int { hasOneWord ? 8 : longStateSize }

    @inline(never)
    private var longStateSize: Int { kind.dispatch(ByteCount(state: state)) }

    /// The key's deadline, independent of its state; `Int64.max` when there is none.
    var deadline: Int64 {
        get {
            hasDeadline
                ? (address + Record.headerSize + stateSize).loadUnaligned(as: Int64.self) : Int64.max
        }
        nonmutating set {
            assert(hasDeadline)
            (address + Record.headerSize + stateSize).storeBytes(of: newValue, as: Int64.self)
        }
    }

    /// When the record expires: a replenished limiter is equivalent to an absent one.
    @inline(__always)
    var expiry: Int64 {
        let own = rawKind == StateKind.counter.rawValue ? Int64.max : word
        return hasDeadline ? min(own, deadline) : own
    }

    @inline(__always)
    var key: UnsafeRawPointer { shortKey + (isLong ? 4 : 0) }

    /// The first byte of a key whose length fits the header.
    @inline(__always)
    private var shortKey: UnsafeRawPointer {
        UnsafeRawPointer(address) + Record.headerSize + stateSize + (hasDeadline ? 8 : 0)
    }

    /// The key, with the number of its database if it has one.
    var keyBytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: key, count: keyLength) }

    var name: KeyName { KeyName(keyBytes, isNumbered: isNumbered) }

    var namespace: Namespace { Namespace(isNumbered: isNumbered, isHidden: isHidden) }

    /// The database that the key, or the key of a token, belongs to.
    var database: UInt8 {
        guard isNumbered else { return 0 }
        return key.load(fromByteOffset: isHidden ? TokenKey.prefixSize : 0, as: UInt8.self)
    }

    var stateBytes: UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(start: address + Record.headerSize, count: stateSize)
    }

    /// Writes the state, as many bytes as there is room for.
    func store(_ state: UnsafeRawBufferPointer) {
        assert(state.count == stateSize)
        self.state.copyMemory(from: state.baseAddress!, byteCount: state.count)
    }

    /// Offset of the key's end in a record with one word of state and no deadline.
    @inline(__always)
    static func lastKeyByte(of keyLength: Int) -> Int { headerSize &+ 7 &+ keyLength }

    /// Bytes of memory the record needs.
    @inline(__always)
    var size: Int { Record.size(stateSize: stateSize, keyLength: keyLength, hasDeadline: hasDeadline) }

    @inline(__always)
    static func size(stateSize: Int, keyLength: Int, hasDeadline: Bool) -> Int {
        headerSize + stateSize + (hasDeadline ? 8 : 0) + (keyLength >= Int(lengthMask) ? 4 : 0) + keyLength
    }

    /// Writes header and key into fresh memory; the caller writes the state, in `stateSize` bytes.
    @inline(__always)
    func initialize(
        kind: StateKind, stateSize: Int, key: UnsafeRawPointer, keyLength: Int, isNumbered: Bool, deadline: Int64?
    ) {
        header =
            Record.headerLength(keyLength) | (isNumbered ? Record.numberedBit : 0) | UInt32(kind.rawValue) << 25
            | (deadline == nil ? 0 : Record.deadlineBit)
        if !hasOneWord { kind.dispatch(Initializing(state: state, byteCount: stateSize)) }
        if let deadline { self.deadline = deadline }
        if isLong { UnsafeMutableRawPointer(mutating: shortKey).storeBytes(of: UInt32(keyLength), as: UInt32.self) }
        UnsafeMutableRawPointer(mutating: self.key).copyMemory(from: key, byteCount: keyLength)
    }

    /// A key's length as the header has it.
    @inline(__always)
    private static func headerLength(_ keyLength: Int) -> UInt32 {
        UInt32(truncatingIfNeeded: min(keyLength, Int(lengthMask)))
    }

    /// Whether the key equals these bytes, in the given namespace.
    @inline(__always)
    func hasKey(_ other: UnsafeRawPointer, count: Int, in namespace: Namespace = .plain) -> Bool {
        let wanted = Record.headerLength(count) | (namespace.isNumbered ? Record.numberedBit : 0)
        guard header & (Record.lengthMask | Record.numberedBit) == wanted, isHidden == namespace.isHidden else {
            return false
        }
        if count >= 8 && count <= 16 {
            let own = shortKey
            // Two overlapping loads cover every length between.
            return own.loadUnaligned(as: UInt64.self) == other.loadUnaligned(as: UInt64.self)
                && (own + (count &- 8)).loadUnaligned(as: UInt64.self)
                    == (other + (count &- 8)).loadUnaligned(as: UInt64.self)
        }
        if isLong, longKeyLength != count { return false }
        return bytesAreEqual(key, other, count: count)
    }
}

private struct ByteCount: StateVisitor {
    let state: UnsafeMutableRawPointer
    @inline(__always)
    func visit<Witness: StateWitness>(_ witness: Witness.Type) -> Int { Witness.byteCount(state) }
}

private struct Initializing: StateVisitor {
    let state: UnsafeMutableRawPointer
    let byteCount: Int
    @inline(__always)
    func visit<Witness: StateWitness>(_ witness: Witness.Type) {
        Witness.initialize(state, byteCount: byteCount)
    }
}
