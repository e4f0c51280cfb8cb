// One argument of a request, and the list of arguments that a parser fills.
//
// Does not own the bytes. An `Argument` borrows the parser's read buffer and is valid only while one command runs; code
// that keeps bytes longer must copy them. Knows no command and no protocol version.

public import System

/// A borrowed run of bytes: one argument of a request.
///
/// Valid only until the command that received it returns; to keep the bytes, copy them (`bytes`, `string`).
@frozen
public struct Argument {
    /// The first byte. At most `count` bytes are read from here.
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

    /// The bytes, borrowed and untyped, as the engine expects keys.
    @inlinable public var raw: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: base, count: count) }

    /// A copy of the bytes. Allocates.
    public var bytes: [UInt8] { Array(buffer) }

    /// A copy as text; bytes that are not valid UTF-8 become U+FFFD. Allocates.
    public var string: String { String(decoding: buffer, as: UTF8.self) }

    /// The form in which error texts quote the argument: its first 128 bytes as text. Allocates.
    public var shown: String { Argument(base: base, count: min(128, count)).string }

    /// Whether the bytes equal `word`, ignoring case for A–Z and a–z. `word` is ASCII. O(count), no allocation.
    public func matches(_ word: StaticString) -> Bool {
        guard count == word.utf8CodeUnitCount else { return false }
        let other = Argument(base: word.utf8Start, count: count)
        guard count > 8 else { return shortWord == other.shortWord }
        // Eight bytes at a time; the last eight may overlap bytes compared before.
        var offset = 0
        while offset &+ 8 < count {
            guard foldedWord(at: offset) == other.foldedWord(at: offset) else { return false }
            offset &+= 8
        }
        return foldedWord(at: count &- 8) == other.foldedWord(at: count &- 8)
    }

    /// The value of 4 to 8 decimal digits, computed from all bytes at once; nil if one of them is not a digit.
    @inlinable var eightDigits: Int64? {
        assert(count >= 4 && count <= 8)
        let raw = UnsafeRawPointer(base)
        let head = UInt64(UInt32(littleEndian: raw.loadUnaligned(as: UInt32.self)))
        let tail = UInt64(UInt32(littleEndian: raw.loadUnaligned(fromByteOffset: count &- 4, as: UInt32.self)))
        // The last digit is in the highest byte, and zeros precede the first one.
        let unused = UInt64(truncatingIfNeeded: (8 &- count) &* 8)
        let zeros: UInt64 = 0x3030_3030_3030_3030
        let values = (head &<< unused | tail &<< 32 | (zeros & ~(UInt64.max &<< unused))) ^ zeros
        // Bytes above 9 have their highest bit set afterwards, in themselves or in the sum.
        guard (values | (values &+ 0x7676_7676_7676_7676)) & 0x8080_8080_8080_8080 == 0 else { return nil }
        // Combines two digits per byte pair, then four, then eight.
        let tens = values &* 10 &+ (values &>> 8)
        let low = (tens & 0x0000_00FF_0000_00FF) &* (100 &+ (1_000_000 &<< 32))
        let high = ((tens &>> 16) & 0x0000_00FF_0000_00FF) &* (1 &+ (10_000 &<< 32))
        return Int64(truncatingIfNeeded: (low &+ high) &>> 32)
    }

    /// Up to eight bytes as a little-endian word, letters in lower case, padded with zeros at the end, so that the
    /// words of two arguments of the same length are equal only if the arguments are. `count` is at most 8. Reads no
    /// byte outside the argument.
    @inlinable @inline(__always)
    public var shortWord: UInt64 {
        assert(count <= 8)
        let raw = UnsafeRawPointer(base)
        if count >= 4 {
            let head = UInt64(UInt32(littleEndian: raw.loadUnaligned(as: UInt32.self)))
            let tail = UInt32(littleEndian: raw.loadUnaligned(fromByteOffset: count &- 4, as: UInt32.self))
            return folded(head | UInt64(tail) &<< UInt64(truncatingIfNeeded: (count &- 4) &* 8))
        }
        guard count > 0 else { return 0 }
        // First, middle and last byte; some of them may be the same byte at the same position.
        let middle = count &>> 1
        var word = UInt64(base[0])
        word |= UInt64(base[middle]) &<< UInt64(truncatingIfNeeded: middle &* 8)
        word |= UInt64(base[count &- 1]) &<< UInt64(truncatingIfNeeded: (count &- 1) &* 8)
        return folded(word)
    }

    /// The eight bytes at `offset`, letters in lower case. All of them must be within the argument.
    @inline(__always)
    private func foldedWord(at offset: Int) -> UInt64 {
        assert(offset >= 0 && offset + 8 <= count)
        return folded(UnsafeRawPointer(base).loadUnaligned(fromByteOffset: offset, as: UInt64.self))
    }

    /// Whether the bytes are `text` in UTF-8, exactly. No allocation for native strings.
    public func equals(_ text: String) -> Bool {
        guard count == text.utf8.count else { return false }
        return buffer.elementsEqual(text.utf8)
    }

    /// The value of the bytes as a decimal number: an optional `-`, then digits without a leading zero, nothing else;
    /// nil for anything else or past 64 bits. The form Redis accepts, so `+1`, ` 1`, `01` and `-0` are not numbers.
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
        if count >= 4, count <= 8, !negative { return eightDigits }
        // 18 digits always fit, so only longer numbers pay for checked arithmetic.
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

