// One seeded run of a few nodes: time and events, the actions of clients and operators, injected faults, and
// invariants checked at every moment. All randomness derives from the seed.

import Glibc
import LimiterEngine
import Persistence
import System
import TestSupport
import Testing

@testable import Replication

/// A simulation run.
final class Simulation {
    /// The wall clock at the start.
    static let epoch = WallInstant(nanoseconds: 1_700_000_000_000_000_000)

    /// A write acknowledged to a client as replicated.
    struct Promise {
        let position: StreamPosition
        let node: SimulatedNode
        let losses: Int
        let resyncs: Int
        let isSynced: Bool
    }

    let seed: UInt64
    /// Logs the run, and makes failures report the difference.
    let explains: Bool
    var random: LifeGenerator
    var now = SteadyInstant.boot
    var nodes: [SimulatedNode] = []
    var connections: [SimulatedConnection] = []
    var nextConnection = 0
    var nextPiece = 0
    /// Pairs of nodes that cannot reach each other, as ten times the lower number plus the higher.
    var partitions: Set<Int> = []
    var truth: StreamTruth
    let hashSeed: HashSeed
    var coverage = Coverage()
    /// The number of invariant violations found.
    private(set) var failures = 0
    var promises: [Promise] = []
    var nextTicket: UInt64 = 0
    let backlogSize: Int
    /// The rules by which loops run commands. Tests weaken them to show that runs detect the faults they prevent.
    let loopRules: SimulatedLoops.Rules
    /// `min-replicas-to-write`.
    let minReplicas: Int
    var linkSettings = DownstreamLink.Settings()
    /// The node promoted last.
    var lastPrimary: SimulatedNode?
    private var events: [(time: SteadyInstant, number: Int, body: () -> Void)] = []
    private var nextEvent = 0
    private var isCalm = false

    /// - Parameters:
    /// - explains: Makes failures report the difference, which is slow.
    /// - loopRules: The rules by which loops run commands.
    init(seed: UInt64, explains: Bool = false, loopRules: SimulatedLoops.Rules = SimulatedLoops.Rules()) {
        self.seed = seed
        self.loopRules = loopRules
        self.explains = explains
        truth = StreamTruth(explains: explains)
        random = LifeGenerator(seed: seed)
        hashSeed = HashSeed(random.next(), random.next(), random.next())
        backlogSize = [0, 300, 3000, 100_000][random.below(4)]
        minReplicas = seed % 8 == 7 ? 1 : 0
        linkSettings.timeout = .milliseconds(700)
        linkSettings.hardLimit = random.once(in: 3) ? 2000 : 100_000
        linkSettings.softLimit = 1500
        linkSettings.softTime = .milliseconds(200)
    }

    /// Creates the nodes. Not part of `init`, because the optimizer of Swift 6.3 fails on objects that are passed
    /// `self` there.
    private func addNodes() {
        let hasSubreplica = random.once(in: 2)
        let count = hasSubreplica ? 4 : 3
        for number in 0..<count {
            let above = number == 3 ? 1 : 0
            let skew = random.once(in: 2) ? random.between(.seconds(-3600), .seconds(3600)) : .zero
            nodes.append(
                SimulatedNode(
                    self, number: number,
                    role: number == 0 ? .primary : .replica(of: PeerAddress(host: "node", port: 7000 + above)),
                    skew: skew))
            nodes[number].settings = StorageSettings(
                logs: !random.once(in: 4), appendfsync: StorageSettings.Policy.allCases[random.below(3)],
                isClosedOnFailure: !random.once(in: 4))
            nodes[number].files.random = SeededGenerator(seed: random.next())
            nodes[number].files.tearsWrites = true
        }
    }

    /// Records an invariant violation.
    func fail(_ text: String) {
        failures += 1
        Issue.record("seed \(seed): \(text)")
    }

    func freshID() -> ReplicationID { ReplicationID(using: &random) }

    // MARK: Events

    func at(_ time: SteadyInstant, _ body: @escaping () -> Void) {
        events.append((time, nextEvent, body))
        nextEvent += 1
        var child = events.count - 1
        while child > 0, isEarlier(child, (child - 1) / 2) {
            events.swapAt(child, (child - 1) / 2)
            child = (child - 1) / 2
        }
    }

    func after(_ delay: Nanoseconds, _ body: @escaping () -> Void) { at(now + delay, body) }

    private func isEarlier(_ one: Int, _ other: Int) -> Bool {
        // Not a tuple comparison: that is generic, and this is the hottest function.
        let (left, right) = (events[one].time, events[other].time)
        return left != right ? left < right : events[one].number < events[other].number
    }

