// What loops, commands and INFO see of the log and the snapshots; the work is the journal thread's.
//
// A loop that changed something says so (`noteChanges`), or, where replies wait for the disk, takes a ticket: the
// number of the next collection to begin, which is certain to hold the change. When a collection is on disk all
// tickets up to its number are good. One sync so serves every connection that waits.
//
// Owns: tickets, health, the status. Refuses to touch a file.

import LimiterEngine
import Persistence
import Synchronization
import System

/// What the other threads see and ask of the log and its snapshots. Everything may be called by any thread.
final class Durability: Sendable {
    let journal: Journal
    let stream: JournalStream
    let doorbell = Doorbell()

    private let begun = Atomic<Int>(0)
    private let requested = Atomic<Int>(0)
    private let durable = Atomic<Int>(0)
    /// Connections whose replies wait for the next collection, and how many the journal thread reckons with.
    private let waiting = Atomic<Int>(0)
    private let expected = Atomic<Int>(1)
    private let hasChanges = Atomic<Bool>(false)
    private let logging = Atomic<Bool>(false)
    private let journaling = Atomic<Bool>(false)
    private let demand = Locked(JournalingDemand(), rank: .journalingDemand)
    private let storageHealth = Atomic<Int>(StorageHealth.fine.rawValue)
    private let lockedStatus = Locked(StorageStatus())
    private let requests = Locked<[Request]>([], rank: .mailbox)
    /// The restore that is wanted, by number; 0 for none.
    private let wantedRestore = Atomic<Int>(0)

    /// What the journal thread is asked to do.
    enum Request: Sendable {
        /// Take a snapshot; `waiter` is answered when it is done.
        case snapshot(SnapshotKind, waiter: Connection?)
        /// The journal goes on elsewhere, with a state that is not whole: nothing is written until `attach`.
        case detach(DiskAnswer)
        /// The state is whole, and in this history: the files are begun anew. It may be another than the one they have.
        case attach(history: String, isNewState: Bool)
        /// The journal is called by another name from here on; what is on disk is its beginning, if it is called as
        /// the first says; nil for whatever it is called.
        case rename(from: String?, to: String, DiskAnswer)
        /// Empty the engine and read the state on disk back into it, in place of a state that is not whole. States
        /// expired by `horizon` are left out. When that is done the replication thread is told.
        case restore(number: Int, horizon: EngineTime)
        /// No restore any more: when this is answered nothing goes into the engine.
        case stopRestoring(DiskAnswer)
        /// The journal continues where the restored files end: so does the log.
        case resume(DiskAnswer)
        /// Write everything, with a snapshot if asked, and end.
        case stop(savesSnapshot: Bool)
    }

    init(engine: Engine) {
        journal = Journal(engine: engine, offset: 0)
        stream = JournalStream(journal: journal)
    }

    // MARK: Changes

    /// Whether there is to be a log.
    var isLogging: Bool { logging.load(ordering: .relaxed) }

    /// Says that keys have changed: they are collected soon. One load when that is known already.
    @inline(__always)
    func noteChanges() {
        guard isJournaling, !hasChanges.load(ordering: .sequentiallyConsistent) else { return }
        if !hasChanges.exchange(true, ordering: .sequentiallyConsistent) { doorbell.ring() }
    }

    /// The collection that will hold every change made before this call, and is now asked for.
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

    /// What decides whether changes are kept.
    private struct JournalingDemand {
        var log = false
        var stream = false
        var isPrimary = true
        /// Changes were made that no journal has, since the history began.
        var hasUncountedChanges = false
    }

    /// Says whether there is to be a log; the files follow in their own time. Switched on, every later change counts
    /// when this returns. Switched off, changes are kept until the log has ended: whoever switches it on again before
    /// that has never been without, and no log has a gap.
    func switchLogging(_ enabled: Bool, engine: Engine) {
        demand.withLock { demand in
            if enabled {
                demand.log = true
                apply(&demand, engine: engine)
            }
            logging.store(enabled, ordering: .sequentiallyConsistent)
        }
        doorbell.ring()
    }

