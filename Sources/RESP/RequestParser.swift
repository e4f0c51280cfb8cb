// The request grammar: arrays of bulk strings (`*2\r\n$4\r\nECHO\r\n$2\r\nhi\r\n`) and inline commands, mixed freely.
//
// Owns: how far into the current request it has looked. No byte is looked at again when more arrive, so a peer that
// sends one byte at a time costs one step per byte. Refuses to own bytes: the caller keeps the request contiguous from
// its first byte and passes a pointer to that, whichever buffer it is in by then. Knows no command.
//
//   start ──'*'──▶ count line ──n──▶ length line ──▶ payload ──┐ n times
//     │                 └─0 or less: nothing        ▲──────────┘──▶ request
//     └─other──▶ inline line ──▶ request, or nothing when empty
//
// Invariants: (1) `position` never exceeds the number of bytes offered. (2) Every length is at most its limit before it
// is added to `position`, and limits are below 2^31, so `position` cannot overflow. (3) After `.incomplete` only the
// parser's fields and the argument ranges are needed to continue.

import System

/// An incremental parser of requests. One per connection; a few words of state and no allocated memory.
@frozen
public struct RequestParser: Sendable {
    /// The result of a call.
    @frozen
    public enum Outcome: Equatable, Sendable {
        /// A request is complete: its arguments are in the list, and `consumed` bytes are processed.
        case request
        /// An empty line or an empty array: there is no reply, and `consumed` bytes are processed.
        case nothing
        /// More bytes are needed. The ranges in the list belong to the request and must be passed again with it.
        case incomplete
        /// The peer violated the protocol; nothing after this can be parsed.
        case failure(ProtocolError)
    }

    /// Bytes of the current request that have been parsed; after `.request` and `.nothing`, its length.
    @usableFromInline var position = 0
    /// Where the digits of the unfinished `*` or `$` line begin; 0 while no such line is open.
    @usableFromInline var lineStart = 0
    /// Arguments still to come; 0 while waiting for the request's first line.
    @usableFromInline var remaining: Int32 = 0
    /// Length of the payload being awaited; -1 while waiting for its length line.
    @usableFromInline var pendingLength: Int32 = -1

    /// A parser positioned at a request's first byte.
    @inlinable public init() {}

    /// Length in bytes of the request, or of the empty input, just found.
    @inlinable public var consumed: Int { position }

    /// Resets the parser to a request's first byte: call after `.request` and `.nothing`, before the next `parse`.
    @inlinable
    public mutating func startNext() {
        position = 0
        lineStart = 0
        remaining = 0
        pendingLength = -1
    }

    /// Parses the bytes that arrived since the last call.
    ///
    /// - Parameters:
    ///   - base: The request's first byte. The address may differ from the last call's, but not the bytes.
    ///   - count: Number of bytes of input from `base` on, including those parsed before; below 2^32.
    ///   - list: Receives the arguments; must contain the ranges of this request if it was incomplete before.
    ///   - limits: The limits of a request.
    ///   - authenticated: False applies the tighter limits for unauthenticated clients.
    /// - Returns: See `Outcome`. O(bytes not parsed before).
    public mutating func parse(
        _ base: UnsafePointer<UInt8>, count: Int, into list: ArgumentList, limits: RequestLimits,
        authenticated: Bool
    ) -> Outcome {
        list.origin = base
        if remaining == 0 {
            list.removeAll()
            guard count > 0 else { return .incomplete }
            guard base[0] == UInt8(ascii: "*") else {
                return parseInline(base, count: count, into: list, limits: limits)
            }
            if lineStart == 0 { openLine(at: 1) }
            let announced = readNumberLine(base, count: count, lengthMax: limits.lineLengthMax)
            if announced == Line.incomplete { return .incomplete }
            if announced == Line.tooLong { return .failure(.countLineTooLong) }
            guard announced != Line.malformed, announced <= Int64(limits.argumentsMax) else {
                return .failure(.invalidCount)
            }
            guard authenticated || announced <= 10 else { return .failure(.unauthenticatedCount) }
            if announced <= 0 { return .nothing }
            remaining = Int32(truncatingIfNeeded: announced)
        }
        return parseArguments(base, count: count, into: list, limits: limits, authenticated: authenticated)
    }

    @inline(__always)
    private mutating func parseArguments(
        _ base: UnsafePointer<UInt8>, count: Int, into list: ArgumentList, limits: RequestLimits,
        authenticated: Bool
    ) -> Outcome {
        if pendingLength < 0, lineStart == 0 { parseShortArguments(base, count: count, into: list, limits: limits) }
        while remaining > 0 {
            if pendingLength < 0 {
                if lineStart == 0 {
                    guard position < count else { return .incomplete }
                    guard base[position] == UInt8(ascii: "$") else {
                        return .failure(.expectedBulk(got: base[position]))
                    }
                    openLine(at: position &+ 1)
                }
                let announced = readNumberLine(base, count: count, lengthMax: limits.lineLengthMax)
                if announced == Line.incomplete { return .incomplete }
                if announced == Line.tooLong { return .failure(.lengthLineTooLong) }
                guard announced >= 0, announced <= Int64(limits.bulkLengthMax) else { return .failure(.invalidLength) }
                guard authenticated || announced <= 16384 else { return .failure(.unauthenticatedLength) }
                pendingLength = Int32(truncatingIfNeeded: announced)
            }
            let length = Int(pendingLength)
            guard count &- position >= length &+ 2 else { return .incomplete }
            let end = position &+ length
            guard base[end] == 0x0D, base[end &+ 1] == 0x0A else { return .failure(.missingTerminator) }
            list.append(
                ArgumentRange(
                    offset: UInt32(truncatingIfNeeded: position), count: UInt32(truncatingIfNeeded: length)))
            position = end &+ 2
            pendingLength = -1
            remaining &-= 1
        }
        return .request
    }