    private func nextDue() -> () -> Void {
        let first = events[0]
        let last = events.removeLast()
        if !events.isEmpty {
            events[0] = last
            var parent = 0
            while true {
                var least = parent
                for child in [2 * parent + 1, 2 * parent + 2] where child < events.count && isEarlier(child, least) {
                    least = child
                }
                if least == parent { break }
                events.swapAt(parent, least)
                parent = least
            }
        }
        now = max(now, first.time)
        return first.body
    }

    func run() -> Coverage {
        addNodes()
        for node in nodes {
            node.boot()
            tickForever(node)
        }
        let end = SteadyInstant.boot + random.between(800_000_000, 4_000_000_000)
        actUntil(end)
        clientUntil(end)
        while let first = events.first, first.time < end { nextDue()() }
        calmDown()
        let limit = now + .seconds(20)
        while let first = events.first, first.time < limit, !(hasConverged && disksAreWell && random.once(in: 40)) {
            nextDue()()
        }
        checkConvergence()
        breakCycles()
        truth.count(into: &coverage)
        return coverage
    }

    /// Breaks reference cycles: events and connections retain their owners.
    private func breakCycles() {
        events = []
        connections = []
        for node in nodes {
            node.clients = [:]
            node.upstream = nil
            node.driver = nil
            node.storage = nil
        }
    }

    private func tickForever(_ node: SimulatedNode) {
        after(random.between(15_000_000, 25_000_000)) { [self] in
            if node.isUp { node.tick() }
            tickForever(node)
        }
    }

    // MARK: Clients

    private func clientUntil(_ end: SteadyInstant) {
        after(random.between(500_000, 20_000_000)) { [self] in
            guard now < end else { return }
            // Clients may still address an old primary.
            let primaries = nodes.filter(\.isPrimary)
            if !primaries.isEmpty {
                let node = primaries[random.below(primaries.count)]
                node.loops.serve()
                if random.once(in: 12) { wait(at: node) }
            }
            clientUntil(end)
        }
    }

    private func wait(at node: SimulatedNode) {
        node.wait(count: 1 + random.below(2), isSynced: random.once(in: 4), isLocal: random.once(in: 12))
    }

    // MARK: Faults and operators

    private func actUntil(_ end: SteadyInstant) {
        after(random.between(5_000_000, 200_000_000)) { [self] in
            guard now < end else { return }
            act()
            actUntil(end)
        }
    }

    private func act() {
        let node = nodes[random.below(nodes.count)]
        switch random.below(21) {
        case 0, 1, 2, 3:
            guard !connections.isEmpty else { return }
            coverage.cuts += 1
            let syncing = connections.filter { $0.client.isUp && $0.client.link.isSyncing }
            let several = syncing.isEmpty || random.once(in: 2) ? connections : syncing
            close(several[random.below(several.count)], by: nil, isNoticed: random.once(in: 2))
        case 4:
            let pair = Simulation.pair(node, nodes[(node.number + 1) % nodes.count])
            partitions.insert(pair)
            after(random.between(10_000_000, 1_500_000_000)) { [self] in _ = partitions.remove(pair) }
        case 5, 6:
            guard node.isUp else { return }
            coverage.crashes += 1
            node.crash(clean: random.once(in: 3))
            after(random.between(1_000_000, 600_000_000)) { if !node.isUp { node.boot() } }
        case 7:
            if node.isUp { coverage.clockSteps += 1 }
            node.skew += random.between(-1_000_000_000_000, 1_000_000_000_000)
        case 8, 9: promoteBestReplica()
        case 10, 11: startFailover()
        case 12:
            // A node follows another one at random.
            let other = nodes[random.below(nodes.count)]
            if node.isUp, node !== other, !node.isPrimary { node.follow(other) }
        case 13:
            // A promotion that no Sentinel would choose.
            guard let node = nodes.first(where: { $0.isUp && !$0.isWhole }) ?? (random.once(in: 3) ? node : nil),
                node.isUp
            else { return }
            coverage.promotions += 1
            node.promote()
        case 14, 15, 16: breakDisk(of: node)
        case 17: switchSomeLog(node)
        case 18, 19:
            // Also during a full sync, by an EXEC begun before it.
            guard node.isUp else { return }
            node.storage.requests.append(.snapshot(random.once(in: 2) ? .save : .rewrite))
        default:
            guard node.isPrimary, node !== lastPrimary, let lastPrimary else { return }
            if random.once(in: 2) { node.loops.serveLongTurn() }
            node.follow(lastPrimary)
        }
    }

