// The directory of log and snapshots on disk: which files make up the state, the segment being written, and how far it
// is synced. Written by one thread.
//
//   roll        starts a new segment, in which the log continues; the previous one is complete
//   append      appends bytes of the journal
//   sync        syncs what was appended, then updates the sync mark
//   adopt       makes a finished snapshot replace everything before it
//
// Invariants: (1) The manifest names only files that are complete up to where the next one begins, except for the last
// log. (2) A failed append leaves `appended` unchanged; torn bytes after it are cut before the next append and before
// another segment follows. (3) After a failed sync the bytes since the last successful one are in doubt, so `isDamaged`
// stays set until a later snapshot has been adopted: only that proves what is on disk. (4) A publication that fails
// half way leaves the old manifest or the new one, both correct; which of them it was is settled before any action that
// only one of them allows. (5) The bytes that a recovery read are synced before another segment follows.

import Glibc
package import LimiterEngine

/// The files of a server's state, for their only writer. Not thread-safe.
package final class LogDirectory {
    /// Upper bound on bytes rewritten at a time when it is unknown whether they are on disk.
    private static let rewriteSize = 1 << 20

    private let files: any FileSystem
    /// The directory.
    package let path: String
    /// What is on disk.
    package private(set) var manifest: Manifest
    /// A publication failed half way: the manifest on disk may be `manifest` or its intended successor.
    private var isManifestInDoubt = false
    private var nextNumber: Int

    private struct Segment {
        let file: SyncedFile
        let number: Int
        let offset: Int64
        var isPublished: Bool
        var isDamaged = false
        /// It was started for a snapshot that is unfinished or failed.
        var awaitsSnapshot = false
    }

    private var segment: Segment?
    private var mark: (any StorageFile)?
    /// Journal offset after the last byte appended.
    package private(set) var appended: Int64
    /// Journal offset up to which everything is synced.
    package private(set) var synced: Int64
    private var hasTornBytes = false
    /// The sync mark that a recovery found is beyond the end of the log: it belongs to a log that a snapshot has
    /// replaced.
    private var isMarkAhead: Bool
    /// A sync has failed: appending is useless until a new snapshot has been adopted.
    package private(set) var isDamaged = false
    /// A sync of the current segment has failed: no snapshot can make it readable, so `roll` has to follow.
    package var isSegmentDamaged: Bool { segment?.isDamaged ?? false }
    /// Bytes of the snapshot in the manifest.
    package private(set) var snapshotBytes: Int
    /// Bytes of the complete segments in the manifest.
    private var completeBytes: Int

    /// The directory as a recovery left it; nothing has been written yet.
    package init(files: any FileSystem, path: String, recovered: RecoveryReport) {
        self.files = files
        self.path = path
        manifest = recovered.manifest
        nextNumber = recovered.largestNumber + 1
        appended = recovered.end
        synced = min(recovered.synced, recovered.end)
        isMarkAhead = recovered.synced > recovered.end
        snapshotBytes = recovered.snapshotBytes
        completeBytes = recovered.logBytes
    }

    /// Bytes of all files of the state.
    package var bytes: Int { snapshotBytes + completeBytes + segmentBytes }

    /// Whether there is a segment to append to.
    package var isOpen: Bool { segment != nil }

    /// Whether the next start will read what is appended.
    package var isPublished: Bool { segment?.isPublished ?? false }

    private var segmentBytes: Int { segment.map { FileHeader.size + Int(appended - $0.offset) } ?? 0 }

    func name(_ file: String) -> String { "\(path)/\(file)" }

    // MARK: Segments

    /// Starts a new segment, whose first byte is at journal offset `offset`.
    ///
    /// - Parameters:
    ///   - offset: Where the journal continues: `appended`, if the segment continues the log.
    ///   - continues: Everything before `offset` is in the manifest's files, so the manifest names the segment at once.
    ///     Otherwise there is a gap, or a failed sync has left the last bytes in doubt, and `adopt` publishes the
    ///     segment together with a snapshot taken after this call.
    package func roll(at offset: Int64, time: EngineTime, continues: Bool) throws(StorageError) {
        if continues {
            precondition(offset == appended && (segment?.isPublished ?? true))
            // Including a failed sync that the caller has not learned of yet.
            guard !isDamaged else { throw StorageError("fsync", name(Manifest.fileName), code: EIO) }
            try completeLog()
            // Otherwise the next start would apply the previous log's mark to this segment and conclude that its end is
            // missing.
            if isMarkAhead { try withdrawMark() }
        }
        let number = try claimNumber()
        let file: any StorageFile
        do throws(StorageError) {
            file = try begin(number, at: offset, time: time)
            if continues { try publishSegment(number, at: offset) }
        } catch {
            removeQuietly(Manifest.logName(number))
            throw error
        }
        if !continues, let segment, !segment.isPublished { removeQuietly(Manifest.logName(segment.number)) }
        segment = Segment(file: SyncedFile(file), number: number, offset: offset, isPublished: continues)
        appended = offset
        synced = offset
        hasTornBytes = false
        // This also replaces the mark of files that were removed externally.
        if continues { leaveMark() }
    }

    private func begin(_ number: Int, at offset: Int64, time: EngineTime) throws(StorageError) -> any StorageFile {
        let file = try files.open(name(Manifest.logName(number)), .create)
        let header = FileHeader(content: .log, number: number, journalOffset: offset, time: time)
        try write(header.encoded(), to: file)
        try file.syncAll()
        return file
    }

    private func publishSegment(_ number: Int, at offset: Int64) throws(StorageError) {
        var next = manifest
        // An earlier segment that begins here is empty.
        let replaced = next.logs.last?.offset == offset ? next.logs.popLast() : nil
        next.logs.append(Manifest.Entry(number: number, offset: offset))
        try publish(next)
        completeBytes += segmentBytes
        if let replaced { removeQuietly(Manifest.logName(replaced.number)) }
    }

    /// Provides a segment that a snapshot taken now can precede: a new one, or the one started for a failed snapshot,
    /// so that repeated failures do not leave a segment each. Whatever that segment already holds is in the snapshot
    /// too; replaying it over the snapshot from its beginning yields the same states.
    package func rollForSnapshot(time: EngineTime) throws(StorageError) {
        if let segment, segment.awaitsSnapshot, !isDamaged { return }
        try roll(at: appended, time: time, continues: true)
        segment?.awaitsSnapshot = true
    }

    /// Closes the segment, even when it throws: nothing more is appended. What is on disk stays readable, and is
    /// everything that was appended unless this throws. Files that no start would read are removed.
    package func close() throws(StorageError) {
        guard let open = segment else { return }
        defer {
            if open.isPublished {
                completeBytes += segmentBytes
            } else {
                removeQuietly(Manifest.logName(open.number))
            }
            segment = nil
        }
        if open.isPublished, !isDamaged { try completeLog() }
    }

    /// Makes the last log in the manifest end at `appended`, on disk too, so that another can follow it.
    private func completeLog() throws(StorageError) {
        guard let segment else { return try secureRecoveredLog() }
        guard hasTornBytes else { return try sync() }
        try cutTornBytes(of: segment)
        // The cut has to be on disk even if nothing else is left to sync.
        let job = SyncJob(file: segment.file, number: segment.number, target: appended)
        try finishSync(job, job.run())
    }

    /// The log bytes that a recovery read may exist only in the page cache, and after a failed sync the kernel
    /// considers them written. So everything the mark does not cover is rewritten. The end itself may not be on disk
    /// either: torn bytes may have been cut in the page cache only.
    private func secureRecoveredLog() throws(StorageError) {
        guard let last = manifest.logs.last else { return }
        let file = try files.open(name(Manifest.logName(last.number)), .update)
        let end = FileHeader.size + Int(appended - last.offset)
        var position = FileHeader.size + Int(max(synced, last.offset) - last.offset)
        let memory = UnsafeMutableRawBufferPointer.allocate(
            byteCount: min(LogDirectory.rewriteSize, end - position), alignment: 8)
        defer { memory.deallocate() }
        while position < end {
            let wanted = UnsafeMutableRawBufferPointer(rebasing: memory.prefix(end - position))
            let count = try file.readAll(into: wanted, at: position)
            guard count > 0 else { throw StorageError("read", file.path, code: EIO) }
            try file.writeAll(UnsafeRawBufferPointer(rebasing: wanted[..<count]), at: position)
            position += count
        }
        try file.truncate(to: end)
        try file.syncAll()
        synced = appended
    }

    private func cutTornBytes(of segment: Segment) throws(StorageError) {
        try segment.file.base.truncate(to: FileHeader.size + Int(appended - segment.offset))
        hasTornBytes = false
    }

    // MARK: Bytes

    /// Appends a part of the journal, which must begin where the last one ended.
    package func append(_ part: Journal.Part) throws(StorageError) {
        guard let segment, part.bytes.count > 0 else { return }
        precondition(part.offset == appended, "the part does not follow the last one appended")
        // The other manifest may name a segment that begins here.
        if isManifestInDoubt { try publish(manifest) }
        if hasTornBytes { try cutTornBytes(of: segment) }
        do throws(StorageError) {
            try part.bytes.write(to: segment.file.base, at: FileHeader.size + Int(appended - segment.offset))
        } catch {
            hasTornBytes = true
            throw error
        }
        appended = part.end
    }

    /// Syncs what was appended and updates the sync mark.
    package func sync() throws(StorageError) {
        guard let job = beginSync() else { return }
        let result = job.run()
        try finishSync(job, result)
    }

    /// A sync for another thread to run while this one continues to append.
    package struct SyncJob: Sendable {
        fileprivate let file: SyncedFile
        fileprivate let number: Int
        fileprivate let target: Int64

        /// Runs the sync. May block as long as the disk does.
        package func run() -> Result<Void, StorageError> { file.sync() }
    }

    /// The sync that is needed; nil when everything is synced.
    package func beginSync() -> SyncJob? {
        guard let segment, synced < appended else { return nil }
        return SyncJob(file: segment.file, number: segment.number, target: appended)
    }

    /// Applies the result of a sync.
    package func finishSync(_ job: SyncJob, _ result: Result<Void, StorageError>) throws(StorageError) {
        // A sync of an older segment adds nothing: `roll` has already secured it.
        guard let segment, segment.number == job.number else { return }
        do throws(StorageError) {
            try result.get()
        } catch {
            isDamaged = true
            self.segment?.isDamaged = true
            throw error
        }
        synced = max(synced, job.target)
        if segment.isPublished { leaveMark() }
    }

    /// The mark only helps to tell damage from a crash, so failing to write it is not an error.
    private func leaveMark() {
        do throws(StorageError) {
            if mark == nil { mark = try files.open(name(SyncMark.fileName), .create) }
            try write(SyncMark.encoded(synced), to: mark!)
        } catch {
            mark = nil
        }
    }

    /// Durably resets the sync mark to 0. The mark is otherwise never synced, so an old one may reappear after a loss
    /// of power; and a log or snapshot that does not continue the files before it, as after a full sync, may begin at a
    /// far lower offset than where they ended. By the old mark, the end of that log, or of the next one after the
    /// snapshot, would be missing, and every start would refuse the directory.
    private func withdrawMark() throws(StorageError) {
        if mark == nil {
            guard try files.exists(name(SyncMark.fileName)) else { return }
        }
        do throws(StorageError) {
            if mark == nil { mark = try files.open(name(SyncMark.fileName), .create) }
            try write(SyncMark.encoded(0), to: mark!)
            try mark!.syncAll()
        } catch {
            mark = nil
            throw error
        }
        isMarkAhead = false
    }

    // MARK: Snapshots

    /// Reserves the file number of a snapshot to be taken now.
    ///
    /// A snapshot in a directory without a manifest is taken for one that a lost manifest named, and every start would
    /// refuse it. So a manifest is on disk before this returns; otherwise no snapshot may be started.
    package func reserveSnapshot() throws(StorageError) -> Int {
        if manifest.fileNames.isEmpty { try publish(manifest) }
        return try claimNumber()
    }

    private func claimNumber() throws(StorageError) -> Int {
        guard nextNumber <= Manifest.numberMax else { throw StorageError("create", path, code: EOVERFLOW) }
        defer { nextNumber += 1 }
        return nextNumber
    }

    /// Replaces everything that a finished snapshot contains with it: all logs except those from `offset` on.
    ///
    /// A snapshot started before the segment after a gap, or before one adopted meanwhile, is refused with ESTALE: no
    /// file would contain the changes in between.
    ///
    /// - Parameter history: The journal's new name, if the snapshot belongs to another history; its segment was then
    ///   started with `roll(continues: false)`.
    /// - Precondition: If a log is being written, everything the snapshot may contain has been appended.
    package func adopt(_ snapshot: FinishedSnapshot, history: String? = nil) throws(StorageError) {
        precondition(history == nil || !(segment?.isPublished ?? false))
        if segment != nil { try sync() }
        let entry = Manifest.Entry(number: snapshot.number, offset: snapshot.journalOffset)
        let old = manifest
        var next = Manifest(history: history ?? manifest.history, snapshot: entry)
        // Without a log the manifest must not name one, or a later start would replay it over the snapshot.
        if let segment {
            let logs =
                segment.isPublished
                ? manifest.logs : [Manifest.Entry(number: segment.number, offset: segment.offset)]
            // If several begin there, all but the last are empty.
            guard let first = logs.lastIndex(where: { $0.offset <= snapshot.journalOffset }) else {
                throw StorageError("adopt", name(Manifest.snapshotName(snapshot.number)), code: ESTALE)
            }
            next.logs = Array(logs[first...])
        }
        // After a gap, and without a log, there is no evidence that this begins where the files before it ended.
        if !isPublished { try withdrawMark() }
        try publish(next)
        segment?.isPublished = true
        segment?.awaitsSnapshot = false
        isDamaged = false
        snapshotBytes = snapshot.bytes
        completeBytes = 0
        if segment != nil { leaveMark() }
        let kept = Set(next.fileNames)
        for name in old.fileNames where !kept.contains(name) { removeQuietly(name) }
    }

    /// Removes the file of a failed snapshot.
    package func abandon(snapshot number: Int) { removeQuietly(Manifest.snapshotName(number)) }

    /// Removes unfinished files of earlier runs. It would also remove a snapshot in progress, so it has to run before
    /// the first.
    package func removeLeftovers() {
        let kept = Set(manifest.fileNames)
        var names: [String] = []
        do throws(StorageError) {
            // The manifest that a recovery read may not be on disk yet, and the one on disk may name these files.
            try files.syncDirectory(path)
            names = try files.list(path)
        } catch {}
        for name in names where LogDirectory.isOwn(name) && !kept.contains(name) { removeQuietly(name) }
    }

    /// The number in the name of a log or a snapshot; nil when it is neither.
    static func number(in name: String) -> Int? {
        for prefix in ["log-", "snapshot-"] where name.hasPrefix(prefix) {
            let digits = name.dropFirst(prefix.count)
            if let number = Int(digits), number > 0, number <= Manifest.numberMax, String(number) == digits {
                return number
            }
        }
        return nil
    }

    /// Whether a file is one that a server creates and may remove.
    static func isOwn(_ name: String) -> Bool {
        number(in: name) != nil || name == Manifest.fileName + ".tmp"
    }

    /// Renames the journal's history from `old` to `new`: the files are the beginning of the new history too. Does
    /// nothing if they belong to another one, which a snapshot will replace. Durable before it returns: bytes that
    /// belong only to the new history must not follow before that.
    package func rename(history old: String, to new: String) throws(StorageError) {
        guard old != new, manifest.history == old else { return }
        var next = manifest
        next.history = new
        try publish(next)
    }

    private func removeQuietly(_ file: String) {
        // A leftover file costs only space until the next start; a missing one costs everything.
        guard !isManifestInDoubt else { return }
        do throws(StorageError) { try files.remove(name(file)) } catch {}
    }

    private func publish(_ next: Manifest) throws(StorageError) {
        let bytes = next.encoded()
        guard bytes.count <= Manifest.bytesMax else {
            throw StorageError("write", name(Manifest.fileName), code: EFBIG)
        }
        // The names of the new files have to be on disk before the manifest that names them.
        try files.syncDirectory(path)
        let temporary = try files.prepareReplacement(of: name(Manifest.fileName), with: bytes)
        isManifestInDoubt = true
        try files.rename(temporary, to: name(Manifest.fileName))
        try files.syncDirectory(path)
        isManifestInDoubt = false
        manifest = next
    }

    private func write(_ bytes: [UInt8], to file: any StorageFile) throws(StorageError) {
        var failure: StorageError?
        bytes.withUnsafeBytes { buffer in
            do throws(StorageError) { try file.writeAll(buffer, at: 0) } catch { failure = error }
        }
        if let failure { throw failure }
    }
}
