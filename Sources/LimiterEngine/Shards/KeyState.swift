// A key's state outside its shard: as the journal carries it and as commands show it.

/// The absolute state of one key, borrowed, as bytes of any kind. Valid as long as its source.
public struct StateView {
    /// The kind of state.
    public var kind: StateKind
    /// The state as bytes, little-endian, which is also the machine's order: as many as `kind` has.
    public var value: UnsafeRawBufferPointer
    /// The key's deadline in nanoseconds of engine time; nil when only its state determines its expiry.
    public var deadline: Int64?

    /// A state with these fields.
    @inlinable
    public init(kind: StateKind, value: UnsafeRawBufferPointer, deadline: Int64?) {
        self.kind = kind
        self.value = value
        self.deadline = deadline
    }

    /// Whether untrusted bytes (from a journal, a snapshot or a client) are a state of their kind for this name. A
    /// decoder checks this before it passes the state to the engine, which relies on it. O(bytes).
    public func isValid(for name: KeyName) -> Bool {
        isValid && name.count <= keyLengthMax && kind.dispatch(KeyValidity(key: name.bytes)) && name.isValid(for: kind)
    }

    /// Whether the bytes are a state of their kind, whatever the key. A hidden kind's key has a format too: see
    /// `isValid(for:)`. O(bytes).
    public var isValid: Bool {
        guard (deadline ?? 0) >= 0 else { return false }
        if let size = kind.fixedSize, size != value.count { return false }
        return kind.dispatch(Validity(value: value))
    }

    /// When the state expires if nothing happens until then: a replenished limiter is equivalent to an absent one.
    var expiry: Int64 {
        let own = kind == .counter ? Int64.max : value.loadUnaligned(as: Int64.self)
        return min(own, deadline ?? Int64.max)
    }

    init(_ record: Record) {
        kind = record.kind
        value = record.stateBytes
        deadline = record.hasDeadline && record.deadline != Int64.max ? record.deadline : nil
    }
}

private struct Validity: StateVisitor {
    let value: UnsafeRawBufferPointer
    @inline(__always)
    func visit<Witness: StateWitness>(_ witness: Witness.Type) -> Bool { Witness.isValid(value) }
}

private struct KeyValidity: StateVisitor {
    let key: UnsafeRawBufferPointer
    @inline(__always)
    func visit<Witness: StateWitness>(_ witness: Witness.Type) -> Bool { Witness.isValidKey(key) }
}

/// The absolute state of one key whose state is one word; for other kinds the first word, the instant at which they
/// expire.
public struct KeyState: Equatable, Sendable {
    /// The kind of state.
    public var kind: StateKind
    /// The state: for GCRA the TAT in nanoseconds, for a counter its value; otherwise only the expiry.
    public var word: Int64
    /// The key's deadline in nanoseconds of engine time; nil when only its state determines its expiry.
    public var deadline: Int64?

    /// A state with these fields.
    public init(kind: StateKind, word: Int64, deadline: Int64? = nil) {
        self.kind = kind
        self.word = word
        self.deadline = deadline
    }

    /// A copy of a borrowed state's first word.
    public init(_ view: StateView) {
        self.init(kind: view.kind, word: view.value.loadUnaligned(as: Int64.self), deadline: view.deadline)
    }

    init(_ record: Record) { self.init(StateView(record)) }
}
