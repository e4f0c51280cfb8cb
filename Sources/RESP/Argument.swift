// One argument of a request, and the list of them that a parser fills.
//
// Owns: nothing of the bytes. An `Argument` borrows the read buffer of whoever parses and is valid only while one
// command runs; whoever keeps bytes longer copies them. Knows no command and no protocol version.

/// A borrowed run of bytes: one argument of a request.
///
/// Valid only until the command that received it returns. Copying is the keeper's job (`bytes`, `string`).
@frozen
public struct Argument {
    /// The first byte; never read past `count`.
    public let base: UnsafePointer<UInt8>
    /// Length in bytes, 0 or more.
    public let count: Int

    /// Wraps `count` bytes at `base` without copying them.
    @inlinable
    public init(base: UnsafePointer<UInt8>, count: Int) {
        self.base = base
        self.count = count
    }

    /// The bytes, borrowed.
    @inlinable public var buffer: UnsafeBufferPointer<UInt8> { UnsafeBufferPointer(start: base, count: count) }

    /// The bytes, borrowed, untyped: the form in which the engine takes keys.
    @inlinable public var raw: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: base, count: count) }

    /// A copy of the bytes. Allocates.
    public var bytes: [UInt8] { Array(buffer) }

    /// A copy as text; bytes that are no UTF-8 become U+FFFD. Allocates.
    public var string: String { String(decoding: buffer, as: UTF8.self) }

    /// Whether the bytes are `word`, letters A–Z and a–z taken as equal. `word` is ASCII. O(count), no allocation.
    public func matches(_ word: StaticString) -> Bool {
        guard count == word.utf8CodeUnitCount else { return false }
        let other = word.utf8Start
        for index in 0..<count where folded(base[index]) != folded(other[index]) { return false }
        return true
    }

    /// Whether the bytes are `text` in UTF-8, exactly. No allocation for native strings.
    public func equals(_ text: String) -> Bool {
        guard count == text.utf8.count else { return false }
        return buffer.elementsEqual(text.utf8)
    }

    /// The number the bytes spell in decimal: an optional `-`, then digits without a leading zero, nothing else;
    /// nil for anything else or past 64 bits. The form Redis takes, so `+1`, ` 1`, `01` and `-0` are not numbers.
    @inlinable
    public var integer: Int64? {
        var index = 0
        guard count > 0, count <= 20 else { return nil }
        let negative = base[0] == 0x2D
        if negative { index = 1 }
        guard index < count else { return nil }
        let first = base[index]
        if first == 0x30 { return count == 1 ? 0 : nil }
        guard first > 0x30, first <= 0x39 else { return nil }
        // 18 digits always fit, so the checked arithmetic is paid only by longer numbers.
        var value = Int64(first &- 0x30)
        index &+= 1
        if count <= 18 {
            while index < count {
                let digit = base[index] &- 0x30
                guard digit <= 9 else { return nil }
                value = value &* 10 &+ Int64(digit)
                index &+= 1
            }
            return negative ? 0 &- value : value
        }
        value = 0 &- value
        while index < count {
            let digit = base[index] &- 0x30
            guard digit <= 9 else { return nil }
            let (tens, overTens) = value.multipliedReportingOverflow(by: 10)
            let (sum, overSum) = tens.subtractingReportingOverflow(Int64(digit))
            guard !overTens, !overSum else { return nil }
            value = sum
            index &+= 1
        }
        if negative { return value }
        return value == Int64.min ? nil : 0 &- value
    }
}

/// Lower case for A–Z, everything else as it is.
@inlinable
func folded(_ byte: UInt8) -> UInt8 {
    byte &- 0x41 < 26 ? byte | 0x20 : byte
}

/// Where one argument lies, counted from the list's base.
@frozen
public struct ArgumentRange {
    /// Bytes from the base to the argument's first byte.
    public var offset: UInt32
    /// Length in bytes.
    public var count: UInt32

    /// Bytes `offset ..< offset + count` from the base.
    @inlinable
    public init(offset: UInt32, count: UInt32) {
        self.offset = offset
        self.count = count
    }
}

