// Numbers, durations and words as people read them and can paste them.

import System

/// Numbers in sentences.
enum Quantity {
    /// `1,234,567`.
    static func grouped(_ number: some BinaryInteger) -> String {
        let digits = Array(String(number))
        let sign = digits.prefix { $0 == "-" }
        var text = ""
        for (index, digit) in digits.dropFirst(sign.count).enumerated() {
            if index > 0, (digits.count - sign.count - index) % 3 == 0 { text += "," }
            text.append(digit)
        }
        return String(sign) + text
    }

    /// `1 key`, `2,000 keys`.
    static func of(_ number: some BinaryInteger, _ one: String, _ many: String) -> String {
        "\(grouped(number)) \(number == 1 ? one : many)"
    }

    /// `90 s`, `3 h`: in the largest unit of which there are at least two, rounded down.
    static func duration(_ duration: Nanoseconds) -> String {
        let seconds = duration.secondsRoundedDown
        let units: [(name: String, length: Int64)] = [("d", 86_400), ("h", 3600), ("min", 60)]
        for (unit, length) in units where seconds >= 2 * length {
            return "\(grouped(seconds / length)) \(unit)"
        }
        return "\(seconds) s"
    }

    /// `gave up 393 bytes of journal with at least 3 records`.
    static func lost(_ verb: String, bytes: Int64, records: Int) -> String {
        let journal = "\(verb) \(of(bytes, "byte", "bytes")) of journal"
        return records > 0 ? "\(journal) with at least \(of(records, "record", "records"))" : journal
    }
}

/// A word for a command line that can be pasted into a shell.
enum ShellWord {
    /// The word, quoted where a shell would not read it verbatim.
    static func quoted(_ word: String) -> String {
        let isPlain = word.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), 0x80...:
                true
            default: "/._-+=:,@%".utf8.contains(byte)
            }
        }
        guard !isPlain || word.isEmpty else { return word }
        guard word.utf8.contains(where: { $0 < 0x20 || $0 == 0x7F }) else {
            return "'" + word.split(separator: "'", omittingEmptySubsequences: false).joined(separator: "'\\''") + "'"
        }
        // Only this form has escapes for control characters.
        var text = "$'"
        for byte in word.utf8 {
            switch byte {
            case UInt8(ascii: "'"), UInt8(ascii: "\\"): text += "\\" + String(UnicodeScalar(byte))
            case 0x20..<0x7F: text += String(UnicodeScalar(byte))
            default: text += "\\x" + (byte < 16 ? "0" : "") + String(byte, radix: 16)
            }
        }
        return text + "'"
    }
}
