// The journal's bytes on their way to all who read them, in one order: the backlog that replicas are served from, and
// the parts that wait for the disk. Whoever collects drains: bytes are taken once and handed to both.

import LimiterEngine
import Persistence
import Replication
import Synchronization
import System

/// Takes the journal's bytes to disk and replicas. Every method may be called by any thread.
final class JournalStream: Sendable {
    private struct State {
        var backlog: Backlog?
        var disk: [Journal.Part] = []
        /// Bytes of `disk`.
        var diskBytes = 0
        var wantsDisk = false
        var spare: ByteBuffer?
    }

    let journal: Journal
    private let state = Locked(State(), rank: .journalStream)
    private let backlogExists = Atomic<Bool>(false)

    init(journal: Journal) { self.journal = journal }

    /// Memory kept for the next part.
    private static let retained = 4 << 20

    /// Hands everything encoded so far to the readers. Returns whether there was anything.
    @discardableResult
    func drain() -> Bool { state.withLock { drain(&$0) } }

    private func drain(_ state: inout State) -> Bool {
        guard journal.pendingBytes > 0 else { return false }
        _ = take(&state)
        return true
    }

    /// As `drain`, and says up to where: what is added from here on comes behind. The journal's own offset may be
    /// further by now.
    private func take(_ state: inout State) -> Int64 {
        let part = journal.take(replacement: state.spare ?? ByteBuffer(capacity: 1 << 16))
        state.spare = nil
        // The buffer is emptied below.
        let end = part.end
        withExtendedLifetime(part.bytes) { bytes in state.backlog?.append(bytes.bytes, at: part.offset) }
        if state.wantsDisk, part.bytes.count > 0 {
            state.disk.append(part)
            state.diskBytes += part.bytes.count
        } else {
            part.bytes.removeAll(retaining: JournalStream.retained)
            state.spare = part.bytes
        }
        return end
    }

    // MARK: Disk

    /// The next part for the disk, if there is one.
    func nextForDisk() -> Journal.Part? {
        state.withLock { state in
            guard !state.disk.isEmpty else { return nil }
            let part = state.disk.removeFirst()
            state.diskBytes -= part.bytes.count
            return part
        }
    }

    /// Takes a buffer back that has been written.
    func recycle(_ buffer: ByteBuffer) {
        buffer.removeAll(retaining: JournalStream.retained)
        state.withLock { if $0.spare == nil { $0.spare = buffer } }
    }

    /// Has the disk's parts begin at the journal's end of this moment, which is returned: what lies in front of it the
    /// disk gets otherwise, or not at all.
    func beginDisk() -> Int64 {
        state.withLock { state in
            endDisk(&state)
            let end = take(&state)
            state.wantsDisk = true
            return end
        }
    }

    /// Keeps nothing more for the disk.
    func endDisk() { state.withLock { endDisk(&$0) } }

    /// Bytes that wait for the disk, those included that are still the journal's; 0 when the disk wants none.
    var bytesForDisk: Int { state.withLock { $0.wantsDisk ? $0.diskBytes + journal.pendingBytes : 0 } }

    private func endDisk(_ state: inout State) {
        state.disk = []
        state.diskBytes = 0
        state.wantsDisk = false
    }

    // MARK: Backlog

    /// Whether there is a backlog.
    var hasBacklog: Bool { backlogExists.load(ordering: .relaxed) }

    /// Begins a backlog at the journal's end, if there is none.
    func beginBacklog(capacity: Int) {
        state.withLock { state in
            guard state.backlog == nil else { return }
            // In one step: somebody may add to the journal meanwhile, and that is the backlog's.
            let end = take(&state)
            state.backlog = Backlog(capacity: capacity, offset: end)
            backlogExists.store(true, ordering: .relaxed)
        }
    }

    /// The backlog goes on empty at the journal's end.
    func restartBacklog() {
        state.withLock { state in
            _ = drain(&state)
            if let backlog = state.backlog { backlog.restart(at: backlog.end) }
        }
    }

    /// Has the journal go on elsewhere, and with it the backlog. The disk must not want anything.
    func restart(at offset: Int64, time: EngineTime) {
        state.withLock { state in
            precondition(!state.wantsDisk)
            _ = drain(&state)
            journal.restart(at: offset, time: time)
            state.backlog?.restart(at: offset)
        }
    }

    /// Runs `body` with the backlog held.
    func withBacklog<Result>(_ body: (Backlog?) -> Result) -> Result {
        state.withLock { body($0.backlog) }
    }
}
