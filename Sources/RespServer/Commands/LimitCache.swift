// Limits in numbers that were read lately, known again by their bytes. Clients say the same few limits over and over,
// and to read one takes longer than to decide it.
//
//   entry    words as they came, `LIMIT 10 PER 1s`: where each argument lies, and all bytes from the first to the last
//            the limit they make
//
// An argument's place and length count as well as its bytes, so what is known again is exactly what was read, whatever
// the form of the request. An entry has one place, given by the first two values; another limit that belongs there
// takes it.
//
// Keeps numbers alone. A policy may be changed; costs and tokens differ from call to call, so they are read each time.

import LimiterEngine
import RESP

/// Some limits by the words that said them. Not thread-safe: every event loop has its own.
final class LimitCache {
    /// A known limit.
    struct Entry {
        /// Arguments that say it, 0 where the place is free.
        fileprivate(set) var arguments = 0
        /// Bytes from the first of them to the end of the last.
        fileprivate var count = 0
        /// The words among them.
        fileprivate(set) var given: LimitWords = []
        /// What they make.
        fileprivate(set) var limit = LimitCall.blank.limit

        /// Makes `call` one of `operation` for one unit, which is what a limit alone means.
        @inline(__always)
        func writeForOne(_ operation: LimitCall.Operation, to call: UnsafeMutablePointer<LimitCall>) {
            call.pointee.begin(operation)
            call.pointee.demand = .one
            call.pointee.limit = limit
        }
    }

    private static let places = 64
    /// Longest words kept, in bytes and arguments: as much as five words with their values take, the longest zone among
    /// them.
    private static let bytesMax = 192
    private static let argumentsMax = 10

    // Entry e has `argumentsMax` places and `bytesMax` bytes from the e-fold of that on; those in use are initialized.
    private let entries: UnsafeMutablePointer<Entry>
    private let layouts: UnsafeMutablePointer<ArgumentRange>
    private let bytes: UnsafeMutablePointer<UInt8>

    init() {
        entries = .allocate(capacity: LimitCache.places)
        entries.initialize(repeating: Entry(), count: LimitCache.places)
        layouts = .allocate(capacity: LimitCache.places * LimitCache.argumentsMax)
        layouts.initialize(
            repeating: ArgumentRange(offset: 0, count: 0), count: LimitCache.places * LimitCache.argumentsMax)
        bytes = .allocate(capacity: LimitCache.places * LimitCache.bytesMax)
        bytes.initialize(repeating: 0, count: LimitCache.places * LimitCache.bytesMax)
    }

    deinit {
        entries.deallocate()
        layouts.deallocate()
        bytes.deallocate()
    }

    /// The limit that the arguments from `start` on begin with, if it is known. Valid until the next `keep`.
    @inline(__always)
    func find(_ arguments: ArgumentList, at start: Int) -> UnsafePointer<Entry>? {
        guard start + 3 < arguments.count else { return nil }
        let number = LimitCache.place(arguments, start)
        let entry = entries + number
        let known = entry.pointee.arguments
        let layout = layouts + number &* LimitCache.argumentsMax
        guard known > 0, arguments.hasLayout(layout, count: known, from: start) else { return nil }
        // The first and the last of as many bytes are the request's, so those between are, too.
        let bytes = bytes + number &* LimitCache.bytesMax
        return LimitCache.areEqual(arguments[start].base, bytes, entry.pointee.count) ? UnsafePointer(entry) : nil
    }

    /// Keeps a limit and the arguments that said it, unless they are too long.
    func keep(_ limit: Limit, _ given: LimitWords, _ arguments: ArgumentList, from start: Int, to end: Int) {
        assert(start < end && end <= arguments.count)
        let base = arguments[start].base
        let last = arguments[end - 1]
        let count = last.base - base + last.count
        // Shorter than a word is no limit, and arguments may lie in any order.
        guard end - start >= 4, end - start <= LimitCache.argumentsMax, count >= 8, count <= LimitCache.bytesMax
        else { return }
        let number = LimitCache.place(arguments, start)
        // Free until all of it is written.
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

    /// Where the limit said from `start` on belongs: by its first two values, which four arguments have.
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

    /// Whether `count` bytes, 8 or more, are the same: eight at a time, the last eight perhaps a second time.
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
