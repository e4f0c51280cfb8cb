// Chunked bodies: finds the end of one in any number of reads, and decodes it.

/// The progress of scanning a chunked body. Offsets are relative to its first byte.
struct ChunkScanner: Sendable {
    /// The longest line of a chunk's size, with its extensions.
    private static let lineMax = 128
    /// The longest trailer section.
    private static let trailerMax = 4 * 1024
    /// The longest body as it is sent: chunks of a byte each are allowed.
    private static let encodedMax = 8 * HTTPRequestParser.bodyMax

    private enum Phase: Sendable {
        case size, data, trailer, done
    }

    private var phase = Phase.size
    /// Where the next line or chunk begins; in the end, where the next request begins.
    private(set) var position = 0
    /// Length of the chunk whose data comes next.
    private var length = 0
    private var decoded = 0
    private var trailerStart = 0

    /// Continues with `body`, which begins at the first byte of the body. True once its end has been found.
    mutating func scan(_ body: ByteView) throws(HTTPRefusal) -> Bool {
        while true {
            switch phase {
            case .size:
                guard let end = try ChunkScanner.lineEnd(body, from: position, within: ChunkScanner.lineMax) else {
                    return false
                }
                length = try ChunkScanner.size(body[position..<end])
                position = end + 2
                decoded += length
                guard decoded <= HTTPRequestParser.bodyMax, position <= ChunkScanner.encodedMax else {
                    throw HTTPRefusal.bodyTooLong
                }
                phase = length == 0 ? .trailer : .data
                trailerStart = position
            case .data:
                // The line end may be checked before all of it is here.
                let end = position + length
                if body.count > end, body[end] != 0x0D { throw .bad("a chunk is longer than its size") }
                guard body.count >= end + 2 else { return false }
                guard body[end + 1] == 0x0A else { throw .bad("a chunk does not end in CR LF") }
                position = end + 2
                phase = .size
            case .trailer:
                let left = ChunkScanner.trailerMax - (position - trailerStart)
                guard let end = try ChunkScanner.lineEnd(body, from: position, within: left) else { return false }
                if end == position { phase = .done }
                position = end + 2
            case .done: return true
            }
        }
    }

    /// Appends the data of a complete body, which `scan` has accepted, to `writer`.
    static func decode(_ body: ByteView, to writer: ByteWriter) {
        var position = 0
        while true {
            var end = position
            while body[end] != 0x0D { end += 1 }
            guard let length = try? size(body[position..<end]), length > 0 else { return }
            writer.append(body[end + 2..<end + 2 + length])
            position = end + 2 + length + 2
        }
    }

    private static func lineEnd(
        _ body: ByteView, from start: Int, within lengthMax: Int
    ) throws(HTTPRefusal) -> Int? {
        var index = start
        let end = min(body.count, start + lengthMax)
        while index < end {
            let byte = body[index]
            if byte == 0x0A {
                guard index > start, body[index - 1] == 0x0D else { throw .bad("a line ends without CR LF") }
                return index - 1
            }
            if byte < 0x20, byte != 0x0D, byte != 0x09 { throw .bad("a chunk's line contains a control character") }
            if index > start, body[index - 1] == 0x0D { throw .bad("a CR is not followed by LF") }
            index += 1
        }
        guard index < start + lengthMax else { throw .bad("a chunk's line or the trailer is too long") }
        return nil
    }

    /// The size in a chunk's line: hexadecimal digits; extensions after `;` are ignored.
    private static func size(_ line: ByteView) throws(HTTPRefusal) -> Int {
        let digits = line[0..<(line.position(of: UInt8(ascii: ";")) ?? line.count)]
        guard digits.count > 0, digits.count <= 8 else { throw .bad("a chunk's size is not a hexadecimal number") }
        var value = 0
        for byte in digits.buffer {
            guard let digit = hexadecimalValue(byte) else { throw .bad("a chunk's size is not a hexadecimal number") }
            value = value << 4 | Int(digit)
        }
        return value
    }
}
