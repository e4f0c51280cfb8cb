import RESP
import Testing

@Suite("Broken requests")
struct RequestErrorTests {
    private static let lineMax = 64 * 1024

    @Test(
        "invalid counts",
        arguments: [
            "a", "", " 1", "1 ", "+1", "01", "00", "-", "-0", "--1", "1a", "1.0", "0x1", "1025", "2147483648",
            "9223372036854775808", "18446744073709551617", "99999999999999999999", "-9223372036854775809", "\u{0}",
        ])
    func invalidCount(count: String) {
        verify("*\(count)\r\n", gives: [.failure(.invalidCount)])
    }

    @Test(
        "invalid lengths",
        arguments: [
            "a", "", " 1", "1 ", "+1", "01", "-0", "-1", "-2", "1a", "1048577", "4294967297", "9223372036854775808",
            "18446744073709551617", "\u{0}",
        ])
    func invalidLength(length: String) {
        verify("*1\r\n$\(length)\r\n", gives: [.failure(.invalidLength)])
        verify("*2\r\n$1\r\na\r\n$\(length)\r\n", gives: [.failure(.invalidLength)])
    }

    @Test("the first bytes of a TLS connection")
    func tls() {
        verify([0x16, 0x03, 0x01, 0x02, 0x00], gives: [.failure(.tls)])
        verify([0x16, 0x03, 0x0A, 0x02, 0x00], gives: [.failure(.tls)])
        verify("\u{16}PING\r\n", gives: [request("\u{16}PING")])
        verify("\u{16}\r\n", gives: [request("\u{16}")])
    }

    @Test("a CR in a line without its LF")
    func returnWithoutFeed() {
        verify("*1\rx", gives: [.failure(.invalidCount)])
        verify("*1\r\r\n", gives: [.failure(.invalidCount)])
        verify("*1\n\r\n", gives: [.failure(.invalidCount)])
        verify("*1\r\n$1\rx", gives: [.failure(.invalidLength)])
    }

    @Test("an argument that does not begin with $", arguments: ["P", "*", ":", "\r", "\u{0}"])
    func expectedBulk(first: String) {
        let byte = first.utf8.first!
        verify("*1\r\n\(first)", gives: [.failure(.expectedBulk(got: byte))])
        verify("*2\r\n$1\r\na\r\n\(first)1\r\nb\r\n", gives: [.failure(.expectedBulk(got: byte))])
    }

    @Test("an argument longer or shorter than announced")
    func missingTerminator() {
        verify("*1\r\n$4\r\nPINGxx", gives: [.failure(.missingTerminator)])
        verify("*1\r\n$4\r\nPING\rx", gives: [.failure(.missingTerminator)])
        verify("*1\r\n$4\r\nPING\n\r", gives: [.failure(.missingTerminator)])
        verify("*1\r\n$3\r\nPING\r\n", gives: [.failure(.missingTerminator)])
        verify("*1\r\n$0\r\nxx", gives: [.failure(.missingTerminator)])
    }

    @Test("requests before a broken one are parsed, input after it is ignored")
    func afterGoodOnes() {
        verify(
            "PING\r\n*1\r\n$1\r\na\r\n*x\r\nPING\r\n",
            gives: [
                request("PING"), request("a"), .failure(.invalidCount),
            ])
    }

    @Test("inline lines: 64 KiB and one byte more")
    func inlineTooLong() {
        let word = String(repeating: "a", count: Self.lineMax - 1)
        verify(word + "\r\n", gives: [request(word)])
        verify(word + "a\n", gives: [request(word + "a")])
        verify(word + "a\r\n", gives: [.failure(.inlineTooLong)])
        verify(word + "aa", gives: [.failure(.inlineTooLong)])
        verify(word + "a", gives: [], unfinished: Self.lineMax)
    }

    @Test("count lines: 64 KiB and one byte more")
    func countLineTooLong() {
        let digits = String(repeating: "1", count: Self.lineMax - 1)
        verify("*\(digits)", gives: [], unfinished: Self.lineMax)
        verify("*\(digits)\r\n", gives: [.failure(.invalidCount)])
        verify("*\(digits)1", gives: [.failure(.countLineTooLong)])
        verify("*\(digits)1\r\n", gives: [.failure(.countLineTooLong)])
    }

    @Test("length lines: 64 KiB and one byte more")
    func lengthLineTooLong() {
        let digits = String(repeating: "1", count: Self.lineMax - 1)
        verify("*1\r\n$\(digits)", gives: [], unfinished: Self.lineMax + 4)
        verify("*1\r\n$\(digits)\r\n", gives: [.failure(.invalidLength)])
        verify("*1\r\n$\(digits)1", gives: [.failure(.lengthLineTooLong)])
        verify("*1\r\n$\(digits)1\r\n", gives: [.failure(.lengthLineTooLong)])
    }

    @Test("the error texts are Redis's")
    func texts() {
        let texts: [(ProtocolError, String)] = [
            (.tls, "TLS is not supported here"),
            (.inlineTooLong, "too big inline request"), (.unbalancedQuotes, "unbalanced quotes in request"),
            (.countLineTooLong, "too big mbulk count string"), (.invalidCount, "invalid multibulk length"),
            (.unauthenticatedCount, "unauthenticated multibulk length"),
            (.lengthLineTooLong, "too big bulk count string"),
            (.expectedBulk(got: UInt8(ascii: "P")), "expected '$', got 'P'"),
            (.expectedBulk(got: 0x0D), "expected '$', got ' '"), (.expectedBulk(got: 0x0A), "expected '$', got ' '"),
            (.invalidLength, "invalid bulk length"), (.unauthenticatedLength, "unauthenticated bulk length"),
            (.missingTerminator, "expected CRLF after bulk"),
        ]
        for (error, text) in texts { #expect(error.text == "ERR Protocol error: " + text) }
    }

    @Test("an announced count or length allocates no memory")
    func announcedIsNotAllocated() {
        let limits = RequestLimits(bulkLengthMax: 1 << 30, argumentsMax: Int(Int32.max))
        verify("*2147483647\r\n$1073741824\r\nx", gives: [], unfinished: 27, limits: limits)
        verify("*2147483648\r\n", gives: [.failure(.invalidCount)], limits: limits)
        verify("*1\r\n$1073741825\r\n", gives: [.failure(.invalidLength)], limits: limits)
    }
}
