// What a driver asks of its environment, and in which order, for sequences of events. Effects that need several nodes
// are covered by the simulation.

import LimiterEngine
import Persistence
import System
import Testing

@testable import Replication

@Suite struct NodeDriverTests {
    let other = PeerAddress(host: "other", port: 7001)
    let third = PeerAddress(host: "third", port: 7002)
    static let second = Nanoseconds.seconds(1)
    let noSpace = StorageError("write", "role", code: 28)

    /// A primary with replica 1, which is online and up to date.
    func primaryWithReplica() -> (FakeEnvironment, NodeDriver) {
        let world = FakeEnvironment(.primary)
        let driver = world.driver!
        serve(1, world)
        acknowledge(1, world)
        _ = world.drainCalls()
        return (world, driver)
    }

    func serve(_ id: LinkID, _ world: FakeEnvironment, _ request: SyncRequest = SyncRequest(position: nil)) {
        world.driver.serve(
            ReplicaConnection(
                id: id, peerHost: "other", announcements: [.listeningPort(7000 + Int(id))], request: request))
        sendAll(id, world)
    }

    func sendAll(_ id: LinkID, _ world: FakeEnvironment) {
        while world.driver.send(to: id, limit: 1 << 20, { $0.count }) {}
    }

    /// The replica acknowledges everything sent to it.
    func acknowledge(_ id: LinkID, _ world: FakeEnvironment, synced: Int64 = -1) {
        sendAll(id, world)
        let offset = world.driver.served[id]!.link.nextOffset
        world.driver.said(["REPLCONF", "ACK", "\(offset)", "FACK", "\(synced)"], by: id)
    }

    // MARK: Roles

