// The journal's bytes in transit to all their readers, in one order: the backlog that replicas are served from, and the
// parts that wait for the disk. Every collector also drains: bytes are taken from the journal once and passed to both
// readers.

import LimiterEngine
import Persistence
import Replication
import Synchronization
import System

/// Passes the journal's bytes to the disk and to replicas. All methods are safe to call from any thread.
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

    /// Passes everything encoded so far to the readers. Returns whether there was anything.
    @discardableResult
    func drain() -> Bool { state.withLock { drain(&$0) } }

    private func drain(_ state: inout State) -> Bool {
        guard journal.pendingBytes > 0 else { return false }
        _ = drainToEnd(&state)
        return true
    }

    /// As `drain`, and returns the end of what it passed on: anything added later comes after that offset. The
    /// journal's own offset may have advanced by then.
    private func drainToEnd(_ state: inout State) -> Int64 {
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

    /// Takes back a buffer after it has been written.
    func recycle(_ buffer: ByteBuffer) {
        buffer.removeAll(retaining: JournalStream.retained)
        state.withLock { if $0.spare == nil { $0.spare = buffer } }
    }

    /// Starts passing parts to the disk, beginning at the journal's current end, which is returned. Bytes before it
    /// reach the disk some other way, or not at all.
    func beginDisk() -> Int64 {
        state.withLock { state in
            endDisk(&state)
            let end = drainToEnd(&state)
            state.wantsDisk = true
            return end
        }
    }

    /// Stops keeping parts for the disk.
    func endDisk() { state.withLock { endDisk(&$0) } }

    /// Bytes that wait for the disk, including those still in the journal; 0 if the disk wants none.
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
            // In one step: another thread may add to the journal meanwhile, and those bytes belong in the backlog.
            let end = drainToEnd(&state)
            state.backlog = Backlog(capacity: capacity, offset: end)
            backlogExists.store(true, ordering: .relaxed)
        }
    }

    /// Empties the backlog, which continues at the journal's end.
    func restartBacklog() {
        state.withLock { state in
            _ = drain(&state)
            if let backlog = state.backlog { backlog.restart(at: backlog.end) }
        }
    }

    /// Moves the journal to another offset, and the backlog with it. The disk must not want any parts.
    func restart(at offset: Int64, time: EngineTime) {
        state.withLock { state in
            precondition(!state.wantsDisk)
            _ = drain(&state)
            journal.restart(at: offset, time: time)
            state.backlog?.restart(at: offset)
        }
    }

    /// Runs `body` with the backlog locked.
    func withBacklog<Result>(_ body: (Backlog?) -> Result) -> Result {
        state.withLock { body($0.backlog) }
    }
}
