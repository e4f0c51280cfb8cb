// Where replies are written: one growing run of bytes, and every kind of RESP2 and RESP3 value appended to it.
//
// Owns: its bytes. Knows the two protocol versions, so a handler says *what* it answers (a map, a null, a push) and
// the buffer says how that looks to this client. Refuses to know sockets: whoever sends takes the bytes and truncates.

/// The version of the protocol a connection speaks.
@frozen
public enum ProtocolVersion: UInt8, Sendable {
    /// What every connection speaks until it says HELLO 3.
    case resp2 = 2
    /// Maps, sets, doubles, nulls and pushes of their own.
    case resp3 = 3
}

/// A growing byte buffer that knows how RESP values look. Not thread-safe; each event loop has its own.
///
/// Appending is O(bytes), amortised. The buffer keeps what it has grown to until `removeAll(retaining:)`.
public final class ReplyBuffer {
    private struct Fields {
        var base: UnsafeMutablePointer<UInt8>
        var count: Int
        var capacity: Int
        var version: ProtocolVersion
    }

    /// Behind a constant pointer, since access to a class's variables is checked for exclusivity each time.
    private let fields: UnsafeMutablePointer<Fields>

    /// An empty buffer with room for `capacity` bytes.
    public init(capacity: Int = 16 * 1024) {
        let capacity = max(capacity, 64)
        fields = .allocate(capacity: 1)
        fields.initialize(
            to: Fields(base: .allocate(capacity: capacity), count: 0, capacity: capacity, version: .resp2))
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

    /// How values are spelled from here on.
    public var version: ProtocolVersion {
        get { fields.pointee.version }
        set { fields.pointee.version = newValue }
    }

    /// The bytes written, borrowed until the next append.
    public var bytes: UnsafeBufferPointer<UInt8> { UnsafeBufferPointer(start: base, count: count) }

    /// Drops everything behind the first `length` bytes; `length` is at most `count`.
    public func truncate(to length: Int) {
        precondition(length >= 0 && length <= count)
        count = length
    }

    /// Empties the buffer, and gives memory back where one reply had made it larger than `retained` bytes.
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

    /// Appends bytes as they are.
    public func append(_ bytes: UnsafeBufferPointer<UInt8>) {
        guard let source = bytes.baseAddress else { return }
        reserve(bytes.count)
        (base + count).update(from: source, count: bytes.count)
        count &+= bytes.count
    }

    /// Appends bytes as they are.
    public func append(_ bytes: [UInt8]) {
        bytes.withUnsafeBufferPointer { append($0) }
    }

    /// Appends text as it is, in UTF-8.
    public func append(_ text: StaticString) {
        append(UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
    }

    /// Appends text as it is, in UTF-8.
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

/// Writes `prefix`, `value` in decimal, CR and LF at `index`, and returns the index behind them. Needs 23 bytes.
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

@inline(__always)
private func writeDigits(_ value: Int64, to base: UnsafeMutablePointer<UInt8>, at index: Int) -> Int {
    var cursor = index
    if value < 0 {
        base[cursor] = UInt8(ascii: "-")
        cursor &+= 1
    }
    var rest = value.magnitude
    var digits = 1
    var bound: UInt64 = 10
    // 20 digits is the most a 64-bit magnitude has, and 10^19 still fits `bound`.
    while digits < 20, rest >= bound {
        digits &+= 1
        if digits == 20 { break }
        bound = bound &* 10
    }
    var position = cursor &+ digits
    let end = position
    repeat {
        position &-= 1
        let quotient = rest / 10
        base[position] = 0x30 &+ UInt8(truncatingIfNeeded: rest &- quotient &* 10)
        rest = quotient
    } while position > cursor
    return end
}
