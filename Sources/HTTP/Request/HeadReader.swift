// Reads the head of a request: the request line, the fields, and how the body is delimited.
//
// Strict where another parser might understand something else: a line ends in CR LF and contains no other CR, LF or
// NUL; no line is folded; no space precedes a colon; a request has at most one length, either Content-Length or
// chunked; chunked is the only coding; the target is a path or `*`; HTTP/1.1 has exactly one Host.

/// How far the head of a request has been read: offsets from its first byte.
struct HeadProgress: Sendable {
    /// Where the first line begins that is not complete.
    var lineStart = 0
    /// No line ends between `lineStart` and here.
    var searched = 0
    /// Where the header section begins, after the request line; 0 until that is complete.
    var headerStart = 0
    /// Complete fields.
    var fields = 0
}

/// Reads a head. Lives as long as one call of the parser.
struct HeadReader {
    /// A complete head.
    struct Head {
        var request: HTTPRequest
        /// Where the body begins.
        var end: Int
        var contentLength = 0
        var isChunked = false
        var expectsContinue = false
    }

    private let input: ByteView
    private let fields: HTTPFields
    private var method = ByteView.empty
    private var target = ByteView.empty
    private var isVersion10 = false

    init(_ input: ByteView, _ fields: HTTPFields) {
        self.input = input
        self.fields = fields
    }

    /// Empty lines before a request that are skipped.
    private static let emptyLinesMax = 4

    /// Continues from `progress`: checks each line and records the fields. The complete head, or nil if more input is
    /// needed. The head is valid if it was read from the beginning.
    mutating func read(_ progress: inout HeadProgress) throws(HTTPRefusal) -> Head? {
        let isWhole = progress.lineStart == 0
        if isWhole { fields.begin(at: input.base) }
        while let end = try lineEnd(&progress) {
            let start = progress.lineStart
            progress.lineStart = end + 2
            progress.searched = end + 2
            if progress.headerStart == 0 {
                guard end > start else {
                    guard end < 2 * HeadReader.emptyLinesMax else { throw .bad("empty lines instead of a request") }
                    continue
                }
                try readRequestLine(input[start..<end])
                progress.headerStart = end + 2
            } else if end > start {
                progress.fields += 1
                guard progress.fields <= HTTPFields.countMax else { throw .tooManyFields }
                try readField(start..<end, records: isWhole)
            } else {
                return isWhole ? try finish(end: end + 2) : Head(request: blankRequest, end: end + 2)
            }
        }
        return nil
    }

    /// The end of the line that begins at `lineStart`, without its line end; nil if it is incomplete.
    private func lineEnd(_ progress: inout HeadProgress) throws(HTTPRefusal) -> Int? {
        let start = progress.lineStart
        // Where the line must have ended. The empty line that ends the header section is not part of it.
        let bound =
            progress.headerStart == 0
            ? start + HTTPRequestParser.requestLineMax + 2 : progress.headerStart + HTTPRequestParser.headerMax + 2
        let end = min(input.count, bound)
        var index = progress.searched
        while index < end {
            let byte = input.base[index]
            if byte < 0x20 {
                if byte == 0x0A {
                    guard index > start, input.base[index - 1] == 0x0D else { throw .bad("a line ends without CR LF") }
                    return index - 1
                }
                if byte == 0 { throw .bad("the head contains NUL") }
            }
            if index > start, input.base[index - 1] == 0x0D { throw .bad("a CR is not followed by LF") }
            index &+= 1
        }
        progress.searched = index
        if index == bound { throw progress.headerStart == 0 ? .requestLineTooLong : .headerTooLong }
        return nil
    }

    // MARK: The request line

    private mutating func readRequestLine(_ line: ByteView) throws(HTTPRefusal) {
        guard let methodEnd = line.position(of: 0x20), methodEnd > 0,
            line[0..<methodEnd].buffer.allSatisfy(isTokenByte)
        else { throw .bad("the first line is not a request line of HTTP") }
        method = line[0..<methodEnd]
        let rest = line[methodEnd + 1..<line.count]
        guard let targetEnd = rest.position(of: 0x20), targetEnd > 0 else {
            throw .bad("the request line lacks a target or a version")
        }
        target = rest[0..<targetEnd]
        let version = rest[targetEnd + 1..<rest.count]
        guard version.count == 8, version.hasPrefix("HTTP/"), isDigit(version[5]), version[6] == UInt8(ascii: "."),
            isDigit(version[7])
        else { throw .bad("the request line does not end in a version of HTTP") }
        guard version[5] == UInt8(ascii: "1"), version[7] <= UInt8(ascii: "1") else {
            throw HTTPRefusal(.versionNotSupported, "the version is neither HTTP/1.0 nor HTTP/1.1")
        }
        isVersion10 = version[7] == UInt8(ascii: "0")
        try checkTarget()
    }

