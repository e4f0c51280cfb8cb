// Restores an engine's state from the files of a directory.
//
//   manifest ─▶ snapshot: workers share its batches; a key that occurs twice is in the log again
//            ─▶ logs in order: every worker reads all batches and restores the keys of its own shards
//
// Policies and rules are read the same way and applied once, at the end: a policy that a later record replaces is never
// built, however often it was changed.
//
// Owns: the order of files and workers. StateFile decides what is a torn tail and what is damage: a last log that ends
// in something that is not a batch was torn by a crash and is cut here, unless the sync mark or the snapshot shows that
// this part had reached the disk. Anything else that is invalid makes the recovery refuse, naming the file and the
// byte. Nothing on disk is changed except by the cut.

import Glibc
package import LimiterEngine

/// Recovers an engine from a directory. Use once.
package final class Recovery {
    /// Runs a closure for every number below a count, concurrently or one after the other.
    package typealias Concurrently = (_ count: Int, _ body: @escaping @Sendable (Int) -> Void) -> Void

    private let files: any FileSystem
    private let path: String
    private let engine: Engine
    private let horizon: EngineTime
    private let workers: Int
    private let progress: RecoveryProgress
    private let concurrently: Concurrently
    private let isWanted: @Sendable () -> Bool

    /// - Parameters:
    ///   - engine: Empty, not journaling, without a memory limit.
    ///   - horizon: The wall clock now: states that expire by then are not restored.
    ///   - workers: How many to use: a power of two, at most the number of shards.
    ///   - isWanted: Called by every worker before each batch; false ends the recovery with an error.
    package init(
        files: any FileSystem, path: String, engine: Engine, horizon: EngineTime, workers: Int = 1,
        progress: RecoveryProgress = RecoveryProgress(),
        concurrently: @escaping Concurrently = { count, body in for number in 0..<count { body(number) } },
        isWanted: @escaping @Sendable () -> Bool = { true }
    ) {
        self.files = files
        self.path = path
        self.engine = engine
        self.horizon = horizon
        self.workers = workers
        self.progress = progress
        self.concurrently = concurrently
        self.isWanted = isWanted
    }

    /// Restores everything.
    ///
    /// - Parameters:
    ///   - history: The name of a new journal where there is none yet.
    ///   - cutsTornTail: Whether to cut a torn tail; otherwise the recovery refuses.
    package func run(history: String, cutsTornTail: Bool) throws(RecoveryError) -> RecoveryReport {
        let layout = try DirectoryLayout(files: files, path: path)
        var report = RecoveryReport(manifest: layout.manifest ?? Manifest(history: history))
        report.largestNumber = layout.largestNumber
        let promised = report.manifest.promised(mark: layout.mark)
        report.synced = promised
        let entries = StateFile.entries(of: report.manifest)
        // All headers first, so that a missing file is reported before minutes of reading. One file is open at a time,
        // since there may be more than the kernel's limit per process.
        for (entry, content) in entries {
            progress.expect(try StateFile(files: files, directory: path, entry: entry, content: content).size)
        }
        var policies = PolicyReplay()
        for (index, (entry, content)) in entries.enumerated() {
            let source = try StateFile(files: files, directory: path, entry: entry, content: content)
            let results = replay(source)
            let first = results.min { ($0.position, $0.isFailure ? 0 : 1) < ($1.position, $1.isFailure ? 0 : 1) }!
            report.records += source.header.content == .snapshot ? results.reduce(0) { $0 + $1.records } : first.records
            report.lastTime = max(report.lastTime, source.header.time, results.map(\.lastTime).max()!)
            if let failure = first.failure { throw failure }
            for result in results { policies.add(result.policies) }
            switch source.header.content {
            case .snapshot:
                try source.demandComplete(results)
                report.snapshotBytes = source.size
                report.end = source.header.journalOffset
            case .log:
                if index + 1 < entries.count {
                    try source.demandContinuation(first, next: entries[index + 1].entry.offset)
                } else {
                    try settleTail(source, first, promised: promised, cuts: cutsTornTail, report: &report)
                }
                report.logBytes += min(source.size, first.position)
                report.end = max(report.end, source.end(first))
            }
        }
        try policies.put(into: engine.policies, path: path)
        return report
    }

    // MARK: Replaying

    private func replay(_ source: StateFile) -> [ReplayResult] {
        let results = ResultBox(count: workers)
        let isSnapshot = source.isSnapshot
        if isSnapshot {
            // A record has at least eight bytes of state and two or three more.
            engine.reserve(keys: min(source.header.keys, source.size / 11))
        }
        let (engine, horizon, workers, progress, isWanted) = (engine, horizon, workers, progress, isWanted)
        concurrently(workers) { number in
            let restorer = Restorer(
                engine: engine, horizon: horizon, part: isSnapshot ? 0 : number, of: isSnapshot ? 1 : workers)
            let replay = Replay(
                reader: source.reader(), path: source.path, restorer: restorer, isSnapshot: isSnapshot,
                progress: isSnapshot || number == 0 ? progress : nil, gathersPolicies: isSnapshot || number == 0,
                isWanted: isWanted)
            results[number] = isSnapshot ? replay.run(every: workers, from: number) : replay.run(every: 1, from: 0)
        }
        return results.all
    }

    // MARK: The end of the last log

    private func settleTail(
        _ source: StateFile, _ result: ReplayResult, promised: Int64, cuts: Bool, report: inout RecoveryReport
    ) throws(RecoveryError) {
        guard let damage = try source.tornTail(result, promised: promised) else { return }
        let path = source.path
        guard cuts else {
            throw RecoveryError(
                path, damage.position, "the batch \(damage.reason), and aof-load-truncated forbids cutting it off"
            )
        }
        report.cut = (path, damage.position, source.size - damage.position)
        try RecoveryError.wrapping { () throws(StorageError) in
            let file = try files.open(path, .update)
            try file.truncate(to: damage.position)
            try file.syncAll()
        }
    }
}
