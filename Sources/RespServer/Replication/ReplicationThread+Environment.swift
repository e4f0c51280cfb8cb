// The server as the driver's environment: gates and turns of the loops, the journal, the disk, replies to clients.

import LimiterEngine
import Persistence
import Replication
import Synchronization
import System

extension ReplicationThread: NodeEnvironment {
    // MARK: Time and names

    var steady: SteadyInstant { .now() }
    var wall: WallInstant { .now() }
    var isLoading: Bool { server.isLoading }

    func freshID() -> ReplicationID {
        var generator = SystemRandomNumberGenerator()
        return ReplicationID(using: &generator)
    }

    // MARK: Commands

    /// Applies only what has changed: a loop that handles REPLICAOF gates writes itself, before the driver knows, and
    /// nothing else may open that gate.
    func show(_ gates: NodeGates) {
        let before = shownGates
        shownGates = gates
        if gates.lacksState != before.lacksState { replication.set(lacksState: gates.lacksState) }
        // Not the driver's answer: the settings in force may be newer than the driver's.
        showReplicas()
        if gates.isReplica != before.isReplica {
            replication.set(isReplica: gates.isReplica)
            // A sweep checks the memory limit with a stripe held, and the collection that follows takes every stripe:
            // it contains all evictions so far, and nothing is evicted afterwards.
            server.roleChanged()
        }
        if gates.isReceiving != before.isReceiving { replication.set(isReceiving: gates.isReceiving) }
        if gates.isRestoring != before.isRestoring { replication.set(isRestoring: gates.isRestoring) }
        guard gates.holdsWrites != before.holdsWrites else { return }
        server.pause.holdsWrites.store(gates.holdsWrites, ordering: .sequentiallyConsistent)
        guard !gates.holdsWrites else { return }
        for loop in server.loops { loop.mailbox.post(.resume) }
    }

    /// Decides again whether writes are refused for lack of replicas.
    func showReplicas() {
        replication.show(acknowledged: driver.acknowledgements.heard, leads: driver.role.leads)
    }

    func show(_ clock: StreamClock) { server.clock.show(clock) }

    func show(following address: PeerAddress?) {
        let text = address.map { "\($0.host) \($0.port)" } ?? ""
        server.currentSettings.change("replicaof") { $0.replicaof = text }
    }

    func waitForWriters() {
        server.waitForTurnsInProgress()
        // A rules file is applied outside of any turn: by now it has been applied, or will see that it must not be.
        server.durability.journal.excludingCollections {}
    }

    /// Waits for readers in progress, so that none mistakes a key of the next state for one of the last, or for
    /// expired.
    func waitForReaders() {
        server.waitForTurnsInProgress()
        server.sweepTurn.acquire()
        server.sweepTurn.release()
    }

    /// Clients connected to a primary, and a connection pool that keeps them would get READONLY forever instead of
    /// looking up the current primary. Each is closed after its outstanding replies.
    func closeClients(except asker: Int64) {
        server.log.notice("closing client connections: this node is no longer the primary")
        // Clients that connected later know this node's role.
        let last = lastClientOfPrimary ?? server.lastClientID.load(ordering: .relaxed)
        for loop in server.loops { loop.mailbox.post(.closeClients(upTo: last, except: asker)) }
    }

    // MARK: Journal

    func collect() {
        if server.durability.isJournaling { server.durability.journal.collect(time: server.clock.now()) }
        drain()
    }

    func drain() {
        if stream.drain() { server.durability.noteStream() }
    }

    func beginBacklog() { stream.beginBacklog(capacity: settings.replBacklogSizeBytes) }
    func restartBacklog() { stream.restartBacklog() }
    func restartJournal(at offset: Int64, time: EngineTime) { stream.restart(at: offset, time: time) }
    func withBacklog<Result>(_ body: (Backlog?) -> Result) -> Result { stream.withBacklog(body) }
    func switchStreamOn() { server.durability.switchStreamOn(engine: server.engine) }
    func setJournaling(isPrimary: Bool) { server.durability.set(isPrimary: isPrimary, engine: server.engine) }
    var hasUncountedChanges: Bool { server.durability.hasUncountedChanges }
    func beginCounting() { server.durability.beginCounting() }

    // MARK: Disk

    var syncedOffset: Int64 { server.durability.status.recoverableOffset }
    var filesAreCurrent: Bool { server.durability.status.filesAreCurrent }
    func detach() { awaitDisk { .detach($0) } }

    func attach(history: String, isNewState: Bool) {
        server.durability.ask(.attach(history: history, isNewState: isNewState))
    }

    func rename(from old: String?, to new: String) { awaitDisk { .rename(from: old, to: new, $0) } }

    func restore(number: Int, horizon: EngineTime) {
        server.durability.want(restore: number)
        server.durability.ask(.restore(number: number, horizon: horizon))
    }

    func stopRestoring() {
        server.durability.want(restore: 0)
        awaitDisk { .stopRestoring($0) }
    }

    func resumeLog() { awaitDisk { .resume($0) } }
    func save(_ role: SavedRole) throws(StorageError) { try RoleFile.save(role, directory: settings.dir) }

    /// Sends a request to the journal thread, and waits until it is done.
    private func awaitDisk(_ request: (DiskAnswer) -> Durability.Request) {
        assertHoldsNoLock()
        let answer = DiskAnswer()
        server.durability.ask(request(answer))
        answer.wait()
    }

    // MARK: Answers

    func answer(_ answer: Acknowledgements.Answer) {
        guard let (connection, demand) = waiting.removeValue(forKey: answer.ticket) else { return }
        let count = ":\(answer.count)\r\n"
        self.answer(connection, demand.onDisk ? "*2\r\n:\(answer.isLocal ? 1 : 0)\r\n" + count : count)
    }

    func unblock(_ ticket: UInt64) {
        answer(
            waiting.removeValue(forKey: ticket)?.connection,
            "-UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)\r\n")
    }
}
