// The journal: what changed in the engine, as one stream of bytes with an offset. Disk and replicas read the same one.
//
//   engine's dirty lists ─ collect ─▶ batches ─▶ pending bytes ─ take ─▶ the log on disk
//                            ▲
//   FLUSHALL and the like ─ record ─ exclude collections, so that no older state comes behind them
//
// Owns: the order of things. Refuses to touch a disk or a clock. Lock order: the journal's lock stands before stripes.

public import LimiterEngine
import Synchronization
import System

/// The stream of states.
///
/// `@unchecked Sendable`: everything mutable is touched only with `lock` held.
public final class Journal: @unchecked Sendable {
    private let engine: Engine
    private let lock = Lock.allocate(rank: .journal)
    private let encoder: BatchEncoder
    private let shownOffset: Atomic<Int64>
    private let shownPending = Atomic<Int>(0)
    private let abandonsStuckLocks = Atomic<Bool>(false)
    /// Memory kept in the pending buffer from collection to collection.
    private static let retained = 1 << 20

    /// A journal that goes on at `offset`. Journaling in the engine is the caller's to switch.
    public init(engine: Engine, offset: Int64) {
        self.engine = engine
        encoder = BatchEncoder(offset: offset)
        shownOffset = Atomic(offset)
    }

    deinit { lock.deallocate() }

    /// From here on no caller waits for a lock that another thread keeps for more than a tenth of a second: the process
    /// is about to end although a command has not. A collection then passes over shards whose stripes are kept.
    public func abandonStuckLocks() { abandonsStuckLocks.store(true, ordering: .sequentiallyConsistent) }

    /// Whether `abandonStuckLocks` was called.
    public var isAbandoningStuckLocks: Bool { abandonsStuckLocks.load(ordering: .relaxed) }

    /// Has the stream go on at `offset`: where a recovery ended. Nothing may have been encoded before.
    public func start(at offset: Int64) { withLock { encoder.start(at: offset) } }

    /// A part of the stream.
    public struct Part: Sendable {
        /// Where it begins in the journal.
        public let offset: Int64
        /// Whole batches.
        public let bytes: ByteBuffer

        /// Where the next part begins.
        public var end: Int64 { offset + Int64(bytes.count) }
    }

    /// Encodes everything that changed since the last collection. O(shards + changed keys).
    ///
    /// - Returns: False when changes were left out, which happens only after `abandonStuckLocks`.
    @discardableResult
    public func collect(time: EngineTime) -> Bool {
        withLockUnlessStuck {
            encoder.setTime(time)
            let (encoder, buffer) = (encoder, encoder.buffer)
            var isComplete = true
            for number in 0..<engine.shardCount {
                let isCollected = engine.collectChanges(shard: number, unless: { isAbandoningStuckLocks }) { change in
                    switch change {
                    case .removed(let key): encoder.addRemoval(key: key)
                    case .state(let key, let state): encoder.add(state, key: key, to: buffer)
                    }
                }
                isComplete = isComplete && isCollected
            }
            encoder.end()
            return isComplete
        } ?? false
    }

    /// Makes a change that concerns more than one key's state, and its record, one step for every reader: no change
    /// made before it is in the stream behind it. `change` may take stripes and must not call the journal.
    public func record(
        _ kind: ControlKind, key: UnsafeRawBufferPointer = UnsafeRawBufferPointer(start: nil, count: 0),
        body: UnsafeRawBufferPointer = UnsafeRawBufferPointer(start: nil, count: 0), time: EngineTime,
        _ change: () -> Void
    ) {
        withLock {
            change()
            recordExcluding(kind, key: key, body: body, time: time)
        }
    }

    /// Runs `body` while nothing is collected: for what holds stripes and records something in between. Inside it,
    /// `recordExcluding` is the way to record.
    public func excludingCollections<Result>(_ body: () -> Result) -> Result { withLock(body) }

    /// Adds a control record inside of `excludingCollections`.
    public func recordExcluding(
        _ kind: ControlKind, key: UnsafeRawBufferPointer = UnsafeRawBufferPointer(start: nil, count: 0),
        body: UnsafeRawBufferPointer = UnsafeRawBufferPointer(start: nil, count: 0), time: EngineTime
    ) {
        encoder.setTime(time)
        encoder.addControl(kind, key: key, body: body)
        encoder.end()
    }

    /// Adds a batch without records: it keeps the stream, and the clocks that follow it, going while nothing changes.
    /// A primary's to call; a replica's journal has the bytes of its primary alone.
    public func recordTime(_ time: EngineTime) {
        withLock {
            encoder.setTime(time)
            encoder.addTime()
        }
    }

    /// Adds a batch of a primary's journal, which has to begin where this one ends: how a replica's journal grows.
    /// The batch's changes must be in the engine already, and nothing else may be collected or recorded meanwhile.
    public func append(_ batch: JournalBatch, _ bytes: UnsafeRawBufferPointer) {
        withLock { encoder.addBatch(batch, bytes) }
    }

    /// Has the stream go on elsewhere: at the offset and time of another journal, whose state is to take the place of
    /// this one's. What was encoded and not taken is gone.
    public func restart(at offset: Int64, time: EngineTime) { withLock { encoder.restart(at: offset, time: time) } }

    /// Adds records of policies and rules inside of `excludingCollections`.
    public func recordExcluding(_ records: [PolicyRecord], time: EngineTime) {
        encoder.setTime(time)
        for record in records { encoder.add(record) }
        encoder.end()
    }

    /// Adds a key's state inside of `excludingCollections`, ahead of whatever is collected from now on.
    public func recordExcluding(_ state: StateView, key: UnsafeRawBufferPointer, time: EngineTime) {
        encoder.setTime(time)
        encoder.add(state, key: key)
        encoder.end()
    }

    /// Takes the bytes encoded since the last time; `replacement` is the empty buffer that is encoded into next. After
    /// `abandonStuckLocks` that may be none although there are some.
    public func take(replacement: ByteBuffer) -> Part {
        withLockUnlessStuck {
            let end = encoder.offset
            let bytes = encoder.take(replacement: replacement)
            return Part(offset: end - Int64(bytes.count), bytes: bytes)
        } ?? Part(offset: offset, bytes: replacement)
    }

    /// Where the next batch will begin. Takes no lock.
    public var offset: Int64 { shownOffset.load(ordering: .relaxed) }

    /// Bytes encoded and not yet taken. Takes no lock.
    public var pendingBytes: Int { shownPending.load(ordering: .relaxed) }

    private func withLock<Result>(_ body: () -> Result) -> Result {
        lock.acquire()
        defer { publishAndRelease() }
        return body()
    }

    /// As `withLock`; nil, and nothing done, when stuck locks are abandoned and this is one.
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
