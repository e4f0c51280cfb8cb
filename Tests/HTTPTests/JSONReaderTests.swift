import HTTP
import Testing

/// The fields of the objects in these tests.
private enum Field: UInt8, JSONField {
    case key, cost, limits

    var name: StaticString {
        switch self {
        case .key: "key"
        case .cost: "cost"
        case .limits: "limits"
        }
    }
}

/// Reads `{"key": string, "cost": integer, "limits": [objects of the same kind]}`.
private func readFields(_ reader: inout JSONReader, ignoresUnknown: Bool = false) throws(JSONError) {
    try reader.beginObject()
    while let field = try reader.nextField(Field.self, ignoresUnknown: ignoresUnknown) {
        switch field {
        case .key: _ = try reader.string()
        case .cost: _ = try reader.integer()
        case .limits:
            try reader.beginArray()
            while try reader.nextElement() { try readFields(&reader) }
        }
    }
}

private func problem(_ text: String, ignoresUnknown: Bool = false) -> String? {
    do throws(JSONError) {
        try reading(Array(text.utf8)) { reader throws(JSONError) in
            try readFields(&reader, ignoresUnknown: ignoresUnknown)
        }
        return nil
    } catch {
        return error.text
    }
}

@Suite("JSON reader")
struct JSONReaderTests {
    @Test(
        "accepted",
        arguments: [
            ("{}", JSONTree.object([], [])), ("[]", .array([])), (" [ ] ", .array([])),
            ("\t\r\n{ }\n", .object([], [])),
            ("0", .integer(0)), ("-0", .integer(0)), ("-1", .integer(-1)), ("120", .integer(120)),
            ("9223372036854775807", .integer(.max)), ("-9223372036854775808", .integer(.min)),
            ("true", .bool(true)), (" false", .bool(false)), ("null ", .null),
            (#""""#, .string([])), (#""a""#, .string([0x61])), ("\"\u{7F}\"", .string([0x7F])),
            ("[1,2 , 3]", .array([.integer(1), .integer(2), .integer(3)])),
            (#"{"a":1,"a":2}"#, .object([[0x61], [0x61]], [.integer(1), .integer(2)])),
            (#"{"":{"b":[null]}}"#, .object([[]], [.object([[0x62]], [.array([.null])])])),
            ("[[[[[[[[]]]]]]]]", .array([.array([.array([.array([.array([.array([.array([.array([])])])])])])])])),
        ])
    func accepted(text: String, expected: JSONTree) throws {
        #expect(try tree(Array(text.utf8)) == expected)
    }

    @Test(
        "escapes",
        arguments: [
            (#""\"\\\/\b\f\n\r\t""#, "\"\\/\u{8}\u{C}\n\r\t"), (#""\u0041\u00e9\u20AC""#, "A\u{E9}\u{20AC}"),
            (#""\uD83D\uDE00""#, "\u{1F600}"), (#""\ud800\udc00\uDBFF\uDFFF""#, "\u{10000}\u{10FFFF}"),
            (#""\u0000x""#, "\0x"), (#""\u002F\u005c""#, "/\\"), (#""\ud7ff\ue000""#, "\u{D7FF}\u{E000}"),
            ("\"\u{20AC}\\n\u{1F600}\"", "\u{20AC}\n\u{1F600}"),
            ("\"\u{FEFF}\u{FFFF}\u{10FFFF}\"", "\u{FEFF}\u{FFFF}\u{10FFFF}"),
        ])
    func escapes(text: String, expected: String) throws {
        #expect(try tree(Array(text.utf8)) == .string(Array(expected.utf8)))
    }

    @Test(
        "refused wherever an implementation might be lenient",
        arguments: [
            "", " ", "{", "[", "[1", "[1,", "{\"a\"", "{\"a\":", "{\"a\":1", "{\"a\":1,", "\"", "\"a", "\"\\",
            "\"\\u12",
            "[1,]", "[,1]", "[,]", "{,}", "{\"a\":1,}", "{\"a\" 1}", "{\"a\":}", "{a:1}", "{'a':1}", "{1:1}",
            "{\"a\":1 \"b\":2}",
            "[1 2]", "[1}", "{\"a\":1]", "]", "}", "[]]", "{}{}", "1 2", "nul", "nulll", "True", "NaN", "Infinity", "-",
            "+1", "01", "-01", "00", "1.", ".5", "1e", "1e+", "0x1", "1_000", "--1", "1-", "\u{FEFF}1", "// x\n1",
            "/* */1", "'a'", "\"\u{1}\"", "\"\n\"", "\"\0\"", "\"\\a\"", "\"\\x41\"", "\"\\u12G4\"", "\"\\U0041\"",
            #""\ud800""#, #""\ud800x""#, #""\ud800\n""#, #""\ud800\u0041""#, #""\ud800\ud800""#, #""\udc00""#,
            #""\ud800\"#, "\u{A0}1", "[\u{B}1]", "[\u{C}1]", "[[[[[[[[[]]]]]]]]]",
            #"{"a":{"a":{"a":{"a":[[[[[1]]]]]}}}}"#,
        ])
    func refused(text: String) {
        #expect(throws: JSONError.self) { try tree(Array(text.utf8)) }
    }

    @Test(
        "strings that are not UTF-8",
        arguments: [
            [0x80], [0xBF], [0xC0, 0x80], [0xC1, 0xBF], [0xC2], [0xC2, 0x22], [0xC3, 0x28], [0xE0, 0x80, 0x80],
            [0xE0, 0x9F, 0xBF], [0xE2, 0x82], [0xE2, 0x28, 0xA1], [0xE2, 0x82, 0x28], [0xED, 0xA0, 0x80],
            [0xED, 0xBF, 0xBF],
            [0xF0, 0x80, 0x80, 0x80], [0xF0, 0x8F, 0xBF, 0xBF], [0xF0, 0x9F, 0x98], [0xF4, 0x90, 0x80, 0x80],
            [0xF5, 0x80, 0x80, 0x80], [0xF8, 0x88, 0x80, 0x80, 0x80], [0xFE], [0xFF],
        ] as [[UInt8]])
    func notUTF8(bytes: [UInt8]) {
        #expect(throws: JSONError.self) { try tree([0x22] + bytes + [0x22]) }
        // Cut off at the end of the text.
        #expect(throws: JSONError.self) { try tree([0x22] + bytes) }
        #expect(throws: JSONError.self) { try tree([0x7B, 0x22] + bytes + Array("\":1}".utf8)) }
    }

    @Test("every prefix of a text is refused")
    func prefixes() throws {
        let text = Array(#"{"a":[1,-20,{"b":"\u20ac\ud83d\ude00\n€"}],"c":null,"d":true}"#.utf8)
        _ = try tree(text)
        for length in 0..<text.count {
            #expect(throws: JSONError.self, "the first \(length) bytes") { try tree(Array(text[..<length])) }
        }
    }

    @Test(
        "errors name the field",
        arguments: [
            (#"{"key":"a","cost":1}"#, nil),
            (#"{"key":"a","cost":1.0}"#, "cost must be an integer, without a fraction or an exponent"),
            (#"{"cost":1e2}"#, "cost must be an integer, without a fraction or an exponent"),
            (#"{"cost":9223372036854775808}"#, "cost is outside of 64 bits"),
            (#"{"cost":-9223372036854775809}"#, "cost is outside of 64 bits"),
            (#"{"cost":"1"}"#, "cost must be an integer"),
            (#"{"key":1}"#, "key must be a string"),
            (#"{"key":null}"#, "key must be a string"),
            (#"{"key":"a","key":"b"}"#, "key is given twice"),
            (#"{"key":"a","\u006bey":"b"}"#, #"\u006bey is given twice"#),
            (#"{"kay":"a"}"#, "kay is not a field of this request"),
            (#"{"limits":[{"key":"a"},{"cost":1},{"key":2}]}"#, "limits[2].key must be a string"),
            (#"{"limits":[{"limits":[{"cost":true}]}]}"#, "limits[0].limits[0].cost must be an integer"),
            (#"{"limits":{}}"#, "limits must be an array"),
            (#"{"limits":[1]}"#, "limits[0] must be an object"),
            (#"[]"#, "the body must be an object"),
            (#"{"key":"a"} x"#, "the body continues after its JSON value, at byte 12"),
            (#"{"key":"\x"}"#, "key has an invalid escape at byte 8"),
        ])
    func fieldErrors(text: String, expected: String?) {
        #expect(problem(text) == expected)
    }

    @Test("unknown fields can be ignored, with anything in them")
    func ignoredFields() {
        #expect(problem(#"{"x":{"y":[1.5e9,"\n",null]},"key":"a","x":-0.1,"z":false}"#, ignoresUnknown: true) == nil)
        #expect(problem(#"{"x":[1,,2]}"#, ignoresUnknown: true) == "x[1] is not valid JSON at byte 8: expected a value")
        #expect(problem(#"{"x":1,"key":"a","key":"a"}"#, ignoresUnknown: true) == "key is given twice")
    }

    @Test("names longer than 64 bytes are shortened")
    func longName() {
        let name = String(repeating: "x", count: 70)
        #expect(problem("{\"\(name)\":1}") == String(repeating: "x", count: 64) + "… is not a field of this request")
    }
}
