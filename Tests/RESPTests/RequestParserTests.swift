import RESP
import TestSupport
import Testing

@Suite("Requests")
struct RequestParserTests {
    @Test("one command")
    func oneCommand() {
        verify("*1\r\n$4\r\nPING\r\n", gives: [request("PING")])
        verify(
            "*5\r\n$11\r\nCL.THROTTLE\r\n$7\r\nuser123\r\n$2\r\n15\r\n$2\r\n30\r\n$2\r\n60\r\n",
            gives: [request("CL.THROTTLE", "user123", "15", "30", "60")])
    }

    @Test("arguments are bytes: empty, line ends, protocol look-alikes, every value")
    func anyBytes() {
        verify("*3\r\n$0\r\n\r\n$2\r\n\r\n\r\n$4\r\n$1\r\n\r\n", gives: [request("", "\r\n", "$1\r\n")])
        let everyByte = Array(UInt8.min...UInt8.max)
        verify(encoded([everyByte, [], everyByte]), gives: [.request([everyByte, [], everyByte])])
    }

    @Test("empty requests are skipped without a reply")
    func nothing() {
        verify("*0\r\n", gives: [.nothing])
        verify("*-1\r\n", gives: [.nothing])
        verify("*-9223372036854775808\r\n", gives: [.nothing])
        verify("\r\n", gives: [.nothing])
        verify("\n", gives: [.nothing])
        verify(" \t \r\n", gives: [.nothing])
    }

    @Test("arrays and inline commands mix")
    func mixed() {
        verify(
            "\r\n*1\r\n$4\r\nPING\r\nping\r\n*0\r\n*2\r\n$4\r\nECHO\r\n$3\r\na\r\n\r\nECHO \"x y\"\n",
            gives: [
                .nothing, request("PING"), request("ping"), .nothing, request("ECHO", "a\r\n"), request("ECHO", "x y"),
            ])
    }

    @Test("incomplete requests wait for more input")
    func unfinished() {
        for (input, complete) in [
            ("*", 0), ("*1", 0), ("*1\r", 0), ("*1\r\n", 0), ("*1\r\n$", 0), ("*1\r\n$4\r\nPIN", 0),
            ("*1\r\n$4\r\nPING", 0), ("*1\r\n$4\r\nPING\r", 0), ("*0\r\n*2\r\n$1\r\na\r\n", 1), ("PING", 0),
        ] {
            let events = [RequestEvent](repeating: .nothing, count: complete)
            verify(input, gives: events, unfinished: input.utf8.count - complete * 4)
        }
    }

    @Test("a list holds no stale arguments while the next request's first line is incomplete")
    func noStaleArguments() {
        let list = ArgumentList()
        var parser = RequestParser()
        for (input, outcome, count) in [
            ("*1\r\n$4\r\nPING\r\n", RequestParser.Outcome.request, 1), ("*", .incomplete, 0), ("", .incomplete, 0),
            ("PI", .incomplete, 0), ("\n", .nothing, 0), ("*2\r\n$1\r\na\r\n", .incomplete, 1),
        ] {
            let bytes = Array(input.utf8)
            let found = bytes.withUnsafeBufferPointer {
                parser.parse($0.baseAddress!, count: $0.count, into: list, limits: .usual, authenticated: true)
            }
            #expect(found == outcome)
            #expect(list.count == count, "after \(input.debugDescription)")
            parser = RequestParser()
        }
    }

    @Test("both sides of the limits")
    func limits() {
        let limits = RequestLimits(bulkLengthMax: 20, argumentsMax: 3)
        let twenty = [UInt8](repeating: 0x61, count: 20)
        verify(encoded([twenty, twenty, twenty]), gives: [.request([twenty, twenty, twenty])], limits: limits)
        verify("*4\r\n", gives: [.failure(.invalidCount)], limits: limits)
        verify("*1\r\n$21\r\n", gives: [.failure(.invalidLength)], limits: limits)
        verify("a b c\r\n", gives: [request("a", "b", "c")], limits: limits)
        verify("a b c \r\n", gives: [request("a", "b", "c")], limits: limits)
        verify("a b c d\r\n", gives: [.failure(.invalidCount)], limits: limits)
        verify("a b c 'd\r\n", gives: [.failure(.invalidCount)], limits: limits)
        verify("a b 'c\r\n", gives: [.failure(.unbalancedQuotes)], limits: limits)
    }

    @Test("unauthenticated clients: ten arguments and 16 KiB")
    func unauthenticated() {
        let ten = [[UInt8]](repeating: [0x61], count: 10)
        verify(encoded(ten), gives: [.request(ten)], authenticated: false)
        verify("*11\r\n", gives: [.failure(.unauthenticatedCount)], authenticated: false)
        verify("*1025\r\n", gives: [.failure(.invalidCount)], authenticated: false)
        let largest = [UInt8](repeating: 0x61, count: 16384)
        verify(encoded([largest]), gives: [.request([largest])], authenticated: false)
        verify("*1\r\n$16385\r\n", gives: [.failure(.unauthenticatedLength)], authenticated: false)
        verify("*1\r\n$1048577\r\n", gives: [.failure(.invalidLength)], authenticated: false)
    }

    @Test("the largest argument, and one byte more")
    func largestArgument() {
        let largest = [UInt8](repeating: 0x61, count: 1 << 20)
        #expect(replay(encoded([largest])).events == [.request([largest])])
        #expect(
            replay(encoded([largest]), cuts: stride(from: 7, to: 1 << 20, by: 65_521)).events == [.request([largest])])
        verify("*1\r\n$1048577\r\n", gives: [.failure(.invalidLength)])
    }

    @Test("random requests, cut at random")
    func random() {
        var generator = SeededGenerator(for: "random requests")
        let seed = generator.seed
        for _ in 0..<300 {
            var (input, events) = ([UInt8](), [RequestEvent]())
            for _ in 0..<Int.random(in: 1...8, using: &generator) {
                let arguments = (0..<Int.random(in: 1...20, using: &generator)).map { _ in
                    (0..<Int.random(in: 0...40, using: &generator)).map { _ in
                        UInt8.random(in: 0...255, using: &generator)
                    }
                }
                input += encoded(arguments)
                events.append(.request(arguments))
            }
            let cuts = (0..<Int.random(in: 0...12, using: &generator)).map { _ in
                Int.random(in: 0...input.count, using: &generator)
            }
            #expect(replay(input, cuts: cuts.sorted()) == RequestTranscript(events: events), "seed \(seed)")
        }
    }
}
