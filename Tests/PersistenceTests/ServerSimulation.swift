// A server without sockets and threads: an engine, its journal and its directory, driven by random numbers, with a
// record of its promises. The caller decides what happens to the disk.
//
// LogDirectory is called in more orders than the server's journal driver ever uses; DriverSimulation runs the driver
// itself. Owns: the response to failures. A failed append is retried later; after a failed sync the log continues in
// an unpublished segment after a new snapshot.

import LimiterEngine
import Persistence
import TestSupport

/// Where the simulated server keeps its files.
let simulatedDirectory = "/data"
/// The name of its history.
let simulatedHistory = String(repeating: "0", count: 40)

class ServerSimulation {
    /// A server's promises at the moment of a fault.
    struct Promise {
        /// The stream's state after every batch, by the batch's end offset, with the batch's time.
        var history: [Int64: (states: States, policies: PolicyBytes, time: EngineTime)] = [0: ([:], [:], .seconds(0))]
        /// Everything up to this offset must survive.
        var guaranteed: Int64 = 0
        /// Engine time at the end; no recovered time may be later.
        var latest = EngineTime.seconds(1_000_000)

        /// What the stream has contained: kinds of state by name, policies and rules, and removed ones.
        var kinds: Set<String> {
            let last = history[history.keys.max() ?? 0]?.policies ?? [:]
            return history.values.reduce(into: []) { kinds, batch in
                for state in batch.states.values { kinds.insert("\(state.kind)") }
                for key in batch.policies.keys {
                    let kind = PolicyRecord.Kind(rawValue: key[0])!
                    kinds.insert("\(kind)")
                    if last[key] == nil { kinds.insert("\(kind)Removal") }
                }
            }
        }
        /// Every kind that can occur.
        static let allKinds = Set(
            StateKind.allCases.map { "\($0)" } + PolicyRecord.Kind.allCases.map { "\($0)" })
    }

    enum Mode: CaseIterable { case always, everysec }

    let files: SimulatedFileSystem
    let mode: Mode
    var random: SeededGenerator
    var promise: Promise
    var now: EngineTime

    let session: KeyspaceSession
    let journal: Journal
    private(set) var log: LogDirectory
    /// The stream's states as of the last collection.
    var collected: States
    private var waiting: [Journal.Part] = []
    private var snapshot: (writer: SnapshotWriter, number: Int)?
    private var syncing: (job: LogDirectory.SyncJob, result: Result<Void, StorageError>?)?
    private var needsSnapshot = false
    /// Questions asked and flushes made: they determine the database without drawing numbers.
    private var asked = 0
    private var flushes = 0
    private var appendFailures = 0
    /// Parts of the journal were discarded that no file contains.
    private var hasGap = false

    /// A server on a directory that was recovered into `engine`, without an open segment.
    required init(
        files: SimulatedFileSystem, engine: Engine, report: RecoveryReport, promise: Promise, mode: Mode,
        wall: EngineTime, random: SeededGenerator
    ) {
        self.files = files
        self.mode = mode
        self.random = random
        self.promise = promise
        now = max(wall, report.lastTime)
        session = KeyspaceSession(engine: engine)
        collected = session.allStates()
        engine.setJournaling(true)
        journal = Journal(engine: engine, offset: report.end)
        log = LogDirectory(files: files, path: simulatedDirectory, recovered: report)
        self.promise.history = promise.history.filter { $0.key <= report.end }
    }

    // MARK: Running

    /// Begins the log; returns false if the disk failed.
    func start() -> Bool {
        // Before or after the first segment; never during a snapshot, which no manifest names yet.
        if random.below(2) == 0, snapshot == nil { log.removeLeftovers() }
        attempt { () throws(StorageError) in
            if !log.isOpen { try log.roll(at: journal.offset, time: now, continues: true) }
            if snapshot == nil { log.removeLeftovers() }
        }
        note()
        return log.isOpen
    }

    /// Ends the log and begins it again without changes in between.
    private func reopen() {
        flush()
        guard waiting.isEmpty, !hasGap, log.isPublished, !log.isDamaged else { return }
        if attempt({ () throws(StorageError) in try log.close() }) { _ = start() }
    }

    /// The disk no longer fails: eventually everything is on it. Then the process may shut down cleanly.
    func heal() throws(BrokenPromise) {}

    /// Performs one random step.
    func step() {
        defer { note() }
        promise.latest = max(promise.latest, now)
        guard log.isOpen else {
            _ = start()
            return
        }
        switch random.below(20) {
        case 0..<9: for _ in 0...random.below(3) { change() }
        case 9..<13: flush()
        case 13, 14: sync()
        case 15: pass()
        case 16: if random.below(3) == 0 { flushSome() } else if random.below(3) == 0 { reopen() }
        case 17: beginSnapshot()
        default: continueSnapshot()
        }
        if mode == .always {
            flush()
            if log.synced < log.appended { sync() }
        }
    }

    func change() {
        let question = Question(&random, keys: 10)
        asked += 1
        session.database = [0, 0, 1, 0, 2][asked % 5]
        question.ask(session, journal: journal, now: now)
        // A change of policies or rules is in the stream at once, ahead of changes that await collection.
        remember()
    }

