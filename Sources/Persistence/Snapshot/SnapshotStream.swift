// A snapshot for a replica: the bytes that SnapshotWriter would write to a file, produced piece by piece as the replica
// reads them. Touches no disk and holds no more than one piece, besides the table of policies and rules in force when
// it began.
//
// The walk over the keys takes as long as the replica does, and a key it visits may be newer than `journalOffset`. So
// the resulting state is one the engine actually had only after the journal has been applied up to the end of the walk:
// the end record states that offset.

package import LimiterEngine

/// A snapshot produced piece by piece. Not thread-safe, but several may walk one engine.
package final class SnapshotStream {
    /// Keys visited while a stripe is held.
    private static let keysPerStep = 256
    /// Approximate size of a piece in bytes.
    private static let pieceSize = 1 << 16

    private let keyspace: KeyspaceSession
    private let encoder = BatchEncoder(offset: 0)
    private let header: FileHeader
    private var spare = ByteBuffer(capacity: SnapshotStream.pieceSize * 2)
    private var cursor: UInt64 = 0

    private enum Phase {
        case header, policies, keys, end, done
    }

    private var phase = Phase.header
    /// The table when the snapshot began; records are built from it as they are sent.
    private let policies: PolicyTable
    private var policiesDone = 0
    private var rulesDone = PolicyTable.RuleCursor()
    /// Key records so far.
    package private(set) var keys = 0

    /// - Parameters:
    ///   - journalOffset: The engine contains the journal up to here.
    ///   - time: The stream's time. States that expire by then are omitted.
    package init(journalOffset: Int64, engine: Engine, time: EngineTime) {
        keyspace = KeyspaceSession(engine: engine)
        policies = engine.policies.table
        header = FileHeader(
            content: .snapshot, number: 1, journalOffset: journalOffset, time: time,
            keys: keyspace.statistics().keys)
    }

    /// The snapshot contains the journal up to here.
    package var journalOffset: Int64 { header.journalOffset }

    /// Whether every key has been visited: `finish` is next.
    package var hasSeenAllKeys: Bool { phase == .end }

    /// The next piece: complete batches, after the header. The next call reuses the buffer. Empty when all keys have
    /// been visited. Holds a stripe for some microseconds at a time.
    package func next(time: EngineTime) -> ByteBuffer {
        spare.removeAll(retaining: SnapshotStream.pieceSize * 4)
        if phase == .header {
            phase = .policies
            header.encoded().withUnsafeBytes { spare.append($0) }
            return spare
        }
        encoder.setTime(time)
        if phase == .policies {
            while encoder.buffer.count < SnapshotStream.pieceSize, let record = nextPolicyRecord() {
                encoder.add(record)
                keys += 1
            }
            guard encoder.buffer.count < SnapshotStream.pieceSize else { return take() }
            phase = .keys
        }
        guard phase == .keys else { return spare }
        repeat {
            cursor = keyspace.scanStates(cursor: cursor, effort: SnapshotStream.keysPerStep, now: header.time) {
                encoder.add($1, $0)
                keys += 1
            }
        } while cursor != 0 && encoder.buffer.count < SnapshotStream.pieceSize
        if cursor == 0 { phase = .end }
        return take()
    }

    /// Policies first: each rule follows its policy.
    private func nextPolicyRecord() -> PolicyRecord? {
        if policiesDone < policies.policies.count {
            policiesDone += 1
            return PolicyRecord(policies.policies[policiesDone - 1])
        }
        return policies.nextRule(&rulesDone).map { PolicyRecord($0) }
    }

    /// The last piece.
    ///
    /// - Parameter wholeAt: The journal's end, after a collection that began when all keys had been visited.
    package func finish(wholeAt: Int64, time: EngineTime) -> ByteBuffer {
        precondition(phase == .end && wholeAt >= journalOffset)
        phase = .done
        spare.removeAll(retaining: SnapshotStream.pieceSize * 4)
        let body = ByteBuffer(capacity: 64)
        _ = body.extend(by: 16)
        body.store(Int64(keys), at: 0)
        body.store(wholeAt, at: 8)
        encoder.setTime(time)
        encoder.addControl(.endOfSnapshot, key: UnsafeRawBufferPointer(start: nil, count: 0), body: body.bytes)
        return take()
    }

    private func take() -> ByteBuffer {
        encoder.end()
        spare = encoder.take(replacement: spare)
        return spare
    }
}
