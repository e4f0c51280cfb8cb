// A log segment's file and what its syncs have said so far.
//
// The kernel reports that it could not write something once, to one of those who ask, and takes the bytes for written
// from then on. So when one thread's sync fails while another's waits, the other one is told that all is well. Syncs of
// a file therefore take turns, and one that failed has failed for all that come after it.

import Synchronization
import System

/// A file whose failed sync is never forgotten.
///
/// `@unchecked Sendable`: `failure` is touched only with `lock` held.
final class SyncedFile: @unchecked Sendable {
    /// The file, for everything but syncs.
    let base: any StorageFile
    /// Held while the disk works; nothing else is taken under it.
    private let lock: Lock
    private var failure: StorageError?

    init(_ base: any StorageFile) {
        self.base = base
        // A test's disk may lose power inside a sync, and a server that starts from it syncs a later file.
        lock = .allocate(rank: .fileSync, order: SyncedFile.made.add(1, ordering: .relaxed).newValue)
    }

    private static let made = Atomic<Int>(0)

    deinit { lock.deallocate() }

    /// Brings to disk what was written before the call. Waits for a sync that is under way.
    func sync() -> Result<Void, StorageError> {
        lock.acquire()
        defer { lock.release() }
        if let failure { return .failure(failure) }
        do throws(StorageError) {
            return .success(try base.syncAll())
        } catch {
            failure = error
            return .failure(error)
        }
    }
}
