// The request parser: what it finds, what it refuses, and that neither depends on how the input is divided.

import Testing

@testable import HTTP

@Suite("HTTP requests")
struct HTTPRequestParserTests {
    @Test("Requests are found with their parts")
    func requests() {
        let expected: [[String]] = [
            ["GET / Host=a open"],
            ["GET /a ?b=c Host=a X-Empty= open"],
            ["POST /v1/check host=a Content-Length=5 open [hello]"],
            ["POST / Host=a Transfer-Encoding=Chunked open [hello!]"],
            ["POST / Host=a Transfer-Encoding=Chunked open", "GET /next Host=a open"],
            ["GET /1 Host=a open", "GET /2 Host=a Connection=close close"],
            ["GET /old close 1.0", "GET /old Connection=foo, Keep-Alive open 1.0"],
            ["OPTIONS * Host=a open"],
            ["PROPFIND /dav Host=[::1]:80 X=padded value open"],
            ["PUT /e Host=a Content-Length=0 open", "HEAD / Host=a open"],
        ]
        for (text, found) in zip(HTTPExamples.valid, expected) { #expect(parsed(text) == found) }
    }

    @Test("What two parsers could understand differently is refused", arguments: HTTPExamples.invalid.indices)
    func refused(_ index: Int) {
        let (text, reason) = HTTPExamples.invalid[index]
        let found = parsed(text)
        #expect(found.count == 1)
        #expect(found.last?.hasPrefix(reason) == true, "\(text.prefix(100).debugDescription): \(found)")
    }

    @Test("Input divided at any byte has the same result")
    func divided() {
        for text in HTTPExamples.valid + HTTPExamples.invalid.map(\.0) {
            let bytes = Array(text.utf8)
            let whole = parsed([bytes])
            // Of long ones, which have long runs of the same byte, not every position.
            let step = max(1, bytes.count / 400)
            for position in stride(from: 1, to: bytes.count, by: step) {
                let pieces = [Array(bytes[..<position]), Array(bytes[position...])]
                #expect(parsed(pieces) == whole, "\(text.prefix(100).debugDescription) at \(position)")
            }
        }
    }

    @Test("Input that arrives byte by byte has the same result")
    func byteByByte() {
        for text in HTTPExamples.valid + HTTPExamples.invalid.map(\.0) {
            let bytes = Array(text.utf8)
            #expect(parsed(bytes.map { [$0] }) == parsed([bytes]), "\(text.prefix(100).debugDescription)")
        }
    }

    @Test("The longest head and body are accepted")
    func bounds() {
        let target = "/" + String(repeating: "a", count: HTTPRequestParser.requestLineMax - "GET / HTTP/1.1".utf8.count)
        #expect(parsed("GET \(target) HTTP/1.1\r\nHost: a\r\n\r\n").first?.hasPrefix("GET /aaa") == true)
        let rest = "Host: a\r\nX: \r\n".utf8.count
        let value = String(repeating: "v", count: HTTPRequestParser.headerMax - rest)
        #expect(parsed("GET / HTTP/1.1\r\nHost: a\r\nX: \(value)\r\n\r\n") == ["GET / Host=a X=\(value) open"])
        #expect(parsed("GET / HTTP/1.1\r\nHost: a\r\nX: \(value)v\r\n\r\n").first?.hasPrefix("431") == true)
        let body = String(repeating: "b", count: HTTPRequestParser.bodyMax)
        let found = parsed("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)")
        #expect(found.first?.hasSuffix("[\(body)]") == true)
        let chunk = "1\r\nb\r\n"
        let chunked = String(repeating: chunk, count: HTTPRequestParser.bodyMax) + "0\r\n\r\n"
        let decoded = parsed("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\(chunked)")
        #expect(decoded.first?.hasSuffix("[\(body)]") == true)
    }

    @Test("A client that expects 100 Continue gets it once, and only while its body is missing")
    func expectation() {
        let head = "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: 5\r\n\r\n"
        let request = "POST / Host=a Expect=100-Continue Content-Length=5 open [hello]"
        #expect(parsed([Array(head.utf8), Array("he".utf8), Array("llo".utf8)]) == ["continue", request])
        #expect(parsed(head + "hello") == [request])
        let old = "POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
        #expect(parsed([Array(old.utf8), Array("hello".utf8)]).count == 1)
        let large = "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 65537\r\n\r\n"
        #expect(parsed(large).first?.hasPrefix("413") == true)
    }
}
