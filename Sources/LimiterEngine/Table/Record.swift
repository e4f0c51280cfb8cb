// A key's record: its state and its bytes together, so that a decision touches one place beside the index.
//
//   offset  size
//        0     4   header: bits 0–24 key length, 25–27 kind, 28 dirty, 29 detached, 30 has a deadline
//        4     n   state, n by kind (GCRA 8: the TAT)
//      4+n   0/8   deadline in nanoseconds, where the header says so
//      …        k   key bytes
//
// Addresses are multiples of 4 and fields are read unaligned. A record never says how large its memory is: that
// follows from the header. Owns nothing and allocates nothing; the slab and the index do.
//
// Invariants: (1) dirty ⇔ the record stands once in its shard's dirty list. (2) detached ⇒ dirty, and no index entry
// names the record: it is a tombstone waiting to be collected. (3) A record not detached is named by exactly one entry.

/// What kind of state a key holds. The raw value is the kind byte of journal and snapshot: never reuse one.
/// A record has three bits for it: 1 … 7.
public enum StateKind: UInt8, Sendable, CaseIterable {
    /// The theoretical arrival time of the generic cell rate algorithm: 8 bytes, nanoseconds.
    case gcra = 1
    /// A 64-bit integer: 8 bytes.
    case counter = 2

    /// Bytes of state.
    @inlinable public var stateSize: Int { StateKind.stateSize(rawValue: rawValue) }

    /// Bytes of state of the kind with this byte. Both kinds hold one word; a longer one is decided here.
    @inlinable
    static func stateSize(rawValue: UInt8) -> Int { 8 }

    /// The name that TYPE shows.
    public var name: StaticString {
        switch self {
        case .gcra: "gcra"
        case .counter: "string"
        }
    }
}

/// Longest key in bytes: what the header has bits for.
public let keyLengthMax = (1 << 25) - 1

/// A borrowed record. Valid while its shard's stripe is held.
struct Record {
    let address: UnsafeMutableRawPointer

    static let headerSize = 4
    private static let dirtyBit: UInt32 = 1 << 28
    private static let detachedBit: UInt32 = 1 << 29
    private static let deadlineBit: UInt32 = 1 << 30

    @inline(__always)
    init(_ address: UnsafeMutableRawPointer) { self.address = address }

    @inline(__always)
    var header: UInt32 {
        get { address.load(as: UInt32.self) }
        nonmutating set { address.storeBytes(of: newValue, as: UInt32.self) }
    }

    @inline(__always) var keyLength: Int { Int(header & 0x1FF_FFFF) }
    @inline(__always) var rawKind: UInt8 { UInt8(truncatingIfNeeded: header >> 25) & 0x7 }
    @inline(__always) var isDirty: Bool { header & Record.dirtyBit != 0 }
    @inline(__always) var isDetached: Bool { header & Record.detachedBit != 0 }
    @inline(__always) var hasDeadline: Bool { header & Record.deadlineBit != 0 }

    var kind: StateKind { StateKind(rawValue: rawKind)! }

    func setDirty(_ dirty: Bool) { header = dirty ? header | Record.dirtyBit : header & ~Record.dirtyBit }
    func setDetached() { header |= Record.detachedBit }

    /// The first eight bytes of state, which every kind has.
    @inline(__always)
    var word: Int64 {
        get { (address + Record.headerSize).loadUnaligned(as: Int64.self) }
        nonmutating set { (address + Record.headerSize).storeBytes(of: newValue, as: Int64.self) }
    }

    @inline(__always)
    private var stateSize: Int { StateKind.stateSize(rawValue: rawKind) }

    /// The instant the key is to be forgotten at the latest, whatever its state; `Int64.max` when there is none.
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

    /// When the record is worth nothing any more: a full limiter equals an absent one.
    @inline(__always)
    var expiry: Int64 {
        let own = rawKind == StateKind.gcra.rawValue ? word : Int64.max
        return hasDeadline ? min(own, deadline) : own
    }

    @inline(__always)
    var key: UnsafeRawPointer {
        UnsafeRawPointer(address) + Record.headerSize + stateSize + (hasDeadline ? 8 : 0)
    }

    var keyBytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: key, count: keyLength) }

    var stateBytes: UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(start: address + Record.headerSize, count: stateSize)
    }

    /// Bytes of memory the record asks for.
    @inline(__always)
    var size: Int { Record.size(kind: kind, keyLength: keyLength, hasDeadline: hasDeadline) }

    @inline(__always)
    static func size(kind: StateKind, keyLength: Int, hasDeadline: Bool) -> Int {
        headerSize + kind.stateSize + (hasDeadline ? 8 : 0) + keyLength
    }

    /// Writes header and key into fresh memory; the state is the caller's to write.
    @inline(__always)
    func initialize(kind: StateKind, key: UnsafeRawPointer, keyLength: Int, deadline: Int64?) {
        header =
            UInt32(truncatingIfNeeded: keyLength) | UInt32(kind.rawValue) << 25
            | (deadline == nil ? 0 : Record.deadlineBit)
        if let deadline { self.deadline = deadline }
        UnsafeMutableRawPointer(mutating: self.key).copyMemory(from: key, byteCount: keyLength)
    }

    /// Whether the key is these bytes.
    @inline(__always)
    func hasKey(_ other: UnsafeRawPointer, count: Int) -> Bool {
        guard keyLength == count else { return false }
        let own = key
        if count >= 8 && count <= 16 {
            // Two loads that overlap cover every length between.
            return own.loadUnaligned(as: UInt64.self) == other.loadUnaligned(as: UInt64.self)
                && (own + (count &- 8)).loadUnaligned(as: UInt64.self)
                    == (other + (count &- 8)).loadUnaligned(as: UInt64.self)
        }
        return bytesAreEqual(own, other, count: count)
    }
}
