// The interface of the log and the snapshots for loops, commands and INFO; the journal thread does the work.
//
// A loop reports that it changed something (`noteChanges`), or, where replies wait for the disk, takes a ticket: the
// number of the next collection to begin, which is certain to contain the change. Once a collection is on disk, all
// tickets up to its number are durable. So one sync serves every waiting connection.
//
// Owns: tickets, health, the status. Refuses to touch a file.

import LimiterEngine
import Persistence
import Synchronization
import System

/// What other threads read and request of the log and its snapshots. All members are safe to call from any thread.
final class Durability: Sendable {
    let journal: Journal
    let stream: JournalStream
    let doorbell = Doorbell()
    /// Durations of the log's syncs. Only the journal thread records.
    let syncDurations = LatencyHistograms(commandCount: 1)

    private let begun = Atomic<Int>(0)
    private let requested = Atomic<Int>(0)
    private let durable = Atomic<Int>(0)
    /// Connections whose replies wait for the next collection, and the number the journal thread expects.
    private let waiting = Atomic<Int>(0)
    private let expected = Atomic<Int>(1)
    private let hasChanges = Atomic<Bool>(false)
    private let logging = Atomic<Bool>(false)
    private let journaling = Atomic<Bool>(false)
    private let demand = Locked(JournalingDemand(), rank: .journalingDemand)
    private let isFailing = Atomic<Bool>(false)
    private let failsClosed = Atomic<Bool>(true)
    private let lockedStatus = Locked(StorageStatus())
    private let requests = Locked<[Request]>([], rank: .mailbox)
    /// The restore that is wanted, by number; 0 for none.
    private let wantedRestore = Atomic<Int>(0)

    /// A request to the journal thread.
    enum Request: Sendable {
        /// Take a snapshot; `waiter` gets its reply when it is done.
        case snapshot(SnapshotKind, waiter: Connection?)
        /// The journal continues at another offset, with an incomplete state: nothing is written until `attach`.
        case detach(DiskAnswer)
        /// The state is complete, and belongs to this history, which may differ from that of the files: the files are
        /// started over.
        case attach(history: String, isNewState: Bool)
        /// Renames the journal's history. The files on disk become its beginning if their history is `from`, or
        /// regardless of it if `from` is nil.
        case rename(from: String?, to: String, DiskAnswer)
        /// Empty the engine and read the state on disk back into it, replacing an incomplete state. States expired by
        /// `horizon` are left out. The replication thread is notified when that is done.
        case restore(number: Int, horizon: EngineTime)
        /// Cancel any restore: once this is answered, nothing more is written to the engine.
        case stopRestoring(DiskAnswer)
        /// The journal continues where the restored files end, and so does the log.
        case resume(DiskAnswer)
        /// Write everything, with a snapshot if requested, and end.
        case stop(savesSnapshot: Bool)
    }

    init(engine: Engine) {
        journal = Journal(engine: engine, offset: 0)
        stream = JournalStream(journal: journal)
    }

    // MARK: Changes

    /// Whether a log is wanted.
    var isLogging: Bool { logging.load(ordering: .relaxed) }

    /// Reports that keys have changed, so that they are collected soon. One load if that is already known.
    @inline(__always)
    func noteChanges() {
        guard isJournaling, !hasChanges.load(ordering: .sequentiallyConsistent) else { return }
        if !hasChanges.exchange(true, ordering: .sequentiallyConsistent) { doorbell.ring() }
    }

    /// Requests a collection and returns its number: that collection contains every change made before this call.
    func takeTicket() -> Int {
        let ticket = begun.load(ordering: .sequentiallyConsistent) + 1
        let isFirst = requested.max(ticket, ordering: .sequentiallyConsistent).oldValue < ticket
        let count = waiting.add(1, ordering: .relaxed).newValue
        if isFirst || count == expected.load(ordering: .relaxed) { doorbell.ring() }
        return ticket
    }

    /// The last collection on disk.
    var durableTicket: Int { durable.load(ordering: .sequentiallyConsistent) }

    // MARK: Switching

    /// Determines whether changes are journaled.
    private struct JournalingDemand {
        var log = false
        var stream = false
        var isPrimary = true
        /// Since the history began, changes were made that are in no journal.
        var hasUncountedChanges = false
    }

    /// Sets whether a log is wanted; the files follow later. When it is switched on, every change after this call
    /// returns is logged. When it is switched off, changes are still journaled until the log has ended: if it is
    /// switched on again before that, the log was never interrupted. No log has a gap.
    ///
    /// - Parameter isWanted: Evaluated with other callers excluded, so the last of them has read the newest value.
    func switchLogging(_ isWanted: @autoclosure () -> Bool, engine: Engine) {
        demand.withLock { demand in
            let enabled = isWanted()
            if enabled {
                demand.log = true
                apply(&demand, engine: engine)
            }
            logging.store(enabled, ordering: .sequentiallyConsistent)
        }
        doorbell.ring()
    }

    /// Whether changes are still journaled for a log that is no longer wanted.
    var hasLogToEnd: Bool { demand.withLock { !isLogging && $0.log } }

    /// The log has ended: changes are no longer journaled for it, unless a log is wanted again.
    func logEnded(engine: Engine) {
        demand.withLock { demand in
            guard !isLogging else { return }
            demand.log = false
            apply(&demand, engine: engine)
        }
    }

