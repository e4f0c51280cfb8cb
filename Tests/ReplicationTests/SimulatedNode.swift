// A node of a simulated life: the driver that the server runs, on a real engine, a real journal and a real log. What is
// simulated is the world around it. What survives a loss of power is apart from what does not.
//
// SimulatedNode+Environment has what the driver asks for, SimulatedNode+Links the node's connections, SimulatedLoops
// what runs its clients' commands, SimulatedStorage its disk.

import LimiterEngine
import Persistence
import System
import TestSupport

@testable import Replication

/// One node.
final class SimulatedNode {
    struct Wait {
        /// Everything that the client had written; nil until that has been collected.
        var position: StreamPosition?
        let count: Int
        let isSynced: Bool
        let isLocal: Bool
    }

    /// What a node was when it was promoted.
    struct Promotion {
        let place: StreamPosition
        let wasWhole: Bool
        /// Its link had been up, with a whole state.
        let wasUp: Bool
    }

    unowned let simulation: Simulation
    let number: Int
    let address: PeerAddress

    // What survives.
    let files = SimulatedFileSystem()
    let configuredRole: NodeRole.Role
    /// The file of the role.
    var savedRole: SavedRole?
    var settings = StorageSettings()
    var skew: Nanoseconds
    /// Powers lost and full syncs begun: after one, what was acknowledged in memory may be gone.
    var losses = 0
    /// Full syncs that have made the state whole: what was on disk before may be gone.
    var resyncs = 0
    /// Up to here clients were told, under `appendfsync always`, that their changes are on disk.
    var answered: StreamPosition?

    // A life.
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
    /// An event of the driver is under way.
    var isInEvent = false
    /// It has begun to do what it is to do.
    var hasStarted = false
    /// The gates as the driver has shown them.
    var gates = NodeGates()
    var waits: [UInt64: Wait] = [:]
    var runID = ""
    /// There are changes that were not collected.
    var hasUncollected = false
    /// What is in memory is a part of a state: a full sync has begun that has not made it whole.
    var hasPart = false
    /// The latest time in any batch of the state.
    var lastSaid = EngineTime(nanoseconds: 0)
    /// The link has been up since it was told whom to follow.
    var hasBeenUp = false
    /// Where it heard last what time it is there, in a whole state; nil since it led, was told to follow another, or
    /// began a full sync.
    var clockPlace: StreamPosition?
    /// The same of the state on disk, when a full sync began last.
    var filesClockPlace: StreamPosition?
    var promotion: Promotion?
    /// The last failover may lose something.
    private(set) var isFailoverForced = false
    /// Where it was when changes began to be kept; nil once that is noted.
    var uncountedOrigin: StreamPosition?

    // Links.
    var upstream: SimulatedConnection?
    var attempt = 0
    var clients: [LinkID: SimulatedReplicaClient] = [:]
    var isSending = false
    /// The latest sent of all pieces that have arrived.
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
    /// Engine time minus the simulation's.
    var clockOffset: Int64 { engineTime.offset(from: simulation.now).nanoseconds }
    var position: StreamPosition { driver.position }
    var isPrimary: Bool { isUp && role.leads }
    var isWhole: Bool { role.dataset == .whole && !role.neverSynced }
    var priority: Int { role.shownPriority(configured: 100) }
    /// Commands that write are admitted.
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
        lastSaid = report.lastTime
        journal = Journal(engine: engine, offset: report.end)
        sweeper = Sweeper(engine: engine)
        driver = NodeDriver(
            NodeDriver.Start(
                role: wanted, saved: savedRole, report: report, time: max(EngineTime(wall), report.lastTime)),
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

    /// What does not survive.
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
        // A replica's own clock says nothing of what is still in force where its primary is.
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

    /// A line of the life's story, where it is told.
    func tell(_ text: @autoclosure () -> String) {
        guard simulation.explains else { return }
        let place = driver == nil ? "no place" : "\(role.identity.id.text.prefix(6)) \(journal.offset)"
        print("\((simulation.now - .boot).millisecondsRoundedDown) ms, node \(number) at \(place): \(text())")
    }

    /// The process ends: as it should, or killed, or with the power.
    func crash(clean: Bool) {
        guard isUp else { return }
        tell("ends, \(clean ? "as it should" : "suddenly")")
        if clean { storage.perform { storage.stop(savesSnapshot: simulation.random.once(in: 2)) } }
        isUp = false
        losses += 1
        if clean || simulation.random.once(in: 4) {
            // What the kernel has it keeps.
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
        // The journal's thread has turns of its own, now and then none between two of these.
        if !simulation.random.once(in: 5) { storage.turn() }
    }

    // MARK: Events

    /// Something happens to the driver; then what it has to send is sent.
    func event(_ body: () throws -> Void) rethrows {
        precondition(!isInEvent, "an event inside of another")
        isInEvent = true
        defer {
            isInEvent = false
            checkGates()
            sendAll()
        }
        try body()
    }

    /// What must be true of the gates between events.
    private func checkGates() {
        if hasPart, !gates.isReceiving { fail("serves clients a part of a state") }
        if role.isReplica, !gates.isReplica { fail("takes writes as a replica") }
        if role.leads, gates.isReplica || gates.isReceiving || gates.isRestoring { fail("leads and does not serve") }
        if gates.holdsWrites != (failover.state != .none) { fail("holds writes for nothing") }
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

    /// The state on disk is back in the engine.
    func restored(_ number: Int, _ report: RecoveryReport) {
        guard role.dataset == .restoring, number == driver.restores else { return }
        lastSaid = report.lastTime
        hasPart = false
        tell("goes back to \(report.manifest.history.prefix(6)) \(report.end)")
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

    /// Every change so far, encoded.
    func collectJournal() {
        journal.collect(time: engineTime)
        hasCollectedAll = journal.pendingBytes > 0
        hasUncollected = false
        for (ticket, wait) in waits where wait.position == nil { waits[ticket]!.position = position }
    }

    /// What is taken from the journal now ends in a state that the engine has.
    private var hasCollectedAll = false

    /// These bytes are on their way to disk and replicas.
    func taken(_ bytes: UnsafeRawBufferPointer) {
        // Between REPLICAOF and the end of the collection the node is a replica that still has its own changes.
        guard !role.isReplica || storage.isJournaling else { return noteTimes(bytes) }
        simulation.truth.added(bytes, to: role.identity.id)
        if hasCollectedAll, simulation.random.once(in: 2) { simulation.checkJournal(of: self) }
        hasCollectedAll = false
    }

    private func noteTimes(_ bytes: UnsafeRawBufferPointer) {
        var place = 0
        while place < bytes.count {
            let batch = JournalBatch(UnsafeRawBufferPointer(rebasing: bytes[place...]))!
            lastSaid = max(lastSaid, batch.time)
            place += batch.count
        }
    }

    /// There is something to be sent.
    func streamed() { if !isInEvent { sendAll() } }

    /// Changes count from here on, and some may have been made that do not.
    func journalingBegan() {
        guard isUp, !role.isReplica else { return }
        noteBeginning()
    }

    /// The node makes bytes of its history, from here on.
    func noteBeginning() {
        simulation.truth.began(
            role.identity, at: journal.offset, reader.state(), clock: clockOffset, time: engineTime, by: number)
    }
}
