// A key's state outside of its shard: what the journal carries and what commands show.

/// The absolute state of one key.
public struct KeyState: Equatable, Sendable {
    /// What the state means.
    public var kind: StateKind
    /// The state: for GCRA the TAT in nanoseconds, for a counter its value.
    public var word: Int64
    /// When the key is to be forgotten at the latest, in nanoseconds of engine time; nil when only its state decides.
    public var deadline: Int64?

    /// A state with these fields.
    public init(kind: StateKind, word: Int64, deadline: Int64? = nil) {
        self.kind = kind
        self.word = word
        self.deadline = deadline
    }

    init(_ record: Record) {
        kind = record.kind
        word = record.word
        deadline = record.hasDeadline && record.deadline != Int64.max ? record.deadline : nil
    }
}