    /// Advances the clock by a random amount.
    func pass() { now = now.adding(Int64(random.below(20_000)) * 1_000_000) }

    // MARK: Journal

    /// Encodes every change so far into the journal.
    func encode() {
        journal.collect(time: now)
        collected = session.allStates()
        remember()
    }

    private func collect() {
        encode()
        let part = journal.take(replacement: ByteBuffer(capacity: 64))
        if part.bytes.count > 0 { waiting.append(part) }
    }

    /// Records the state after the batch just made, if any: the states last collected, and the policies and rules as
    /// of now.
    func remember() {
        guard promise.history[journal.offset] == nil else { return }
        promise.history[journal.offset] = (collected, session.engine.policyBytes, now)
    }

    func removeAll() {
        journal.record(.flushAll, time: now) { session.removeAll() }
        collected = [:]
        remember()
    }

    private func flushSome() {
        flushes += 1
        if flushes % 2 == 0 { flushAll() } else { flushDatabase(asked % 3) }
    }

    private func flushDatabase(_ database: Int) {
        session.database = database
        journal.excludingCollections {
            switch session.removeDatabase() {
            case .nothing: break
            case .everything: journal.recordExcluding(.flushAll, time: now)
            case .database:
                withUnsafeBytes(of: UInt8(session.database)) {
                    journal.recordExcluding(.flushDatabase, body: $0, time: now)
                }
            }
        }
        collected = collected.filter { name, _ in
            database == 0 ? name.hasPrefix("db1 ") || name.hasPrefix("db2 ") : !name.hasPrefix("db\(database) ")
        }
        remember()
        flush()
    }

    private func flushAll() {
        removeAll()
        flush()
    }

    private func flush() {
        collect()
        if hasGap { return repair() }
        while let part = waiting.first {
            guard attempt({ () throws(StorageError) in try log.append(part) }) else {
                appendFailures += 1
                // A server that gives up its log discards the parts waiting for it.
                if appendFailures > 4 {
                    appendFailures = 0
                    repair()
                }
                return
            }
            waiting.removeFirst()
        }
    }

    private func sync() {
        if log.isSegmentDamaged { return repair() }
        if mode == .always || random.below(4) == 0 {
            attempt { () throws(StorageError) in try log.sync() }
        } else if let (job, result) = syncing {
            if let result {
                syncing = nil
                attempt { () throws(StorageError) in try log.finishSync(job, result) }
            } else {
                syncing = (job, job.run())
            }
        } else if let job = log.beginSync() {
            syncing = (job, random.below(2) == 0 ? job.run() : nil)
        }
        if log.isSegmentDamaged { repair() }
    }

    // MARK: Snapshots

    /// Continues in a segment that takes effect once a new snapshot precedes it.
    private func repair() {
        // A snapshot that continues is refused at its end.
        if random.below(2) == 0 { abandonSnapshot() }
        collect()
        waiting = []
        hasGap = true
        needsSnapshot = true
        let isOpen = attempt { () throws(StorageError) in
            try log.roll(at: journal.offset, time: now, continues: false)
        }
        if isOpen { hasGap = false }
    }

    private func beginSnapshot() {
        guard snapshot == nil else { return continueSnapshot() }
        flush()
        guard waiting.isEmpty, log.appended == journal.offset else { return }
        let isInDoubt = log.isDamaged || !log.isPublished
        if log.isSegmentDamaged { return repair() }
        // An unpublished segment that is still empty serves as well as a new one.
        if !isInDoubt || random.below(2) == 0 {
            guard
                attempt({ () throws(StorageError) in
                    try log.roll(at: journal.offset, time: now, continues: !isInDoubt)
                })
            else { return }
        }
        var reserved: Int?
        attempt { () throws(StorageError) in
            let number = try log.reserveSnapshot()
            reserved = number
            let writer = try SnapshotWriter(
                files: files, directory: simulatedDirectory, number: number, journalOffset: journal.offset,
                engine: session.engine, time: now)
            snapshot = (writer, number)
        }
        if snapshot == nil, let reserved { log.abandon(snapshot: reserved) }
    }

    private func continueSnapshot() {
        guard let (writer, number) = snapshot else {
            if needsSnapshot { beginSnapshot() }
            return
        }
        let isDone = attempt { () throws(StorageError) in
            guard try !writer.step(time: now) else { return }
            if random.below(2) == 0 { change() }
            let finished = try writer.finish(time: now)
            flush()
            guard waiting.isEmpty, log.appended == journal.offset else {
                abandonSnapshot()
                return
            }
            try log.adopt(finished)
            snapshot = nil
            needsSnapshot = false
        }
        if !isDone, snapshot?.number == number { abandonSnapshot() }
    }

    private func abandonSnapshot() {
        guard let number = snapshot?.number else { return }
        log.abandon(snapshot: number)
        snapshot = nil
    }

    // MARK: Promises

    /// Everything the directory reports as safe is now promised.
    private func note() {
        guard !files.isStopped, log.isOpen, log.isPublished, !log.isDamaged else { return }
        promise.guaranteed = max(promise.guaranteed, log.synced)
    }

    @discardableResult
    private func attempt(_ body: () throws(StorageError) -> Void) -> Bool {
        do throws(StorageError) {
            try body()
            return true
        } catch {
            return false
        }
    }
}
