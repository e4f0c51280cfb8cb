// What exclusive commands lock, what they defer until after the command, and the server state they are admitted in.

import Persistence
import RESP
import Synchronization
import System
import TestSupport
import Testing

@testable import LimiterEngine
@testable import RespServer

@Suite struct ExclusiveCommandTests {
    private let bench: LoopBench

    init() throws { bench = try LoopBench() }

    // MARK: Plans

    private static let stoppingAllLoops: Set = [
        "client|kill", "client|list", "client|pause", "config|resetstat", "config|set", "monitor",
    ]
    private static let ofAllKeys: Set = [
        "config|resetstat", "dbsize", "debug|metrics", "flushall", "flushdb", "info", "keys", "move", "randomkey",
        "rl.check",
        "scan",
    ]
    private static let recording: Set = [
        "flushall", "flushdb", "move", "rename", "renamenx", "rl.policy|del", "rl.policy|set", "rl.rule|del",
        "rl.rule|set",
    ]

    /// The plan for EXEC on a connection with these commands queued.
    private func plan(of names: [String], aborted: Bool = false, watching: [String] = []) throws -> ExclusivePlan? {
        let transaction = Transaction()
        for name in names {
            let command = try #require(bench.server.commands.flat.first { $0.fullName == name })
            let words = name.split(separator: "|").map { Array($0.utf8) }
            transaction.queue.append(
                Transaction.Queued(command: command, arguments: words + (0..<8).map { Array("k\($0)".utf8) }))
        }
        transaction.isAborted = aborted
        transaction.watchedKeys = Set(watching.map { .init(database: 0, key: Array($0.utf8)) })
        let peer = bench.connect()
        peer.connection.resp.transaction = transaction
        peer.connection.resp.flags.insert(.inTransaction)
        defer { bench.within { $0.close(peer.connection) } }
        let exec = bench.server.commands.flat[bench.server.commands.exec]
        return bench.loop.exclusivePlan(for: exec, peer.connection)
    }

    @Test func whatEachCommandNeedsInsideATransaction() throws {
        for command in bench.server.commands.flat where command.isRunnable {
            let plan = try #require(try plan(of: [command.fullName]))
            let name = command.fullName
            #expect(plan.stopsAllLoops == Self.stoppingAllLoops.contains(name), "\(name)")
            #expect(plan.excludesCollections == Self.recording.contains(name), "\(name)")
            if case .all = plan.stripes {
                #expect(Self.ofAllKeys.contains(name), "\(name)")
            } else {
                #expect(!Self.ofAllKeys.contains(name), "\(name)")
            }
        }
    }

    /// Outside a transaction a command locks its own stripes, and almost no command needs more than that.
    @Test func whatEachCommandNeedsAlone() {
        let peer = bench.connect()
        for command in bench.server.commands.flat where command.fullName != "exec" {
            let plan = bench.loop.exclusivePlan(for: command, peer.connection)
            let isNeeded = Self.stoppingAllLoops.union(Self.recording).contains(command.fullName)
            #expect((plan != nil) == isNeeded, "\(command.fullName)")
            guard let plan else { continue }
            guard case .none = plan.stripes else {
                Issue.record("\(command.fullName) holds stripes")
                continue
            }
        }
    }

    @Test func aTransactionNeedsWhatAnyOfItsCommandsDoes() throws {
        let plan = try #require(try plan(of: ["ping", "client|list", "flushall"]))
        guard case .all = plan.stripes else {
            Issue.record("FLUSHALL does not hold every stripe")
            return
        }
        #expect(plan.stopsAllLoops && plan.excludesCollections)
    }

    /// EXEC locks the stripes of its commands' keys and of the watched keys.
    @Test func theStripesOfATransaction() throws {
        func numbers(_ plan: ExclusivePlan?) throws -> Set<Int> {
            guard case .some(let set) = try #require(plan).stripes else { return [] }
            return Set((0..<bench.server.engine.shardCount).filter(set.contains))
        }
        func numbers(of keys: [String]) -> Set<Int> {
            var set = bench.loop.keyspace.stripes()
            for key in keys {
                Array(key.utf8).withUnsafeBytes { bench.loop.keyspace.insertStripe(of: $0, into: &set) }
            }
            return Set((0..<bench.server.engine.shardCount).filter(set.contains))
        }
        #expect(try numbers(plan(of: ["ping"])) == [])
        #expect(try numbers(plan(of: ["get"])) == numbers(of: ["k0"]))
        #expect(try numbers(plan(of: ["ping"], watching: ["other"])) == numbers(of: ["other"]))
        let all = ["k0", "k1", "k2", "k3", "k4", "k5", "k6", "k7"]
        #expect(try numbers(plan(of: ["get", "del"], watching: ["w"])) == numbers(of: all + ["w"]))
    }

    @Test func execThatRunsNothingNeedsNothing() throws {
        #expect(try plan(of: ["flushall"], aborted: true) == nil)
        let peer = bench.connect()
        let exec = bench.server.commands.flat[bench.server.commands.exec]
        #expect(bench.loop.exclusivePlan(for: exec, peer.connection) == nil)
        // WATCH alone does not start a transaction.
        peer.connection.resp.transaction = Transaction()
        #expect(bench.loop.exclusivePlan(for: exec, peer.connection) == nil)
    }

    // MARK: Follow-ups