/// Lower case for A–Z, all other bytes unchanged.
@inlinable
func folded(_ byte: UInt8) -> UInt8 {
    byte &- 0x41 < 26 ? byte | 0x20 : byte
}

/// Eight bytes at once: lower case for A–Z, all other bytes unchanged.
@inlinable
func folded(_ word: UInt64) -> UInt64 {
    let ones: UInt64 = 0x0101_0101_0101_0101
    // Seven bits of each byte, so that no sum carries into the next one; bit 7 of a sum is set if the byte reaches the
    // bound.
    let low = word & (0x7F &* ones)
    let isFromA = low &+ (0x80 - 0x41) &* ones
    let isAfterZ = low &+ (0x80 - 0x5B) &* ones
    let isUpper = (isFromA & ~isAfterZ) & ~word & (0x80 &* ones)
    return word | isUpper &>> 2
}

/// The location of one argument, relative to the list's base.
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

/// The arguments of the request being parsed, as ranges relative to one base. Reused from request to request: grows to
/// the longest request seen and allocates only then. Not thread-safe; each event loop has its own.
public final class ArgumentList {
    @usableFromInline
    struct Fields {
        @usableFromInline var ranges: UnsafeMutablePointer<ArgumentRange>
        @usableFromInline var capacity: Int
        @usableFromInline var length: Int
        @usableFromInline var origin: UnsafePointer<UInt8>
    }

    /// Pinned: exclusivity checks took five nanoseconds, several times per command.
    @usableFromInline let fields: Pinned<Fields>
    private let placeholder: UnsafePointer<UInt8>
    /// Where `origin` points if the arguments are copies: inline words without their quotes, queued commands.
    private var scratchStorage: UnsafeMutablePointer<UInt8>?

    /// An empty list with room for 16 arguments.
    public init() {
        placeholder = UnsafePointer(UnsafeMutablePointer<UInt8>.allocate(capacity: 1))
        fields = Pinned(Fields(ranges: .allocate(capacity: 16), capacity: 16, length: 0, origin: placeholder))
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

    /// Number of arguments, including the command's name.
    @inlinable public var count: Int { length }

    /// Argument `index`; 0 is the command's name. `index` must be below `count`.
    @inlinable
    public subscript(index: Int) -> Argument {
        assert(index >= 0 && index < length)
        let range = ranges[index]
        return Argument(base: origin + Int(range.offset), count: Int(range.count))
    }

    /// Writes the ranges of `count` arguments starting at `start`, relative to the first of them, to `layout`. False if
    /// any of them precedes the first one in memory.
    public func writeLayout(from start: Int, count: Int, to layout: UnsafeMutablePointer<ArgumentRange>) -> Bool {
        precondition(start >= 0 && count > 0 && start + count <= length)
        let first = ranges[start].offset
        for position in 0..<count {
            let range = ranges[start + position]
            guard range.offset >= first else { return false }
            layout[position] = ArgumentRange(offset: range.offset - first, count: range.count)
        }
        return true
    }

    /// Whether the ranges of `count` arguments starting at `start` match `layout`.
    @inlinable
    public func hasLayout(_ layout: UnsafePointer<ArgumentRange>, count: Int, from start: Int) -> Bool {
        guard start &+ count <= length else { return false }
        let own = ranges + start
        let first = own.pointee.offset
        var differences: UInt32 = 0
        for position in 0..<count {
            differences |= (own[position].offset &- first) ^ layout[position].offset
            differences |= own[position].count ^ layout[position].count
        }
        return differences == 0
    }

    /// Removes all arguments. Keeps the memory.
    @inlinable public func removeAll() { length = 0 }

    @inlinable
    func append(_ range: ArgumentRange) {
        if length == fields.pointee.capacity { grow() }
        ranges[length] = range
        length &+= 1
    }

    @usableFromInline @inline(never)
    func grow() {
        let larger = UnsafeMutablePointer<ArgumentRange>.allocate(capacity: fields.pointee.capacity * 2)
        larger.moveInitialize(from: ranges, count: length)
        ranges.deallocate()
        fields.pointee.ranges = larger
        fields.pointee.capacity *= 2
    }

    /// A copy of the ranges, for a request that has to wait for more bytes. Allocates.
    public func save() -> [ArgumentRange] { Array(UnsafeBufferPointer(start: ranges, count: length)) }

    /// Restores saved ranges, now relative to `base`.
    public func restore(_ saved: [ArgumentRange], base: UnsafePointer<UInt8>) {
        length = 0
        for range in saved { append(range) }
        origin = base
    }

    /// Replaces the list by copies of `arguments`, to run a queued command.
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

    /// Storage for `bytes` bytes, valid until the next call. The 16 bytes after them are readable.
    func makeScratch(_ bytes: Int) -> UnsafeMutablePointer<UInt8> {
        scratchStorage?.deallocate()
        let storage = UnsafeMutablePointer<UInt8>.allocate(capacity: bytes + 16)
        storage.initialize(repeating: 0, count: bytes + 16)
        scratchStorage = storage
        return storage
    }
}