    /// Makes the engine journal changes for replicas, permanently.
    func switchStreamOn(engine: Engine) {
        demand.withLock { demand in
            demand.stream = true
            apply(&demand, engine: engine)
        }
    }

    /// On a replica changes come from the stream, and are not journaled again.
    func set(isPrimary: Bool, engine: Engine) {
        demand.withLock { demand in
            demand.isPrimary = isPrimary
            apply(&demand, engine: engine)
        }
    }

    /// Whether changes were made that are in no journal: no offset identifies the state then, and the history must end
    /// before another node learns of it.
    var hasUncountedChanges: Bool { demand.withLock { $0.hasUncountedChanges } }

    /// Clears `hasUncountedChanges`: another history or state begins.
    func beginCounting() { demand.withLock { $0.hasUncountedChanges = false } }

    private func apply(_ demand: inout JournalingDemand, engine: Engine) {
        let keeps = demand.isPrimary && (demand.log || demand.stream)
        if demand.isPrimary, !keeps { demand.hasUncountedChanges = true }
        guard keeps != isJournaling else { return }
        if keeps { engine.setJournaling(true) }
        journaling.store(keeps, ordering: .sequentiallyConsistent)
        if !keeps { engine.setJournaling(false) }
    }

    /// Whether changes are journaled for the log or for replicas. Read once per batch.
    var isJournaling: Bool { journaling.load(ordering: .relaxed) }

    /// Wakes the journal thread: there are bytes for the disk that it did not collect itself.
    func noteStream() {
        hasChanges.store(true, ordering: .sequentiallyConsistent)
        doorbell.ring()
    }

    // MARK: Health

    /// The journal thread knows whether the disk fails, and CONFIG SET what happens then: neither waits for the other.
    var health: StorageHealth {
        guard isFailing.load(ordering: .sequentiallyConsistent) else { return .fine }
        return failsClosed.load(ordering: .sequentiallyConsistent) ? .refusing : .memoryOnly
    }

    /// Whether writes are refused because the disk failed.
    var refusesWrites: Bool { health == .refusing }

    /// Sets whether writes are refused while the disk fails.
    func set(failsClosed closed: Bool) { failsClosed.store(closed, ordering: .sequentiallyConsistent) }

    /// The error reply to a refused write.
    var refusalText: String {
        let status = status
        return isLogging
            ? "MISCONF Errors writing to the AOF file: \(status.error)"
            : "MISCONF Errors writing a snapshot: \(status.snapshotError). Writes are refused: fail-mode is closed."
    }

    var status: StorageStatus {
        var status = lockedStatus.withLock { $0 }
        guard isLogging != status.isLogging else { return status }
        // The journal thread has yet to see the last change of `appendonly`. It will begin a log with a snapshot.
        status.isLogging = isLogging
        if isLogging, status.requestedSnapshot == nil { status.requestedSnapshot = .rewrite }
        return status
    }

    // MARK: Requests

    func ask(_ request: Request) {
        if case .snapshot(let kind, _) = request { update { $0.requestedSnapshot = kind } }
        requests.withLock { $0.append(request) }
        doorbell.ring()
    }

    /// Sets the only restore that is wanted from now on; 0 for none. A restore in progress that is no longer wanted
    /// ends within a batch.
    func want(restore number: Int) { wantedRestore.store(number, ordering: .sequentiallyConsistent) }

    func isWanted(restore number: Int) -> Bool { wantedRestore.load(ordering: .relaxed) == number }

    // MARK: For the journal thread

    func drainRequests() -> [Request] {
        requests.withLock { list in
            let taken = list
            list.removeAll()
            return taken
        }
    }

    func update(_ change: (inout StorageStatus) -> Void) { lockedStatus.withLock { change(&$0) } }

    /// Whether a ticket was issued that is not yet durable.
    var hasOpenTicket: Bool { requested.load(ordering: .sequentiallyConsistent) > durableTicket }

    var hasUncollectedChanges: Bool { hasChanges.load(ordering: .sequentiallyConsistent) }

    var waitingReplies: Int { waiting.load(ordering: .relaxed) }

    /// Sets how many replies will probably wait together next time.
    func expectGroup(of count: Int) { expected.store(max(1, count), ordering: .relaxed) }

    /// Begins a collection; returns its number.
    func beginCollection() -> Int {
        waiting.store(0, ordering: .relaxed)
        hasChanges.store(false, ordering: .sequentiallyConsistent)
        return begun.add(1, ordering: .sequentiallyConsistent).newValue
    }

    /// Marks every collection up to this one as on disk.
    func publish(durable ticket: Int) { durable.store(ticket, ordering: .sequentiallyConsistent) }

    func set(isFailing: Bool) { self.isFailing.store(isFailing, ordering: .sequentiallyConsistent) }
}

/// Lets another thread wait for an action of the journal thread.
final class DiskAnswer: Sendable {
    private let isDone = Locked(false)
    private let doorbell = Doorbell()

    func done() {
        isDone.withLock { $0 = true }
        doorbell.ring()
    }

    func wait() {
        while true {
            let seen = doorbell.count
            if isDone.withLock({ $0 }) { return }
            doorbell.wait(since: seen, atMost: .seconds(1))
        }
    }
}
