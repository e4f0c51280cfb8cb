// A fake environment for a driver, for tests that check what the driver calls and in which order.

import LimiterEngine
import Persistence
import System
import TestSupport

@testable import Replication

/// Records every call as a line, except for plain queries.
final class FakeEnvironment: NodeEnvironment {
    let engine = Engine(shards: 1)
    let journal: Journal
    private(set) var driver: NodeDriver!
    private(set) var gates = NodeGates()
    private var lines: [String] = []
    private var lastID = 0

    var steady = SteadyInstant.boot + .seconds(1)
    var wall = WallInstant(nanoseconds: TestStream.start)
    var isLoading = false
    var hasUncountedChanges = false
    var syncedOffset: Int64 = -1
    var filesAreCurrent = true
    /// The error that saving the role throws.
    var saveError: StorageError?
    private(set) var saved: SavedRole?
    /// The horizon of the last restore: state that expired before it is dropped.
    private(set) var restoreHorizon: EngineTime?
    private var isJournaling = false
    private var backlog: Backlog?
    /// Runs while the driver waits for writers.
    var whileWaiting: () -> Void = {}

    /// A started node with this role and no state.
    init(_ role: NodeRole.Role, saved: SavedRole? = nil) {
        journal = Journal(engine: engine, offset: 0)
        self.saved = saved
        let report = FakeEnvironment.recovered()
        driver = NodeDriver(
            NodeDriver.Start(role: role, saved: saved, report: report, time: EngineTime(wall), steady: steady),
            engine: engine, journal: journal,
            settings: NodeDriver.Settings(upstream: UpstreamLink.Settings(listeningPort: 7000)), environment: self)
        driver.start()
        _ = drainCalls()
    }

    /// The recovery report for an empty directory.
    static func recovered() -> RecoveryReport {
        let recovery = Recovery(
            files: SimulatedFileSystem(), path: "data", engine: Engine(shards: 1), horizon: EngineTime(nanoseconds: 0))
        return try! recovery.run(history: TestStream.id("a").text, cutsTornTail: true)
    }

    /// The calls since the previous `drainCalls`.
    func drainCalls() -> [String] {
        defer { lines = [] }
        return lines
    }

    private func did(_ line: String) { lines.append(line) }

    /// A client changes a key.
    func write(_ key: String) {
        let state = KeyState(kind: .gcra, word: wall.nanoseconds + 1_000_000_000_000)
        Array(key.utf8).withUnsafeBytes {
            _ = KeyspaceSession(engine: engine).apply(state, to: $0, now: EngineTime(wall))
        }
    }

    // MARK: NodeEnvironment

    func freshID() -> ReplicationID {
        lastID += 1
        return ReplicationID(String(repeating: "0", count: 39) + String(lastID, radix: 16))!
    }

    func show(_ gates: NodeGates) {
        for (name, before, now) in [
            ("replica", self.gates.isReplica, gates.isReplica),
            ("receiving", self.gates.isReceiving, gates.isReceiving),
            ("restoring", self.gates.isRestoring, gates.isRestoring),
            ("held", self.gates.holdsWrites, gates.holdsWrites),
            ("lacks replicas", self.gates.lacksGoodReplicas, gates.lacksGoodReplicas),
        ] where before != now {
            did("\(now ? "close" : "open"): \(name)")
        }
        self.gates = gates
    }

    func show(_ clock: StreamClock) {}
    func show(following address: PeerAddress?) {}

    func waitForWriters() {
        did("wait for writers")
        whileWaiting()
    }

    func waitForReaders() { did("wait for readers") }
    func closeClients(except asker: Int64) { did("close clients except \(asker)") }

    func collect() {
        did("collect")
        if isJournaling { journal.collect(time: EngineTime(wall)) }
        drain()
    }

    func drain() {
        guard journal.pendingBytes > 0 else { return }
        let part = journal.take(replacement: ByteBuffer())
        withExtendedLifetime(part.bytes) { backlog?.append($0.bytes, at: part.offset) }
    }

    func beginBacklog() {
        drain()
        if backlog == nil { backlog = Backlog(capacity: 1 << 20, offset: journal.offset) }
    }

    func restartBacklog() { backlog?.restart(at: journal.offset) }

    func restartJournal(at offset: Int64, time: EngineTime) {
        did("journal at \(offset)")
        drain()
        journal.restart(at: offset, time: time)
        backlog?.restart(at: offset)
    }

    func withBacklog<Result>(_ body: (Backlog?) -> Result) -> Result { body(backlog) }
    func switchStreamOn() { setJournaling(isPrimary: driver.role.leads) }

    func setJournaling(isPrimary: Bool) {
        guard isJournaling != isPrimary else { return }
        did("journaling \(isPrimary)")
        isJournaling = isPrimary
        engine.setJournaling(isPrimary)
    }

    func beginCounting() { hasUncountedChanges = false }
    func detach() { did("detach") }
    func attach(history: String, isNewState: Bool) { did("attach \(isNewState)") }
    func rename(from old: String?, to new: String) { did("rename to \(new.suffix(1))") }
    func restore(number: Int, horizon: EngineTime) {
        did("restore \(number)")
        restoreHorizon = horizon
    }

    func stopRestoring() { did("stop restoring") }
    func resumeLog() { did("resume log") }

    func save(_ role: SavedRole) throws(StorageError) {
        if let saveError {
            did("cannot save")
            throw saveError
        }
        saved = role
        did("save")
    }

    func connect(to address: PeerAddress) { did("connect to \(address.port)") }
    func sendUpstream(_ bytes: [UInt8]) {
        let words = bytes.text.split(separator: "\r\n").filter { !$0.hasPrefix("*") && !$0.hasPrefix("$") }
        did("send \(words.joined(separator: " "))")
    }

    func disconnect() { did("disconnect") }
    func close(_ replica: ServedReplica, after bytes: [UInt8]) {
        did("close \(replica.id)\(bytes.isEmpty ? "" : " after \(bytes.text.prefix(8))")")
    }

    func answer(_ answer: Acknowledgements.Answer) {
        did("answer \(answer.ticket): \(answer.count)\(answer.isLocal ? " and here" : "")")
    }

    func unblock(_ ticket: UInt64) { did("unblock \(ticket)") }
    func note(_ note: NodeNote) {}
}
