import RESP
import Testing

@Suite("Reading replies")
struct ReplyScannerTests {
    private struct Counts: Equatable {
        var replies = 0, errors = 0, pushes = 0
        var failure: ReplyError?
        var isBetweenReplies = true
    }

    private func counts(_ bytes: [UInt8], cuts: some Sequence<Int>) -> Counts {
        var scanner = ReplyScanner()
        var start = 0
        for end in Array(cuts) + [bytes.count] {
            // Exactly sized, so that a sanitizer detects a read past the end.
            let memory = UnsafeMutableBufferPointer<UInt8>.allocate(capacity: end - start)
            defer { memory.deallocate() }
            _ = memory.initialize(from: bytes[start..<end])
            let seen = scanner.scan(UnsafeBufferPointer(memory))
            #expect(seen == end - start || scanner.failure != nil)
            start = end
        }
        let between = scanner.failure != nil || scanner.isBetweenReplies
        return Counts(
            replies: scanner.replies, errors: scanner.errors, pushes: scanner.pushes, failure: scanner.failure,
            isBetweenReplies: between)
    }

    private func check(_ text: String, _ expected: Counts, at location: SourceLocation = #_sourceLocation) {
        let bytes = Array(text.utf8)
        #expect(counts(bytes, cuts: []) == expected, sourceLocation: location)
        #expect(counts(bytes, cuts: 0..<bytes.count) == expected, "byte by byte", sourceLocation: location)
        for cut in 0..<bytes.count {
            #expect(counts(bytes, cuts: [cut]) == expected, "cut at \(cut)", sourceLocation: location)
        }
    }

    @Test("every kind of value is one reply")
    func kinds() {
        for text in [
            "+OK\r\n", "+\r\n", ":1\r\n", ":-1\r\n", "$-1\r\n", "*-1\r\n", "$0\r\n\r\n", "$2\r\n\r\n\r\n", "*0\r\n",
            "_\r\n",
            "#t\r\n", ",1.5\r\n", "(123456789012345678901234567890\r\n", "=5\r\ntxt:a\r\n", "~1\r\n:1\r\n",
            "%1\r\n+a\r\n*2\r\n:1\r\n:2\r\n", "*2\r\n*1\r\n*1\r\n:1\r\n$1\r\na\r\n", "*1\r\n-ERR inside\r\n",
            "*5\r\n:0\r\n:16\r\n:15\r\n:-1\r\n:2\r\n", "|1\r\n+ttl\r\n:3\r\n+OK\r\n", "|0\r\n|0\r\n*0\r\n",
            "*1\r\n|1\r\n+a\r\n:1\r\n:2\r\n",
        ] {
            check(text, Counts(replies: 1))
            check(text + text + text, Counts(replies: 3))
        }
    }

    @Test("errors and pushes are distinguished")
    func errorsAndPushes() {
        check("-ERR no\r\n+OK\r\n!3\r\nERR\r\n:1\r\n", Counts(replies: 4, errors: 2))
        check(">2\r\n+message\r\n-x\r\n+OK\r\n", Counts(replies: 1, pushes: 1))
        check("|1\r\n+a\r\n:1\r\n-ERR no\r\n", Counts(replies: 1, errors: 1))
    }

    @Test("incomplete replies are not counted")
    func unfinished() {
        for text in [
            "+", "+O", "+OK\r", "$", "$3\r\nab", "$3\r\nabc", "$3\r\nabc\r", "*2\r\n:1\r\n", "%1\r\n:1\r\n", "|0\r\n",
        ] {
            check(text, Counts(isBetweenReplies: false))
            check("+OK\r\n" + text, Counts(replies: 1, isBetweenReplies: false))
        }
    }

