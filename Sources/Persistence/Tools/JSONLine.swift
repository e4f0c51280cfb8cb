// JSON on one line, as the offline tools print it. Write-only; nothing here parses JSON.

/// A growing line of JSON. Commas are added automatically; the caller balances braces and brackets.
struct JSONLine {
    /// The line so far.
    private(set) var bytes: [UInt8] = []

    private static let digits = Array("0123456789abcdef".utf8)

    mutating func object(_ body: (inout JSONLine) -> Void) {
        separate()
        bytes.append(UInt8(ascii: "{"))
        body(&self)
        bytes.append(UInt8(ascii: "}"))
    }

    mutating func array(_ body: (inout JSONLine) -> Void) {
        separate()
        bytes.append(UInt8(ascii: "["))
        body(&self)
        bytes.append(UInt8(ascii: "]"))
    }

    /// The name of an object's member, whose value comes next. `name` needs no escapes.
    mutating func name(_ name: StaticString) {
        separate()
        bytes.append(UInt8(ascii: "\""))
        name.withUTF8Buffer { bytes.append(contentsOf: $0) }
        bytes.append(contentsOf: "\":".utf8)
    }

    mutating func member(_ name: StaticString, _ number: some FixedWidthInteger) {
        self.name(name)
        bytes.append(contentsOf: String(number).utf8)
    }

    mutating func member(_ name: StaticString, _ flag: Bool) {
        self.name(name)
        bytes.append(contentsOf: (flag ? "true" : "false").utf8)
    }

    mutating func member(_ name: StaticString, _ text: String) {
        self.name(name)
        string(text)
    }

    mutating func member(_ name: StaticString, hex content: UnsafeRawBufferPointer) {
        self.name(name)
        bytes.append(UInt8(ascii: "\""))
        for byte in content {
            bytes.append(JSONLine.digits[Int(byte >> 4)])
            bytes.append(JSONLine.digits[Int(byte & 15)])
        }
        bytes.append(UInt8(ascii: "\""))
    }

    mutating func string(_ text: String) {
        separate()
        bytes.append(UInt8(ascii: "\""))
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"):
                bytes.append(UInt8(ascii: "\\"))
                bytes.append(byte)
            case 0..<0x20:
                bytes.append(contentsOf: "\\u00".utf8)
                bytes.append(JSONLine.digits[Int(byte >> 4)])
                bytes.append(JSONLine.digits[Int(byte & 15)])
            default: bytes.append(byte)
            }
        }
        bytes.append(UInt8(ascii: "\""))
    }

    /// Ends the line and begins another.
    mutating func end() { bytes.append(UInt8(ascii: "\n")) }

    /// Removes the lines; keeps the memory unless it exceeds `retained` bytes.
    mutating func removeAll(retaining retained: Int) { bytes.removeAll(keepingCapacity: bytes.capacity <= retained) }

    /// Outside a string, no comma belongs after these four bytes, and no value ends in one of them.
    private mutating func separate() {
        switch bytes.last {
        case nil, UInt8(ascii: "{"), UInt8(ascii: "["), UInt8(ascii: ":"), UInt8(ascii: "\n"): break
        default: bytes.append(UInt8(ascii: ","))
        }
    }
}
