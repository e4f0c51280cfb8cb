import HTTP
import TestSupport
import Testing

@Suite("JSON writer")
struct JSONWriterTests {
    private func written(_ write: (inout JSONWriter) -> Void) -> String {
        let out = ByteWriter(capacity: 0)
        var writer = JSONWriter(out)
        write(&writer)
        return String(decoding: out.bytes, as: UTF8.self)
    }

    @Test("commas are only between values")
    func commas() {
        let text = written {
            $0.beginObject()
            $0.name("a")
            $0.integer(1)
            $0.name("b")
            $0.beginArray()
            $0.bool(true)
            $0.null()
            $0.beginObject()
            $0.endObject()
            $0.beginArray()
            $0.endArray()
            $0.string("x" as StaticString)
            $0.endArray()
            $0.name("c")
            $0.seconds(milliseconds: 1_700_000_000_045)
            $0.endObject()
        }
        #expect(text == #"{"a":1,"b":[true,null,{},[],"x"],"c":1700000000.045}"#)
    }

    @Test("integers", arguments: [0, 1, 9, 10, 99, 100, 1234567890, -1, -10, Int64.max, Int64.min])
    func integers(value: Int64) {
        #expect(written { $0.integer(value) } == "\(value)")
    }

    @Test("strings are read as they were written")
    func roundTrip() throws {
        var generator = SeededGenerator(for: "JSON strings")
        for _ in 0..<2000 {
            let text = String(
                String.UnicodeScalarView(
                    (0..<generator.below(12)).map { _ in
                        // Every byte, and some of everything else.
                        let bound = [0x80, 0x100, 0x3000, 0x11_0000][generator.below(4)]
                        return Unicode.Scalar(UInt32(generator.below(bound))) ?? "\u{1F600}"
                    }))
            let json = Array(written { $0.string(text) }.utf8)
            #expect(try tree(json) == .string(Array(text.utf8)))
        }
    }

    @Test("bytes that are not UTF-8 are written as U+FFFD, one for each")
    func notUTF8() {
        let bytes: [UInt8] = [0x61, 0xFF, 0xC3, 0xA9, 0xE2, 0x82, 0x62, 0xED, 0xA0, 0x80, 0xC3]
        #expect(written { $0.string(bytes) } == #""a\ufffd\#u{E9}\ufffd\ufffdb\ufffd\ufffd\ufffd\ufffd""#)
    }

    @Test("control characters, quotes and backslashes are escaped")
    func escapes() {
        #expect(written { $0.string("\"\\/\n\r\t\0\u{1F}\u{7F}") } == #""\"\\/\n\r\t\u0000\u001f\u007f""#)
    }
}