/// The arguments of the request being parsed, as ranges over one base. Reused from request to request: grows to the
/// longest seen and allocates only then. Not thread-safe; each event loop has its own.
public final class ArgumentList {
    @usableFromInline
    struct Fields {
        @usableFromInline var ranges: UnsafeMutablePointer<ArgumentRange>
        @usableFromInline var capacity: Int
        @usableFromInline var length: Int
        @usableFromInline var origin: UnsafePointer<UInt8>
    }

    /// Behind a constant pointer, since access to a class's variables from another module is checked for exclusivity
    /// each time: five nanoseconds, several times a command.
    @usableFromInline let fields: UnsafeMutablePointer<Fields>
    private let placeholder: UnsafePointer<UInt8>
    /// Where `origin` points when the arguments are copies: inline words with their quotes taken off, queued commands.
    private var scratchStorage: UnsafeMutablePointer<UInt8>?

    /// An empty list with room for 16 arguments.
    public init() {
        placeholder = UnsafePointer(UnsafeMutablePointer<UInt8>.allocate(capacity: 1))
        fields = .allocate(capacity: 1)
        fields.initialize(
            to: Fields(ranges: .allocate(capacity: 16), capacity: 16, length: 0, origin: placeholder))
    }

    deinit {
        ranges.deallocate()
        fields.deallocate()
        placeholder.deallocate()
        scratchStorage?.deallocate()
    }

    @inlinable var ranges: UnsafeMutablePointer<ArgumentRange> { fields.pointee.ranges }

    @inlinable var length: Int {
        get { fields.pointee.length }
        set { fields.pointee.length = newValue }
    }

    @inlinable var origin: UnsafePointer<UInt8> {
        get { fields.pointee.origin }
        set { fields.pointee.origin = newValue }
    }

    /// How many arguments there are, the command's name included.
    @inlinable public var count: Int { length }

    /// Argument `index`; 0 is the command's name. `index` must be below `count`.
    @inlinable
    public subscript(index: Int) -> Argument {
        assert(index >= 0 && index < length)
        let range = ranges[index]
        return Argument(base: origin + Int(range.offset), count: Int(range.count))
    }

    /// Forgets all arguments. Keeps the memory.
    @inlinable public func removeAll() { length = 0 }

    @inlinable
    func append(_ range: ArgumentRange) {
        if length == fields.pointee.capacity { grow() }
        ranges[length] = range
        length &+= 1
    }

    @usableFromInline
    func grow() {
        let larger = UnsafeMutablePointer<ArgumentRange>.allocate(capacity: fields.pointee.capacity * 2)
        larger.moveInitialize(from: ranges, count: length)
        ranges.deallocate()
        fields.pointee.ranges = larger
        fields.pointee.capacity *= 2
    }

    /// A copy of the ranges, for a request that has to wait for more bytes. Allocates.
    public func save() -> [ArgumentRange] { Array(UnsafeBufferPointer(start: ranges, count: length)) }

    /// Puts saved ranges back, now counted from `base`.
    public func restore(_ saved: [ArgumentRange], base: UnsafePointer<UInt8>) {
        length = 0
        for range in saved { append(range) }
        origin = base
    }

    /// Replaces the list by copies of `arguments`: how a queued command gets its arguments back.
    public func load(_ arguments: [[UInt8]]) {
        length = 0
        var total = 0
        for argument in arguments {
            append(ArgumentRange(offset: UInt32(total), count: UInt32(argument.count)))
            total += argument.count
        }
        let storage = makeScratch(total)
        var cursor = storage
        for argument in arguments {
            argument.withUnsafeBufferPointer { source in
                if let base = source.baseAddress { cursor.update(from: base, count: source.count) }
            }
            cursor += argument.count
        }
        origin = UnsafePointer(storage)
    }

    /// Storage for `bytes` bytes that lives until the next call. The 16 bytes behind them are readable.
    func makeScratch(_ bytes: Int) -> UnsafeMutablePointer<UInt8> {
        scratchStorage?.deallocate()
        let storage = UnsafeMutablePointer<UInt8>.allocate(capacity: bytes + 16)
        storage.initialize(repeating: 0, count: bytes + 16)
        scratchStorage = storage
        return storage
    }
}
