// Writes JSON into a ByteWriter: commas, quotes and escapes.
//
// Keys and names in the server are bytes, JSON strings are characters. Bytes that are not part of valid UTF-8 are
// written as U+FFFD, one for each byte: the reader of an answer always gets valid JSON, and a name that was altered is
// visible as such. Such names are addressed in URLs, where every byte can be percent-encoded.

/// Writes one JSON text. Nothing checks that arrays and objects are closed: tests do.
public struct JSONWriter {
    private let out: ByteWriter
    private var needsComma = false

    /// A writer at the end of `out`.
    public init(_ out: ByteWriter) { self.out = out }

    /// Begins an object: names and values must follow, and `endObject`.
    public mutating func beginObject() { open(UInt8(ascii: "{")) }

    /// Ends the object.
    public mutating func endObject() { close(UInt8(ascii: "}")) }

    /// Begins an array: values must follow, and `endArray`.
    public mutating func beginArray() { open(UInt8(ascii: "[")) }

    /// Ends the array.
    public mutating func endArray() { close(UInt8(ascii: "]")) }

    /// The name of the next value. Must not need escapes.
    public mutating func name(_ name: StaticString) {
        separate()
        out.append(byte: UInt8(ascii: "\""))
        out.append(name)
        out.append("\":")
        needsComma = false
    }

    /// The name of the next value.
    public mutating func name(text: String) {
        string(text)
        out.append(":")
        needsComma = false
    }

    /// A string of these bytes.
    public mutating func string(_ bytes: UnsafeBufferPointer<UInt8>) {
        separate()
        out.appendJSON(string: bytes)
    }

    /// A string of these bytes.
    public mutating func string(_ bytes: [UInt8]) { bytes.withUnsafeBufferPointer { string($0) } }

    /// A string.
    public mutating func string(_ text: String) {
        var text = text
        text.withUTF8 { string($0) }
    }

    /// A string.
    public mutating func string(_ text: StaticString) {
        string(UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
    }

    /// An integer.
    public mutating func integer(_ value: Int64) {
        separate()
        out.append(value)
    }

    /// A number of seconds with three digits after the point, from milliseconds.
    public mutating func seconds(milliseconds: Int64) {
        separate()
        out.append(milliseconds / 1000)
        let rest = milliseconds.magnitude % 1000
        out.append(byte: UInt8(ascii: "."))
        for divisor: UInt64 in [100, 10, 1] { out.append(byte: 0x30 + UInt8(rest / divisor % 10)) }
    }

    /// True or false.
    public mutating func bool(_ value: Bool) {
        separate()
        out.append(value ? "true" : "false")
    }

    /// Null.
    public mutating func null() {
        separate()
        out.append("null")
    }

    private mutating func open(_ bracket: UInt8) {
        separate()
        out.append(byte: bracket)
        needsComma = false
    }

    private mutating func close(_ bracket: UInt8) {
        out.append(byte: bracket)
        needsComma = true
    }

    private mutating func separate() {
        if needsComma { out.append(byte: UInt8(ascii: ",")) }
        needsComma = true
    }
}

extension ByteWriter {
    /// Appends a JSON string of these bytes, with its quotes.
    public func appendJSON(string bytes: UnsafeBufferPointer<UInt8>) {
        append(byte: UInt8(ascii: "\""))
        guard let base = bytes.baseAddress else { return append(byte: UInt8(ascii: "\"")) }
        var start = 0
        var index = 0
        while index < bytes.count {
            let byte = base[index]
            if byte >= 0x20, byte < 0x7F, byte != UInt8(ascii: "\""), byte != UInt8(ascii: "\\") {
                index &+= 1
                continue
            }
            if byte >= 0x80, let length = UTF8Check.length(base + index, limit: bytes.count - index) {
                index &+= length
                continue
            }
            append(UnsafeBufferPointer(start: base + start, count: index - start))
            appendEscape(byte)
            index &+= 1
            start = index
        }
        append(UnsafeBufferPointer(start: base + start, count: index - start))
        append(byte: UInt8(ascii: "\""))
    }

    private func appendEscape(_ byte: UInt8) {
        switch byte {
        case UInt8(ascii: "\""): append("\\\"")
        case UInt8(ascii: "\\"): append("\\\\")
        case 0x0A: append("\\n")
        case 0x0D: append("\\r")
        case 0x09: append("\\t")
        case 0..<0x20, 0x7F:
            append("\\u00")
            append(byte: 0x30 + byte >> 4)
            let low = byte & 0xF
            append(byte: low < 10 ? 0x30 + low : 0x57 + low)
        default: append("\\ufffd")
        }
    }
}
