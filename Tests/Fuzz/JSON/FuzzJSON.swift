// The fuzz target of the JSON reader (scripts/fuzz). Three properties, for arbitrary bytes:
//  1. The reader never reads outside of the text: every text is a heap allocation of exactly its size.
//  2. Reading a value and skipping it accept the same texts; no prefix of an accepted array or object is accepted.
//  3. What the writer writes for a string is read as the same bytes, with U+FFFD for what was not UTF-8.

import HTTP

private typealias OneInput = @convention(c) (UnsafePointer<UInt8>, Int) -> CInt

@_silgen_name("LLVMFuzzerRunDriver")
private func runDriver(
    _ count: UnsafeMutablePointer<CInt>,
    _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?>,
    _ oneInput: OneInput
) -> CInt

/// SwiftPM uses this name as an executable's entry point, so libFuzzer's own `main` is never linked; this replaces
/// it.
@_cdecl("fuzz_json_main")
public func entry(_ count: CInt, _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?) -> CInt {
    var (count, arguments) = (count, arguments)
    return runDriver(&count, &arguments, fuzzOneInput)
}

/// Runs one input. Traps if a property does not hold.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzOneInput(_ data: UnsafePointer<UInt8>, _ size: Int) -> CInt {
    let text = UnsafeBufferPointer(start: data, count: size)
    let isRead = isAccepted(text) { reader throws(JSONError) in try read(&reader) }
    let isSkipped = isAccepted(text) { reader throws(JSONError) in try reader.skip() }
    precondition(isRead == isSkipped, "reading and skipping disagree")
    if isRead, let last = text.last, last == UInt8(ascii: "}") || last == UInt8(ascii: "]") {
        for length in 0..<size {
            let prefix = UnsafeBufferPointer(rebasing: text[..<length])
            precondition(
                !isAccepted(prefix) { reader throws(JSONError) in try read(&reader) }, "a prefix is accepted")
        }
    }
    checkRoundTrip(text)
    return 0
}

private func isAccepted(
    _ text: UnsafeBufferPointer<UInt8>, _ body: (inout JSONReader) throws(JSONError) -> Void
) -> Bool {
    let memory = UnsafeMutableBufferPointer<UInt8>.allocate(capacity: text.count)
    defer { memory.deallocate() }
    _ = memory.initialize(from: text)
    var reader = JSONReader(UnsafeBufferPointer(memory))
    do throws(JSONError) {
        try body(&reader)
        try reader.finish()
        return true
    } catch {
        precondition(error.offset >= 0 && error.offset <= text.count && !error.text.isEmpty)
        return false
    }
}

/// Reads a value with every function of the reader. Numbers that are not integers are skipped.
private func read(_ reader: inout JSONReader) throws(JSONError) {
    switch try reader.kind() {
    case .object:
        try reader.beginObject()
        while let name = try reader.nextName() {
            check(name)
            try read(&reader)
        }
    case .array:
        try reader.beginArray()
        while try reader.nextElement() { try read(&reader) }
    case .string: check(try reader.string())
    case .number:
        var copy = reader
        do throws(JSONError) {
            _ = try copy.integer()
        } catch {
            switch error.reason {
            case .notInteger, .outOfRange: break
            default: throw error
            }
        }
        try reader.skip()
    case .bool: _ = try reader.bool()
    case .null:
        let isNull = try reader.null()
        precondition(isNull)
    }
}

private func check(_ string: JSONString) {
    precondition(String(validating: string.bytes, as: UTF8.self) != nil, "not UTF-8")
    precondition(string.count <= string.rawCount && (string.verbatim == nil) == string.hasEscapes)
}

private func checkRoundTrip(_ bytes: UnsafeBufferPointer<UInt8>) {
    let out = ByteWriter(capacity: 0)
    var writer = JSONWriter(out)
    writer.string(bytes)
    var reader = JSONReader(out.bytes)
    guard let string = try? reader.string(), (try? reader.finish()) != nil else { fatalError("a string is refused") }
    guard let text = String(validating: bytes, as: UTF8.self) else {
        return precondition(string.bytes.count >= bytes.count)
    }
    precondition(string.bytes.elementsEqual(text.utf8), "a string does not survive")
}
