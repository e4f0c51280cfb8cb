// A cache of recently parsed limits in numbers, keyed by their bytes. Clients send the same few limits over and over,
// and parsing a limit takes longer than deciding it.
//
//   entry    the raw words, `LIMIT 10 PER 1s`: the position of each argument, and all bytes from the first to the last
//            the parsed limit
//
// Arguments match only if their positions, lengths and bytes are equal, so a hit is exactly what was parsed, whatever
// the form of the request. The cache is direct-mapped: a hash of the first two values selects an entry's only slot, and
// a new limit replaces the one there.
//
// Caches only numbers. Policies may change; costs and tokens differ between calls, so they are parsed each time.

import LimiterEngine
import RESP

/// Parsed limits by their raw words. Not thread-safe: every event loop has its own.
final class LimitCache {
    /// A cached limit.
    struct Entry {
        /// Number of arguments; 0 if the slot is free.
        fileprivate(set) var arguments = 0
        /// Bytes from the first argument to the end of the last.
        fileprivate var count = 0
        /// The keywords among the arguments.
        fileprivate(set) var given: LimitWords = []
        fileprivate(set) var limit = LimitCall.blank.limit

        /// Fills `call` for `operation` with a demand of one unit, the default without further arguments.
        @inline(__always)
        func writeForOne(_ operation: LimitCall.Operation, to call: UnsafeMutablePointer<LimitCall>) {
            call.pointee.begin(operation)
            call.pointee.demand = .one
            call.pointee.limit = limit
        }
    }

    private static let slotCount = 64
    /// Maximum size of an entry in bytes and arguments: enough for five keywords with values, including the longest
    /// zone.
    private static let bytesMax = 192
    private static let argumentsMax = 10

    // Entry e has `argumentsMax` layouts from e * `argumentsMax`, and `bytesMax` bytes from e * `bytesMax`. Those in
    // use are initialized.
    private let entries: UnsafeMutablePointer<Entry>
    private let layouts: UnsafeMutablePointer<ArgumentRange>
    private let bytes: UnsafeMutablePointer<UInt8>

    init() {
        entries = .allocate(capacity: LimitCache.slotCount)
        entries.initialize(repeating: Entry(), count: LimitCache.slotCount)
        layouts = .allocate(capacity: LimitCache.slotCount * LimitCache.argumentsMax)
        layouts.initialize(
            repeating: ArgumentRange(offset: 0, count: 0), count: LimitCache.slotCount * LimitCache.argumentsMax)
        bytes = .allocate(capacity: LimitCache.slotCount * LimitCache.bytesMax)
        bytes.initialize(repeating: 0, count: LimitCache.slotCount * LimitCache.bytesMax)
    }

    deinit {
        entries.deallocate()
        layouts.deallocate()
        bytes.deallocate()
    }

    /// The cached limit at the beginning of the arguments from `start` on, if any. Valid until the next `keep`.
    @inline(__always)
    func find(_ arguments: ArgumentList, at start: Int) -> UnsafePointer<Entry>? {
        guard start + 3 < arguments.count else { return nil }
        let number = LimitCache.place(arguments, start)
        let entry = entries + number
        let known = entry.pointee.arguments
        let layout = layouts + number &* LimitCache.argumentsMax
        guard known > 0, arguments.hasLayout(layout, count: known, from: start) else { return nil }
        // In bounds: the layout matches, so all `count` bytes from the first argument on belong to the request.
        let bytes = bytes + number &* LimitCache.bytesMax
        return LimitCache.areEqual(arguments[start].base, bytes, entry.pointee.count) ? UnsafePointer(entry) : nil
    }

    /// Caches a limit under its arguments, unless they are too long.
    func keep(_ limit: Limit, _ given: LimitWords, _ arguments: ArgumentList, from start: Int, to end: Int) {
        assert(start < end && end <= arguments.count)
        let base = arguments[start].base
        let last = arguments[end - 1]
        let count = last.base - base + last.count
        // `areEqual` needs 8 bytes, and arguments may be in any order in memory.
        guard end - start >= 4, end - start <= LimitCache.argumentsMax, count >= 8, count <= LimitCache.bytesMax
        else { return }
        let number = LimitCache.place(arguments, start)
        // Mark the slot as free until the entry is complete.
        entries[number].arguments = 0
        let layout = layouts + number * LimitCache.argumentsMax
        guard arguments.writeLayout(from: start, count: end - start, to: layout) else { return }
        for position in 0..<end - start where Int(layout[position].offset) + Int(layout[position].count) > count {
            return
        }
        (bytes + number * LimitCache.bytesMax).update(from: base, count: count)
        entries[number].arguments = end - start
        entries[number].count = count
        entries[number].given = given
        entries[number].limit = limit
    }

    /// The slot of the limit at `start`: a hash of its first two values, within four arguments.
    @inline(__always)
    private static func place(_ arguments: ArgumentList, _ start: Int) -> Int {
        let mixed = digest(arguments[start + 1]) | digest(arguments[start + 3]) &<< 32
        return Int(truncatingIfNeeded: (mixed &* 0xD6E8_FEB8_6659_FD93) &>> 58)
    }

    /// Length, first, middle and last byte.
    @inline(__always)
    private static func digest(_ argument: Argument) -> UInt64 {
        let count = argument.count
        guard count > 0 else { return 0 }
        return UInt64(truncatingIfNeeded: count & 0xFF) | UInt64(argument.base[0]) &<< 8
            | UInt64(argument.base[count &>> 1]) &<< 16 | UInt64(argument.base[count &- 1]) &<< 24
    }

    /// Whether `count` bytes, at least 8, are equal. Compares eight at a time; the last eight may overlap the previous.
    @inline(__always)
    private static func areEqual(_ left: UnsafePointer<UInt8>, _ right: UnsafePointer<UInt8>, _ count: Int) -> Bool {
        assert(count >= 8)
        let (left, right) = (UnsafeRawPointer(left), UnsafeRawPointer(right))
        var offset = 0
        while offset &+ 8 < count {
            guard
                left.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
                    == right.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
            else { return false }
            offset &+= 8
        }
        return left.loadUnaligned(fromByteOffset: count &- 8, as: UInt64.self)
            == right.loadUnaligned(fromByteOffset: count &- 8, as: UInt64.self)
    }
}
