// A key's state outside of its shard: what the journal carries and what commands show.

/// The absolute state of one key, borrowed: as bytes, whatever its kind. Valid as long as what it was made from.
public struct StateView {
    /// What the state means.
    public var kind: StateKind
    /// The state in the order of the machine that Swift runs on, little-endian: as many bytes as `kind` has.
    public var value: UnsafeRawBufferPointer
    /// When the key is to be forgotten at the latest, in nanoseconds of engine time; nil when only its state decides.
    public var deadline: Int64?

    /// A state with these fields.
    @inlinable
    public init(kind: StateKind, value: UnsafeRawBufferPointer, deadline: Int64?) {
        self.kind = kind
        self.value = value
        self.deadline = deadline
    }

    /// Whether bytes from outside (a journal, a snapshot, a client) are a state of their kind for this key. Who decodes
    /// them asks before the engine is handed the state, which relies on it. O(bytes).
    public func isValid(forKey key: UnsafeRawBufferPointer) -> Bool {
        isValid && key.count <= keyLengthMax && kind.dispatch(KeyValidity(key: key))
    }

    /// Whether the bytes are a state of their kind, whatever the key. A hidden kind's key has a shape as well: see
    /// `isValid(forKey:)`. O(bytes).
    public var isValid: Bool {
        guard (deadline ?? 0) >= 0 else { return false }
        if let size = kind.fixedSize, size != value.count { return false }
        return kind.dispatch(Validity(value: value))
    }

    /// When the state is worth nothing any more, whatever happens until then: a full limiter equals an absent one.
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

/// The absolute state of one key whose state is one word; of the others their first word, the instant at which they
/// are worth nothing.
public struct KeyState: Equatable, Sendable {
    /// What the state means.
    public var kind: StateKind
    /// The state: for GCRA the TAT in nanoseconds, for a counter its value; else only when it ends.
    public var word: Int64
    /// When the key is to be forgotten at the latest, in nanoseconds of engine time; nil when only its state decides.
    public var deadline: Int64?

    /// A state with these fields.
    public init(kind: StateKind, word: Int64, deadline: Int64? = nil) {
        self.kind = kind
        self.word = word
        self.deadline = deadline
    }

    /// A copy of a borrowed state: of its first word.
    public init(_ view: StateView) {
        self.init(kind: view.kind, word: view.value.loadUnaligned(as: Int64.self), deadline: view.deadline)
    }

    init(_ record: Record) { self.init(StateView(record)) }
}
