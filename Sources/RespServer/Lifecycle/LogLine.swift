// One line of the log as bytes: the two formats, and the escaping that keeps it on one line.
//
// Owns neither a descriptor nor a clock. Bounded: a message or a value longer than `partBytesMax` is cut and ends in
// `…`.

import System

/// One value of a log field.
enum LogValue: Sendable, Equatable {
    case string(String)
    case integer(Int)
    case double(Double)
    case bool(Bool)
}

extension LogValue: ExpressibleByStringInterpolation, ExpressibleByIntegerLiteral, ExpressibleByBooleanLiteral,
    ExpressibleByFloatLiteral
{
    init(stringLiteral value: String) { self = .string(value) }
    init(integerLiteral value: Int) { self = .integer(value) }
    init(booleanLiteral value: Bool) { self = .bool(value) }
    init(floatLiteral value: Double) { self = .double(value) }
}

/// The fields of a log line, in the order they are written: `["port": 6379, "path": .string(path)]`. Names are
/// constants of letters, digits and `_`, other than `time`, `level` and `message`.
struct LogFields: Sendable, ExpressibleByDictionaryLiteral {
    private(set) var pairs: [(name: String, value: LogValue)]

    init(dictionaryLiteral elements: (StaticString, LogValue)...) {
        pairs = elements.map { (String(describing: $0.0), $0.1) }
        assert(
            pairs.allSatisfy { pair in
                !["time", "level", "message"].contains(pair.name)
                    && pair.name.utf8.allSatisfy { $0 == 0x5F || ($0 | 0x20) &- 0x61 < 26 || $0 &- 0x30 < 10 }
            }, "a field name is letters, digits and '_', and not time, level or message")
    }

    /// Adds a field that not every line of its kind has.
    mutating func append(_ name: StaticString, _ value: LogValue) {
        append(LogFields(dictionaryLiteral: (name, value)))
    }

    /// Adds fields.
    mutating func append(_ others: LogFields) { pairs += others.pairs }
}

/// A line to be written later, when no lock is held.
struct LogNote: Sendable {
    var message: String
    var fields: LogFields
}

/// An event before it is written.
struct LogLine {
    /// Maximum length of a message, and of a value, in bytes before escaping.
    static let partBytesMax = 2048

    /// Milliseconds since 1970-01-01 UTC.
    var timeMilliseconds: Int64
    var level: Log.Level
    var message: String
    var fields: LogFields

    /// The line with its line feed.
    func bytes(_ format: Log.Format) -> [UInt8] {
        switch format {
        case .text: textBytes()
        case .json: jsonBytes()
        }
    }

    // MARK: Text

    private func textBytes() -> [UInt8] {
        var line: [UInt8] = []
        line.reserveCapacity(128 + message.utf8.count)
        line += LogLine.timestamp(timeMilliseconds).utf8
        line += " \(level.rawValue)".utf8
        // Levels are padded to the longest of them, so that messages line up.
        line += repeatElement(0x20, count: 8 - level.rawValue.utf8.count)
        LogLine.appendEscaped(message, to: &line, escapingQuotes: false)
        for (index, pair) in fields.pairs.enumerated() {
            line += (index == 0 ? "  " : " ").utf8
            line += "\(pair.name)=".utf8
            switch pair.value {
            case .integer(let value): line += String(value).utf8
            case .double(let value): line += value.description.utf8
            case .bool(let value): line += (value ? "true" : "false").utf8
            case .string(let value): LogLine.appendTextValue(value, to: &line)
            }
        }
        line.append(0x0A)
        return line
    }

    private static func appendTextValue(_ value: String, to line: inout [UInt8]) {
        let isBare = value.utf8.allSatisfy { byte in
            byte > 0x20 && byte != 0x7F && byte != UInt8(ascii: "\"") && byte != UInt8(ascii: "\\")
                && byte != UInt8(ascii: "=")
        }
        // C1 control characters begin with this byte in UTF-8; quoting a few harmless letters as well is fine.
        if isBare, !value.isEmpty, !value.utf8.contains(0xC2), value.utf8.count <= partBytesMax {
            line += value.utf8
            return
        }
        line.append(UInt8(ascii: "\""))
        appendEscaped(value, to: &line, escapingQuotes: true)
        line.append(UInt8(ascii: "\""))
    }

    /// Control characters never reach the output, including those above 0x7F that some terminals interpret.
    private static func appendEscaped(_ text: String, to line: inout [UInt8], escapingQuotes: Bool) {
        let (part, isCut) = bounded(text)
        for scalar in part {
            switch scalar {
            case "\n": line += "\\n".utf8
            case "\r": line += "\\r".utf8
            case "\t": line += "\\t".utf8
            case "\"" where escapingQuotes, "\\" where escapingQuotes:
                line += [UInt8(ascii: "\\"), UInt8(scalar.value)]
            case _ where scalar.value < 0x20 || (scalar.value >= 0x7F && scalar.value < 0xA0):
                for byte in String(scalar).utf8 { line += "\\x\(hexadecimal(byte))".utf8 }
            default: line += String(scalar).utf8
            }
        }
        if isCut { line += "…".utf8 }
    }

    // MARK: JSON

    private func jsonBytes() -> [UInt8] {
        var line: [UInt8] = []
        line.reserveCapacity(160 + message.utf8.count)
        line += "{\"time\":\"\(LogLine.timestamp(timeMilliseconds))\",\"level\":\"\(level.rawValue)\",\"message\":".utf8
        LogLine.appendJSON(message, to: &line)
        for pair in fields.pairs {
            line += ",\"\(pair.name)\":".utf8
            switch pair.value {
            case .integer(let value): line += String(value).utf8
            // JSON cannot represent infinities and NaN.
            case .double(let value): line += (value.isFinite ? value.description : "null").utf8
            case .bool(let value): line += (value ? "true" : "false").utf8
            case .string(let value): LogLine.appendJSON(value, to: &line)
            }
        }
        line += "}\n".utf8
        return line
    }

    private static func appendJSON(_ text: String, to line: inout [UInt8]) {
        let (part, isCut) = bounded(text)
        line.append(UInt8(ascii: "\""))
        for scalar in part {
            switch scalar {
            case "\"", "\\": line += [UInt8(ascii: "\\"), UInt8(scalar.value)]
            case "\n": line += "\\n".utf8
            case "\r": line += "\\r".utf8
            case "\t": line += "\\t".utf8
            case _ where scalar.value < 0x20 || (scalar.value >= 0x7F && scalar.value < 0xA0):
                line += "\\u00\(hexadecimal(UInt8(scalar.value)))".utf8
            default: line += String(scalar).utf8
            }
        }
        if isCut { line += "…".utf8 }
        line.append(UInt8(ascii: "\""))
    }

    /// The first `partBytesMax` bytes of `text`, cut between scalars.
    private static func bounded(_ text: String) -> (Substring.UnicodeScalarView, isCut: Bool) {
        let scalars = text.unicodeScalars
        guard text.utf8.count > partBytesMax else { return (scalars[...], false) }
        var end = text.utf8.index(text.utf8.startIndex, offsetBy: partBytesMax)
        while end.samePosition(in: scalars) == nil { end = text.utf8.index(before: end) }
        return (scalars[..<end], true)
    }

    // MARK: Time

    /// `2026-11-21T03:37:32.123Z`.
    static func timestamp(_ milliseconds: Int64) -> String { Timestamp.text(milliseconds: milliseconds) }
}
