// A node in a simulation run: the server's driver on a real engine, a real journal and a real log. Only its
// environment is simulated. State that survives a power loss is kept apart from state that does not.
//
// SimulatedNode+Environment implements the driver's environment, SimulatedNode+Links the node's connections,
// SimulatedLoops the execution of client commands, SimulatedStorage the disk.

import LimiterEngine
import Persistence
import System
import TestSupport

@testable import Replication

/// A simulated node.
final class SimulatedNode {
    struct Wait {
        /// The end of the client's writes; nil until they have been collected.
        var position: StreamPosition?
        let count: Int
        let isSynced: Bool
        let isLocal: Bool
    }

    /// The node's state at its promotion.
    struct Promotion {
        let place: StreamPosition
        let wasWhole: Bool
        /// Its link had been up, and its state was complete.
        let wasUp: Bool
    }

    unowned let simulation: Simulation
    let number: Int
    let address: PeerAddress

    // State that survives a crash.
    let files = SimulatedFileSystem()
    let configuredRole: NodeRole.Role
    /// The saved role, as in the role file.
    var savedRole: SavedRole?
    var settings = StorageSettings()
    var skew: Nanoseconds
    /// Count of power losses and of full syncs begun: after either, acknowledged changes in memory may be gone.
    var losses = 0
    /// Count of completed full syncs: after one, the earlier state on disk may be gone.
    var resyncs = 0
    /// Under `appendfsync always`, clients were told that changes up to here are on disk.
    var answered: StreamPosition?

    // State of one process run.
    var isUp = false
    var life = 0
    var steadyOffset = Nanoseconds.zero
    var engine = Engine(shards: 1)
    var journal: Journal
    var reader: StreamReader
    var storage: SimulatedStorage!
    var driver: NodeDriver!
    var sweeper: Sweeper
    private(set) var loops: SimulatedLoops!
    /// A driver event is being handled.
    var isInEvent = false
    /// The driver has started.
    var hasStarted = false
    /// The gates as last set by the driver.
    var gates = NodeGates()
    var waits: [UInt64: Wait] = [:]
    var runID = ""
    /// Some changes are not collected yet.
    var hasUncollected = false
    /// The state in memory is partial: a full sync has begun and is not complete.
    var hasPart = false
    /// The latest time in any batch applied to the state.
    var lastBatchTime = EngineTime(nanoseconds: 0)
    /// The link has been up since the last change of primary.
    var hasBeenUp = false
    /// Where a complete state last received its primary's time; nil after leading, changing the primary, or beginning
    /// a full sync.
    var clockPlace: StreamPosition?
    /// The same for the state on disk when the last full sync began.
    var filesClockPlace: StreamPosition?
    var promotion: Promotion?
    /// The last failover was forced and may lose writes.
    private(set) var isFailoverForced = false
    /// Where journaling began; nil once recorded.
    var uncountedOrigin: StreamPosition?

    // Links.
    var upstream: SimulatedConnection?
    var attempt = 0
    var clients: [LinkID: SimulatedReplicaClient] = [:]
    var isSending = false
    /// The number of the latest-sent piece received so far.
    var lastPiece = 0

    init(_ simulation: Simulation, number: Int, role: NodeRole.Role, skew: Nanoseconds) {
        self.simulation = simulation
        self.number = number
        self.skew = skew
        address = PeerAddress(host: "node", port: 7000 + number)
        configuredRole = role
        journal = Journal(engine: engine, offset: 0)
        sweeper = Sweeper(engine: engine)
        reader = StreamReader(engine)
    }

    var role: NodeRole { driver.role }
    var link: UpstreamLink { driver.link }
    var failover: Failover { driver.failover }
    var engineTime: EngineTime { driver.clock.now(steady) }
    /// Engine time minus simulation time.
    var clockOffset: Int64 { engineTime.offset(from: simulation.now).nanoseconds }
    var position: StreamPosition { driver.position }
    var isPrimary: Bool { isUp && role.leads }
    var isWhole: Bool { role.dataset == .whole && !role.neverSynced }
    var priority: Int { role.shownPriority(configured: 100) }
    /// Write commands are admitted.
    var admitsWrites: Bool {
        isPrimary && !gates.isReplica && !gates.isReceiving && !gates.holdsWrites && !gates.lacksGoodReplicas
            && !storage.refusesWrites
    }

    // MARK: Life