    private func checkTarget() throws(HTTPRefusal) {
        if target.equals("*") {
            guard method.equals("OPTIONS") else { throw .bad("the target * is only for OPTIONS") }
            return
        }
        guard target[0] == UInt8(ascii: "/") else { throw .bad("the target is not a path") }
        for byte in target.buffer {
            guard byte > 0x20, byte < 0x7F, byte != UInt8(ascii: "#") else {
                throw .bad("the target contains a byte that has to be percent-encoded")
            }
        }
    }

    // MARK: Fields

    private func readField(_ line: Range<Int>, records: Bool) throws(HTTPRefusal) {
        let text = input[line]
        guard !isBlank(text[0]) else { throw .bad("a header field is folded into several lines") }
        guard let colon = text.position(of: UInt8(ascii: ":")), colon > 0 else {
            throw .bad("a line of the header has no field name")
        }
        guard text[0..<colon].buffer.allSatisfy(isTokenByte) else {
            throw .bad("a field name contains an invalid character, or a space before its colon")
        }
        var start = line.lowerBound + colon + 1
        var end = line.upperBound
        while start < end, isBlank(input.base[start]) { start &+= 1 }
        while end > start, isBlank(input.base[end - 1]) { end &-= 1 }
        for byte in input[start..<end].buffer where byte < 0x20 && byte != 0x09 || byte == 0x7F {
            throw .bad("the value of field \(text[0..<colon].shown) contains a control character")
        }
        if records { fields.append(name: line.lowerBound..<line.lowerBound + colon, value: start..<end) }
    }

    // MARK: The whole

    private var blankRequest: HTTPRequest {
        HTTPRequest(
            method: HTTPMethod(method), methodToken: method, path: target, query: .empty, isVersion10: isVersion10,
            keepsAlive: false, fields: fields, body: .empty)
    }

    private func finish(end: Int) throws(HTTPRefusal) -> Head {
        var head = Head(request: blankRequest, end: end)
        if let mark = target.position(of: UInt8(ascii: "?")) {
            head.request.path = target[0..<mark]
            head.request.query = target[mark + 1..<target.count]
        }
        var connection = (closes: false, keepsAlive: false)
        var seen = (hosts: 0, lengths: 0, codings: 0)
        for index in 0..<fields.count {
            let name = fields.name(index)
            let value = fields.value(index)
            switch name.count {
            case 4 where name.matches("host"):
                seen.hosts += 1
                guard value.buffer.allSatisfy(isHostByte) else { throw .bad("Host is not a host name") }
            case 6 where name.matches("expect"):
                guard value.matches("100-continue") else {
                    throw HTTPRefusal(.expectationFailed, "Expect is not 100-continue")
                }
                head.expectsContinue = !isVersion10
            case 10 where name.matches("connection"):
                value.forEachMember { member in
                    if member.matches("close") { connection.closes = true }
                    if member.matches("keep-alive") { connection.keepsAlive = true }
                    return true
                }
            case 14 where name.matches("content-length"):
                seen.lengths += 1
                guard let length = value.decimal else { throw .bad("Content-Length is not a number") }
                head.contentLength = length
            case 17 where name.matches("transfer-encoding"):
                seen.codings += 1
                guard value.matches("chunked") else { throw .bad("Transfer-Encoding is not chunked") }
                head.isChunked = true
            default: break
            }
        }
        try check(seen)
        head.request.keepsAlive = !connection.closes && (!isVersion10 || connection.keepsAlive)
        return head
    }

    private func check(_ seen: (hosts: Int, lengths: Int, codings: Int)) throws(HTTPRefusal) {
        guard seen.hosts == 1 || seen.hosts == 0 && isVersion10 else {
            throw .bad(seen.hosts == 0 ? "Host is missing" : "Host occurs more than once")
        }
        guard seen.lengths <= 1 else { throw .bad("Content-Length occurs more than once") }
        guard seen.codings <= 1 else { throw .bad("Transfer-Encoding occurs more than once") }
        guard seen.lengths == 0 || seen.codings == 0 else {
            throw .bad("Content-Length and Transfer-Encoding exclude each other")
        }
        guard seen.codings == 0 || !isVersion10 else { throw .bad("HTTP/1.0 has no Transfer-Encoding") }
    }
}

/// A byte of a token: a method or a field name.
@inline(__always)
func isTokenByte(_ byte: UInt8) -> Bool {
    switch byte {
    case 0x30...0x39, 0x41...0x5A, 0x5E...0x7A, 0x7C, 0x7E, 0x21, 0x23...0x27, 0x2A, 0x2B, 0x2D, 0x2E: true
    default: false
    }
}

/// A byte of a host name or address with a port.
private func isHostByte(_ byte: UInt8) -> Bool {
    switch byte {
    case 0x30...0x39, 0x41...0x5A, 0x61...0x7A: true
    case UInt8(ascii: "."), UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: ":"), UInt8(ascii: "["),
        UInt8(ascii: "]"), UInt8(ascii: "%"), UInt8(ascii: "~"):
        true
    default: false
    }
}

private func isDigit(_ byte: UInt8) -> Bool { byte >= 0x30 && byte <= 0x39 }
