// An offline check of a directory: every file of the state, judged as a start would judge it.
//
// Owns: continuing after the first damage, so that a report is complete. StateFile judges, Replay reads, StateCensus
// counts up to the first damage. Changes nothing. The caller holds the directory's lock, or asks for `whileInUse`: the
// log of a running server has a torn tail at almost any moment.

package import LimiterEngine

/// The result of checking a directory.
package struct DirectoryCheck: Sendable {
    /// What a file is.
    package enum Role: String, Sendable {
        /// Names the files that make up the state.
        case manifest
        /// Records how far the log was synced.
        case syncMark = "sync mark"
        /// A full set of keys.
        case snapshot
        /// A segment of the journal.
        case log
        /// Not in the manifest: a file begun and not finished. The next start removes it.
        case leftover
    }

    /// The condition of a file.
    package enum Condition: Equatable, Sendable {
        /// Valid.
        case sound
        /// The last log ends in a tail torn by a crash; a start cuts it there.
        case torn(position: Int, reason: String)
        /// The file is unusable, and nothing depends on it.
        case ignored(reason: String)
        /// Makes a start refuse.
        case damaged(RecoveryError)

        var isDamaged: Bool { if case .damaged = self { true } else { false } }
    }

    /// One file.
    package struct File: Sendable {
        /// Its name in the directory.
        package let name: String
        /// What it is.
        package let role: Role
        /// Journal offset where it begins; for a sync mark and a snapshot the offset it refers to.
        package internal(set) var start: Int64?
        /// Journal offset where a log's valid batches end.
        package internal(set) var end: Int64?
        /// Records in valid batches up to the first damage.
        package internal(set) var records = 0
        /// Records in valid batches after it, as far as they can be found.
        package internal(set) var recordsBehind = 0
        /// Bytes of the file.
        package internal(set) var bytes = 0
        /// Byte of the file after its last valid batch before any damage; nil when its header is invalid.
        package internal(set) var validBytes: Int?
        /// Its condition.
        package internal(set) var condition = Condition.sound
    }

    /// The directory.
    package let directory: String
    /// Its files: manifest, sync mark, snapshot, logs in order, leftovers.
    package private(set) var files: [File] = []
    /// Why a start refuses, other than a file's damage: it is unknown which files make up the state, or the policies
    /// and rules in them are inconsistent.
    package private(set) var problem: RecoveryError?
    /// The manifest, where there is one.
    package private(set) var manifest: Manifest?
    /// The sync mark's offset.
    package private(set) var mark: Int64?
    /// The latest engine time in any file.
    package private(set) var lastTime = EngineTime(nanoseconds: 0)
    /// When the oldest file of the state was created; nil without one.
    package private(set) var firstTime: EngineTime?
    /// What a start would restore; nil where it would refuse.
    package private(set) var contents: StateContents?
    /// The records up to the first damage.
    package private(set) var tally = RecordTally()

    /// Whether a start would accept the directory as it is, or with its torn tail cut.
    package var isClean: Bool { problem == nil && !files.contains { $0.condition.isDamaged } }

    /// The snapshot and the logs.
    package var stateFiles: [File] { files.filter { $0.role == .snapshot || $0.role == .log } }

    /// Journal offset after the last valid batch of the last log.
    package var end: Int64 { stateFiles.map { max($0.end ?? 0, $0.start ?? 0) }.max() ?? 0 }

    /// The first damage that a start meets, or the reason why it does not get that far.
    package var firstDamage: RecoveryError? {
        problem ?? files.lazy.compactMap { if case .damaged(let error) = $0.condition { error } else { nil } }.first
    }

    /// Checks a log directory. O(bytes in it); memory for the largest batch, and 11 to 21 bytes a key.
    ///
    /// - Parameter now: The wall clock: states that expire by then count as expired. None do by default.
    package init(files system: any FileSystem, directory: String, now: EngineTime = EngineTime(nanoseconds: 0)) {
        self.directory = directory
        let census = StateCensus(now: now)
        do throws(RecoveryError) {
            let layout = try DirectoryLayout(files: system, path: directory)
            manifest = layout.manifest
            mark = layout.mark
            let names = try RecoveryError.wrapping { () throws(StorageError) in try system.list(directory) }
            addHead(system, names)
            if let manifest { checkState(system, manifest, census) }
            addLeftovers(system, names)
            if isClean { contents = try census.contents(path: directory) }
        } catch {
            problem = error
        }
        tally = census.tally
    }

    // MARK: Manifest, mark, leftovers

    private mutating func addHead(_ system: any FileSystem, _ names: [String]) {
        if manifest != nil { files.append(plain(system, Manifest.fileName, .manifest)) }
        guard names.contains(SyncMark.fileName) else { return }
        var file = plain(system, SyncMark.fileName, .syncMark)
        file.start = mark
        if mark == nil { file.condition = .ignored(reason: "it is not valid and is ignored") }
        files.append(file)
    }

    private mutating func addLeftovers(_ system: any FileSystem, _ names: [String]) {
        let known = Set(manifest?.fileNames ?? [])
        for name in names.sorted() where LogDirectory.isOwn(name) && !known.contains(name) {
            var file = plain(system, name, .leftover)
            file.condition = .ignored(reason: "it is not part of the state, and the next start removes it")
            files.append(file)
        }
    }

    private func plain(_ system: any FileSystem, _ name: String, _ role: Role) -> File {
        var file = File(name: name, role: role)
        file.bytes = DirectoryCheck.size(system, "\(directory)/\(name)")
        return file
    }

    /// Bytes of a file; 0 when unknown.
    private static func size(_ system: any FileSystem, _ path: String) -> Int {
        do throws(StorageError) { return try system.open(path, .read).size() } catch { return 0 }
    }

    // MARK: The state

    private mutating func checkState(
        _ system: any FileSystem, _ manifest: Manifest, _ census: StateCensus
    ) {
        if let entry = manifest.snapshot {
            let name = Manifest.snapshotName(entry.number)
            check(system, File(name: name, role: .snapshot), entry, census) { source, result throws(RecoveryError) in
                try source.demandComplete([result])
                return .sound
            }
        }
        let promised = manifest.promised(mark: mark)
        for (index, entry) in manifest.logs.enumerated() {
            let name = Manifest.logName(entry.number)
            let next = index + 1 < manifest.logs.count ? manifest.logs[index + 1].offset : nil
            check(system, File(name: name, role: .log), entry, census) { source, result throws(RecoveryError) in
                if let next {
                    try source.demandContinuation(result, next: next)
                    return .sound
                }
                let torn = try source.tornTail(result, promised: promised)
                return torn.map { .torn(position: $0.position, reason: $0.reason) } ?? .sound
            }
        }
    }

    private mutating func check(
        _ system: any FileSystem, _ found: File, _ entry: Manifest.Entry, _ census: StateCensus,
        _ judge: (StateFile, ReplayResult) throws(RecoveryError) -> Condition
    ) {
        var file = found
        let content: FileHeader.Content = file.role == .snapshot ? .snapshot : .log
        // Nothing after the first damage is part of a state.
        let isCounted = isClean
        file.start = entry.offset
        file.bytes = DirectoryCheck.size(system, "\(directory)/\(file.name)")
        do throws(RecoveryError) {
            let source = try StateFile(files: system, directory: directory, entry: entry, content: content)
            let reader = source.reader()
            var replay = Replay(
                reader: reader, path: source.path, restorer: nil, isSnapshot: source.isSnapshot, progress: nil,
                gathersPolicies: isCounted)
            if isCounted { replay.visit = { record, _ throws(RecoveryError) in census.add(record) } }
            let result = replay.run(every: 1, from: 0)
            census.add(result.policies)
            file.bytes = source.size
            file.records = result.records
            file.validBytes = result.position
            if content == .log { file.end = source.end(result) }
            lastTime = max(lastTime, source.header.time, result.lastTime)
            firstTime = min(firstTime ?? source.header.time, source.header.time)
            if result.invalid != nil || result.isFailure {
                file.recordsBehind = recordsBehind(reader, isAtDamage: result.invalid != nil)
            }
            if let failure = result.failure { throw failure }
            file.condition = try judge(source, result)
        } catch {
            file.condition = .damaged(error)
        }
        files.append(file)
    }

    /// Records in complete batches that can still be found: where a header is valid, the next batch follows it.
    private func recordsBehind(_ reader: BatchReader, isAtDamage: Bool) -> Int {
        var count = 0
        do throws(StorageError) {
            if isAtDamage { guard try reader.skip() else { return 0 } }
            while true {
                switch try reader.next() {
                case .end: return count
                case .invalid: guard try reader.skip() else { return count }
                case .batch(_, let bytes):
                    // In a batch with an invalid record, those before it count.
                    try? JournalBatch.forEachRecord(in: bytes) { _ throws(Never) in count += 1 }
                }
            }
        } catch {
            return count
        }
    }
}
