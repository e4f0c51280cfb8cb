// One worker's pass through one file: reads batches, restores their records into the engine, and reports where it
// stopped.

import LimiterEngine

/// Where a worker's pass through a file ended, and what it read.
struct ReplayResult: Sendable {
    /// Byte of the file after the last valid batch.
    var position = FileHeader.size
    /// Records read in fully valid batches; only key records where batches are shared among workers.
    var records = 0
    var lastTime = EngineTime(nanoseconds: 0)
    /// The number of records stated at the snapshot's end.
    var endOfSnapshot: Int?
    /// Records of policies and rules, in order, where they are gathered.
    var policies: [PolicyRecord] = []
    /// The first position that is not a valid batch.
    var invalid: (position: Int, reason: String)?
    /// Why nothing in the file can be used: it could not be read, or a valid batch contains an invalid record.
    var failure: RecoveryError?

    var isFailure: Bool { failure != nil }
}

/// Results by worker, each written by its own worker.
///
/// `@unchecked Sendable`: a worker touches only the element of its own number, and `all` is read after all are done.
final class ResultBox: @unchecked Sendable {
    private let memory: UnsafeMutableBufferPointer<ReplayResult>

    init(count: Int) {
        memory = .allocate(capacity: count)
        memory.initialize(repeating: ReplayResult())
    }

    deinit {
        memory.deinitialize()
        memory.deallocate()
    }

    subscript(number: Int) -> ReplayResult {
        get { memory[number] }
        set { memory[number] = newValue }
    }

    var all: [ReplayResult] { Array(memory) }
}

/// Replays one file, or every n-th batch of it.
struct Replay {
    let reader: BatchReader
    let path: String
    /// Nil: records are read without being restored.
    let restorer: Restorer?
    let isSnapshot: Bool
    /// Called with every record and its batch's header before it is restored; an error it throws ends the replay.
    var visit: ((JournalRecord, JournalBatch) throws(RecoveryError) -> Void)?
    /// Updated with bytes read; nil where another worker reads the same bytes.
    let progress: RecoveryProgress?
    /// Whether this worker gathers policy and rule records: one of the workers that read the same batches does.
    var gathersPolicies = false
    /// Called before each batch; false ends the replay with a failure.
    var isWanted: @Sendable () -> Bool = { true }

    /// Replays the batches `first`, `first + stride`, …
    func run(every stride: Int, from first: Int) -> ReplayResult {
        var result = ReplayResult()
        do throws(StorageError) {
            var number = 0
            while true {
                guard isWanted() else {
                    result.failure = RecoveryError(path, nil, "the recovery was stopped", cause: .stopped)
                    return result
                }
                if number % stride != first {
                    // The worker that owns the batch reports what is wrong with it.
                    guard try reader.skip() else { break }
                } else {
                    let start = reader.position
                    switch try reader.next() {
                    case .end: return result
                    case .invalid(let reason):
                        result.invalid = (reader.position, reason)
                        return result
                    case .batch(let batch, let bytes):
                        result.lastTime = max(result.lastTime, batch.time)
                        put(bytes, of: batch, at: start, into: &result)
                        if result.isFailure { return result }
                        progress?.advance(batch.count)
                        result.position = reader.position
                    }
                }
                number += 1
            }
        } catch {
            result.failure = RecoveryError(error)
        }
        return result
    }

    private func put(
        _ bytes: UnsafeRawBufferPointer, of batch: JournalBatch, at position: Int, into result: inout ReplayResult
    ) {
        let recordsBefore = result.records
        do throws(BatchError<RecoveryError>) {
            try JournalBatch.forEachRecord(in: bytes) { record throws(RecoveryError) in
                if let visit { try visit(record, batch) }
                switch record {
                case .state(let name, let state): restorer?.put(state, name)
                case .removed(let name): restorer?.remove(name)
                case .control(.flushAll, _, _): restorer?.removeAll()
                case .control(.flushDatabase, _, let body): restorer?.removeAll(ofDatabase: body[0])
                case .control(.endOfSnapshot, _, let body):
                    guard isSnapshot, body.count == 8 || body.count == 16 else {
                        throw RecoveryError(path, position, "a misplaced end-of-snapshot record")
                    }
                    result.endOfSnapshot = Int(Int64(littleEndian: body.loadUnaligned(as: Int64.self)))
                    return
                case .control(let kind, let key, let body):
                    if gathersPolicies, let kind = kind.policyKind {
                        result.policies.append(PolicyRecord(kind: kind, key: Array(key), value: Array(body)))
                    }
                }
                result.records += 1
            }
        } catch {
            result.records = recordsBefore
            switch error {
            case .body(let error): result.failure = error
            case .record(let error):
                result.failure = RecoveryError(
                    path, position + JournalBatch.headerSize + error.offset,
                    "the record is not valid: \(error.reason)", cause: error.isOtherVersion ? .version : .damage)
            }
        }
        restorer?.flush()
    }
}
