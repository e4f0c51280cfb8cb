// The Date field.

import Testing

@testable import HTTP

@Suite("HTTP dates")
struct HTTPDateTests {
    @Test(
        "A time is written as HTTP requires",
        arguments: [
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"), (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"), (4_107_542_399, "Sun, 28 Feb 2100 23:59:59 GMT"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"), (253_402_300_799, "Fri, 31 Dec 9999 23:59:59 GMT"),
            (-1, "Thu, 01 Jan 1970 00:00:00 GMT"), (Int64.max, "Fri, 31 Dec 9999 23:59:59 GMT"),
        ] as [(Int64, String)])
    func format(_ unixSeconds: Int64, _ text: String) {
        let writer = ByteWriter()
        HTTPDate.append(unixSeconds, to: writer)
        #expect(writer.view().string == text)
    }

    @Test("The text changes with the second")
    func change() {
        let date = HTTPDate()
        #expect(date.view(at: 59).string.hasSuffix("00:00:59 GMT"))
        #expect(date.view(at: 59).string.hasSuffix("00:00:59 GMT"))
        #expect(date.view(at: 60).string.hasSuffix("00:01:00 GMT"))
    }
}
