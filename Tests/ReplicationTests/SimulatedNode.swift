// A node as the server puts it together: the machines under test on a real engine, a real journal and a real log, and
// a loop that does what they say. What survives a loss of power is apart from what does not.
//
// SimulatedNode+Role has what the node does about its role, SimulatedNode+Serving its side of replicas' connections,
// SimulatedStorage its disk.

import LimiterEngine
import Persistence
import TestSupport
import Testing

@testable import Replication

/// One node.
final class SimulatedNode {
    /// A replica's connection, at the node that serves it.
    final class Served {
        let connection: SimulatedConnection
        var link: PrimaryLink
        var input: [UInt8] = []
        var output: [UInt8] = []
        var snapshot: SnapshotStream?
        var isSending = false
        /// It has asked for the stream.
        var isKnown = false

        init(connection: SimulatedConnection, now: Int64) {
            self.connection = connection
            link = PrimaryLink(now: now)
        }
    }

    struct Wait {
        let position: StreamPosition
        let count: Int
        let isSynced: Bool
    }

    unowned let simulation: Simulation
    let number: Int
    let address: PeerAddress

    // What survives.
    let files = SimulatedFiles()
    var savedRole: NodeRole.Role
    /// A role was saved: the node keeps a backlog from its start on.
    var isRoleSaved = false
    /// The role on disk is that of a primary that hands over.
    var isHandoverSaved = false
    var settings = StorageSettings()
    var skew: Int64
    /// Powers lost and full syncs begun: after one, what was acknowledged in memory may be gone.
    var losses = 0
    /// Full syncs that have made the state whole: what was on disk before may be gone.
    var resyncs = 0
    /// Up to here clients were told, under `appendfsync always`, that their changes are on disk.
    var answered: StreamPosition?

    // A life.
    var isUp = false
    var life = 0
    var attempt = 0
    var steadyOffset: Int64 = 0
    var engine = Engine(shards: 1)
    var journal: Journal
    var reader: StreamReader
    var storage: SimulatedStorage!
    var clock = StreamClock(followingFrom: EngineTime(nanoseconds: 0))
    var role: NodeRole
    var link: ReplicaLink
    var keepAlive = KeepAlive(interval: 0)
    var acknowledgements = Acknowledgements()
    var failover = Failover()
    var applier: BatchApplier
    var sweeper: Sweeper
    var served: [Served] = []
    var upstream: SimulatedConnection?
    var takesWrites = false
    var isPaused = false
    var waits: [UInt64: Wait] = [:]
    var tookOver: [Bool] = []
    var runID = ""
    /// A full sync is replacing the state: nothing can be read.
    var isReceiving = false
    /// What the files were called when the process began.
    var recoveredHistory = ""
    /// Restores asked for: the last one's number.
    var restores = 0
    /// What is in memory is a part of a state: a full sync has begun that has not made it whole.
    var hasPart = false
    private var snapshotHeader: FileHeader?
    var upstreamPort = 0
    /// The latest sent of all pieces that have arrived.
    var lastPiece = 0
    /// The latest time in any batch of the state.
    var lastSaid = EngineTime(nanoseconds: 0)
    /// The link has been up since it was told whom to follow.
    var hasBeenUp = false
    /// Where it heard last what time it is there, in a whole state; nil since it led, was told to follow another, or
    /// began a full sync.
    var clockPlace: StreamPosition?
    /// The same of the state on disk, when a full sync began last.
    var filesClockPlace: StreamPosition?

    init(_ simulation: Simulation, number: Int, role: NodeRole.Role, skew: Int64) {
        self.simulation = simulation
        self.number = number
        self.skew = skew
        address = PeerAddress(host: "node", port: 7000 + number)
        savedRole = role
        journal = Journal(engine: engine, offset: 0)
        applier = BatchApplier(engine: engine)
        sweeper = Sweeper(engine: engine)
        reader = StreamReader(engine)
        self.role = NodeRole(role: .primary, recovered: nil, end: 0, fresh: simulation.freshID())
        link = ReplicaLink(settings: ReplicaLink.Settings(listeningPort: 0))
    }

    var steady: Int64 { simulation.now + steadyOffset }
    var wall: EngineTime { EngineTime(nanoseconds: Simulation.epoch + simulation.now + skew) }
    var engineTime: EngineTime { clock.now(steady) }
    /// Engine time minus the simulation's.
    var clockOffset: Int64 { engineTime.nanoseconds - simulation.now }
    var position: StreamPosition { StreamPosition(id: role.identity.id, offset: journal.offset) }
    var isPrimary: Bool { isUp && role.leads }
    var isWhole: Bool { role.dataset == .whole && !role.neverSynced }
    var priority: Int { role.shownPriority(configured: 100) }

