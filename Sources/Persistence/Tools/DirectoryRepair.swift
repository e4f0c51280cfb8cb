// Repairs a directory with a damaged log so that a server starts from it: cuts the journal at its last valid batch.
//
// Owns: that nothing is lost for good: every file that is changed or dropped is kept as NAME.damaged-N. RepairPlan
// decides what is given up, and which directories cannot be repaired.
//
// Order: copies, then the manifest, then the cut, then the sync mark. An interrupted repair can be run again: until the
// manifest is replaced, only the names of logs about to be dropped have changed; after that, the damage is in the last
// log.

/// What a repair did.
package struct DirectoryRepair: Sendable {
    /// The log that was cut, and at which byte; nil when none was.
    package let cut: (name: String, position: Int)?
    /// Logs that are no longer part of the state.
    package private(set) var dropped: [String] = []
    private var kept: KeptFiles
    /// Names of the copies.
    package var copies: [String] { kept.names }
    /// Journal offset where the log now ends.
    package let end: Int64
    /// Bytes of journal given up, including those that had been on disk once and are in no file any more.
    package let journalBytesGivenUp: Int64
    /// Records given up, as far as they can be counted; a damaged batch has an unknown number more.
    package let recordsGivenUp: Int

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
        let plan: RepairPlan?
        do throws(RepairPlan.Obstacle) {
            plan = try RepairPlan(check)
        } catch {
            throw Failure(text: error.text)
        }
        guard let plan, let manifest = check.manifest else { return nil }
        cut = plan.cut
        end = plan.end
        journalBytesGivenUp = plan.journalBytesGivenUp
        recordsGivenUp = plan.recordsGivenUp
        do throws(StorageError) {
            try run(plan, manifest)
        } catch {
            throw Failure(text: "the repair did not finish, and can be run again: \(error)")
        }
    }

    private mutating func run(_ plan: RepairPlan, _ manifest: Manifest) throws(StorageError) {
        if let cut { try kept.copy(cut.name) }
        try kept.copy(Manifest.fileName)
        // Even a mark that is not valid.
        if try system.exists(path(SyncMark.fileName)) { try kept.copy(SyncMark.fileName) }
        for log in plan.logs[plan.count...] {
            dropped.append(log.name)
            try kept.setAside(log.name)
        }
        try system.syncDirectory(directory)

        if plan.count < plan.logs.count {
            var next = manifest
            next.logs.removeLast(plan.logs.count - plan.count)
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
