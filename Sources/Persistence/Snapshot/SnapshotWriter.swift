// A snapshot: every key's state, written while the server runs, a few hundred keys at a time.
//
// Policies and rules come first, as of the beginning of the snapshot.
//
// Owns: one file until it is finished. Each step holds a stripe for some microseconds. A key that changes meanwhile may
// be present with either state, or twice; replaying the journal from the snapshot's offset corrects that. Never makes
// the file the state on its own: LogDirectory.adopt does that, once the log after it is on disk.

package import LimiterEngine

/// A snapshot whose file is complete and on disk.
package struct FinishedSnapshot: Equatable, Sendable {
    /// The number in its name.
    package let number: Int
    /// The snapshot contains everything in the journal up to here.
    package let journalOffset: Int64
    /// Bytes of the file.
    package let bytes: Int
    /// Number of key records.
    package let keys: Int
}

/// Writes one snapshot, step by step. Not thread-safe.
package final class SnapshotWriter {
    /// Keys visited while a stripe is held.
    private static let keysPerStep = 256
    /// Bytes gathered before a write.
    private static let writeSize = 1 << 18
    /// Bytes after which the file is synced, so that the final sync is not one large burst.
    private static let syncSize = 32 << 20

    private let file: any StorageFile
    private let keyspace: KeyspaceSession
    private let encoder = BatchEncoder(offset: 0)
    private let header: FileHeader
    private var spare = ByteBuffer(capacity: SnapshotWriter.writeSize)
    /// Policies and rules not yet written.
    private var policies: ArraySlice<PolicyRecord>
    private var policyCount = 0
    private var cursor: UInt64 = 0
    private var position = FileHeader.size
    private var syncedPosition = 0
    /// Key records so far.
    package private(set) var keys = 0
    /// Number of keys when it began: approximately what `keys` will become.
    package let expectedKeys: Int

    /// Begins the file `snapshot-number`.
    ///
    /// - Parameters:
    ///   - journalOffset: The engine contains the journal up to here.
    ///   - time: Engine time. States that expire by then are omitted.
    package init(
        files: any FileSystem, directory: String, number: Int, journalOffset: Int64, engine: Engine, time: EngineTime
    ) throws(StorageError) {
        keyspace = KeyspaceSession(engine: engine)
        expectedKeys = keyspace.statistics().keys
        policies = engine.policies.table.records[...]
        header = FileHeader(
            content: .snapshot, number: number, journalOffset: journalOffset, time: time, keys: expectedKeys)
        file = try files.open("\(directory)/\(Manifest.snapshotName(number))", .create)
        let bytes = ByteBuffer(capacity: FileHeader.size)
        header.encoded().withUnsafeBytes { bytes.append($0) }
        try bytes.write(to: file, at: 0)
    }

    /// Writes the next few hundred keys. False when none are left: `finish` is next.
    package func step(time: EngineTime) throws(StorageError) -> Bool {
        encoder.setTime(time)
        guard policies.isEmpty else {
            try writePolicies()
            return true
        }
        cursor = keyspace.scanStates(cursor: cursor, effort: SnapshotWriter.keysPerStep, now: time) { name, state in
            encoder.add(state, name)
            keys += 1
        }
        if encoder.buffer.count >= SnapshotWriter.writeSize || cursor == 0 {
            encoder.end()
            try write()
        }
        return cursor != 0
    }

    private func writePolicies() throws(StorageError) {
        for record in policies.prefix(SnapshotWriter.keysPerStep) { encoder.add(record) }
        let written = min(policies.count, SnapshotWriter.keysPerStep)
        policies = policies.dropFirst(written)
        policyCount += written
        encoder.end()
        if encoder.buffer.count >= SnapshotWriter.writeSize { try write() }
    }

    /// Writes the end record and syncs the file.
    package func finish(time: EngineTime) throws(StorageError) -> FinishedSnapshot {
        precondition(cursor == 0 && policies.isEmpty)
        let body = ByteBuffer(capacity: 64)
        _ = body.extend(by: 8)
        body.store(Int64(keys + policyCount), at: 0)
        encoder.setTime(time)
        withExtendedLifetime(body) {
            encoder.addControl(.endOfSnapshot, key: UnsafeRawBufferPointer(start: nil, count: 0), body: body.bytes)
        }
        encoder.end()
        try write()
        try file.syncAll()
        return FinishedSnapshot(
            number: header.number, journalOffset: header.journalOffset, bytes: position, keys: keys)
    }

    private func write() throws(StorageError) {
        let bytes = encoder.take(replacement: spare)
        spare = bytes
        try bytes.write(to: file, at: position)
        position += bytes.count
        bytes.removeAll(retaining: SnapshotWriter.writeSize * 2)
        guard position - syncedPosition >= SnapshotWriter.syncSize else { return }
        try file.syncAll()
        syncedPosition = position
    }
}
