// The parts of a journal that its log has not been given yet: what a host of JournalDriver keeps between collecting and
// appending.

public import Persistence

/// Parts in their order, while there is a log that wants them.
public struct PartsForDisk {
    private var parts: [Journal.Part] = []
    /// Whether there is a log that wants them.
    public private(set) var areWanted = false

    /// None, and none wanted.
    public init() {}

    /// Bytes that wait.
    public var bytes: Int { parts.reduce(0) { $0 + $1.bytes.count } }

    /// A log begins; it has what came before.
    public mutating func begin() {
        parts = []
        areWanted = true
    }

    /// The log has ended, and what waited for it is dropped.
    public mutating func end() {
        parts = []
        areWanted = false
    }

    /// Adds a part, if one is wanted and there is something in it.
    public mutating func append(_ part: Journal.Part) {
        if areWanted, part.bytes.count > 0 { parts.append(part) }
    }

    /// Takes the first; nil when none waits.
    public mutating func next() -> Journal.Part? { parts.isEmpty ? nil : parts.removeFirst() }
}
