// The journal that a node's offsets refer to: its current history, and the one it branched from.
//
//   history a   ────────────●──────────▶            (the previous primary's)
//                           │ p
//   history b               └──────────────────▶    past = (a, p): up to p both have the same bytes
//
// Invariants:
// (1) At most one node produces bytes of a history, and it produces each offset once. So equal offsets in one history
//     mean equal bytes, and a position (history, offset) identifies one state.
// (2) A node that starts producing bytes starts a new history: at a promotion, and at every start as a primary, since
//     it may have sent more before a crash than its disk kept.
// (3) A node claims a position only with the state at that position. A node that recovered no files claims none.
// (4) `past` holds for every prefix: bytes up to `past.end` are those of history `past.id`.
//
// Owns: these rules. Does not know which bytes are still available: the backlog does.

/// The name of a history: forty lower-case hexadecimal digits, like Redis's replication ids.
package struct ReplicationID: Hashable, Sendable {
    /// Number of digits.
    package static let length = 40
    /// The digits.
    package let text: String

    /// Parses a name; nil when it is not one.
    package init?(_ text: String) {
        guard text.utf8.count == ReplicationID.length,
            text.utf8.allSatisfy({ ($0 >= 0x30 && $0 <= 0x39) || ($0 >= 0x61 && $0 <= 0x66) })
        else { return nil }
        self.text = text
    }

    /// The history of files that hold no primary's state: those of a replica that has never completed a sync. No node
    /// claims a position with it.
    package static let unowned = ReplicationID(String(repeating: "0", count: length))!

    /// A unique name: 160 random bits.
    package init(using generator: inout some RandomNumberGenerator) {
        var text = ""
        for _ in 0..<ReplicationID.length {
            text.append(String(Int(generator.next() as UInt64 >> 60), radix: 16))
        }
        self.text = text
    }
}

extension ReplicationID: CustomStringConvertible {
    /// The digits.
    package var description: String { text }
}

/// A place in a history: after all bytes before `offset`.
package struct StreamPosition: Hashable, Sendable {
    /// The history.
    package var id: ReplicationID
    /// Number of journal bytes before it.
    package var offset: Int64

    /// The place `offset` in the history `id`.
    package init(id: ReplicationID, offset: Int64) {
        self.id = id
        self.offset = offset
    }
}

/// The history of a node's journal and the one before it: `master_replid`, `master_replid2`, `second_repl_offset`.
package struct ReplicationIdentity: Equatable, Sendable {
    /// The history to which the journal's bytes belong from here on.
    package private(set) var id: ReplicationID
    /// The previous history, and the offset up to which the bytes belong to it as well; nil when there is none.
    package private(set) var past: StreamPosition?

    /// An identity without a past.
    package init(id: ReplicationID) { self.id = id }

    /// Begins the history `id` at `offset`, the journal's end: at a promotion, at a start as a primary, or when the
    /// primary has itself begun a history.
    package mutating func branch(to id: ReplicationID, at offset: Int64) {
        guard id != self.id else { return }
        past = StreamPosition(id: self.id, offset: offset)
        self.id = id
    }

    /// The journal has nothing in common with its past any more: after a full sync from `id`, or after changes that are
    /// in no journal.
    package mutating func replace(by id: ReplicationID) { self = ReplicationIdentity(id: id) }

    /// Whether appending the bytes after `position` turns the state there into this journal's. `end` is the journal's
    /// end.
    package func continues(_ position: StreamPosition, end: Int64) -> Bool {
        if position.id == id { return position.offset <= end }
        guard let past, position.id == past.id else { return false }
        return position.offset <= past.offset
    }
}