    @Test func aDemotedPrimaryClosesItsGateFirstAndConnectsLast() {
        let (world, driver) = primaryWithReplica()
        driver.wait(5, NodeDriver.WaitDemand(replicas: 2, timeout: nil))
        _ = world.drainCalls()
        driver.follow(other, asker: 9)
        #expect(
            world.drainCalls() == [
                "close: replica", "wait for writers", "collect", "journaling false", "close 1", "unblock 5",
                "rename to 0", "save", "connect to 7001", "close clients except 9",
            ])
        #expect(world.saved == .role(.replica(of: other)))
    }

    /// Writes of commands already in progress are in the journal that the node is demoted with.
    @Test func writesDuringTheWaitForWritersAreCollected() {
        let (world, driver) = primaryWithReplica()
        let before = world.journal.offset
        world.whileWaiting = { world.write("late") }
        driver.follow(other, asker: 0)
        #expect(world.journal.offset > before)
    }

    @Test func aReplicaThatChangesItsPrimaryKeepsItsClients() {
        let world = FakeEnvironment(.replica(of: other))
        world.driver.follow(third, asker: 9)
        #expect(world.drainCalls() == ["disconnect", "save", "connect to 7002"])
        world.driver.follow(third, asker: 9)
        #expect(world.drainCalls() == [])
    }

    /// A promoted node that has added nothing returns to the previous history, unless it has made changes that no
    /// journal contains: then the offset identifies more than one state.
    @Test(arguments: [false, true]) func aPrimaryWithUncountedChangesDoesNotReturnToItsPast(hasChanges: Bool) {
        let world = FakeEnvironment(.replica(of: other))
        let driver = world.driver!
        let past = TestStream.id("b")
        let stream = TestStream()
        stream.write(0..<1)
        let snapshot = stream.snapshot()
        let end = stream.journal.offset
        answer(world, ["+PONG", "+OK", "+OK", "+FULLRESYNC \(past) \(end)"])
        snapshot.withUnsafeBytes { driver.upstreamReceived($0) }
        driver.lead()
        world.hasUncountedChanges = hasChanges
        let own = driver.role.identity.id
        driver.follow(third, asker: 0)
        answer(world, ["+PONG", "+OK"])
        _ = world.drainCalls()
        answer(world, ["+OK"])
        #expect(world.drainCalls() == ["send PSYNC \(hasChanges ? own : past) \(end + 1)"])
    }

    // MARK: The role on disk

    @Test func aRoleThatCannotBeSavedIsSavedLater() {
        let world = FakeEnvironment(.replica(of: other))
        let driver = world.driver!
        world.saveError = noSpace
        driver.follow(third, asker: 0)
        #expect(world.saved == nil && driver.unsavedRole == .role(.replica(of: third)))
        _ = world.drainCalls()
        driver.tick()
        #expect(world.drainCalls() == ["cannot save"])
        // Not retried at every tick.
        driver.tick()
        #expect(world.drainCalls() == [])
        world.saveError = nil
        world.steady += NodeDriverTests.second
        driver.tick()
        #expect(world.saved == .role(.replica(of: third)) && driver.unsavedRole == nil)
    }

    @Test func aConfiguredPrimaryRemembersThatItHadReplicas() {
        let world = FakeEnvironment(.primary)
        serve(1, world)
        #expect(world.saved == .configured)
        // A role set by a command takes precedence.
        let told = FakeEnvironment(.primary, saved: .role(.primary))
        serve(1, told)
        #expect(told.saved == .role(.primary))
    }

    @Test func aConfiguredReplicasRecordDoesNotApplyToAPrimary() {
        let world = FakeEnvironment(.primary, saved: .configuredReplica)
        #expect(world.saved == .configured)
    }

    // MARK: FAILOVER

    @Test func nothingIsJournaledDuringTheHandover() throws {
        let (world, driver) = primaryWithReplica()
        world.whileWaiting = { world.write("late") }
        try driver.startFailover(Failover.Request(), asker: 3)
        #expect(world.drainCalls() == ["close: held", "wait for writers", "collect"])
        let end = world.journal.offset
        world.whileWaiting = {}
        // Neither heartbeats nor WAIT nor another replica add a batch.
        world.steady += 5 * NodeDriverTests.second
        driver.wait(5, NodeDriver.WaitDemand(replicas: 2, timeout: nil))
        serve(2, world)
        driver.tick()
        #expect(world.journal.offset == end && driver.failover.state == .waitingForSync)
        _ = world.drainCalls()
        acknowledge(1, world)
        #expect(driver.failover.state == .inProgress && world.saved == .handingOver(other))
        let calls = world.drainCalls()
        #expect(calls.firstIndex(of: "save")! < calls.firstIndex(of: "connect to 7001")!)
        #expect(world.journal.offset == end && world.gates.holdsWrites && world.gates.isReplica)
    }

    /// If this were not on disk, a restart would create a second primary.
    @Test func aHandoverThatCannotBeSavedIsAborted() throws {
        let (world, driver) = primaryWithReplica()
        try driver.startFailover(Failover.Request(), asker: 3)
        world.saveError = noSpace
        _ = world.drainCalls()
        acknowledge(1, world)
        #expect(world.drainCalls() == ["cannot save", "open: held"])
        #expect(driver.role.leads && driver.failover.state == .none)
        // The write may have reached the disk despite the error, so the previous role is saved again.
        #expect(driver.unsavedRole == .configured)
    }

    @Test func aTargetThatTakesOverEndsTheFailover() throws {
        let (world, driver) = primaryWithReplica()
        let id = driver.role.identity.id
        try driver.startFailover(Failover.Request(), asker: 3)
        acknowledge(1, world)
        answer(world, ["+PONG", "+OK", "+OK"])
        _ = world.drainCalls()
        answer(world, ["+CONTINUE \(TestStream.id("b"))"])
        #expect(driver.failover.state == .none && world.saved == .role(.replica(of: other)))
        #expect(world.drainCalls().contains("close clients except 3"))
        #expect(world.gates.isReplica && !world.gates.holdsWrites)
        #expect(driver.role.identity.id == TestStream.id("b") && driver.role.identity.past?.id == id)
    }

    @Test func aTargetThatRefusesIsNotFollowed() throws {
        let (world, driver) = primaryWithReplica()
        try driver.startFailover(Failover.Request(), asker: 3)
        acknowledge(1, world)
        answer(world, ["+PONG", "+OK", "+OK"])
        answer(world, ["-ERR no"])
        #expect(driver.failover.state == .none && driver.role.leads && world.saved == .role(.primary))
        #expect(!world.gates.isReplica && !world.gates.holdsWrites)
    }

    /// REPLICAOF names the target during the takeover request: it is then followed like any other primary.
    @Test func replicaofEndsATakeoverRequest() throws {
        let (world, driver) = primaryWithReplica()
        try driver.startFailover(Failover.Request(), asker: 3)
        acknowledge(1, world)
        #expect(driver.link.takesOver)
        _ = world.drainCalls()
        driver.follow(other, asker: 0)
        #expect(!driver.link.takesOver && driver.failover.state == .none)
        #expect(world.drainCalls() == ["open: held", "disconnect", "save", "connect to 7001"])
        #expect(world.saved == .role(.replica(of: other)))
    }

    func answer(_ world: FakeEnvironment, _ lines: [String]) {
        if world.driver.link.state == .connecting { world.driver.upstreamConnected() }
        for line in lines {
            Array("\(line)\r\n".utf8).withUnsafeBytes { world.driver.upstreamReceived($0) }
        }
    }

    // MARK: WAIT

    @Test func waitCoversTheClientsWrites() {
        let (world, driver) = primaryWithReplica()
        world.write("new")
        driver.wait(5, NodeDriver.WaitDemand(replicas: 1, timeout: nil))
        // The replica had acknowledged everything before that write.
        #expect(!world.drainCalls().contains("answer 5: 1"))
        acknowledge(1, world)
        #expect(world.drainCalls().contains("answer 5: 1"))
    }

    @Test func waitAsksReplicasAtOnce() {
        let (world, driver) = primaryWithReplica()
        let before = world.journal.offset
        driver.wait(5, NodeDriver.WaitDemand(replicas: 2, timeout: nil))
        #expect(world.journal.offset == before + Int64(JournalBatch.headerSize))
    }

    @Test func waitaofWaitsForThisDiskAndThatOfReplicas() {
        let (world, driver) = primaryWithReplica()
        world.syncedOffset = 0
        world.write("new")
        driver.wait(5, NodeDriver.WaitDemand(replicas: 1, timeout: nil, onDisk: true, onOwnDisk: true))
        acknowledge(1, world, synced: world.journal.offset)
        driver.tick()
        #expect(!world.drainCalls().contains { $0.hasPrefix("answer") })
        world.syncedOffset = world.journal.offset
        driver.tick()
        #expect(world.drainCalls().contains("answer 5: 1 and here"))
    }

    @Test func aDisconnectedClientIsNotAnswered() {
        let (world, driver) = primaryWithReplica()
        driver.wait(5, NodeDriver.WaitDemand(replicas: 2, timeout: NodeDriverTests.second))
        driver.waiterGone(5)
        world.steady += 2 * NodeDriverTests.second
        driver.tick()
        #expect(!world.drainCalls().contains { $0.hasPrefix("answer") })
        #expect(driver.acknowledgements.waiting == 0)
    }

    @Test func aReplicaUnblocksWaitAtOnce() {
        let world = FakeEnvironment(.replica(of: other))
        world.driver.wait(5, NodeDriver.WaitDemand(replicas: 0, timeout: nil))
        #expect(world.drainCalls() == ["unblock 5"])
    }

    @Test func writesNeedMinReplicasToWrite() throws {
        let (world, driver) = primaryWithReplica()
        driver.settings.minReplicas = 1
        driver.settings.maxLag = NodeDriverTests.second
        #expect(!world.gates.lacksGoodReplicas)
        driver.lost(1)
        driver.tick()
        #expect(world.gates.lacksGoodReplicas)
        // A replica refuses writes anyway.
        driver.follow(other, asker: 0)
        driver.tick()
        #expect(!world.gates.lacksGoodReplicas)
        // On a new primary the gate closes before the first write.
        _ = world.drainCalls()
        driver.lead()
        let calls = world.drainCalls()
        let closed = try #require(calls.firstIndex(of: "close: lacks replicas"))
        #expect(closed < calls.firstIndex(of: "open: replica")!)
    }

    /// A replica that acknowledges before its snapshot is complete does not count.
    @Test func aReplicaCountsOnceItsStateIsComplete() {
        let world = FakeEnvironment(.primary)
        let driver = world.driver!
        world.write("old")
        driver.serve(
            ReplicaConnection(id: 1, peerHost: "other", announcements: [], request: SyncRequest(position: nil)))
        let begin = driver.served[1]!.link.nextOffset
        world.write("new")
        sendAll(1, world)
        #expect(world.journal.offset > begin)
        driver.said(["REPLCONF", "ACK", "\(begin)"], by: 1)
        driver.wait(5, NodeDriver.WaitDemand(replicas: 1, timeout: nil))
        #expect(driver.acknowledgements.online == 0 && !world.drainCalls().contains { $0.hasPrefix("answer") })
        acknowledge(1, world)
        #expect(driver.acknowledgements.online == 1 && world.drainCalls().contains("answer 5: 1"))
    }
}
