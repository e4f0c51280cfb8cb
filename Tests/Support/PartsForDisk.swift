// Journal parts not yet handed to the log: the queue of a JournalDriver host between collecting and appending.

package import Persistence

/// Parts in order, kept only while a log wants them.
package struct PartsForDisk {
    private var parts: [Journal.Part] = []
    /// Whether a log wants parts.
    package private(set) var areWanted = false

    /// An empty queue without a log.
    package init() {}

    /// The number of bytes queued.
    package var bytes: Int { parts.reduce(0) { $0 + $1.bytes.count } }

    /// A log begins that already contains everything before this point.
    package mutating func begin() {
        parts = []
        areWanted = true
    }

    /// The log has ended; queued parts are dropped.
    package mutating func end() {
        parts = []
        areWanted = false
    }

    /// Queues a part if parts are wanted and it is not empty.
    package mutating func append(_ part: Journal.Part) {
        if areWanted, part.bytes.count > 0 { parts.append(part) }
    }

    /// Removes and returns the first part; nil if the queue is empty.
    package mutating func next() -> Journal.Part? { parts.isEmpty ? nil : parts.removeFirst() }
}