    // MARK: Life

    func boot() {
        precondition(!isUp)
        life += 1
        isUp = true
        files.fault = nil
        steadyOffset = simulation.random.between(0, 1_000_000_000_000)
        engine = Engine(shards: 1, seed: simulation.hashSeed)
        reader = StreamReader(engine)
        runID = simulation.freshID().text
        let report = recover()
        lastSaid = report.lastTime
        if savedRole == .primary {
            clock = StreamClock(leadingFrom: max(wall, report.lastTime), steady: steady)
        } else {
            clock = StreamClock(followingFrom: report.lastTime)
        }
        journal = Journal(engine: engine, offset: report.end)
        applier = BatchApplier(engine: engine)
        sweeper = Sweeper(engine: engine)
        link = ReplicaLink(settings: linkSettings())
        keepAlive = KeepAlive(interval: 150_000_000)
        acknowledgements = Acknowledgements()
        failover = Failover()
        served = []
        upstream = nil
        isPaused = false
        isReceiving = false
        hasPart = false
        clockPlace = nil
        filesClockPlace = nil
        waits = [:]
        role = NodeRole(
            role: savedRole, recovered: report.foundState ? ReplicationID(report.manifest.history) : nil,
            end: report.end, fresh: simulation.freshID())
        storage = SimulatedStorage(self, files: files, report: report, engine: engine, journal: journal)
        if role.isReplica { storage.set(isPrimary: false) }
        if settings.logs { storage.begin(at: report.end) }
        recoveredHistory = report.manifest.history
        if isRoleSaved {
            storage.switchStreamOn()
            storage.beginBacklog()
        }
        tell("starts as \(savedRole) with \(report.manifest.history.prefix(6)) \(report.end), logs \(settings.logs)")
        if report.foundState { simulation.checkRecovery(of: self, report) }
        if !role.isReplica { becamePrimary() }
        run(role.started(takesOver: isHandoverSaved))
        storage.switchLogging(settings.logs)
    }

    private func recover() -> RecoveryReport {
        // A replica's own clock says nothing of what is still in force where its primary is.
        let horizon = savedRole == .primary ? wall : EngineTime(nanoseconds: 0)
        let recovery = Recovery(files: files, path: SimulatedStorage.path, engine: engine, horizon: horizon)
        do throws(RecoveryError) {
            let name = savedRole == .primary ? runID : ReplicationID.nobodys.text
            return try recovery.run(history: name, cutsTornTail: true)
        } catch {
            fail("cannot start: \(error)")
            preconditionFailure("seed \(simulation.seed)")
        }
    }

    private func linkSettings() -> ReplicaLink.Settings {
        var settings = ReplicaLink.Settings(listeningPort: address.port)
        settings.timeout = 700_000_000
        settings.acknowledgeInterval = 60_000_000
        settings.patience = 300_000_000
        settings.firstPause = 10_000_000
        settings.longestPause = 100_000_000
        settings.password = simulation.random.once(in: 2) ? "secret" : nil
        return settings
    }

    func fail(_ text: String) { Issue.record("seed \(simulation.seed): node \(number): \(text)") }