    /// Whether changes are kept for a log that nobody wants any more.
    var hasLogToEnd: Bool { !isLogging && demand.withLock { $0.log } }

    /// The log has ended: nothing more is kept for it, unless somebody wants one again.
    func logEnded(engine: Engine) {
        demand.withLock { demand in
            guard !isLogging else { return }
            demand.log = false
            apply(&demand, engine: engine)
        }
    }

    /// Has the engine keep changes for replicas. Stays so.
    func switchStreamOn(engine: Engine) {
        demand.withLock { demand in
            demand.stream = true
            apply(&demand, engine: engine)
        }
    }

    /// On a replica changes come out of the stream, and are not kept once more.
    func set(isPrimary: Bool, engine: Engine) {
        demand.withLock { demand in
            demand.isPrimary = isPrimary
            apply(&demand, engine: engine)
        }
    }

    /// Whether changes were made that no journal has: no offset stands for a state then, and the history must end
    /// before somebody else learns of it.
    var hasUncountedChanges: Bool { demand.withLock { $0.hasUncountedChanges } }

    /// Another history begins, or another state.
    func beginCounting() { demand.withLock { $0.hasUncountedChanges = false } }

    private func apply(_ demand: inout JournalingDemand, engine: Engine) {
        let keeps = demand.isPrimary && (demand.log || demand.stream)
        if demand.isPrimary, !keeps { demand.hasUncountedChanges = true }
        guard keeps != isJournaling else { return }
        if keeps { engine.setJournaling(true) }
        journaling.store(keeps, ordering: .sequentiallyConsistent)
        if !keeps { engine.setJournaling(false) }
    }

    /// Whether changes are kept for log or replicas. Read once a batch.
    var isJournaling: Bool { journaling.load(ordering: .relaxed) }

    /// Has the journal thread look: there are bytes that nobody collected here.
    func noteStream() {
        hasChanges.store(true, ordering: .sequentiallyConsistent)
        doorbell.ring()
    }

    // MARK: Health

    var health: StorageHealth { StorageHealth(rawValue: storageHealth.load(ordering: .sequentiallyConsistent))! }

    /// Whether writes are refused because the disk failed.
    var refusesWrites: Bool { health == .refusing }

    /// What a refused write is told.
    var refusalText: String {
        let status = status
        return isLogging
            ? "MISCONF Errors writing to the AOF file: \(status.error)"
            : "MISCONF Errors writing a snapshot: \(status.snapshotError). Writes are refused: fail-mode is closed."
    }

    var status: StorageStatus { lockedStatus.withLock { $0 } }

    // MARK: Requests

    func ask(_ request: Request) {
        if case .snapshot(let kind, _) = request { update { $0.requestedSnapshot = kind } }
        requests.withLock { $0.append(request) }
        doorbell.ring()
    }

    /// From here on the restore of this number is wanted, and no other; 0 for none. One under way that is not wanted
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

    /// Whether a ticket is out that is not durable.
    var hasOpenTicket: Bool { requested.load(ordering: .sequentiallyConsistent) > durableTicket }

    var hasUncollectedChanges: Bool { hasChanges.load(ordering: .sequentiallyConsistent) }

    var waitingReplies: Int { waiting.load(ordering: .relaxed) }
    var groupTarget: Int { expected.load(ordering: .relaxed) }

    /// How many replies will probably wait together next time.
    func expectGroup(of count: Int) { expected.store(max(1, count), ordering: .relaxed) }

    /// A collection begins; returns its number.
    func beginCollection() -> Int {
        waiting.store(0, ordering: .relaxed)
        hasChanges.store(false, ordering: .sequentiallyConsistent)
        return begun.add(1, ordering: .sequentiallyConsistent).newValue
    }

    /// Every collection up to this one is on disk.
    func publish(durable ticket: Int) { durable.store(ticket, ordering: .sequentiallyConsistent) }

    func set(health: StorageHealth) { storageHealth.store(health.rawValue, ordering: .sequentiallyConsistent) }
}

/// Lets another thread wait for something the journal thread does.
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
