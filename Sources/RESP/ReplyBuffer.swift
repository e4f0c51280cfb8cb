// The buffer for replies: one growing run of bytes, with a method to append each kind of RESP2 and RESP3 value.
//
// Owns: its bytes. Knows the two protocol versions, so a handler specifies *what* it replies (a map, a null, a push)
// and the buffer encodes it for this client. Refuses to know sockets: the sender reads the bytes and truncates.

import System

/// The protocol version of a connection.
@frozen
public enum ProtocolVersion: UInt8, Sendable {
    /// The default, until the client sends HELLO 3.
    case resp2 = 2
    /// Has maps, sets, doubles, nulls and pushes as separate types.
    case resp3 = 3
}

/// A growing byte buffer that encodes RESP values. Not thread-safe; each event loop has its own.
///
/// Appending is O(bytes), amortised. The buffer keeps its capacity until `removeAll(retaining:)`.
public final class ReplyBuffer {
    private struct Fields {
        var base: UnsafeMutablePointer<UInt8>
        var count: Int
        var capacity: Int
        var version: ProtocolVersion
    }

    private let fields: Pinned<Fields>

    /// An empty buffer with room for `capacity` bytes.
    public init(capacity: Int = 16 * 1024) {
        let capacity = max(capacity, 64)
        fields = Pinned(Fields(base: .allocate(capacity: capacity), count: 0, capacity: capacity, version: .resp2))
    }

    deinit {
        base.deallocate()
        fields.deallocate()
    }

    /// The first byte. Moves when the buffer grows.
    public internal(set) var base: UnsafeMutablePointer<UInt8> {
        get { fields.pointee.base }
        set { fields.pointee.base = newValue }
    }

    /// Bytes written.
    public internal(set) var count: Int {
        get { fields.pointee.count }
        set { fields.pointee.count = newValue }
    }

    var capacity: Int {
        get { fields.pointee.capacity }
        set { fields.pointee.capacity = newValue }
    }

    /// The version used to encode values from here on.
    public var version: ProtocolVersion {
        get { fields.pointee.version }
        set { fields.pointee.version = newValue }
    }

    /// The bytes written, borrowed until the next append.
    public var bytes: UnsafeBufferPointer<UInt8> { UnsafeBufferPointer(start: base, count: count) }

    /// Drops everything after the first `length` bytes; `length` is at most `count`.
    public func truncate(to length: Int) {
        precondition(length >= 0 && length <= count)
        count = length
    }

    /// Empties the buffer, and frees memory if a reply has made it larger than `retained` bytes.
    public func removeAll(retaining retained: Int) {
        count = 0
        guard capacity > retained else { return }
        base.deallocate()
        capacity = max(retained, 64)
        base = .allocate(capacity: capacity)
    }

    /// Makes room for `extra` more bytes.
    @inline(__always)
    func reserve(_ extra: Int) {
        if capacity &- count < extra { grow(extra) }
    }

    @inline(never)
    private func grow(_ extra: Int) {
        let larger = max(capacity * 2, count + extra)
        let memory = UnsafeMutablePointer<UInt8>.allocate(capacity: larger)
        memory.update(from: base, count: count)
        base.deallocate()
        base = memory
        capacity = larger
    }

    // MARK: Raw bytes

    /// Appends bytes unchanged.
    public func append(_ bytes: UnsafeBufferPointer<UInt8>) {
        guard let source = bytes.baseAddress else { return }
        reserve(bytes.count)
        (base + count).update(from: source, count: bytes.count)
        count &+= bytes.count
    }

    /// Appends bytes unchanged.
    public func append(_ bytes: [UInt8]) {
        bytes.withUnsafeBufferPointer { append($0) }
    }

    /// Appends text unchanged, in UTF-8.
    public func append(_ text: StaticString) {
        append(UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
    }

    /// Appends text unchanged, in UTF-8.
    public func append(text: String) {
        var text = text
        text.withUTF8 { append($0) }
    }

    func append(byte: UInt8) {
        reserve(1)
        base[count] = byte
        count &+= 1
    }

    /// Appends `prefix`, the number in decimal and a line end: at most 23 bytes.
    @inline(__always)
    func appendLine(_ prefix: UInt8, _ value: Int64) {
        reserve(24)
        count = writeLine(prefix, value, to: base, at: count)
    }
}

/// Writes `prefix`, `value` in decimal, CR and LF at `index`, and returns the index after them. Needs 23 bytes.
@inline(__always)
func writeLine(_ prefix: UInt8, _ value: Int64, to base: UnsafeMutablePointer<UInt8>, at index: Int) -> Int {
    var cursor = index
    base[cursor] = prefix
    cursor &+= 1
    if value >= 0 && value <= 9 {
        base[cursor] = 0x30 &+ UInt8(truncatingIfNeeded: value)
        cursor &+= 1
    } else {
        cursor = writeDigits(value, to: base, at: cursor)
    }
    base[cursor] = 0x0D
    base[cursor &+ 1] = 0x0A
    return cursor &+ 2
}

/// The digits of 0 to 99, two each. Not a stored constant: that would be looked up, or initialized, at every use.
@inline(__always)
private var pairs: StaticString {
    """
    0001020304050607080910111213141516171819202122232425262728293031323334353637383940414243444546474849\
    5051525354555657585960616263646566676869707172737475767778798081828384858687888990919293949596979899
    """
}

/// Not inlined: six copies of it in one reply would cost more in instruction fetches.
@inline(never)
private func writeDigits(_ value: Int64, to base: UnsafeMutablePointer<UInt8>, at index: Int) -> Int {
    var cursor = index
    if value < 0 {
        base[cursor] = UInt8(ascii: "-")
        cursor &+= 1
    }
    var rest = value.magnitude
    let end = cursor &+ digitCount(rest)
    var position = end
    let pairs = UnsafeRawPointer(pairs.utf8Start)
    while rest >= 100 {
        let quotient = rest / 100
        position &-= 2
        writePair(Int(truncatingIfNeeded: rest &- quotient &* 100), from: pairs, to: base + position)
        rest = quotient
    }
    if rest >= 10 {
        writePair(Int(truncatingIfNeeded: rest), from: pairs, to: base + (position &- 2))
    } else {
        base[position &- 1] = 0x30 &+ UInt8(truncatingIfNeeded: rest)
    }
    return end
}

@inline(__always)
private func writePair(_ number: Int, from pairs: UnsafeRawPointer, to place: UnsafeMutablePointer<UInt8>) {
    UnsafeMutableRawPointer(place).storeBytes(
        of: pairs.loadUnaligned(fromByteOffset: number &* 2, as: UInt16.self), as: UInt16.self)
}

/// Number of decimal digits: 1 to 20.
@inline(__always)
private func digitCount(_ value: UInt64) -> Int {
    if value < 10_000 {
        if value < 100 { return value < 10 ? 1 : 2 }
        return value < 1000 ? 3 : 4
    }
    if value < 100_000_000 {
        if value < 1_000_000 { return value < 100_000 ? 5 : 6 }
        return value < 10_000_000 ? 7 : 8
    }
    var digits = 9
    var bound: UInt64 = 1_000_000_000
    while value >= bound {
        digits &+= 1
        // 20 digits is the maximum, and the bound for a 21st does not fit.
        if digits == 20 { break }
        bound = bound &* 10
    }
    return digits
}
