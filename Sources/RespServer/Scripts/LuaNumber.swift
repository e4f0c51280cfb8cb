// Numbers as Redis's scripts see them. Lua has one type of number, the double: an argument becomes one by C's rules,
// and a reply is one that has been truncated to an integer. Above 2^53 that shows, and a script answered here must show
// it, too. The texts are those of redis-server 7.0.

import CLinux
import Glibc
import RESP

enum LuaNumber {
    /// Longer texts are not numbers here.
    private static let lengthMax = 4096

    /// The argument as Lua's `tonumber` reads it: decimal or hexadecimal, with white space around it; nil if it is not
    /// a number. Everything after a NUL is ignored.
    static func read(_ argument: Argument) -> Double? {
        // Exact, and what every library sends.
        if argument.count < 16, let integer = argument.integer { return Double(integer) }
        guard argument.count <= lengthMax else { return nil }
        return withUnsafeTemporaryAllocation(of: CChar.self, capacity: argument.count + 1) { text in
            argument.buffer.withMemoryRebound(to: CChar.self) { bytes in
                if let base = bytes.baseAddress { text.baseAddress!.update(from: base, count: bytes.count) }
            }
            text[argument.count] = 0
            return read(text.baseAddress!)
        }
    }

    private static func read(_ text: UnsafePointer<CChar>) -> Double? {
        var end: UnsafeMutablePointer<CChar>?
        let value = strtod(text, &end)
        guard var rest = end, UnsafePointer(rest) != text else { return nil }
        while isspace(Int32(UInt8(bitPattern: rest.pointee))) != 0 { rest += 1 }
        return rest.pointee == 0 ? value : nil
    }

    /// The integer that Redis reads when a script passes this number to a command; nil when it would not accept it.
    /// The number arrives as text with 17 digits, so from 10^17 on it has an exponent, and -0 has a sign.
    static func commandArgument(_ number: Double) -> Int64? {
        guard number.magnitude < 1e17, number == number.rounded(.towardZero) else { return nil }
        return number == 0 && number.sign == .minus ? nil : Int64(number)
    }

    /// The integer that a client receives when a script returns this number. What does not fit is the lowest number,
    /// as on the processors that most servers have.
    static func reply(_ number: Double) -> Int64 { Int64(exactly: number.rounded(.towardZero)) ?? Int64.min }

    /// The integer that a client receives when a script returns another command's integer.
    @inline(__always)
    static func reply(_ integer: Int64) -> Int64 {
        let isExact = integer.magnitude <= 1 << 53
        return isExact ? integer : reply(Double(integer))
    }

    /// The number as Lua's `tostring` writes it: 14 significant digits.
    static func text(_ number: Double) -> [UInt8] {
        withUnsafeTemporaryAllocation(of: CChar.self, capacity: 64) { memory in
            let length = clinux_format_double(memory.baseAddress!, 64, 14, number)
            return memory.prefix(Int(length)).map { UInt8(bitPattern: $0) }
        }
    }

    /// Writes `nanoseconds`, 0 or more, in seconds as a bulk string, as Lua's `tostring` would write that number.
    static func bulk(seconds nanoseconds: Int64, to reply: ReplyBuffer) {
        // Nine digits after the point are exact within 14 digits, and from 0.0001 on there is no exponent.
        guard nanoseconds >= 100_000, nanoseconds < 100_000_000_000_000 else {
            return reply.bulk(text(Double(nanoseconds) / 1e9))
        }
        withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 24) { digits in
            var position = 24
            var rest = nanoseconds
            var places = 9
            func push(_ byte: UInt8) {
                position -= 1
                digits[position] = byte
            }
            while places > 0, rest % 10 == 0 {
                rest /= 10
                places -= 1
            }
            if places > 0 {
                for _ in 0..<places {
                    push(UInt8(ascii: "0") + UInt8(rest % 10))
                    rest /= 10
                }
                push(UInt8(ascii: "."))
            }
            repeat {
                push(UInt8(ascii: "0") + UInt8(rest % 10))
                rest /= 10
            } while rest > 0
            reply.bulk(UnsafeBufferPointer(rebasing: UnsafeBufferPointer(digits)[position...]))
        }
    }
}
