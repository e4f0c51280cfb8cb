// What the journal's driver asks of the process that it runs in: facts, engine work, and carrying out what it decided.
//
// The server's journal thread is one host, simulated nodes are others.

public import LimiterEngine

/// The process around a `JournalDriver`. Everything is called from inside `JournalDriver.handle`, on its thread.
public protocol JournalHost: AnyObject {
    /// The settings as they are at this moment.
    var journalSettings: JournalDriver.Settings { get }
    /// Engine time.
    var engineTime: EngineTime { get }

    // MARK: What is wanted

    /// Whether a log is wanted.
    var isLogging: Bool { get }
    /// Whether changes are still kept for a log that is not wanted any more.
    var hasLogToEnd: Bool { get }
    /// Whether there are changes that no collection has.
    var hasUncollectedChanges: Bool { get }
    /// Whether a reply waits for a collection that is not durable yet.
    var hasOpenTicket: Bool { get }
    /// Replies that wait for the next collection.
    var waitingReplies: Int { get }
    /// Whether the state on disk is still to be read back under this number.
    func isWanted(restore number: Int) -> Bool

    // MARK: The journal

    /// Begins a collection: every change made so far is encoded, and handed to the readers of the journal.
    func collect() -> JournalDriver.Collection
    /// As `collect`, but begins no collection and hands nothing on: for a snapshot that is about to be begun.
    func encodeChanges()
    /// The next part of the journal for the disk.
    func nextForDisk() -> Journal.Part?
    /// Takes a part's buffer back after it has been written.
    func recycle(_ buffer: ByteBuffer)
    /// Parts for the disk begin at the end of the journal from here on. Returns that offset.
    func beginDisk() -> Int64
    /// Keeps nothing more for the disk.
    func endDisk()
    /// Bytes kept for the disk, including those that have not been collected.
    var bytesForDisk: Int { get }
    /// Whether a command that never ends may hold locks, which are passed over from here on: the process is ending.
    var isAbandoningStuckLocks: Bool { get }

    // MARK: Names

    /// The history of files that consist of a snapshot alone, without a log: no offset identifies their state.
    ///
    /// - Parameter current: The history of the journal.
    func historyWithoutLog(current: String, snapshot number: Int) -> String

    // MARK: Decisions

    /// Carries out an action. Must not call the driver: the outcome is delivered later, as an event.
    func perform(_ action: JournalDriver.Action)
}
