// The journal: the engine's changes as one byte stream with an offset. Disk and replicas read the same stream.
//
//   engine's dirty lists ─ collect ─▶ batches ─▶ pending bytes ─ take ─▶ the log on disk
//                            ▲
//   FLUSHALL and the like ─ record ─ exclude collections, so that no older state follows them
//
// Owns: the order of changes. Never touches a disk or a clock. Lock order: the journal's lock before stripes.

package import LimiterEngine
import Synchronization
import System

/// The stream of states.
///
/// `@unchecked Sendable`: everything mutable is touched only with `lock` held.
package final class Journal: @unchecked Sendable {
    private let engine: Engine
    private let lock = Lock.allocate(rank: .journal)
    private let encoder: BatchEncoder
    private let shownOffset: Atomic<Int64>
    private let shownPending = Atomic<Int>(0)
    private let abandonsStuckLocks = Atomic<Bool>(false)
    /// Memory kept in the pending buffer between collections.
    private static let retained = 1 << 20

    /// A journal that continues at `offset`. The caller switches journaling in the engine on and off.
    package init(engine: Engine, offset: Int64) {
        self.engine = engine
        encoder = BatchEncoder(offset: offset)
        shownOffset = Atomic(offset)
    }

    deinit { lock.deallocate() }

    /// From here on no caller waits more than a tenth of a second for a lock that another thread holds: the process is
    /// about to end although a command has not. Collections then skip shards whose stripes are held.
    package func abandonStuckLocks() { abandonsStuckLocks.store(true, ordering: .sequentiallyConsistent) }

    /// Whether `abandonStuckLocks` was called.
    package var isAbandoningStuckLocks: Bool { abandonsStuckLocks.load(ordering: .relaxed) }

    /// Positions the stream at `offset`, where a recovery ended. Nothing may have been encoded before.
    package func start(at offset: Int64) { withLock { encoder.start(at: offset) } }

    /// A part of the stream.
    package struct Part: Sendable {
        /// Where it begins in the journal.
        package let offset: Int64
        /// Complete batches.
        package let bytes: ByteBuffer

        /// Where the next part begins.
        package var end: Int64 { offset + Int64(bytes.count) }
    }

    /// Encodes everything that changed since the last collection. O(shards + changed keys).
    ///
    /// - Returns: False when changes were omitted, which happens only after `abandonStuckLocks`.
    @discardableResult
    package func collect(time: EngineTime) -> Bool {
        withLockUnlessStuck {
            encoder.setTime(time)
            let (encoder, buffer) = (encoder, encoder.buffer)
            var isComplete = true
            for number in 0..<engine.shardCount {
                let isCollected = engine.collectChanges(shard: number, unless: { isAbandoningStuckLocks }) { change in
                    encoder.add(change, to: buffer)
                }
                isComplete = isComplete && isCollected
            }
            encoder.end()
            return isComplete
        } ?? false
    }

    /// Makes a change that concerns more than one key's state, and its record, atomic for every reader: no change made
    /// before it follows it in the stream. `change` may take stripes and must not call the journal.
    package func record(
        _ kind: ControlKind, key: UnsafeRawBufferPointer = UnsafeRawBufferPointer(start: nil, count: 0),
        body: UnsafeRawBufferPointer = UnsafeRawBufferPointer(start: nil, count: 0), time: EngineTime,
        _ change: () -> Void
    ) {
        withLock {
            change()
            recordExcluding(kind, key: key, body: body, time: time)
        }
    }

    /// Runs `body` while nothing is collected: for callers that hold stripes and record something meanwhile. Inside it,
    /// use `recordExcluding` to record.
    package func excludingCollections<Result>(_ body: () -> Result) -> Result { withLock(body) }

    /// Adds a control record inside `excludingCollections`.
    package func recordExcluding(
        _ kind: ControlKind, key: UnsafeRawBufferPointer = UnsafeRawBufferPointer(start: nil, count: 0),
        body: UnsafeRawBufferPointer = UnsafeRawBufferPointer(start: nil, count: 0), time: EngineTime
    ) {
        encoder.setTime(time)
        encoder.addControl(kind, key: key, body: body)
        encoder.end()
    }

    /// Adds an empty batch as a heartbeat: it advances the stream, and the clocks that follow it, while nothing
    /// changes. Only for a primary; a replica's journal consists of its primary's bytes alone.
    package func recordTime(_ time: EngineTime) {
        withLock {
            encoder.setTime(time)
            encoder.addTime()
        }
    }

    /// Adds a batch of a primary's journal, which has to begin where this one ends: this is how a replica's journal
    /// grows. The batch's changes must already be in the engine, and nothing else may be collected or recorded
    /// meanwhile.
    package func append(_ batch: JournalBatch, _ bytes: UnsafeRawBufferPointer) {
        withLock { encoder.addBatch(batch, bytes) }
    }

    /// Continues the stream at the offset and time of another journal, whose state is about to replace this one's.
    /// Bytes encoded and not yet taken are discarded.
    package func restart(at offset: Int64, time: EngineTime) { withLock { encoder.restart(at: offset, time: time) } }

    /// Adds records of policies and rules inside `excludingCollections`.
    package func recordExcluding(_ records: [PolicyRecord], time: EngineTime) {
        encoder.setTime(time)
        for record in records { encoder.add(record) }
        encoder.end()
    }

    /// Encodes the uncollected changes of a key's shard inside of `excludingCollections`. `session` holds its stripe.
    package func collectExcluding(
        shardOf key: UnsafeRawBufferPointer, _ session: KeyspaceSession, time: EngineTime
    ) {
        encoder.setTime(time)
        let (encoder, buffer) = (encoder, encoder.buffer)
        session.collectChanges(ofShardOf: key) { encoder.add($0, to: buffer) }
        encoder.end()
    }

    /// Adds a key's state inside of `excludingCollections`, ahead of everything that is collected later.
    package func recordExcluding(_ state: StateView, _ name: KeyName, time: EngineTime) {
        encoder.setTime(time)
        encoder.add(state, name)
        encoder.end()
    }

    /// Removes and returns the bytes encoded since the last call; encoding continues in the empty buffer `replacement`.
    /// After `abandonStuckLocks` the result may be empty although bytes are pending.
    package func take(replacement: ByteBuffer) -> Part {
        withLockUnlessStuck {
            let end = encoder.offset
            let bytes = encoder.take(replacement: replacement)
            return Part(offset: end - Int64(bytes.count), bytes: bytes)
        } ?? Part(offset: offset, bytes: replacement)
    }

    /// Where the next batch will begin. Takes no lock.
    package var offset: Int64 { shownOffset.load(ordering: .relaxed) }

    /// Bytes encoded and not yet taken. Takes no lock.
    package var pendingBytes: Int { shownPending.load(ordering: .relaxed) }

    private func withLock<Result>(_ body: () -> Result) -> Result {
        lock.acquire()
        defer { publishAndRelease() }
        return body()
    }

    /// As `withLock`; returns nil and does nothing when stuck locks are being abandoned and this is one of them.
    private func withLockUnlessStuck<Result>(_ body: () -> Result) -> Result? {
        guard lock.acquire(unless: { isAbandoningStuckLocks }) else { return nil }
        defer { publishAndRelease() }
        return body()
    }

    private func publishAndRelease() {
        shownOffset.store(encoder.offset, ordering: .relaxed)
        shownPending.store(encoder.buffer.count, ordering: .relaxed)
        lock.release()
    }
}