    @Test("invalid replies")
    func broken() {
        for (text, failure) in [
            ("x\r\n", .unknownType(UInt8(ascii: "x"))), ("*1\r\n\r\n", .unknownType(0x0D)), ("$a\r\n", .invalidLength),
            ("$\r\n", .invalidLength), ("$-\r\n", .invalidLength), ("$-2\r\n", .invalidLength),
            ("$01\r\n", .invalidLength),
            ("$?\r\n", .invalidLength), ("%-1\r\n", .invalidLength), ("$1073741825\r\n", .invalidLength),
            ("*99999999999999999999999999\r\n", .invalidLength), ("*2\r\n*1073741824\r\n", .tooManyElements),
            ("%536870913\r\n", .tooManyElements), ("+a\rb\r\n", .missingTerminator), ("+a\n", .missingTerminator),
            ("$1\r\nabc", .missingTerminator), ("$1\r\na\rb", .missingTerminator),
        ] as [(String, ReplyError)] {
            check(text, Counts(failure: failure))
            check("+OK\r\n" + text, Counts(replies: 1, failure: failure))
        }
        let longest = "+" + String(repeating: "a", count: ReplyScanner.lineLengthMax - 3) + "\r\n"
        #expect(counts(Array(longest.utf8), cuts: [100]) == Counts(replies: 1))
        #expect(counts(Array(("+a" + longest.dropFirst()).utf8), cuts: [100]) == Counts(failure: .lineTooLong))
    }

    @Test("scanning accepts any depth, decoding a bounded one")
    func depth() {
        func nested(_ depth: Int) -> [UInt8] { Array((String(repeating: "*1\r\n", count: depth) + ":1\r\n").utf8) }
        #expect(counts(nested(100_000), cuts: [17]) == Counts(replies: 1))
        #expect(throws: Never.self) { try ReplyValue.decode(nested(ReplyValue.depthMax)) }
        #expect(throws: ReplyError.tooDeep) { try ReplyValue.decode(nested(ReplyValue.depthMax + 1)) }
    }

    @Test("stops after the requested number of replies")
    func most() {
        var scanner = ReplyScanner()
        let bytes = Array("+OK\r\n:12\r\n$1\r\na\r\n".utf8)
        bytes.withUnsafeBufferPointer {
            #expect(scanner.scan($0, most: 1) == 5)
            #expect(scanner.scan(UnsafeBufferPointer(rebasing: $0[5...]), most: 1) == 5)
            #expect(scanner.scan(UnsafeBufferPointer(rebasing: $0[10...]), most: 9) == 7)
        }
        #expect(scanner.replies == 3)
    }

    @Test("replies round-trip in both protocol versions")
    func roundTrip() throws {
        for version in [ProtocolVersion.resp2, .resp3] {
            let buffer = ReplyBuffer()
            buffer.version = version
            buffer.map(2)
            buffer.bulk("server")
            buffer.verbatim("a\nb")
            buffer.bulk("list")
            buffer.array(8)
            buffer.null()
            buffer.nullArray()
            buffer.boolean(true)
            buffer.double(1.5)
            buffer.error("ERR x")
            buffer.integer(Int64.min)
            buffer.set(1)
            buffer.simple("member")
            buffer.bulk([0, 255])
            let is3 = version == .resp3
            let (value, length) = try #require(try ReplyValue.decode(Array(buffer.bytes)))
            #expect(length == buffer.count)
            #expect(value["server"] == (is3 ? .verbatim(format: "txt", text: "a\nb") : .text("a\nb")))
            #expect(
                value["list"]
                    == .array([
                        .null, .null, is3 ? .boolean(true) : .integer(1), is3 ? .double(1.5) : .text("1.5"),
                        .error("ERR x"),
                        .integer(.min), is3 ? .set([.simple("member")]) : .array([.simple("member")]), .bulk([0, 255]),
                    ]))
        }
    }

    @Test("decoding: several at once, incomplete ones, wrong scalars")
    func decoding() throws {
        #expect(
            try ReplyValue.decodeAll(Array("+OK\r\n>1\r\n:1\r\n(12\r\n|1\r\n+a\r\n:1\r\n#f\r\n!1\r\nE\r\n".utf8)) == [
                .simple("OK"), .push([.integer(1)]), .bigNumber("12"), .boolean(false), .error("E"),
            ])
        #expect(try ReplyValue.decode(Array("*1\r\n".utf8)) == nil)
        for text in [":x\r\n", ":\r\n", "#x\r\n", ",x\r\n", "_x\r\n", "=1\r\na\r\n", ":9223372036854775808\r\n"] {
            #expect(throws: ReplyError.invalidScalar, "\(text)") { try ReplyValue.decode(Array(text.utf8)) }
        }
    }
}
