// Words of a configuration line: quotes put on and taken off. What `quoted` writes, `split(line:)` reads back.

import RESP

enum ConfigWord {
    /// `word` as it can stand in a file: as it is when it is plain, else between double quotes with escapes.
    static func quoted(_ word: String) -> String {
        let isFastPathEligible = word.utf8.allSatisfy { byte in
            byte > 0x20 && byte < 0x7F && byte != UInt8(ascii: "\"") && byte != UInt8(ascii: "'")
                && byte != UInt8(ascii: "\\") && byte != UInt8(ascii: "#")
        }
        if isFastPathEligible, !word.isEmpty { return word }
        var text = "\""
        for scalar in word.unicodeScalars {
            switch scalar {
            case "\"", "\\": text += "\\" + String(scalar)
            case "\n": text += "\\n"
            case "\r": text += "\\r"
            case "\t": text += "\\t"
            case _ where scalar.value < 0x20 || scalar.value == 0x7F: text += "\\x" + hexadecimal(UInt8(scalar.value))
            default: text.unicodeScalars.append(scalar)
            }
        }
        return text + "\""
    }

    /// The words of a list's value: split at white space, no quotes.
    static func split(_ text: String) -> [String] {
        text.split(whereSeparator: { $0.isWhitespace }).map(String.init)
    }

    /// The words of one line, quotes and escapes taken off; nil when the quotes do not balance. Bytes that are no
    /// UTF-8 become U+FFFD, which every setting refuses.
    static func split(line: some Collection<UInt8>) -> [String]? {
        let list = ArgumentList()
        let bytes = Array(line)
        return bytes.withUnsafeBufferPointer { buffer -> [String]? in
            guard let base = buffer.baseAddress else { return [] }
            // A word takes two bytes at least, so the line's length is more than enough.
            guard list.splitLine(Argument(base: base, count: buffer.count), argumentsMax: buffer.count + 1) else {
                return nil
            }
            return (0..<list.count).map { list[$0].string }
        }
    }
}
