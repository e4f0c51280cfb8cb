// A snapshot that comes from a primary, on its way to this node's disk: the batches as they come, behind a header with
// this directory's number.
//
// Owns: one file until it is finished. Refuses to become the state by itself: that is LogDirectory.adopt, once the
// journal has been appended and synced up to where the snapshot is whole.

/// Writes a received snapshot. Not thread-safe.
public final class SnapshotReceiver {
    /// Bytes after which the file is synced, so that the disk is not handed everything at the end.
    private static let syncSize = 32 << 20

    private let file: any StorageFile
    private let header: FileHeader
    private var position = FileHeader.size
    private var syncedPosition = 0

    /// Begins the file `snapshot-number` with what the primary's header says.
    public init(
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
    public func append(_ batch: UnsafeRawBufferPointer) throws(StorageError) {
        try file.writeAll(batch, at: position)
        position += batch.count
        guard position - syncedPosition >= SnapshotReceiver.syncSize else { return }
        try file.syncAll()
        syncedPosition = position
    }

    /// Has all of it on disk, the end record, which says how many keys there are, included.
    public func finish(keys: Int) throws(StorageError) -> FinishedSnapshot {
        try file.syncAll()
        return FinishedSnapshot(
            number: header.number, journalOffset: header.journalOffset, bytes: position, keys: keys)
    }
}
