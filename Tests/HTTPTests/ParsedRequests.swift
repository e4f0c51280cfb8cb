// Runs the parser over input that arrives in pieces, as a connection does, and describes what it finds as text.

@testable import HTTP

/// What a connection's input contains, as the parser sees it when the input arrives in these pieces.
func parsed(_ pieces: [[UInt8]]) -> [String] {
    var parser = HTTPRequestParser()
    let scratch = HTTPScratch()
    var input: [UInt8] = []
    var found: [String] = []
    for piece in pieces {
        input += piece
        var isWaiting = false
        while !input.isEmpty, !isWaiting {
            // A copy at another address: the transport may move the input between reads.
            let moved = input
            let used = moved.withUnsafeBufferPointer { bytes -> Int in
                switch parser.parse(bytes.baseAddress!, count: bytes.count, into: scratch) {
                case .request(let request):
                    found.append(describe(request))
                    let used = parser.consumed
                    parser.startNext()
                    return used
                case .incomplete:
                    isWaiting = true
                    return 0
                case .awaitsContinue:
                    found.append("continue")
                    isWaiting = true
                    return 0
                case .failure(let refusal):
                    found.append("\(refusal.status.rawValue) \(refusal.detail)")
                    return -1
                }
            }
            if used < 0 { return found }
            input.removeFirst(used)
        }
    }
    return found
}

/// As above, for input that arrives at once.
func parsed(_ text: String) -> [String] { parsed([Array(text.utf8)]) }

private func describe(_ request: HTTPRequest) -> String {
    var text = "\(request.methodToken.string) \(request.path.string)"
    if !request.query.isEmpty { text += " ?\(request.query.string)" }
    for index in 0..<request.fields.count {
        text += " \(request.fields.name(index).string)=\(request.fields.value(index).string)"
    }
    text += request.keepsAlive ? " open" : " close"
    if request.isVersion10 { text += " 1.0" }
    return request.body.isEmpty ? text : text + " [\(request.body.string)]"
}

/// Input that covers every state of the parser.
enum HTTPExamples {
    static let valid: [String] = [
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "\r\n\r\nGET /a?b=c HTTP/1.1\r\nHost:a\r\nX-Empty:\r\n\r\n",
        "POST /v1/check HTTP/1.1\r\nhost: a\r\nContent-Length: 5\r\n\r\nhello",
        chunks("5;x=y\r\nhello\r\n1\r\n!\r\n0\r\nT: v\r\n\r\n"),
        chunks("0\r\n\r\nGET /next HTTP/1.1\r\nHost: a\r\n\r\n"),
        "GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        "GET /old HTTP/1.0\r\n\r\nGET /old HTTP/1.0\r\nConnection: foo, Keep-Alive\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
        "PROPFIND /dav HTTP/1.1\r\nHost: [::1]:80\r\nX: \t padded value \t \r\n\r\n",
        "PUT /e HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\nHEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
    ]

