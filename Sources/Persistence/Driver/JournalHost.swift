// What the journal driver requires of its process: facts, engine work, and performing the driver's actions.
//
// The server's journal thread is one host, simulated nodes are others.

package import LimiterEngine

/// The process around a `JournalDriver`. Every member is called from inside `JournalDriver.handle`, on its thread.
package protocol JournalHost: AnyObject {
    /// The current settings.
    var journalSettings: JournalDriver.Settings { get }
    /// Engine time.
    var engineTime: EngineTime { get }

    // MARK: Demand

    /// Whether a log is wanted.
    var isLogging: Bool { get }
    /// Whether changes are still kept for a log that is no longer wanted.
    var hasLogToEnd: Bool { get }
    /// Whether there are changes that have not been collected.
    var hasUncollectedChanges: Bool { get }
    /// Whether a reply waits for a collection that is not durable yet.
    var hasOpenTicket: Bool { get }
    /// Replies that wait for the next collection.
    var waitingReplies: Int { get }
    /// Whether the restore with this number is still wanted.
    func isWanted(restore number: Int) -> Bool

    // MARK: The journal

    /// Begins a collection: encodes every change made so far and hands it to the journal's readers.
    func collect() -> JournalDriver.Collection
    /// As `collect`, but without beginning a collection or handing anything on: for a snapshot about to be started.
    func encodeChanges()
    /// The next part of the journal for the disk.
    func nextForDisk() -> Journal.Part?
    /// Takes back a part's buffer after it has been written.
    func recycle(_ buffer: ByteBuffer)
    /// Starts the disk's parts at the current end of the journal. Returns that offset.
    func beginDisk() -> Int64
    /// Stops buffering for the disk.
    func endDisk()
    /// Bytes buffered for the disk, including uncollected changes.
    var bytesForDisk: Int { get }
    /// Whether a command that never ends may hold locks, which are skipped from here on: the process is ending.
    var isAbandoningStuckLocks: Bool { get }

    // MARK: Names

    /// The history of files that consist of a snapshot only, without a log: no offset identifies their state.
    ///
    /// - Parameter current: The history of the journal.
    func historyWithoutLog(current: String, snapshot number: Int) -> String

    // MARK: Decisions

    /// Performs an action. Must not call the driver: the outcome is delivered later, as an event.
    func perform(_ action: JournalDriver.Action)
}
