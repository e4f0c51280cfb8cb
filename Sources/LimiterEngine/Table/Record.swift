// A key's record: its state and its bytes together, so that a decision touches one place beside the index.
//
//   offset  size
//        0     4   header: bits 0–24 key length, 25–27 kind, 28 dirty, 29 detached, 30 has a deadline, 31 hidden
//        4     n   state, n by kind (GCRA 8: the TAT) and, for a sliding log, by the capacity it says itself
//      4+n   0/8   deadline in nanoseconds, where the header says so
//      …        k   key bytes
//
// Addresses are multiples of 4 and fields are read unaligned. A record never says how large its memory is: that
// follows from the header. Owns nothing and allocates nothing; the slab and the index do.
//
// Invariants: (1) dirty ⇔ the record is once on its shard's dirty list, or the record is there that it was moved from.
// (2) detached ⇒ dirty, and no index entry names the record: it is a tombstone waiting to be collected, or what is left
// of a record that has moved. (3) A record not detached is named by exactly one entry.
// (4) hidden ⇔ the kind is one that commands cannot reach. A hidden key never equals another key of the same bytes.

/// Longest key in bytes: what the header has bits for.
public let keyLengthMax = (1 << 25) - 1

/// A borrowed record. Valid while its shard's stripe is held.
struct Record {
    let address: UnsafeMutableRawPointer

    static let headerSize = 4
    private static let kindMask: UInt32 = 7 << 25
    private static let dirtyBit: UInt32 = 1 << 28
    private static let detachedBit: UInt32 = 1 << 29
    private static let deadlineBit: UInt32 = 1 << 30
    private static let hiddenBit: UInt32 = 1 << 31
    /// The header bits that a key's name decides.
    private static let nameMask: UInt32 = hiddenBit | 0x1FF_FFFF

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
    @inline(__always) var isHidden: Bool { header & Record.hiddenBit != 0 }

    var kind: StateKind { StateKind(rawValue: rawKind)! }

    /// Whether the state is of this kind and the record has no deadline: what most have.
    @inline(__always)
    func isUntimed(_ kind: StateKind) -> Bool {
        header & (Record.kindMask | Record.deadlineBit) == UInt32(kind.rawValue) << 25
    }

    func setDirty(_ dirty: Bool) { header = dirty ? header | Record.dirtyBit : header & ~Record.dirtyBit }
    func setDetached() { header |= Record.detachedBit }

    /// The first eight bytes of state, which every kind has: all but counters say there when they are worth nothing.
    @inline(__always)
    var word: Int64 {
        get { (address + Record.headerSize).loadUnaligned(as: Int64.self) }
        nonmutating set { (address + Record.headerSize).storeBytes(of: newValue, as: Int64.self) }
    }

    /// Where the state begins.
    @inline(__always)
    var state: UnsafeMutableRawPointer { address + Record.headerSize }

    /// Bytes of state. The kinds of one word are told apart by a comparison, so that finding a key waits for nothing.
    @inline(__always)
    var stateSize: Int { rawKind <= StateKind.counter.rawValue ? 8 : longStateSize }

    @inline(never)
    private var longStateSize: Int { kind.fixedSize ?? SlidingLog(state).byteCount }

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
        let own = rawKind == StateKind.counter.rawValue ? Int64.max : word
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

    /// Writes the state, as many bytes as there is room for.
    func store(_ state: UnsafeRawBufferPointer) {
        assert(state.count == stateSize)
        self.state.copyMemory(from: state.baseAddress!, byteCount: state.count)
    }

    /// Where the key of a record with one word of state and no deadline ends.
    @inline(__always)
    static func lastKeyByte(of keyLength: Int) -> Int { headerSize &+ 7 &+ keyLength }

    /// Bytes of memory the record asks for.
    @inline(__always)
    var size: Int { Record.size(stateSize: stateSize, keyLength: keyLength, hasDeadline: hasDeadline) }

    @inline(__always)
    static func size(stateSize: Int, keyLength: Int, hasDeadline: Bool) -> Int {
        headerSize + stateSize + (hasDeadline ? 8 : 0) + keyLength
    }

    /// Writes header and key into fresh memory; the state is the caller's to write, in `stateSize` bytes.
    @inline(__always)
    func initialize(kind: StateKind, stateSize: Int, key: UnsafeRawPointer, keyLength: Int, deadline: Int64?) {
        header =
            UInt32(truncatingIfNeeded: keyLength) | UInt32(kind.rawValue) << 25
            | (deadline == nil ? 0 : Record.deadlineBit) | (kind.isHidden ? Record.hiddenBit : 0)
        if kind == .slidingLog { SlidingLog(state).initialize(capacity: SlidingLog.capacity(byteCount: stateSize)) }
        if let deadline { self.deadline = deadline }
        UnsafeMutableRawPointer(mutating: self.key).copyMemory(from: key, byteCount: keyLength)
    }

    /// Whether the key is these bytes, in the namespace asked for.
    @inline(__always)
    func hasKey(_ other: UnsafeRawPointer, count: Int, isHidden: Bool = false) -> Bool {
        let name = UInt32(truncatingIfNeeded: count) | (isHidden ? Record.hiddenBit : 0)
        guard header & Record.nameMask == name else { return false }
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
