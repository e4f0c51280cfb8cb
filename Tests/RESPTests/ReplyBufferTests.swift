import RESP
import TestSupport
import Testing

@Suite("Replies")
struct ReplyBufferTests {
    /// What `write` appends, as text.
    private func written(_ version: ProtocolVersion = .resp2, _ write: (ReplyBuffer) -> Void) -> String {
        let buffer = ReplyBuffer(capacity: 0)
        buffer.version = version
        write(buffer)
        return String(decoding: buffer.bytes, as: UTF8.self)
    }

    @Test("every value in both versions")
    func values() {
        let cases: [(String, String, (ReplyBuffer) -> Void)] = [
            ("+OK\r\n", "+OK\r\n", { $0.ok() }),
            ("+PONG\r\n", "+PONG\r\n", { $0.simple("PONG") }),
            ("+a b  c\r\n", "+a b  c\r\n", { $0.simple(text: "a b\r\nc") }),
            ("-ERR no\r\n", "-ERR no\r\n", { $0.error("ERR no") }),
            (":7\r\n", ":7\r\n", { $0.integer(7) }),
            ("$-1\r\n", "_\r\n", { $0.null() }),
            ("*-1\r\n", "_\r\n", { $0.nullArray() }),
            ("$0\r\n\r\n", "$0\r\n\r\n", { $0.bulk("") }),
            ("$0\r\n\r\n", "$0\r\n\r\n", { $0.bulk([UInt8]()) }),
            ("$2\r\n\u{E9}\r\n", "$2\r\n\u{E9}\r\n", { $0.bulk("\u{E9}") }),
            ("$2\r\n\r\n\r\n", "$2\r\n\r\n\r\n", { $0.bulk([0x0D, 0x0A]) }),
            ("$3\r\na\nb\r\n", "=7\r\ntxt:a\nb\r\n", { $0.verbatim("a\nb") }),
            ("*3\r\n", "*3\r\n", { $0.array(3) }),
            ("*0\r\n", "*0\r\n", { $0.array(0) }),
            ("*6\r\n", "%3\r\n", { $0.map(3) }),
            ("*3\r\n", "~3\r\n", { $0.set(3) }),
            ("*3\r\n", ">3\r\n", { $0.push(3) }),
            (":1\r\n", "#t\r\n", { $0.boolean(true) }),
            (":0\r\n", "#f\r\n", { $0.boolean(false) }),
            ("$4\r\n3.25\r\n", ",3.25\r\n", { $0.double(3.25) }),
            ("$1\r\n3\r\n", ",3\r\n", { $0.double(3) }),
            ("$3\r\ninf\r\n", ",inf\r\n", { $0.double(.infinity) }),
            ("$4\r\n-inf\r\n", ",-inf\r\n", { $0.double(-.infinity) }),
            ("$3\r\nnan\r\n", ",nan\r\n", { $0.double(.nan) }),
            ("$3\r\nnan\r\n", ",nan\r\n", { $0.double(-Double.nan) }),
            (
                "*5\r\n:0\r\n:16\r\n:15\r\n:-1\r\n:2\r\n", "*5\r\n:0\r\n:16\r\n:15\r\n:-1\r\n:2\r\n",
                {
                    $0.integers(0, 16, 15, -1, 2)
                }
            ),
        ]
        for (index, (resp2, resp3, write)) in cases.enumerated() {
            #expect(written(.resp2, write) == resp2, "case \(index)")
            #expect(written(.resp3, write) == resp3, "case \(index)")
        }
    }

