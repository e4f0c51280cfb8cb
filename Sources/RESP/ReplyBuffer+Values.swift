// The values of RESP2 and RESP3, one method each. Where the versions differ, the RESP2 form is what Redis sends to
// older clients: a map is a flat array, a set an array, a null a null bulk, a push an array.

extension ReplyBuffer {
    /// `+text`. The text must not contain CR or LF.
    public func simple(_ text: StaticString) {
        append(byte: UInt8(ascii: "+"))
        append(text)
        append("\r\n")
    }

    /// `+text`, with CR and LF replaced by spaces.
    public func simple(text: String) {
        append(byte: UInt8(ascii: "+"))
        appendSanitised(text)
        append("\r\n")
    }

    /// `+OK`
    public func ok() { append("+OK\r\n") }

    /// `-text`: the first word is the upper-case error code that clients branch on. CR and LF become spaces, since they
    /// would end the line and the rest would be read as the next reply.
    public func error(_ text: String) {
        append(byte: UInt8(ascii: "-"))
        appendSanitised(text)
        append("\r\n")
    }

    /// `:value`
    public func integer(_ value: Int64) { appendLine(UInt8(ascii: ":"), value) }

    /// `:value`
    public func integer(_ value: Int) { appendLine(UInt8(ascii: ":"), Int64(value)) }

    /// An array of five integers, the reply of CL.THROTTLE. One bounds check for all of it.
    public func integers(_ first: Int64, _ second: Int64, _ third: Int64, _ fourth: Int64, _ fifth: Int64) {
        reserve(4 + 5 * 24)
        count = write(UInt8(ascii: "5"), first, second, third, fourth, fifth)
    }

    /// An array of six integers, the reply of RL.TAKE. One bounds check for all of it.
    public func integers(
        _ first: Int64, _ second: Int64, _ third: Int64, _ fourth: Int64, _ fifth: Int64, _ sixth: Int64
    ) {
        reserve(4 + 6 * 24)
        let cursor = write(UInt8(ascii: "6"), first, second, third, fourth, fifth)
        count = writeLine(UInt8(ascii: ":"), sixth, to: base, at: cursor)
    }

    /// Writes the header of an array with `digit` values, and the first five of them. The caller has reserved the
    /// space. Returns the index of the next value.
    @inline(__always)
    private func write(
        _ digit: UInt8, _ first: Int64, _ second: Int64, _ third: Int64, _ fourth: Int64, _ fifth: Int64
    ) -> Int {
        let base = base
        var cursor = count
        base[cursor] = UInt8(ascii: "*")
        base[cursor &+ 1] = digit
        base[cursor &+ 2] = 0x0D
        base[cursor &+ 3] = 0x0A
        cursor &+= 4
        let colon = UInt8(ascii: ":")
        cursor = writeLine(colon, first, to: base, at: cursor)
        cursor = writeLine(colon, second, to: base, at: cursor)
        cursor = writeLine(colon, third, to: base, at: cursor)
        cursor = writeLine(colon, fourth, to: base, at: cursor)
        return writeLine(colon, fifth, to: base, at: cursor)
    }

    /// A bulk string with the number in decimal.
    public func bulk(_ value: Int64) {
        reserve(8 + 24)
        let start = count
        // The digits are written after the space for the longest header, then moved to the end of the actual one.
        let digits = writeLine(UInt8(ascii: " "), value, to: base, at: start + 8) - (start + 8) - 3
        count = writeLine(UInt8(ascii: "$"), Int64(digits), to: base, at: start)
        (base + count).update(from: base + start + 9, count: digits + 2)
        count &+= digits &+ 2
    }

    /// A bulk string of these bytes.
    public func bulk(_ bytes: UnsafeBufferPointer<UInt8>) {
        appendLine(UInt8(ascii: "$"), Int64(bytes.count))
        append(bytes)
        append("\r\n")
    }

    /// A bulk string of these bytes.
    public func bulk(_ bytes: UnsafeRawBufferPointer) {
        bulk(bytes.assumingMemoryBound(to: UInt8.self))
    }

    /// A bulk string of these bytes.
    public func bulk(_ bytes: [UInt8]) { bytes.withUnsafeBufferPointer { bulk($0) } }

    /// A bulk string of the argument's bytes.
    public func bulk(_ argument: Argument) { bulk(argument.buffer) }

    /// A bulk string of this text in UTF-8.
    public func bulk(_ text: String) {
        var text = text
        text.withUTF8 { bulk($0) }
    }

    /// Human-readable text of several lines: a verbatim string in RESP3, a bulk string in RESP2.
    public func verbatim(_ text: String) {
        guard version == .resp3 else { return bulk(text) }
        appendLine(UInt8(ascii: "="), Int64(text.utf8.count + 4))
        append("txt:")
        append(text: text)
        append("\r\n")
    }

    /// The absent value.
    public func null() { append(version == .resp3 ? "_\r\n" : "$-1\r\n") }

    /// The absent array, as of an aborted EXEC.
    public func nullArray() { append(version == .resp3 ? "_\r\n" : "*-1\r\n") }

    /// Begins an array; `count` values must follow.
    public func array(_ count: Int) { appendLine(UInt8(ascii: "*"), Int64(count)) }

    /// Begins a map; `count` pairs of values must follow.
    public func map(_ count: Int) {
        version == .resp3
            ? appendLine(UInt8(ascii: "%"), Int64(count)) : appendLine(UInt8(ascii: "*"), Int64(count) * 2)
    }

    /// Begins a set; `count` values must follow.
    public func set(_ count: Int) {
        appendLine(version == .resp3 ? UInt8(ascii: "~") : UInt8(ascii: "*"), Int64(count))
    }

    /// Begins a push: a message that is not the reply to a request. `count` values must follow.
    public func push(_ count: Int) {
        appendLine(version == .resp3 ? UInt8(ascii: ">") : UInt8(ascii: "*"), Int64(count))
    }

    /// True or false; 1 or 0 in RESP2.
    public func boolean(_ value: Bool) {
        version == .resp3 ? append(value ? "#t\r\n" : "#f\r\n") : append(value ? ":1\r\n" : ":0\r\n")
    }

    /// A double; text in RESP2.
    public func double(_ value: Double) {
        // Swift prints the sign and the payload of a NaN; clients know only `nan`.
        var text = value.isNaN ? "nan" : "\(value)"
        if text.hasSuffix(".0") { text.removeLast(2) }
        guard version == .resp3 else { return bulk(text) }
        append(byte: UInt8(ascii: ","))
        append(text: text)
        append("\r\n")
    }

    /// Inserts the header of an array of `elements` values before everything from byte `index` on: for replies whose
    /// length is known only once they are written. O(bytes after `index`).
    public func insertArrayHeader(at index: Int, elements: Int) {
        precondition(index >= 0 && index <= count)
        let end = count
        appendLine(UInt8(ascii: "*"), Int64(elements))
        let header = Array(UnsafeBufferPointer(start: base + end, count: count - end))
        (base + index + header.count).update(from: base + index, count: end - index)
        header.withUnsafeBufferPointer { (base + index).update(from: $0.baseAddress!, count: $0.count) }
    }

    private func appendSanitised(_ text: String) {
        let start = count
        append(text: text)
        for index in start..<count where base[index] == 0x0D || base[index] == 0x0A { base[index] = 0x20 }
    }
}
