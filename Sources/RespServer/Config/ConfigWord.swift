// Quotes and unquotes the words of a configuration line. `split(line:)` is the inverse of `quoted`.

import RESP

enum ConfigWord {
    /// `word` as written in a file: verbatim if possible, otherwise in double quotes with escapes.
    static func quoted(_ word: String) -> String {
        let isVerbatim = word.utf8.allSatisfy { byte in
            byte > 0x20 && byte < 0x7F && byte != UInt8(ascii: "\"") && byte != UInt8(ascii: "'")
                && byte != UInt8(ascii: "\\") && byte != UInt8(ascii: "#")
        }
        if isVerbatim, !word.isEmpty { return word }
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

    /// The words of a list's value: split at whitespace, without quotes.
    static func split(_ text: String) -> [String] {
        text.split(whereSeparator: { $0.isWhitespace }).map(String.init)
    }

    /// The words of one line, without quotes and escapes; nil if the quotes are unbalanced. Invalid UTF-8 becomes
    /// U+FFFD, which every setting refuses.
    static func split(line: some Collection<UInt8>) -> [String]? {
        let list = ArgumentList()
        let bytes = Array(line)
        return bytes.withUnsafeBufferPointer { buffer -> [String]? in
            guard let base = buffer.baseAddress else { return [] }
            // A word and its separator take at least two bytes, so the line's length is more than enough.
            guard list.splitLine(Argument(base: base, count: buffer.count), argumentsMax: buffer.count + 1) else {
                return nil
            }
            return (0..<list.count).map { list[$0].string }
        }
    }
}
