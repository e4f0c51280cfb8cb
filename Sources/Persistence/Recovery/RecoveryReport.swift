// What a recovery found, how far it is, and why it refused.

public import LimiterEngine
import Synchronization

/// What a recovery found and did.
public struct RecoveryReport: Sendable {
    /// Which files are the state.
    public var manifest: Manifest
    /// Offset in the journal behind the last valid batch.
    public var end: Int64 = 0
    /// Up to here the journal is on disk, by the sync mark and the snapshot. The rest may be in the kernel's memory
    /// alone.
    public var synced: Int64 = 0
    /// The latest engine time in any file: the engine's time must not begin before it.
    public var lastTime = EngineTime(nanoseconds: 0)
    /// Records put back: key states, removals and control records.
    public var records = 0
    /// Bytes cut from the end of the last log, and which it was.
    public var cut: (file: String, position: Int, bytes: Int)?
    /// Bytes of the snapshot.
    public var snapshotBytes = 0
    /// Bytes of the logs.
    public var logBytes = 0
    /// The largest number of any file in the directory, leftovers included.
    public var largestNumber = 0
    /// Whether there was anything to recover.
    public var foundState: Bool { manifest.snapshot != nil || !manifest.logs.isEmpty }
}

/// Why a directory cannot be recovered from. Says which file and, where it is known, which byte.
public struct RecoveryError: Error, Equatable, Sendable {
    /// The file's path.
    public let path: String
    /// The byte of the file, from 0, where the damage begins.
    public let position: Int?
    /// A sentence without its subject's path.
    public let reason: String

    /// What kind of trouble it is: what a repair asks, which must not take a lack of rights for damage.
    enum Cause: Equatable, Sendable {
        /// The bytes are not what they should be.
        case damage
        /// They may well be, for another version of the program.
        case version
        /// They could not be had; the kernel's error number.
        case storage(Int32)
        /// None: whoever looked had seen enough.
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

    /// Runs `body`, whose failures are those of a recovery.
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
    public var description: String { path + (position.map { ", byte \($0)" } ?? "") + ": " + reason }

    /// What mends the directory `path`, as the end of a sentence that names the error; empty where no command does.
    public func remedy(directory path: String) -> String {
        guard cause == .damage else { return "" }
        return
            "; `escapement check \(path)` tells what is damaged, `escapement check \(path) --fix` cuts the log there "
            + "and keeps a copy"
    }
}

/// How far a recovery is. Any thread may look.
public final class RecoveryProgress: Sendable {
    private let done = Atomic<Int>(0)
    private let total = Atomic<Int>(0)

    /// Nothing done of nothing.
    public init() {}

    /// Bytes there are to read, and how many of them have been.
    public var bytes: (done: Int, total: Int) {
        (done.load(ordering: .relaxed), total.load(ordering: .relaxed))
    }

    /// Begins anew: nothing done of nothing.
    public func reset() {
        done.store(0, ordering: .relaxed)
        total.store(0, ordering: .relaxed)
    }

    func expect(_ bytes: Int) { total.add(bytes, ordering: .relaxed) }
    func advance(_ bytes: Int) { done.add(bytes, ordering: .relaxed) }
}
