// A log segment's file and the results of its syncs.
//
// The kernel reports a write error once, to one of the callers of fsync, and considers the bytes written from then on.
// So when one thread's sync fails while another's is waiting, the second is told that it succeeded. Syncs of a file are
// therefore serialized, and once one has failed, all later ones fail.

import Synchronization
import System

/// A file that remembers a failed sync.
///
/// `@unchecked Sendable`: `failure` is touched only with `lock` held.
final class SyncedFile: @unchecked Sendable {
    /// The file, for everything but syncs.
    let base: any StorageFile
    /// Held while the disk works; no other lock is taken under it.
    private let lock: Lock
    private var failure: StorageError?

    init(_ base: any StorageFile) {
        self.base = base
        // A simulated disk may lose power inside a sync, and a server that starts from it syncs a later file.
        lock = .allocate(rank: .fileSync, order: SyncedFile.made.add(1, ordering: .relaxed).newValue)
    }

    private static let made = Atomic<Int>(0)

    deinit { lock.deallocate() }

    /// Syncs what was written before the call. Waits for a sync in progress.
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
