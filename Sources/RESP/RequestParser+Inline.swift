// Inline commands: one line of words, for people with netcat and for health checks. Words may be quoted: in `"…"` the
// escapes are \n \r \t \b \a \xHH and a backslash before any other byte, in `'…'` only \'. A closing quote must be
// followed by white space or the end of the line.

extension RequestParser {
    @inline(never)
    mutating func parseInline(
        _ base: UnsafePointer<UInt8>, count: Int, into list: ArgumentList, limits: RequestLimits
    ) -> Outcome {
        // A TLS handshake, of any version.
        if base[0] == 0x16, count > 1, base[1] == 0x03 { return .failure(.tls) }
        while position < count, base[position] != 0x0A { position &+= 1 }
        // Checked before completeness, or the result would depend on how the bytes arrived.
        guard position <= limits.lineLengthMax else { return .failure(.inlineTooLong) }
        guard position < count else { return .incomplete }
        var end = position
        position &+= 1
        if end > 0, base[end &- 1] == 0x0D { end &-= 1 }
        guard list.splitLine(Argument(base: base, count: end), argumentsMax: limits.argumentsMax) else {
            // A full list means that the word after the last allowed one was never read.
            return .failure(list.count == limits.argumentsMax ? .invalidCount : .unbalancedQuotes)
        }
        return list.count == 0 ? .nothing : .request
    }
}

extension ArgumentList {
    /// Replaces the list by the words of `line`, with quotes and escapes removed. False if the quotes do not balance or
    /// there are more than `argumentsMax` words. The words are valid until the list is next filled.
    public func splitLine(_ line: Argument, argumentsMax: Int) -> Bool {
        removeAll()
        // A word is never longer than its quoted form, so the line's length is enough for all of them.
        let storage = makeScratch(line.count)
        origin = UnsafePointer(storage)
        var splitter = LineSplitter(line: line.buffer, output: storage)
        while splitter.skipSpaces() {
            guard count < argumentsMax, let word = splitter.next() else { return false }
            append(word)
        }
        return true
    }
}

private struct LineSplitter {
    let line: UnsafeBufferPointer<UInt8>
    let output: UnsafeMutablePointer<UInt8>
    var cursor = 0
    var written = 0

    init(line: UnsafeBufferPointer<UInt8>, output: UnsafeMutablePointer<UInt8>) {
        self.line = line
        self.output = output
    }

    /// Skips to the next word; false if there is none.
    mutating func skipSpaces() -> Bool {
        while cursor < line.count, LineSplitter.isSpace(line[cursor]) { cursor += 1 }
        return cursor < line.count
    }

    /// Reads the word at the cursor; nil if its quotes do not balance.
    mutating func next() -> ArgumentRange? {
        let start = written
        while cursor < line.count, !LineSplitter.isSpace(line[cursor]) {
            let byte = line[cursor]
            cursor += 1
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: "'"):
                guard readQuoted(closing: byte) else { return nil }
            default: emit(byte)
            }
        }
        return ArgumentRange(offset: UInt32(start), count: UInt32(written - start))
    }

    /// Reads up to the closing quote; false if it is missing or followed directly by another word.
    private mutating func readQuoted(closing quote: UInt8) -> Bool {
        let isDouble = quote == UInt8(ascii: "\"")
        while cursor < line.count {
            let byte = line[cursor]
            cursor += 1
            if byte == quote { return cursor == line.count || LineSplitter.isSpace(line[cursor]) }
            guard byte == UInt8(ascii: "\\"), cursor < line.count else {
                emit(byte)
                continue
            }
            if isDouble {
                readEscape()
            } else if line[cursor] == quote {
                emit(quote)
                cursor += 1
            } else {
                emit(byte)
            }
        }
        return false
    }

    /// Reads the rest of an escape in double quotes, after the backslash.
    private mutating func readEscape() {
        let byte = line[cursor]
        if byte == UInt8(ascii: "x"), cursor + 2 < line.count, let high = hexadecimalValue(line[cursor + 1]),
            let low = hexadecimalValue(line[cursor + 2])
        {
            emit(high << 4 | low)
            cursor += 3
            return
        }
        cursor += 1
        switch byte {
        case UInt8(ascii: "n"): emit(0x0A)
        case UInt8(ascii: "r"): emit(0x0D)
        case UInt8(ascii: "t"): emit(0x09)
        case UInt8(ascii: "b"): emit(0x08)
        case UInt8(ascii: "a"): emit(0x07)
        default: emit(byte)
        }
    }

    private mutating func emit(_ byte: UInt8) {
        output[written] = byte
        written += 1
    }

    private static func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || (byte >= 0x09 && byte <= 0x0D) || byte == 0 }
}

private func hexadecimalValue(_ byte: UInt8) -> UInt8? {
    switch byte {
    case 0x30...0x39: byte - 0x30
    case 0x41...0x46: byte - 0x41 + 10
    case 0x61...0x66: byte - 0x61 + 10
    default: nil
    }
}
