// asgi-ratelimit: counters that count down. Its argument is a JSON object with a limit and a number of seconds for each
// key.

import LimiterEngine
import RESP

extension Scripts {
    static let asgiRateLimit: KnownScript.Body = { run throws(ScriptError) in
        guard run.argument(1).count <= CountdownRules.lengthMax else {
            throw ScriptError("ERR ARGV[1] must have at most \(CountdownRules.lengthMax) bytes")
        }
        guard let rules = CountdownRules(run.argument(1)) else {
            throw ScriptError(
                "ERR ARGV[1] is not a JSON object with [limit, seconds], two numbers, for each key")
        }
        // Before anything is set: a key without a rule ends the script.
        let terms = (1...max(1, run.keyCount)).prefix(run.keyCount).map { rules.terms[run.key($0).bytes] }
        guard !terms.contains(where: { $0 == nil }) else {
            throw ScriptError("ERR user_script: attempt to index a nil value: ARGV[1] has no rule for a key")
        }
        for (position, term) in terms.enumerated() {
            let seconds = try ScriptRun.integer(term!.seconds)
            try run.set(
                run.key(position + 1), try run.value(term!.limit), expiring: seconds, milliseconds: second,
                ifAbsent: true)
        }
        for (position, term) in terms.enumerated() {
            if let value = try run.get(run.key(position + 1)), value < 1 {
                return run.reply.integer(LuaNumber.reply(term!.seconds))
            }
        }
        for position in terms.indices { _ = try run.add(-1, to: run.key(position + 1)) }
        run.reply.integer(0)
    }
}

/// The rules of asgi-ratelimit: a JSON object whose values are arrays that begin with two numbers. Of a key that occurs
/// twice, the last rule counts.
struct CountdownRules {
    struct Terms: Equatable {
        var limit: Double
        var seconds: Double
    }

    /// The longest text. It is read while the stripes of the keys are held, at about 100 nanoseconds a byte.
    static let lengthMax = 64 * 1024

    private(set) var terms: [[UInt8]: Terms] = [:]

    /// Nil for anything else. O(bytes).
    init?(_ argument: Argument) {
        var scanner = JSONScanner(argument.buffer)
        guard scanner.skip("{") else { return nil }
        if !scanner.skip("}") {
            repeat {
                guard let key = scanner.string(), scanner.skip(":"), scanner.skip("["), let limit = scanner.number(),
                    scanner.skip(","), let seconds = scanner.number(), scanner.skip("]")
                else { return nil }
                terms[key] = Terms(limit: limit, seconds: seconds)
            } while scanner.skip(",")
            guard scanner.skip("}") else { return nil }
        }
        guard scanner.isAtEnd() else { return nil }
    }
}

/// Reads the parts of JSON that occur in those rules.
private struct JSONScanner {
    private let bytes: UnsafeBufferPointer<UInt8>
    private var position = 0

    init(_ bytes: UnsafeBufferPointer<UInt8>) { self.bytes = bytes }

    private mutating func skipSpace() {
        while position < bytes.count, [0x20, 0x09, 0x0A, 0x0D].contains(bytes[position]) { position += 1 }
    }

    mutating func isAtEnd() -> Bool {
        skipSpace()
        return position == bytes.count
    }

    /// Skips this character if it is the next.
    mutating func skip(_ character: Unicode.Scalar) -> Bool {
        skipSpace()
        guard position < bytes.count, bytes[position] == UInt8(ascii: character) else { return false }
        position += 1
        return true
    }

    mutating func number() -> Double? {
        skipSpace()
        let start = position
        while position < bytes.count, isOfNumber(bytes[position]) { position += 1 }
        guard position > start else { return nil }
        return LuaNumber.read(Argument(base: bytes.baseAddress! + start, count: position - start))
    }

    private func isOfNumber(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "+"), UInt8(ascii: "-"), UInt8(ascii: "."),
            UInt8(ascii: "e"), UInt8(ascii: "E"):
            true
        default: false
        }
    }

    /// A string in UTF-8.
    mutating func string() -> [UInt8]? {
        guard skip("\"") else { return nil }
        var text: [UInt8] = []
        while position < bytes.count {
            let byte = bytes[position]
            position += 1
            switch byte {
            case UInt8(ascii: "\""): return text
            case UInt8(ascii: "\\"):
                guard let escaped = escape() else { return nil }
                text += escaped
            case 0..<0x20: return nil
            default: text.append(byte)
            }
        }
        return nil
    }

    private mutating func escape() -> [UInt8]? {
        guard position < bytes.count else { return nil }
        let byte = bytes[position]
        position += 1
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): return [byte]
        case UInt8(ascii: "b"): return [0x08]
        case UInt8(ascii: "f"): return [0x0C]
        case UInt8(ascii: "n"): return [0x0A]
        case UInt8(ascii: "r"): return [0x0D]
        case UInt8(ascii: "t"): return [0x09]
        case UInt8(ascii: "u"): return unicode()
        default: return nil
        }
    }

    /// The rest of `\uXXXX`, or of a surrogate pair of two.
    private mutating func unicode() -> [UInt8]? {
        guard let first = codeUnit() else { return nil }
        var units = [first]
        if UTF16.isLeadSurrogate(first) {
            guard position + 1 < bytes.count, bytes[position] == UInt8(ascii: "\\"),
                bytes[position + 1] == UInt8(ascii: "u")
            else { return nil }
            position += 2
            guard let second = codeUnit(), UTF16.isTrailSurrogate(second) else { return nil }
            units.append(second)
        } else if UTF16.isTrailSurrogate(first) {
            return nil
        }
        return Array(String(decoding: units, as: UTF16.self).utf8)
    }

    private mutating func codeUnit() -> UInt16? {
        guard position + 4 <= bytes.count else { return nil }
        let digits = String(decoding: bytes[position..<position + 4], as: UTF8.self)
        position += 4
        return digits.hasPrefix("+") || digits.hasPrefix("-") ? nil : UInt16(digits, radix: 16)
    }
}