    func boot() {
        precondition(!isUp)
        life += 1
        isUp = true
        files.failing = []
        steadyOffset = simulation.random.between(0, 1_000_000_000_000)
        engine = Engine(shards: 1, seed: simulation.hashSeed)
        reader = StreamReader(engine)
        runID = simulation.freshID().text
        let wanted = SavedRole.role(savedRole, configured: configuredRole)
        let report = recover(wanted)
        forget()
        lastBatchTime = report.lastTime
        journal = Journal(engine: engine, offset: report.end)
        sweeper = Sweeper(engine: engine)
        driver = NodeDriver(
            NodeDriver.Start(
                role: wanted, saved: savedRole, report: report, time: max(EngineTime(wall), report.lastTime),
                steady: steady),
            engine: engine, journal: journal, settings: driverSettings(), environment: self)
        storage = SimulatedStorage(self, files: files, report: report, engine: engine, journal: journal)
        if role.isReplica { storage.set(isPrimary: false) }
        if settings.logs { storage.begin(at: report.end) }
        if savedRole != nil {
            storage.switchStreamOn()
            storage.beginBacklog()
        }
        tell("starts as \(wanted) with \(report.manifest.history.prefix(6)) \(report.end), logs \(settings.logs)")
        if report.foundState { simulation.checkRecovery(of: self, report) }
        hasStarted = true
        event { driver.start() }
        storage.switchLogging(settings.logs)
    }

    /// Discards everything that does not survive a crash.
    private func forget() {
        loops = SimulatedLoops(self)
        isInEvent = false
        hasStarted = false
        gates = NodeGates()
        waits = [:]
        hasUncollected = false
        hasPart = false
        hasBeenUp = false
        clockPlace = nil
        filesClockPlace = nil
        promotion = nil
        uncountedOrigin = nil
        upstream = nil
        clients = [:]
        isSending = false
    }

    private func recover(_ wanted: NodeRole.Role) -> RecoveryReport {
        // A replica's own clock does not determine what has expired by its primary's.
        let horizon = wanted == .primary ? EngineTime(wall) : EngineTime(nanoseconds: 0)
        let recovery = Recovery(files: files, path: SimulatedStorage.path, engine: engine, horizon: horizon)
        do throws(RecoveryError) {
            let name = wanted == .primary ? runID : ReplicationID.unowned.text
            return try recovery.run(history: name, cutsTornTail: true)
        } catch {
            fail("cannot start: \(error)")
            preconditionFailure("seed \(simulation.seed)")
        }
    }

    private func driverSettings() -> NodeDriver.Settings {
        var upstream = UpstreamLink.Settings(listeningPort: address.port)
        upstream.timeout = 700_000_000
        upstream.acknowledgeInterval = 60_000_000
        upstream.patience = 300_000_000
        upstream.firstPause = 10_000_000
        upstream.longestPause = 100_000_000
        upstream.password = simulation.random.once(in: 2) ? "secret" : nil
        var settings = NodeDriver.Settings(upstream: upstream)
        settings.downstream = simulation.linkSettings
        settings.keepAliveInterval = 150_000_000
        settings.minReplicas = simulation.minReplicas
        settings.maxLag = 450_000_000
        settings.roleTryInterval = 100_000_000
        return settings
    }

    func fail(_ text: String) { simulation.fail("node \(number): \(text)") }

    /// Logs a line of the run, if the run is explained.
    func tell(_ text: @autoclosure () -> String) {
        guard simulation.explains else { return }
        let place = driver == nil ? "no place" : "\(role.identity.id.text.prefix(6)) \(journal.offset)"
        print("\((simulation.now - .boot).millisecondsRoundedDown) ms, node \(number) at \(place): \(text())")
    }

    /// The process ends: by a clean shutdown, a kill, or a power loss.
    func crash(clean: Bool) {
        guard isUp else { return }
        tell("ends, \(clean ? "cleanly" : "in a crash")")
        if clean { storage.perform { storage.stop(savesSnapshot: simulation.random.once(in: 2)) } }
        isUp = false
        losses += 1
        if clean || simulation.random.once(in: 4) {
            // A kill keeps what is in the kernel's page cache.
            simulation.coverage.kills += 1
        } else {
            let metadata = DiskImage.Metadata.allCases[simulation.random.below(2)]
            files.image = files.image.afterPowerLoss(metadata, &files.random)
        }
        for connection in simulation.connections where connection.client === self || connection.server === self {
            let end: SimulatedConnection.End = connection.client === self ? .client : .server
            simulation.close(connection, by: end, isNoticed: false)
        }
    }

