// A server without sockets and threads: an engine, its journal and its directory, driven by random numbers, and a
// record of what it has promised. The caller decides what happens to its disk.
//
// LogDirectory is called in more orders than the server's journal driver ever uses; DriverSimulation has the driver
// itself. Owns: how failures are answered. A failed append is tried again later; after a failed sync the log continues
// in an unpublished segment behind a new snapshot.

import LimiterEngine
import Persistence
import TestSupport

/// Where the simulated server keeps its files.
let simulatedDirectory = "/data"
/// What its journal is called.
let simulatedHistory = String(repeating: "0", count: 40)

class ServerSimulation {
    /// What a server had promised when something happened to it.
    struct Promise {
        /// What the stream says behind every batch, by the batch's end in the journal, and the batch's time.
        var history: [Int64: (states: States, policies: PolicyBytes, time: EngineTime)] = [0: ([:], [:], .seconds(0))]
        /// Up to here everything must survive.
        var guaranteed: Int64 = 0
        /// Engine time at the end: nothing can be later.
        var latest = EngineTime.seconds(1_000_000)

        /// What the stream has had: kinds of state by name, policies and rules, and ones that were removed.
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
        /// Everything there is to be had.
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
    /// The states that the stream has: those of the last collection.
    var collected: States
    private var waiting: [Journal.Part] = []
    private var snapshot: (writer: SnapshotWriter, number: Int)?
    private var syncing: (job: LogDirectory.SyncJob, result: Result<Void, StorageError>?)?
    private var needsSnapshot = false
    private var appendFailures = 0
    /// Parts of the journal have been thrown away that no file has.
    private var hasGap = false

    /// A server on a directory that has been recovered into `engine`; it has no segment yet.
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

    /// Gets the log going; false when the disk did not want to.
    func start() -> Bool {
        // Before or behind the first segment; never while a snapshot is being written, which is in no manifest yet.
        if random.below(2) == 0, snapshot == nil { log.removeLeftovers() }
        attempt { () throws(StorageError) in
            if !log.isOpen { try log.roll(at: journal.offset, time: now, continues: true) }
            if snapshot == nil { log.removeLeftovers() }
        }
        note()
        return log.isOpen
    }

    /// Ends the log and begins it again, with nothing changed in between.
    private func reopen() {
        flush()
        guard waiting.isEmpty, !hasGap, log.isPublished, !log.isDamaged else { return }
        if attempt({ () throws(StorageError) in try log.close() }) { _ = start() }
    }

    /// The disk works from here on: in the end everything is on it again. Then the process may end as it should.
    func heal() throws(BrokenPromise) {}

    /// One random step.
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
        case 16: if random.below(3) == 0 { flushAll() } else if random.below(3) == 0 { reopen() }
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
        question.ask(session, journal: journal, now: now)
        // A change of policies or rules is in the stream at once, in front of what waits to be collected.
        remember()
    }

    /// Some time passes.
    func pass() { now = now.adding(Int64(random.below(20_000)) * 1_000_000) }

    // MARK: Journal

    /// Has every change so far in the journal.
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

    /// The batch just made, if it was one, has the states last collected, and the policies and rules as they are now.
    func remember() {
        guard promise.history[journal.offset] == nil else { return }
        promise.history[journal.offset] = (collected, session.engine.policyBytes, now)
    }

    func removeAll() {
        journal.record(.flushAll, time: now) { session.removeAll() }
        collected = [:]
        remember()
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
                // A server that gives up on its log keeps nothing for it.
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

    /// Goes on in a segment that counts once a snapshot stands in front of it.
    private func repair() {
        // A snapshot that goes on is refused in the end.
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

    /// What the directory says is safe has now been promised.
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