    /// Settings take effect after the command and before its reply, including those changed inside EXEC.
    @Test func settingsTakeEffectAfterTheCommand() {
        let peer = bench.connect()
        #expect(bench.answer(request("CONFIG", "SET", "slowlog-log-slower-than", "123456"), to: peer) == "+OK\r\n")
        #expect(bench.server.slowLog.threshold == .microseconds(123_456) && bench.loop.followUp.isEmpty)
        let transaction =
            request("MULTI") + request("CONFIG", "SET", "slowlog-log-slower-than", "7") + request("PING")
            + request("EXEC")
        #expect(bench.answer(transaction, to: peer) == "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n+OK\r\n+PONG\r\n")
        #expect(bench.server.slowLog.threshold == .microseconds(7) && bench.loop.followUp.isEmpty)
    }

    /// A missing configuration file, and CONFIG REWRITE's answer to it.
    private static let file = "/nowhere/escapement.conf"
    private static let problem = "-ERR Rewriting config file: "

    /// A client waits for its own file work, and so do its further requests; other clients do not wait.
    @Test func fileWorkBlocksOnlyItsOwnClient() throws {
        let bench = try LoopBench(file: Self.file)
        let (peer, other) = (bench.connect(), bench.connect())
        peer.send(request("ECHO", "a") + request("CONFIG", "REWRITE") + request("ECHO", "b"))
        other.send(request("PING"))
        bench.turn()
        #expect(peer.received() == "$1\r\na\r\n" && peer.connection.flags.contains(.blocked))
        #expect(other.received() == "+PONG\r\n")
        bench.turns(until: "the answer arrives") { !peer.connection.flags.contains(.blocked) }
        let answer = peer.received()
        #expect(answer.hasPrefix(Self.problem) && answer.hasSuffix("\r\n$1\r\nb\r\n"), "\(answer)")
    }

    /// Inside EXEC, each deferred answer is placed at its command's position.
    @Test func answersToFileWorkKeepTheirPlaceInExec() throws {
        let bench = try LoopBench(file: Self.file)
        let peer = bench.connect()
        let words = ["ECHO a", "CONFIG REWRITE", "ECHO b", "CONFIG REWRITE", "ECHO c"]
        let queued = words.map { $0 + "\r\n" }.joined()
        #expect(bench.answer("MULTI\r\n" + queued, to: peer) == "+OK\r\n" + words.map { _ in "+QUEUED\r\n" }.joined())
        peer.send("EXEC\r\n")
        bench.turn()
        #expect(peer.received() == "")
        bench.turns(until: "the answer arrives") { !peer.connection.flags.contains(.blocked) }
        let lines = peer.received().split(separator: "\r\n")
        try #require(lines.count == 9)
        #expect(lines[2] == "a" && lines[5] == "b" && lines[8] == "c" && lines[0] == "*5")
        #expect(lines[3].hasPrefix(Self.problem) && lines[6].hasPrefix(Self.problem))
    }

    // MARK: The state of the server

    /// Each condition on its own, and the state bits it sets.
    @Test func theStateOfTheServer() throws {
        let now = SteadyInstant.now()
        func state(stale: Bool = true, _ change: (Server) -> Void) throws -> ServerState {
            let server = try LoopBench().server
            change(server)
            return ServerState(of: server, servesStaleData: !stale, at: now)
        }
        let fresh = try Server(settings: CurrentSettings(Settings()), log: Log(level: .warning))
        #expect(ServerState(of: fresh, servesStaleData: true, at: now) == .loading)
        #expect(try state { _ in } == [])
        #expect(try state { $0.replication.set(isReceiving: true) } == .receiving)
        #expect(try state { $0.replication.set(isRestoring: true) } == .restoring)
        #expect(try state { $0.replication.set(isReplica: true) } == [.replica, .stale])
        #expect(try state(stale: false) { $0.replication.set(isReplica: true) } == .replica)
        #expect(
            try state {
                $0.replication.set(isReplica: true)
                $0.replication.set(linkIsUp: true)
            } == .replica)
        #expect(try state { $0.replication.set(lacksState: true) } == .lacksState)
        #expect(
            try state {
                $0.replication.show(acknowledged: [], leads: true)
                $0.replication.require(replicas: 1, within: .seconds(1))
            } == .lacksReplicas)
        #expect(
            try state {
                $0.replication.show(acknowledged: [], leads: false)
                $0.replication.require(replicas: 1, within: .seconds(1))
            } == [], "a replica refuses writes for another reason")
        #expect(try state { $0.durability.set(isFailing: true) } == .diskFailed)
        #expect(
            try state {
                $0.durability.set(isFailing: true)
                $0.durability.set(failsClosed: false)
            } == [])
        #expect(try state { $0.pause.begin(.all, until: now + Nanoseconds(1), now: now) } == .paused)
        #expect(try state { $0.pause.begin(.writes, until: now + Nanoseconds(1), now: now) } == .writesPaused)
        #expect(try state { $0.pause.begin(.all, until: now, now: now - Nanoseconds(1)) } == [], "the pause has ended")
        #expect(try state { $0.pause.holdsWrites.store(true, ordering: .relaxed) } == .handingOver)
        let peer = bench.connect()
        #expect(bench.answer(request("MONITOR"), to: peer) == "+OK\r\n" && bench.loop.state == .monitored)
    }
}
