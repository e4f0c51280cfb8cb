// Responses: heads, problems, and the small readers of field values.

import Testing

@testable import HTTP

@Suite("HTTP responses")
struct HTTPResponseTests {
    @Test("A head has the status, the length of the body and the fields")
    func head() {
        let response = HTTPResponse()
        response.begin(.ok, .json)
        response.body.append("{}")
        response.field("X-Number", -42)
        response.field("X-Text", "text")
        let head = response.formatHead(at: 0, .open, common: "Cache-Control: no-store\r\n").string
        #expect(
            head == """
                HTTP/1.1 200 OK\r
                Date: Thu, 01 Jan 1970 00:00:00 GMT\r
                Content-Type: application/json\r
                Content-Length: 2\r
                Cache-Control: no-store\r
                X-Number: -42\r
                X-Text: text\r
                \r

                """)
    }

    @Test("The connection's end is announced, and 204 has no length")
    func persistence() {
        let response = HTTPResponse()
        response.begin(.noContent)
        #expect(
            response.formatHead(at: 0, .close, common: "").string
                == "HTTP/1.1 204 No Content\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nConnection: close\r\n\r\n")
        response.begin(.ok)
        #expect(response.formatHead(at: 0, .keepAlive, common: "").string.contains("\r\nConnection: keep-alive\r\n"))
    }

    @Test("A problem is JSON with the name of the field, whatever that contains")
    func problem() {
        let response = HTTPResponse()
        response.begin(HTTPProblem(.badRequest, "not \"good\"\n", field: "a\\b\u{1F}"))
        #expect(
            response.body.view().string
                == #"{"type":"about:blank","title":"Bad Request","status":400,"detail":"not \"good\"\n","#
                + #""field":"a\\b\u001f"}"# + "\n")
    }

    @Test("Every status has a reason")
    func reasons() {
        for status in HTTPStatus.all { #expect(!ByteView(status.reason).equals("Status")) }
    }

    @Test(
        "Integers are written in decimal",
        arguments: [0, 9, 10, 99, 100, -1, 999_999_999_999, Int64.max, Int64.min, 1_000_000_000_000_000_000])
    func integers(_ value: Int64) {
        let writer = ByteWriter()
        writer.append(value)
        #expect(writer.view().string == String(value))
    }

    @Test("Parts of a path and a query are decoded")
    func decoding() {
        func decoded(_ text: StaticString, isQuery: Bool = false) -> String? {
            let writer = ByteWriter()
            return ByteView(text).appendDecoded(to: writer, isQuery: isQuery) ? writer.view().string : nil
        }
        #expect(decoded("a%20b%2Fc+d") == "a b/c+d")
        #expect(decoded("a+b", isQuery: true) == "a b")
        #expect(decoded("%C3%A4") == "ä")
        for text in ["%", "%2", "%2g", "a%"] as [StaticString] { #expect(decoded(text) == nil) }
        let query: ByteView = ByteView("a=1&b=&c&a=2&d=x=y")
        #expect(query.parameter("a")?.string == "1")
        #expect(query.parameter("b")?.string == "")
        #expect(query.parameter("c")?.string == "")
        #expect(query.parameter("d")?.string == "x=y")
        #expect(query.parameter("e") == nil)
    }
}
