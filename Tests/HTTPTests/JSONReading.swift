// Reads a whole JSON text into a tree, for comparison. Reads from a heap allocation of exactly the text's size, so that
// AddressSanitizer reports a read past its end.

import HTTP

/// A JSON value as a tree.
enum JSONTree: Equatable {
    case object([[UInt8]], [JSONTree])
    case array([JSONTree])
    case string([UInt8])
    case integer(Int64)
    case bool(Bool)
    case null
}

/// Calls `body` with a reader of `bytes`, which must read all of them.
func reading<Value>(
    _ bytes: [UInt8], _ body: (inout JSONReader) throws(JSONError) -> Value
) throws(JSONError) -> Value {
    let memory = UnsafeMutableBufferPointer<UInt8>.allocate(capacity: bytes.count)
    defer { memory.deallocate() }
    _ = memory.initialize(from: bytes)
    var reader = JSONReader(UnsafeBufferPointer(memory))
    let value = try body(&reader)
    try reader.finish()
    return value
}

/// The tree of the text.
func tree(_ bytes: [UInt8]) throws(JSONError) -> JSONTree {
    try reading(bytes) { reader throws(JSONError) in try tree(&reader) }
}

private func tree(_ reader: inout JSONReader) throws(JSONError) -> JSONTree {
    switch try reader.kind() {
    case .object:
        var names: [[UInt8]] = []
        var values: [JSONTree] = []
        try reader.beginObject()
        while let name = try reader.nextName() {
            names.append(name.bytes)
            values.append(try tree(&reader))
        }
        return .object(names, values)
    case .array:
        var values: [JSONTree] = []
        try reader.beginArray()
        while try reader.nextElement() { values.append(try tree(&reader)) }
        return .array(values)
    case .string: return .string(try reader.string().bytes)
    case .number: return .integer(try reader.integer())
    case .bool: return .bool(try reader.bool())
    case .null:
        _ = try reader.null()
        return .null
    }
}
