// What a recovery found, its progress, and why it refused.

package import LimiterEngine
import Synchronization

/// What a recovery found and did.
package struct RecoveryReport: Sendable {
    /// The files that make up the state.
    package var manifest: Manifest
    /// Journal offset after the last valid batch.
    package var end: Int64 = 0
    /// The journal is on disk up to here, according to the sync mark and the snapshot. The rest may be in the page
    /// cache only.
    package var synced: Int64 = 0
    /// The latest engine time in any file: the engine's time must not begin before it.
    package var lastTime = EngineTime(nanoseconds: 0)
    /// Records restored: key states, removals and control records.
    package var records = 0
    /// Bytes cut from the end of the last log, and from which file.
    package var cut: (file: String, position: Int, bytes: Int)?
    /// Bytes of the snapshot.
    package var snapshotBytes = 0
    /// Bytes of the logs.
    package var logBytes = 0
    /// The largest number of any file in the directory, leftovers included.
    package var largestNumber = 0
    /// Whether there was anything to recover.
    package var foundState: Bool { manifest.snapshot != nil || !manifest.logs.isEmpty }
}

/// Why a directory cannot be recovered from. Names the file and, where it is known, the byte.
package struct RecoveryError: Error, Equatable, Sendable {
    /// The file's path.
    package let path: String
    /// The byte of the file, from 0, where the damage begins.
    package let position: Int?
    /// A sentence without its subject, the path.
    package let reason: String

    /// The kind of error: a repair must not mistake a lack of permissions for damage.
    enum Cause: Equatable, Sendable {
        /// The bytes are invalid.
        case damage
        /// The bytes may be valid for another version of the program.
        case version
        /// The bytes could not be read; the kernel's error number.
        case storage(Int32)
        /// No error: the caller stopped early.
        case stopped
    }

    let cause: Cause

    init(_ path: String, _ position: Int?, _ reason: String, cause: Cause = .damage) {
        self.path = path
        self.position = position
        self.reason = reason
        self.cause = cause
    }

    init(_ error: StorageError) {
        self.init(error.path, nil, "\(error.operation): \(error.reason)", cause: .storage(error.code))
    }

    /// Runs `body`, converting its failures to recovery errors.
    static func wrapping<Result>(
        _ body: () throws(StorageError) -> Result
    ) throws(RecoveryError) -> Result {
        do throws(StorageError) {
            return try body()
        } catch {
            throw RecoveryError(error)
        }
    }
}

extension RecoveryError: CustomStringConvertible {
    /// `/data/log-3, byte 4711: the batch has a wrong checksum`.
    package var description: String { path + (position.map { ", byte \($0)" } ?? "") + ": " + reason }

    /// The command that shows what comes next for the data directory `path`, to be appended to the error's sentence;
    /// empty where it would add nothing.
    package func remedy(directory path: String) -> String {
        guard cause == .damage else { return "" }
        return "; `escapement check \(ShellWord.quoted(path))` shows what is damaged, and the command that comes next"
    }
}

/// A recovery's progress. Any thread may read it.
package final class RecoveryProgress: Sendable {
    private let done = Atomic<Int>(0)
    private let total = Atomic<Int>(0)

    /// No progress yet, and no total.
    package init() {}

    /// Bytes read so far, and bytes to read.
    package var bytes: (done: Int, total: Int) {
        (done.load(ordering: .relaxed), total.load(ordering: .relaxed))
    }

    /// Resets progress and total.
    package func reset() {
        done.store(0, ordering: .relaxed)
        total.store(0, ordering: .relaxed)
    }

    func expect(_ bytes: Int) { total.add(bytes, ordering: .relaxed) }
    func advance(_ bytes: Int) { done.add(bytes, ordering: .relaxed) }
}
