// Writes a snapshot received from a primary to this node's disk: the batches as received, after a header with this
// directory's file number.
//
// Owns: one file until it is finished. Never makes it the state on its own: LogDirectory.adopt does that, once the
// journal has been appended and synced up to the offset at which the snapshot is consistent.

/// Writes a received snapshot. Not thread-safe.
package final class SnapshotReceiver {
    /// Bytes after which the file is synced, so that the final sync is not one large burst.
    private static let syncSize = 32 << 20

    private let file: any StorageFile
    private let header: FileHeader
    private var position = FileHeader.size
    private var syncedPosition = 0

    /// Creates the file `snapshot-number` with the values in the primary's header.
    package init(
        files: any FileSystem, directory: String, number: Int, header received: FileHeader
    ) throws(StorageError) {
        var header = received
        header.number = number
        self.header = header
        file = try files.open("\(directory)/\(Manifest.snapshotName(number))", .create)
        let bytes = ByteBuffer(capacity: FileHeader.size)
        header.encoded().withUnsafeBytes { bytes.append($0) }
        try file.writeAll(bytes.bytes, at: 0)
    }

    /// Writes a batch of the snapshot.
    package func append(_ batch: UnsafeRawBufferPointer) throws(StorageError) {
        try file.writeAll(batch, at: position)
        position += batch.count
        guard position - syncedPosition >= SnapshotReceiver.syncSize else { return }
        try file.syncAll()
        syncedPosition = position
    }

    /// Syncs all of it, including the end record, which carries the number of keys.
    package func finish(keys: Int) throws(StorageError) -> FinishedSnapshot {
        try file.syncAll()
        return FinishedSnapshot(
            number: header.number, journalOffset: header.journalOffset, bytes: position, keys: keys)
    }
}