    /// Makes writes, syncs or both fail for a while.
    private func breakDisk(of node: SimulatedNode) {
        guard node.isUp, !isCalm else { return }
        coverage.faults += 1
        let kind = random.below(3)
        node.files.failureCodes = [random.once(in: 2) ? ENOSPC : EIO]
        node.files.failing = (kind != 0 ? SystemCall.writing : []).union(kind != 1 ? SystemCall.syncing : [])
        if random.once(in: 2) { node.files.failing.insert(.read) }
        let life = node.life
        let end = random.between(.milliseconds(1), random.once(in: 4) ? 1_500_000_000 : 100_000_000)
        after(end) { if node.life == life { node.files.failing = [] } }
        // Promises made after the fault must survive as well.
        guard random.once(in: 4) else { return }
        after(end + random.between(0, 2_000_000_000)) { [self] in
            guard node.isUp, node.life == life, !isCalm else { return }
            coverage.crashes += 1
            node.crash(clean: false)
            after(random.between(1_000_000, 600_000_000)) { if !node.isUp { node.boot() } }
        }
    }

    /// CONFIG SET appendonly by an operator.
    private func switchSomeLog(_ any: SimulatedNode) {
        let node = random.once(in: 2) ? lastPrimary ?? any : any
        guard node.isUp, !isCalm else { return }
        switchLog(of: node)
        guard random.once(in: 2) else { return }
        after(random.between(1_000_000, 400_000_000)) { [self] in
            guard node.isUp, !isCalm, !node.settings.logs else { return }
            node.settings.logs = true
            node.storage.switchLogging(true)
        }
    }

    func switchLog(of node: SimulatedNode) {
        guard !isCalm else { return }
        coverage.switches += 1
        node.settings.logs.toggle()
        node.storage.switchLogging(node.settings.logs)
    }

    /// Acts as a Sentinel: promotes the best eligible node, then makes the others follow it.
    private func promoteBestReplica() {
        let candidates = nodes.filter { $0.isUp && $0.role.isReplica && $0.priority > 0 }
        guard let best = candidates.max(by: { $0.journal.offset < $1.journal.offset }) else { return }
        coverage.promotions += 1
        best.promote()
        if !best.settings.logs, random.once(in: 2) {
            // Its writes until then are in no journal.
            after(random.between(0, 30_000_000)) { [self] in
                guard best.isUp, !isCalm, !best.settings.logs else { return }
                write(to: best)
                coverage.switches += 1
                best.settings.logs = true
                best.storage.switchLogging(true)
            }
        }
        for other in nodes where other !== best && !random.once(in: 4) {
            after(random.once(in: 2) ? 0 : random.between(0, 300_000_000)) { [self] in
                guard other.isUp, best === lastPrimary, !isCalm else { return }
                // The old primary's most recent writes are not in a batch yet.
                if random.once(in: 2) { write(to: other) }
                if random.once(in: 2) { other.loops.serveLongTurn() }
                other.follow(best)
            }
        }
    }

    /// Full syncs are short, so this sometimes promotes a node during one, and sometimes makes it follow again before
    /// it leads.
    func considerPromoting(insideFullSync node: SimulatedNode) {
        guard !isCalm, random.once(in: 9) else { return }
        let life = node.life
        after(random.between(0, 4_000_000)) { [self] in
            guard node.isUp, node.life == life, node.hasPart, node.role.isReplica, !isCalm else { return }
            coverage.promotions += 1
            if random.once(in: 2) { breakDisk(of: node) }
            node.promote()
            guard random.once(in: 4) else { return }
            after(random.between(0, 40_000_000)) { [self] in
                guard node.isUp, node.life == life, node.role.dataset == .restoring, !isCalm else { return }
                node.follow(nodes[(node.number + 1) % nodes.count])
            }
        }
    }

    private func startFailover() {
        guard let node = nodes.first(where: { $0.isPrimary }) else { return }
        let targets = nodes.filter { $0 !== node }
        var request = Failover.Request(timeout: random.between(50_000_000, 500_000_000))
        if random.once(in: 2) { request.target = targets[random.below(targets.count)].address }
        request.force = request.target != nil && random.once(in: 3)
        if random.once(in: 2) { node.loops.serveLongTurn() }
        node.startFailover(request)
        // Without an answer, only an operator ends the failover.
        after(random.between(20_000_000, 900_000_000)) {
            guard node.isUp, node.failover.state != .none, !self.isCalm else { return }
            node.abortFailover()
        }
    }

    // MARK: The end

    private func calmDown() {
        isCalm = true
        partitions = []
        for node in nodes { node.files.failing = [] }
        for node in nodes where !node.isUp { node.boot() }
        for node in nodes where node.failover.state != .none { node.abortFailover() }
        let leader = nodes.filter(\.isPrimary).last ?? nodes.filter { $0.priority > 0 }.first ?? nodes[0]
        insist(on: leader)
    }

    /// Repeats a Sentinel's commands until they take effect, since a takeover request may still be in flight.
    private func insist(on leader: SimulatedNode) {
        leader.promote()
        for (index, node) in nodes.enumerated() where node !== leader {
            let above = nodes.count == 4 && index == 3 ? nodes.first { $0 !== leader && $0 !== node }! : leader
            node.follow(above)
        }
        after(500_000_000) { [self] in insist(on: leader) }
    }
}
