// A parsed request: views of its bytes.

import System

/// The header fields of one request: positions of their names and values. Belongs to one event loop, and is reused.
public final class HTTPFields {
    /// The maximum number of fields in a request.
    public static let countMax = 64

    /// Where a field's name and value are, relative to the request's first byte.
    struct Entry {
        var name: UInt16
        var nameLength: UInt16
        var value: UInt16
        var valueLength: UInt16
    }

    private struct State {
        var base: UnsafePointer<UInt8>
        var count = 0
    }

    private let entries: UnsafeMutablePointer<Entry>
    private let state: Pinned<State>

    /// No fields.
    public init() {
        entries = .allocate(capacity: HTTPFields.countMax)
        state = Pinned(State(base: ByteView.empty.base))
    }

    deinit {
        entries.deallocate()
        state.deallocate()
    }

    /// Number of fields.
    public var count: Int { state.pointee.count }

    /// The name of a field, as it was sent.
    public func name(_ index: Int) -> ByteView {
        precondition(index >= 0 && index < count)
        return ByteView(base: state.pointee.base + Int(entries[index].name), count: Int(entries[index].nameLength))
    }

    /// The value of a field, without spaces at its ends.
    public func value(_ index: Int) -> ByteView {
        precondition(index >= 0 && index < count)
        return ByteView(base: state.pointee.base + Int(entries[index].value), count: Int(entries[index].valueLength))
    }

    /// The value of the first field with this name, which is in lower case; nil if there is none.
    public func first(_ name: StaticString) -> ByteView? {
        for index in 0..<count where self.name(index).matches(name) { return value(index) }
        return nil
    }

    /// The value of the only field with this name; nil if there is none or more than one.
    public func only(_ name: StaticString) -> ByteView? {
        var found: ByteView?
        for index in 0..<count where self.name(index).matches(name) {
            guard found == nil else { return nil }
            found = value(index)
        }
        return found
    }

    /// The number of fields with this name.
    public func occurrences(_ name: StaticString) -> Int {
        var number = 0
        for index in 0..<count where self.name(index).matches(name) { number += 1 }
        return number
    }

    // MARK: For the parser

    func begin(at base: UnsafePointer<UInt8>) { state.pointee = State(base: base) }

    func append(name: Range<Int>, value: Range<Int>) {
        precondition(count < HTTPFields.countMax)
        entries[count] = Entry(
            name: UInt16(name.lowerBound), nameLength: UInt16(name.count), value: UInt16(value.lowerBound),
            valueLength: UInt16(value.count))
        state.pointee.count += 1
    }
}

/// A request, borrowed: valid until it has been handled.
public struct HTTPRequest {
    /// The method.
    public var method: HTTPMethod
    /// The method's token, as it was sent.
    public var methodToken: ByteView
    /// The target's path, still encoded: begins with `/`, or is `*`.
    public var path: ByteView
    /// The target's query without its `?`, still encoded. Empty if there is none.
    public var query: ByteView
    /// Whether the request is in HTTP/1.0.
    public var isVersion10: Bool
    /// Whether the client wants to send another request on the connection.
    public var keepsAlive: Bool
    /// The header fields.
    public var fields: HTTPFields
    /// The body, decoded.
    public var body: ByteView

    /// The value of a header field, by its name in lower case: of the first field with this name. Nil if there is
    /// none.
    public subscript(_ name: StaticString) -> ByteView? { fields.first(name) }

    /// The value of Host; empty if there is none.
    public var host: ByteView { fields.first("host") ?? .empty }

    /// Whether the body is declared as JSON: `application/json`, with or without parameters, or another type in
    /// `+json`.
    public var hasJSONType: Bool {
        guard let value = fields.only("content-type") else { return false }
        let type = value[0..<(value.position(of: UInt8(ascii: ";")) ?? value.count)].trimmed
        if type.matches("application/json") { return true }
        let suffix: StaticString = "+json"
        return type.count > 5 && type[type.count - 5..<type.count].matches(suffix)
    }
}