    func tick() {
        if !gates.isReceiving { _ = sweeper.step(buckets: 16, now: engineTime) }
        event { driver.tick() }
        if simulation.random.once(in: 30), files.failing.isEmpty { files.image.writeBack() }
        // The journal thread runs on its own schedule; sometimes it makes no turn between two ticks.
        if !simulation.random.once(in: 5) { storage.turn() }
    }

    // MARK: Events

    /// Handles a driver event, then sends the output it produced.
    func event(_ body: () throws -> Void) rethrows {
        precondition(!isInEvent, "nested event")
        isInEvent = true
        defer {
            isInEvent = false
            checkGates()
            sendAll()
        }
        try body()
    }

    /// Checks invariants of the gates between events.
    private func checkGates() {
        if hasPart, !gates.isReceiving { fail("serves clients a partial state") }
        if role.isReplica, !gates.isReplica { fail("accepts writes as a replica") }
        if role.leads, gates.isReplica || gates.isReceiving || gates.isRestoring { fail("leads but does not serve") }
        if gates.holdsWrites != (failover.state != .none) { fail("holds writes without a failover") }
    }

    func follow(_ other: SimulatedNode) { event { driver.follow(other.address, asker: 0) } }

    func promote() { event { driver.lead() } }

    func startFailover(_ request: Failover.Request) {
        if failover.state == .none { isFailoverForced = request.force }
        try? event { try driver.startFailover(request, asker: 0) }
    }

    func abortFailover() {
        try? event { try driver.abortFailover() }
    }

    /// The state on disk has been restored into the engine.
    func restored(_ number: Int, _ report: RecoveryReport) {
        guard role.dataset == .restoring, number == driver.restores else { return }
        lastBatchTime = report.lastTime
        hasPart = false
        tell("restored \(report.manifest.history.prefix(6)) \(report.end)")
        simulation.coverage.restores += 1
        event { driver.restored(number, report) }
        if report.foundState { simulation.checkRecovery(of: self, report) }
        simulation.checkRestoredClock(of: self, report)
    }

    func wait(count: Int, isSynced: Bool, isLocal: Bool) {
        guard admitsWrites else { return }
        simulation.nextTicket += 1
        let ticket = simulation.nextTicket
        waits[ticket] = Wait(
            position: hasUncollected && storage.isJournaling ? nil : position, count: count, isSynced: isSynced,
            isLocal: isLocal)
        event {
            driver.wait(
                ticket,
                NodeDriver.WaitDemand(
                    replicas: count, timeout: 200_000_000, onDisk: isSynced, onOwnDisk: isLocal))
        }
    }

    // MARK: Journal

    /// Encodes every change so far.
    func collectJournal() {
        journal.collect(time: engineTime)
        hasCollectedAll = journal.pendingBytes > 0
        hasUncollected = false
        for (ticket, wait) in waits where wait.position == nil { waits[ticket]!.position = position }
    }

    /// The bytes now drained from the journal end at the engine's current state.
    private var hasCollectedAll = false

    /// Records bytes on their way to disk and replicas.
    func taken(_ bytes: UnsafeRawBufferPointer) {
        // Between REPLICAOF and the end of the collection, the node is a replica whose own changes are still being
        // collected.
        guard !role.isReplica || storage.isJournaling else { return noteTimes(bytes) }
        simulation.truth.added(bytes, to: role.identity.id)
        if hasCollectedAll, simulation.random.once(in: 2) { simulation.checkJournal(of: self) }
        hasCollectedAll = false
    }

    private func noteTimes(_ bytes: UnsafeRawBufferPointer) {
        var place = 0
        while place < bytes.count {
            let batch = JournalBatch(UnsafeRawBufferPointer(rebasing: bytes[place...]))!
            lastBatchTime = max(lastBatchTime, batch.time)
            place += batch.count
        }
    }

    /// New bytes are available to send.
    func streamed() { if !isInEvent { sendAll() } }

    /// Journaling begins here; changes made before may be missing from it.
    func journalingBegan() {
        guard isUp, !role.isReplica else { return }
        noteBeginning()
    }

    /// Records that the node appends to its own history from here on.
    func noteBeginning() {
        simulation.truth.began(
            role.identity, at: journal.offset, reader.state(), clock: clockOffset, time: engineTime, by: number)
    }
}