    @Test("integers, edges and random ones, alone, five and six at a time, and as bulk strings")
    func integers() {
        var generator = SeededGenerator(for: "integers of replies")
        let seed = generator.seed
        var values: [Int64] = [.min, .min + 1, .max, .max - 1, 0]
        var power: Int64 = 1
        for _ in 0..<19 {
            values += [power - 1, power, power + 1, -power, -power + 1, -power - 1]
            power = power.multipliedReportingOverflow(by: 10).partialValue
        }
        for _ in 0..<20_000 {
            values.append(
                Int64.random(in: .min ... .max, using: &generator) >> Int64.random(in: 0..<64, using: &generator))
        }
        let buffer = ReplyBuffer(capacity: 64)
        var expected: [UInt8] = []
        for value in values {
            buffer.integer(value)
            expected += Array(":\(value)\r\n".utf8)
        }
        for start in stride(from: 0, to: values.count - 4, by: 5) {
            let five = values[start..<start + 5]
            buffer.integers(five[start], five[start + 1], five[start + 2], five[start + 3], five[start + 4])
            expected += Array("*5\r\n".utf8) + five.flatMap { Array(":\($0)\r\n".utf8) }
        }
        for start in stride(from: 0, to: values.count - 5, by: 6) {
            let six = Array(values[start..<start + 6])
            buffer.integers(six[0], six[1], six[2], six[3], six[4], six[5])
            expected += Array("*6\r\n".utf8) + six.flatMap { Array(":\($0)\r\n".utf8) }
        }
        for value in values {
            buffer.bulk(value)
            expected += Array("$\("\(value)".utf8.count)\r\n\(value)\r\n".utf8)
        }
        #expect(buffer.bytes.elementsEqual(expected), "seed \(seed)")
    }

    @Test("an error is one line, whatever it quotes")
    func sanitising() {
        #expect(written { $0.error("ERR unknown 'a\r\n+OK\r\n'") } == "-ERR unknown 'a  +OK  '\r\n")
        #expect(written { $0.error("\n") } == "- \r\n")
        // In Swift, CR LF is a single character; on the wire it is two bytes.
        #expect(written { $0.error("a\r\nb\rc\nd") } == "-a  b c d\r\n")
        // Only the error's own bytes: earlier replies keep their line ends.
        #expect(
            written {
                $0.ok(); $0.error("x\ny")
            } == "+OK\r\n-x y\r\n")
    }

    @Test("grows without losing its contents, truncates, releases memory")
    func growth() {
        let buffer = ReplyBuffer(capacity: 1)
        var expected: [UInt8] = []
        for length in [0, 1, 63, 64, 65, 1000, 100_000, 3] {
            let bytes = (0..<length).map { UInt8(truncatingIfNeeded: $0 &* 7) }
            buffer.bulk(bytes)
            expected += Array("$\(length)\r\n".utf8) + bytes + [0x0D, 0x0A]
            #expect(buffer.bytes.elementsEqual(expected))
        }
        buffer.truncate(to: 10)
        #expect(buffer.bytes.elementsEqual(expected[..<10]))
        buffer.removeAll(retaining: 1024)
        #expect(buffer.count == 0)
        buffer.append(expected)
        #expect(buffer.bytes.elementsEqual(expected))
    }

    @Test("an array's header inserted after its values are written")
    func insertedHeader() {
        for elements in [0, 1, 9, 10, 12345] {
            let text = written {
                $0.ok()
                let start = $0.count
                for index in 0..<elements { $0.integer(index) }
                $0.insertArrayHeader(at: start, elements: elements)
                $0.simple("next")
            }
            let values = (0..<elements).map { ":\($0)\r\n" }.joined()
            #expect(text == "+OK\r\n*\(elements)\r\n\(values)+next\r\n")
        }
        #expect(written { $0.insertArrayHeader(at: 0, elements: 0) } == "*0\r\n")
    }

    @Test("raw bytes and arguments")
    func raw() {
        let bytes: [UInt8] = [0, 0x0D, 0xFF]
        let buffer = ReplyBuffer()
        bytes.withUnsafeBufferPointer {
            buffer.bulk(Argument(base: $0.baseAddress!, count: 3))
            buffer.bulk(UnsafeRawBufferPointer($0))
            buffer.append(UnsafeBufferPointer<UInt8>(start: nil, count: 0))
        }
        let bulk = Array("$3\r\n".utf8) + bytes + [0x0D, 0x0A]
        #expect(buffer.bytes.elementsEqual(bulk + bulk))
    }
}