    /// Parses arguments of up to 99 bytes that are complete and well-formed: nearly all arguments are. Stops before the
    /// first other one, where the general path continues.
    @inline(__always)
    private mutating func parseShortArguments(
        _ base: UnsafePointer<UInt8>, count: Int, into list: ArgumentList, limits: RequestLimits
    ) {
        let raw = UnsafeRawPointer(base)
        var cursor = position
        var left = remaining
        let fields = list.fields
        var length = fields.pointee.length
        // The shortest argument, `$0` and its line ends, has six bytes, so all bytes loaded here have been offered.
        while left > 0, count &- cursor >= 6 {
            let line = UInt32(littleEndian: raw.loadUnaligned(fromByteOffset: cursor, as: UInt32.self))
            let first = (line &>> 8) & 0xFF &- 0x30
            var size = Int(first)
            var start = cursor &+ 4
            if line & 0xFFFF_00FF != 0x0A0D_0024 {
                // Not `$d CR LF`, so perhaps `$dd CR`, followed by LF.
                let second = (line &>> 16) & 0xFF &- 0x30
                guard line & 0xFF00_00FF == 0x0D00_0024, base[start] == 0x0A, first != 0, second <= 9 else { break }
                size = size &* 10 &+ Int(second)
                start &+= 1
            }
            // A line this short cannot exceed the line limit, nor can the length exceed the limit for unauthenticated
            // clients.
            guard first <= 9, size <= limits.bulkLengthMax, count &- start >= size &+ 2,
                raw.loadUnaligned(fromByteOffset: start &+ size, as: UInt16.self) == UInt16(littleEndian: 0x0A0D)
            else { break }
            if length == fields.pointee.capacity {
                fields.pointee.length = length
                list.grow()
            }
            fields.pointee.ranges[length] = ArgumentRange(
                offset: UInt32(truncatingIfNeeded: start), count: UInt32(truncatingIfNeeded: size))
            length &+= 1
            cursor = start &+ size &+ 2
            left &-= 1
        }
        fields.pointee.length = length
        position = cursor
        remaining = left
    }

    // MARK: Number lines

    /// Values that `readNumberLine` returns besides numbers from 0 on.
    private enum Line {
        /// Any well-formed number below zero.
        static let negative: Int64 = -1
        static let incomplete: Int64 = -2
        static let malformed: Int64 = -3
        static let tooLong: Int64 = -4
    }

    @inline(__always)
    private mutating func openLine(at start: Int) {
        lineStart = start
        position = start
    }

    /// The number on the open line, or one of `Line`. Closes the line unless it is incomplete.
    @inline(__always)
    private mutating func readNumberLine(_ base: UnsafePointer<UInt8>, count: Int, lengthMax: Int) -> Int64 {
        // Nearly every line is one to three digits and complete.
        var cursor = lineStart
        if position == cursor {
            var value: Int64 = 0
            let end = min(count &- 2, cursor &+ 9)
            while cursor < end {
                let digit = base[cursor] &- 0x30
                guard digit <= 9 else { break }
                value = value &* 10 &+ Int64(digit)
                cursor &+= 1
            }
            if cursor > lineStart, cursor &+ 1 < count, base[cursor] == 0x0D, base[cursor &+ 1] == 0x0A,
                base[lineStart] != 0x30 || cursor == lineStart &+ 1
            {
                position = cursor &+ 2
                lineStart = 0
                return value
            }
        }
        return readNumberLineSlowly(base, count: count, lengthMax: lengthMax)
    }

    @inline(never)
    private mutating func readNumberLineSlowly(_ base: UnsafePointer<UInt8>, count: Int, lengthMax: Int) -> Int64 {
        while position < count, base[position] != 0x0D { position &+= 1 }
        // Checked before completeness, or the result would depend on how the bytes arrived. The line begins with its
        // `*` or `$`, one byte before the digits.
        guard position &- lineStart < lengthMax else { return Line.tooLong }
        // Stays before the CR until the LF has arrived too.
        guard position &+ 1 < count else { return Line.incomplete }
        let digits = Argument(base: base + lineStart, count: position &- lineStart)
        let terminated = base[position &+ 1] == 0x0A
        position &+= 2
        lineStart = 0
        guard terminated, let value = digits.integer else { return Line.malformed }
        return value < 0 ? Line.negative : value
    }
}