    /// A line of the life's story, where it is told.
    func tell(_ text: @autoclosure () -> String) {
        guard simulation.explains else { return }
        let place = "\(role.identity.id.text.prefix(6)) \(journal.offset)"
        print("\(simulation.now / 1_000_000) ms, node \(number) at \(place): \(text())")
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
            files.losePower(&simulation.random)
        }
        for connection in simulation.connections where connection.client === self || connection.server === self {
            let end: SimulatedConnection.End = connection.client === self ? .client : .server
            simulation.close(connection, by: end, isNoticed: false)
        }
    }

    func tick() {
        let time = engineTime
        if !isReceiving { _ = sweeper.step(buckets: 16, now: time) }
        link.tick(now: steady, synced: storage.synced) { self.perform($0) }
        if role.leads {
            if keepAlive.isDue(end: journal.offset, hasLinks: served.contains { $0.link.isReplica }, now: steady) {
                sayTime()
            }
            run(failover.tick(candidates: candidates, now: steady))
            finish(acknowledgements.tick(now: steady))
        }
        for replica in served {
            run(replica.link.tick(end: journal.offset, simulation.linkSettings, now: steady), replica)
            canSend(replica)
        }
        storage.backlog?.trim(needed: served.compactMap(\.link.needed).min())
        settleTakeover()
        if simulation.random.once(in: 30), files.fault == nil { files.writeBack() }
        // The journal's thread has turns of its own, now and then none between two of these.
        if !simulation.random.once(in: 5) { storage.turn() }
    }

    // MARK: Journal

    /// Adds a batch without records behind everything that changed.
    private func sayTime() {
        collect()
        journal.recordTime(engineTime)
        storage.drain()
    }

    /// Has every change so far in the journal, and that on its way.
    func collect() {
        guard isUp else { return }
        if storage.isJournaling { collectJournal() }
        storage.drain()
    }

    /// Every change so far, encoded.
    func collectJournal() {
        journal.collect(time: engineTime)
        hasCollectedAll = journal.pendingBytes > 0
    }

    /// What is taken from the journal now ends in a state that the engine has.
    private var hasCollectedAll = false
    /// Between REPLICAOF and the end of its `collect`, the node is a replica that still has its own changes.
    var isLeaving = false

    /// These bytes are on their way to disk and replicas.
    func taken(_ bytes: UnsafeRawBufferPointer) {
        guard !role.isReplica || isLeaving else { return }
        simulation.truth.added(bytes, to: role.identity.id)
        if hasCollectedAll, simulation.random.once(in: 2) { simulation.checkJournal(of: self) }
        hasCollectedAll = false
    }

    /// There is something to be sent.
    func streamed() {
        for replica in served { canSend(replica) }
    }

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

    // MARK: The link to the primary

    func connectionMade(_ connection: SimulatedConnection) {
        upstream = connection
        link.connected(now: steady) { self.perform($0) }
    }

    func connectionFailed() { link.failed(now: steady) { self.perform($0) } }

    func perform(_ action: ReplicaLink.Action) {
        switch action {
        case .connect:
            attempt += 1
            simulation.connect(self, toPort: upstreamPort)
        case .send(let bytes):
            if let upstream { simulation.send(bytes, over: upstream, from: .client) }
        case .disconnect(let failure):
            attempt += 1
            if case .stream(let error) = failure { Issue.record("seed \(simulation.seed): \(error)") }
            if let upstream { simulation.close(upstream, by: .client, isNoticed: !simulation.random.once(in: 4)) }
            upstream = nil
        case .tookOver(let result):
            if case .success = result { tookOver.append(true) } else { tookOver.append(false) }
        case .follow(let id): run(role.follows(id, end: journal.offset))
        case .beginSnapshot(let id, let header):
            losses += 1
            simulation.coverage.fullSyncs += 1
            isReceiving = true
            tell("gets a snapshot of \(id.text.prefix(6)) \(header.journalOffset)")
            simulation.considerPromoting(insideFullSync: self)
            storage.perform { storage.detach() }
            if !hasPart, storage.filesAreCurrent { filesClockPlace = clockPlace }
            clockPlace = nil
            hasPart = true
            run(role.snapshotBegan(id))
            applier.beginSnapshot()
            storage.restart(at: header.journalOffset, time: header.time)
            clock.replaced(at: header.time, steady, filesAreCurrent: storage.filesAreCurrent)
            snapshotHeader = header
            lastSaid = header.time
        case .snapshotBatch(let batch, let bytes):
            try! applier.apply(bytes, horizon: snapshotHeader!.time)
            clock.heard(batch.time, at: steady)
        case .endSnapshot:
            applier.endSnapshot()
            role.snapshotEnded()
        case .batch(let batch, let bytes):
            try! applier.apply(bytes, horizon: batch.time)
            journal.append(batch, bytes)
            lastSaid = max(lastSaid, batch.time)
            clock.heard(batch.time, at: steady)
            storage.drain()
            if hasBeenUp, !hasPart { clockPlace = position }
            simulation.checkState(of: self)
        case .becameWhole:
            role.becameWhole()
            clock.becameWhole()
            tell("is whole")
            isReceiving = false
            hasPart = false
            // What is on disk counts no more, though it may be found there for a while.
            resyncs += 1
            answered = nil
            storage.requests.append(.attach(history: role.identity.id.text, isNewState: true))
            simulation.checkState(of: self)
        case .online:
            hasBeenUp = true
            simulation.coverage.online += 1
        }
    }

    // MARK: Connections

    func accepted(_ connection: SimulatedConnection) {
        served.append(Served(connection: connection, now: steady))
    }

    func lost(_ connection: SimulatedConnection) {
        if connection === upstream {
            upstream = nil
            link.failed(now: steady) { self.perform($0) }
        }
        if let replica = served.first(where: { $0.connection === connection }) {
            run(replica.link.connectionLost(), replica)
            served.removeAll { $0 === replica }
            acknowledgements.removed(LinkID(connection.id))
        }
    }

    func received(_ bytes: [UInt8], over connection: SimulatedConnection) {
        if connection === upstream {
            bytes.withUnsafeBytes {
                link.received($0, now: steady, synced: storage.synced) { self.perform($0) }
            }
            settleTakeover()
        } else if let replica = served.first(where: { $0.connection === connection }) {
            replica.input += bytes
            serve(replica)
        }
    }
}
