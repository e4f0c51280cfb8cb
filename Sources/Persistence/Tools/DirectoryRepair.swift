// Repairs a directory with a damaged log so that a server starts from it: cuts the journal at its last valid batch.
//
// Owns: what is given up, and that nothing is lost for good: every file that is changed or dropped is kept as
// NAME.damaged-N. Refuses a directory whose snapshot or manifest is damaged, or whose files are of another version or
// unreadable: cutting those might discard valid data.
//
// Order: copies, then the manifest, then the cut, then the sync mark. An interrupted repair can be run again: until the
// manifest is replaced, only the names of logs about to be dropped have changed; after that, the damage is in the last
// log.

import Glibc

/// What a repair did.
package struct DirectoryRepair: Sendable {
    /// The log that was cut, and at which byte; nil when none was.
    package private(set) var cut: (name: String, position: Int)?
    /// Logs that are no longer part of the state.
    package private(set) var dropped: [String] = []
    private var kept: KeptFiles
    /// Names of the copies.
    package var copies: [String] { kept.names }
    /// Journal offset where the log now ends.
    package private(set) var end: Int64 = 0
    /// Bytes of journal given up, including those that had been on disk once and are in no file any more.
    package private(set) var journalBytesGivenUp: Int64 = 0
    /// Records given up, as far as they can be counted; a damaged batch has an unknown number more.
    package private(set) var recordsGivenUp = 0

    private let system: any FileSystem
    private let directory: String

    /// Why a directory cannot be repaired: one sentence.
    package struct Failure: Error, Equatable, Sendable {
        /// The sentence.
        package let text: String
    }

    /// Repairs the directory that `check` has just examined and whose lock the caller holds. Nil when there is nothing
    /// to repair.
    package init?(files system: any FileSystem, check: DirectoryCheck) throws(Failure) {
        self.system = system
        directory = check.directory
        kept = KeptFiles(system, check.directory, as: "damaged")
        if let problem = check.problem { throw Failure(text: "this cannot be repaired: \(problem)") }
        guard let manifest = check.manifest else { return nil }
        for file in check.files where file.role == .snapshot {
            if case .damaged(let error) = file.condition {
                throw Failure(text: "a damaged snapshot cannot be repaired; restore it from a copy: \(error)")
            }
        }
        let logs = check.files.filter { $0.role == .log }
        guard let first = logs.firstIndex(where: { $0.condition != .sound }) else { return nil }
        try DirectoryRepair.demandDamage(logs[first].condition)
        do throws(StorageError) {
            try run(manifest, logs: logs, first: first, mark: check.mark)
        } catch {
            throw Failure(text: "the repair did not finish, and can be run again: \(error)")
        }
    }

    private static func demandDamage(_ condition: DirectoryCheck.Condition) throws(Failure) {
        guard case .damaged(let error) = condition else { return }
        switch error.cause {
        case .damage, .storage(ENOENT): return
        case .version: throw Failure(text: "this is not damage, so it is not cut off: \(error)")
        case .storage, .stopped: throw Failure(text: "a file that cannot be read cannot be repaired: \(error)")
        }
    }

    private mutating func run(
        _ manifest: Manifest, logs: [DirectoryCheck.File], first: Int, mark: Int64?
    ) throws(StorageError) {
        let snapshotOffset = manifest.snapshot?.offset ?? 0
        // A log without a valid header contains nothing to keep.
        var count = logs[first].validBytes == nil ? first : first + 1
        end = (count > 0 ? logs[count - 1].end : nil) ?? snapshotOffset
        // The snapshot already contains everything that is left of the log, and the log could not continue from there.
        if end < snapshotOffset { (count, end) = (0, snapshotOffset) }
        let lengths = logs.map { ($0.start ?? 0) + Int64(max(0, $0.bytes - FileHeader.size)) }
        journalBytesGivenUp = max(manifest.promised(mark: mark), lengths[first...].max() ?? end, end) - end
        recordsGivenUp = logs[first...].reduce(0) { $0 + $1.records + $1.recordsBehind }
        if count > first { recordsGivenUp -= logs[first].records }

        if count > first, let valid = logs[first].validBytes, valid < logs[first].bytes {
            try kept.copy(logs[first].name)
            cut = (logs[first].name, valid)
        }
        try kept.copy(Manifest.fileName)
        // Even a mark that is not valid.
        if try system.exists(path(SyncMark.fileName)) { try kept.copy(SyncMark.fileName) }
        for log in logs[count...] {
            dropped.append(log.name)
            try kept.setAside(log.name)
        }
        try system.syncDirectory(directory)

        if count < logs.count {
            var next = manifest
            next.logs.removeLast(logs.count - count)
            try system.replace(path(Manifest.fileName), with: next.encoded(), inDirectory: directory)
        }
        if let cut { try truncate(cut.name, to: cut.position) }
        try writeMark()
    }

    private func path(_ name: String) -> String { "\(directory)/\(name)" }

    // MARK: Changes

    private func truncate(_ name: String, to size: Int) throws(StorageError) {
        let file = try system.open(path(name), .update)
        try file.truncate(to: size)
        try file.syncAll()
    }

    /// Unlike a server's, this mark is synced: the previous one may be beyond the remaining log.
    private func writeMark() throws(StorageError) {
        let file = try system.open(path(SyncMark.fileName), .create)
        var failure: StorageError?
        SyncMark.encoded(end).withUnsafeBytes { bytes in
            do throws(StorageError) { try file.writeAll(bytes, at: 0) } catch { failure = error }
        }
        if let failure { throw failure }
        try file.syncAll()
        try system.syncDirectory(directory)
    }
}
