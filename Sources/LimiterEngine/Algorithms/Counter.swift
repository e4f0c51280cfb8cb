// A counter's state: one signed integer, which never expires on its own. The commands' arithmetic is Shard+Counters.
//
//   state   0 the value

/// The witness of counters.
enum Counter: StateWitness {
    static var kind: StateKind { .counter }
    static var name: StaticString { "string" }
    static var encoding: StaticString { "int" }
    static var noun: StaticString { "counter" }
    static var fixedSize: Int? { 8 }

    static func isValid(_ bytes: UnsafeRawBufferPointer) -> Bool { true }
    static func moveBack(_ state: UnsafeMutableRawPointer, by duration: Int64) {}

    static func fields(_ state: UnsafeMutableRawPointer) -> [(name: StaticString, value: Int64)]? {
        [("value", state.loadUnaligned(as: Int64.self))]
    }
}
