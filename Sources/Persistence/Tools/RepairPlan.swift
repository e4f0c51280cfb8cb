// What a repair of a damaged directory would do, decided before anything is changed.
//
// Owns: which logs are cut or dropped, and what that gives up. Refuses a directory whose snapshot or manifest is
// damaged, or whose files are of another version or unreadable: cutting those might discard valid data.

import Glibc

/// The changes to a directory with a damaged or torn log.
struct RepairPlan {
    /// The logs of the manifest, and the index of the first one that is not sound.
    let logs: [DirectoryCheck.File]
    let first: Int
    /// How many of the logs remain, the last of them cut.
    let count: Int
    /// The log to cut, and at which byte; nil when its valid part is empty or ends where the file does.
    let cut: (name: String, position: Int)?
    /// Journal offset where the log will end.
    let end: Int64
    /// Bytes of journal given up, including those that had been on disk once and are in no file any more.
    let journalBytesGivenUp: Int64
    /// Records given up, as far as they can be counted; a damaged batch has an unknown number more.
    let recordsGivenUp: Int

    /// Why a directory cannot be repaired, and by which error.
    enum Obstacle: Error {
        /// The manifest, or policies and rules that are inconsistent.
        case problem(RecoveryError)
        case snapshot(RecoveryError)
        case otherVersion(RecoveryError)
        case unreadable(RecoveryError)
    }

    /// The repair of the directory that `check` has examined. Nil when there is nothing to repair.
    init?(_ check: DirectoryCheck) throws(Obstacle) {
        if let problem = check.problem { throw RepairPlan.obstacle(problem) ?? .problem(problem) }
        guard let manifest = check.manifest else { return nil }
        for file in check.files where file.role == .snapshot {
            if case .damaged(let error) = file.condition { throw RepairPlan.obstacle(error) ?? .snapshot(error) }
        }
        let logs = check.files.filter { $0.role == .log }
        guard let first = logs.firstIndex(where: { $0.condition != .sound }) else { return nil }
        if case .damaged(let error) = logs[first].condition, let obstacle = RepairPlan.obstacle(error) {
            throw obstacle
        }
        let snapshotOffset = manifest.snapshot?.offset ?? 0
        // A log without a valid header contains nothing to keep.
        var count = logs[first].validBytes == nil ? first : first + 1
        var end = (count > 0 ? logs[count - 1].end : nil) ?? snapshotOffset
        // The snapshot already contains everything that is left of the log, and the log could not continue from there.
        if end < snapshotOffset { (count, end) = (0, snapshotOffset) }
        let lengths = logs.map { ($0.start ?? 0) + Int64(max(0, $0.bytes - FileHeader.size)) }
        let promised = manifest.promised(mark: check.mark)
        journalBytesGivenUp = max(promised, lengths[first...].max() ?? end, end) - end
        let records = logs[first...].reduce(0) { $0 + $1.records + $1.recordsBehind }
        recordsGivenUp = records - (count > first ? logs[first].records : 0)
        let valid = logs[first].validBytes ?? 0
        cut = count > first && valid < logs[first].bytes ? (logs[first].name, valid) : nil
        self.logs = logs
        self.first = first
        self.count = count
        self.end = end
    }

    /// The obstacle that an error is, unless it is damage.
    private static func obstacle(_ error: RecoveryError) -> Obstacle? {
        switch error.cause {
        case .damage, .storage(ENOENT): nil
        case .version: .otherVersion(error)
        case .storage, .stopped: .unreadable(error)
        }
    }
}

extension RepairPlan.Obstacle {
    /// The error that a start reports.
    var error: RecoveryError {
        switch self {
        case .problem(let error), .snapshot(let error), .otherVersion(let error), .unreadable(let error): error
        }
    }

    /// One sentence.
    var text: String {
        switch self {
        case .problem(let error): "this cannot be repaired: \(error)"
        case .snapshot(let error): "a damaged snapshot cannot be repaired; restore it from a copy: \(error)"
        case .otherVersion(let error): "this is not damage, so it is not cut off: \(error)"
        case .unreadable(let error): "a file that cannot be read cannot be repaired: \(error)"
        }
    }
}
