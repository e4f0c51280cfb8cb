// Which journal a node's offsets count: the history it is in, and the one it came out of.
//
//   history a   ────────────●──────────▶            (whoever was primary before)
//                           │ p
//   history b               └──────────────────▶    past = (a, p): up to p both have the same bytes
//
// Invariants:
// (1) One node at most makes bytes of a history, and it makes each offset once. So equal offsets in one history mean
//     equal bytes, and a position (history, offset) names one state.
// (2) Whoever begins to make bytes begins a history: at a promotion, and at every start as a primary, since what it
//     had sent before a crash may be more than its disk kept.
// (3) A node claims a position only together with the state at that position. A node that recovered no files has none.
// (4) `past` is true of every prefix: bytes up to `past.end` are those of history `past.id`.
//
// Owns: those rules. Refuses to know what bytes are still at hand: that is the backlog's.

/// The name of a history: forty lower-case hexadecimal digits, as Redis's replication ids are.
public struct ReplicationID: Hashable, Sendable {
    /// Digits of a name.
    public static let length = 40
    /// The digits.
    public let text: String

    /// A name read from outside; nil when it is none.
    public init?(_ text: String) {
        guard text.utf8.count == ReplicationID.length,
            text.utf8.allSatisfy({ ($0 >= 0x30 && $0 <= 0x39) || ($0 >= 0x61 && $0 <= 0x66) })
        else { return nil }
        self.text = text
    }

    /// What files are called that are no state of any primary: those of a replica that has never been whole. Nobody
    /// claims a position by them.
    public static let unowned = ReplicationID(String(repeating: "0", count: length))!

    /// A name nobody else has: 160 random bits.
    public init(using generator: inout some RandomNumberGenerator) {
        var text = ""
        for _ in 0..<ReplicationID.length {
            text.append(String(Int(generator.next() as UInt64 >> 60), radix: 16))
        }
        self.text = text
    }
}

extension ReplicationID: CustomStringConvertible {
    /// The digits.
    public var description: String { text }
}

/// A place in a history: everything in front of `offset`.
public struct StreamPosition: Hashable, Sendable {
    /// The history.
    public var id: ReplicationID
    /// Bytes of the journal in front of it.
    public var offset: Int64

    /// The place `offset` in the history `id`.
    public init(id: ReplicationID, offset: Int64) {
        self.id = id
        self.offset = offset
    }
}

/// The history of a node's journal and the one before it: `master_replid`, `master_replid2`, `second_repl_offset`.
public struct ReplicationIdentity: Equatable, Sendable {
    /// The history that the journal's bytes belong to from here on.
    public private(set) var id: ReplicationID
    /// The history that they belonged to as well, up to its offset; nil when there is none.
    public private(set) var past: StreamPosition?

    /// An identity without a past.
    public init(id: ReplicationID) { self.id = id }

    /// Begins the history `id` at `offset`, the journal's end: a promotion, a start as a primary, or a primary that
    /// has begun a history itself.
    public mutating func branch(to id: ReplicationID, at offset: Int64) {
        guard id != self.id else { return }
        past = StreamPosition(id: self.id, offset: offset)
        self.id = id
    }

    /// The journal has nothing in common any more with what it was: a full sync from `id`, or changes were made that
    /// no journal has.
    public mutating func replace(by id: ReplicationID) { self = ReplicationIdentity(id: id) }

    /// Whether the state at `position` becomes this journal's by adding the bytes behind it. `end` is the journal's.
    public func continues(_ position: StreamPosition, end: Int64) -> Bool {
        if position.id == id { return position.offset <= end }
        guard let past, position.id == past.id else { return false }
        return position.offset <= past.offset
    }
}