    /// Input that is refused, and a part of the reason.
    static let invalid: [(String, String)] = [
        // Line ends.
        ("GET / HTTP/1.1\nHost: a\n\n", "400 a line ends without CR LF"),
        ("GET / HTTP/1.1\r\nHost: a\n\r\n", "400 a line ends without CR LF"),
        ("GET / HTTP/1.1\r\nX: a\rb\r\nHost: a\r\n\r\n", "400 a CR is not followed by LF"),
        ("GET /\r HTTP/1.1\r\nHost: a\r\n\r\n", "400 a CR is not followed by LF"),
        ("GET / HTTP/1.1\r\nHost: a\u{0}b\r\n\r\n", "400 the head contains NUL"),
        ("\r\n\r\n\r\n\r\n\r\n\r\n\r\n", "400 empty lines instead of a request"),
        // Request lines.
        ("*1\r\n$4\r\nPING\r\n", "400 the first line is not a request line of HTTP"),
        ("PING\r\n", "400 the first line is not a request line of HTTP"),
        (" GET / HTTP/1.1\r\nHost: a\r\n\r\n", "400 the first line is not a request line of HTTP"),
        ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", "400 the request line lacks a target or a version"),
        ("GET /\r\nHost: a\r\n\r\n", "400 the request line lacks a target or a version"),
        ("GET / HTTP/1.1 \r\nHost: a\r\n\r\n", "400 the request line does not end in a version of HTTP"),
        ("GET / http/1.1\r\nHost: a\r\n\r\n", "400 the request line does not end in a version of HTTP"),
        ("GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", "400 the request line does not end in a version of HTTP"),
        ("GET / HTTP/1.2\r\nHost: a\r\n\r\n", "505 "),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "505 "),
        ("GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n", "400 the target is not a path"),
        ("CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n", "400 the target is not a path"),
        ("GET * HTTP/1.1\r\nHost: a\r\n\r\n", "400 the target * is only for OPTIONS"),
        ("GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", "400 the target contains a byte that has to be percent-encoded"),
        ("GET /ä HTTP/1.1\r\nHost: a\r\n\r\n", "400 the target contains a byte that has to be percent-encoded"),
        ("GET /\t HTTP/1.1\r\nHost: a\r\n\r\n", "400 the target contains a byte that has to be percent-encoded"),
        // Fields.
        ("GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n", "400 a header field is folded"),
        ("GET / HTTP/1.1\r\n Host: a\r\n\r\n", "400 a header field is folded"),
        ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", "400 a field name contains an invalid character, or a space"),
        ("GET / HTTP/1.1\r\nHo(st: a\r\n\r\n", "400 a field name contains an invalid character, or a space"),
        ("GET / HTTP/1.1\r\n: a\r\n\r\n", "400 a line of the header has no field name"),
        ("GET / HTTP/1.1\r\nHost\r\n\r\n", "400 a line of the header has no field name"),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: \u{1}\r\n\r\n", "400 the value of field X contains a control character"),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: \u{7F}\r\n\r\n", "400 the value of field X contains a control character"),
        // Host.
        ("GET / HTTP/1.1\r\n\r\n", "400 Host is missing"),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", "400 Host occurs more than once"),
        ("GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", "400 Host occurs more than once"),
        ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", "400 Host is not a host name"),
        ("GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", "400 Host is not a host name"),
        ("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", "400 Host is not a host name"),
        // The length of the body.
        (post("Content-Length: 5\r\nTransfer-Encoding: chunked"), "400 Content-Length and Transfer-Encoding exclude"),
        (post("Transfer-Encoding: chunked\r\nContent-Length: 5"), "400 Content-Length and Transfer-Encoding exclude"),
        (post("Content-Length: 5\r\nContent-Length: 6"), "400 Content-Length occurs more than once"),
        (post("Content-Length: 5\r\nContent-Length: 5"), "400 Content-Length occurs more than once"),
        (post("Content-Length: 5, 5"), "400 Content-Length is not a number"),
        (post("Content-Length: +5"), "400 Content-Length is not a number"),
        (post("Content-Length: -5"), "400 Content-Length is not a number"),
        (post("Content-Length: 0x5"), "400 Content-Length is not a number"),
        (post("Content-Length: 5 5"), "400 Content-Length is not a number"),
        (post("Content-Length:"), "400 Content-Length is not a number"),
        (post("Content-Length: 99999999999999999999"), "400 Content-Length is not a number"),
        (post("Content-Length: 65537"), "413 the body is longer than 65536 bytes"),
        (post("Content-Length: 999999999999999999"), "413 the body is longer than 65536 bytes"),
        (post("Transfer-Encoding: gzip, chunked"), "400 Transfer-Encoding is not chunked"),
        (post("Transfer-Encoding: chunked, chunked"), "400 Transfer-Encoding is not chunked"),
        (post("Transfer-Encoding: identity"), "400 Transfer-Encoding is not chunked"),
        (post("Transfer-Encoding: xchunked"), "400 Transfer-Encoding is not chunked"),
        (post("Transfer-Encoding: \u{B}chunked"), "400 the value of field Transfer-Encoding contains a control"),
        (post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"), "400 Transfer-Encoding occurs more than"),
        (post("Transfer-Encoding:"), "400 Transfer-Encoding is not chunked"),
        ("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400 HTTP/1.0 has no Transfer-Encoding"),
        (post("Expect: 200-ok"), "417 "),
        // Chunks.
        (chunks("5\nhello\r\n0\r\n\r\n"), "400 a line ends without CR LF"),
        (chunks("5 \r\nhello\r\n0\r\n\r\n"), "400 a chunk's size is not a hexadecimal number"),
        (chunks("\r\nhello\r\n"), "400 a chunk's size is not a hexadecimal number"),
        (chunks("-1\r\n"), "400 a chunk's size is not a hexadecimal number"),
        (chunks("0x1\r\n"), "400 a chunk's size is not a hexadecimal number"),
        (chunks("000000001\r\n"), "400 a chunk's size is not a hexadecimal number"),
        (chunks("FFFFFFFF\r\n"), "413 "),
        (chunks("10001\r\n"), "413 "),
        (chunks("4\r\nhello\r\n"), "400 a chunk is longer than its size"),
        (chunks("5\r\nhello\rX"), "400 a chunk does not end in CR LF"),
        (chunks("5\r\nhello\n\n"), "400 a chunk is longer than its size"),
        (chunks("1;" + String(repeating: "e", count: 200) + "\r\n"), "400 a chunk's line or the trailer is too long"),
        (chunks("0\r\n" + String(repeating: "T: v\r\n", count: 1000)), "400 a chunk's line or the trailer is too long"),
        // Bounds.
        ("GET /" + String(repeating: "a", count: 8300) + " HTTP/1.1\r\nHost: a\r\n\r\n", "414 "),
        (String(repeating: "G", count: 9000), "414 "),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: " + String(repeating: "a", count: 17_000) + "\r\n\r\n", "431 the header"),
        (
            "GET / HTTP/1.1\r\nHost: a\r\n" + String(repeating: "X: y\r\n", count: 64) + "\r\n",
            "431 the request has more than 64 header fields"
        ),
    ]

    private static func post(_ fields: String) -> String {
        "POST / HTTP/1.1\r\nHost: a\r\n\(fields)\r\n\r\nhello"
    }

    private static func chunks(_ body: String) -> String {
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n\(body)"
    }
}
