// The directory of log and snapshots on disk: which files are the state, the segment being written, how far it is
// synced. Written by one thread.
//
//   roll        a new segment that the log goes on in; the one before is complete
//   append      bytes of the journal behind the last ones
//   sync        what was appended is on disk; the sync mark follows
//   adopt       a finished snapshot takes the place of everything before it
//
// Invariants: (1) the manifest names only files that are complete up to where the next one begins, but for the last
// log. (2) A failed append leaves `appended` where it was; torn bytes behind it are cut before the next one, and before
// another segment follows. (3) After a failed sync nothing can be known of the bytes since the last good one, so
// `isDamaged` stays until a snapshot taken later has been adopted: only that proves what is on disk. (4) A publication
// that fails half way leaves the old manifest or the new one, both true; which one is settled before anything is done
// that only one of them allows. (5) What a recovery read is on disk before another segment follows it.

import Glibc
public import LimiterEngine

/// The files of a server's state, for its only writer. Not thread-safe.
public final class LogDirectory {
    /// Most bytes rewritten at a time where it is not known whether they are on disk.
    private static let rewriteSize = 1 << 20

    private let files: any FileSystem
    /// The directory.
    public let path: String
    /// What is on disk.
    public private(set) var manifest: Manifest
    /// A publication failed half way: on disk there may be `manifest` or the one that was to follow it.
    private var isManifestInDoubt = false
    private var nextNumber: Int

    private struct Segment {
        let file: SyncedFile
        let number: Int
        let offset: Int64
        var isPublished: Bool
        var isDamaged = false
        /// It was begun for a snapshot that is not there yet, or came to nothing.
        var awaitsSnapshot = false
    }

    private var segment: Segment?
    private var mark: (any StorageFile)?
    /// Offset in the journal behind the last byte appended.
    public private(set) var appended: Int64
    /// Offset in the journal up to which everything is on disk.
    public private(set) var synced: Int64
    private var hasTornBytes = false
    /// The sync mark that a recovery found speaks of more than there is: of a log that a snapshot has replaced.
    private var isMarkAhead: Bool
    /// A sync has failed: appending is useless until a new snapshot has been adopted.
    public private(set) var isDamaged = false
    /// A sync of the very segment that is written has failed: no snapshot can make it readable, so `roll` is next.
    public var isSegmentDamaged: Bool { segment?.isDamaged ?? false }
    /// Bytes of the snapshot in the manifest.
    public private(set) var snapshotBytes: Int
    /// Bytes of the complete segments in the manifest.
    private var completeBytes: Int

    /// The directory as a recovery left it; nothing is written yet.
    public init(files: any FileSystem, path: String, recovered: RecoveryReport) {
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
    public var bytes: Int { snapshotBytes + completeBytes + segmentBytes }

    /// Whether there is a segment to append to.
    public var isOpen: Bool { segment != nil }

    /// Whether what is appended will be read by the next start.
    public var isPublished: Bool { segment?.isPublished ?? false }

    private var segmentBytes: Int { segment.map { FileHeader.size + Int(appended - $0.offset) } ?? 0 }

    func name(_ file: String) -> String { "\(path)/\(file)" }

    // MARK: Segments

    /// Begins a new segment, whose first byte is at `offset` of the journal.
    ///
    /// - Parameters:
    ///   - offset: Where the journal goes on: `appended`, if the segment continues the log.
    ///   - continues: Everything that happened before `offset` is in the files of the manifest, so the segment is
    ///     published in it at once. Else there is a gap, or a failed sync has left the last bytes in doubt, and the
    ///     segment is published by `adopt`, together with a snapshot taken after this call.
    public func roll(at offset: Int64, time: EngineTime, continues: Bool) throws(StorageError) {
        if continues {
            precondition(offset == appended && (segment?.isPublished ?? true))
            // Also where a sync failed that the caller has not heard of yet.
            guard !isDamaged else { throw StorageError("fsync", name(Manifest.fileName), code: EIO) }
            try completeLog()
            // Or the next start would take this segment, with the mark of the one before, for one that lost its end.
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
        // Also in place of a mark of files that somebody has taken away.
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
        // One that begins here, too, is empty.
        let replaced = next.logs.last?.offset == offset ? next.logs.popLast() : nil
        next.logs.append(Manifest.Entry(number: number, offset: offset))
        try publish(next)
        completeBytes += segmentBytes
        if let replaced { removeQuietly(Manifest.logName(replaced.number)) }
    }

    /// Has a snapshot of this moment find a segment that it can stand in front of: a new one, or the one that was begun
    /// for a snapshot that came to nothing, so that many of those do not leave a segment each. What that holds already
    /// the snapshot has, too; replayed over it from its beginning it ends in the same states.
    public func rollForSnapshot(time: EngineTime) throws(StorageError) {
        if let segment, segment.awaitsSnapshot, !isDamaged { return }
        try roll(at: appended, time: time, continues: true)
        segment?.awaitsSnapshot = true
    }

    /// Forgets the segment, also when it throws: nothing more is appended. What is on disk stays readable, and is all
    /// that was appended unless this throws; what no start would read goes.
    public func close() throws(StorageError) {
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

    /// Has the last log in the manifest end at `appended`, on disk too, so that another can follow it.
    private func completeLog() throws(StorageError) {
        guard let segment else { return try secureRecoveredLog() }
        guard hasTornBytes else { return try sync() }
        try cutTornBytes(of: segment)
        // The cut has to be on disk even where nothing else is left to sync.
        let job = SyncJob(file: segment.file, number: segment.number, target: appended)
        try finishSync(job, job.run())
    }

    /// What a recovery read may be in the kernel's memory alone, and after a failed sync the kernel takes it for
    /// written. So all that the mark does not vouch for is written once more. The end itself may not be on disk either:
    /// torn bytes may have been cut in memory alone.
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

    /// Appends a part of the journal, which begins where the last one ended.
    public func append(_ part: Journal.Part) throws(StorageError) {
        guard let segment, part.bytes.count > 0 else { return }
        precondition(part.offset == appended, "a part of the journal that does not follow the last one")
        // The other manifest may have a segment that begins here.
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

    /// Brings what was appended to disk, and says so in the sync mark.
    public func sync() throws(StorageError) {
        guard let job = beginSync() else { return }
        let result = job.run()
        try finishSync(job, result)
    }

    /// A sync to be run by another thread while this one goes on appending.
    public struct SyncJob: Sendable {
        fileprivate let file: SyncedFile
        fileprivate let number: Int
        fileprivate let target: Int64

        /// Does it. Takes as long as the disk takes.
        public func run() -> Result<Void, StorageError> { file.sync() }
    }

    /// What has to be synced; nil when everything is.
    public func beginSync() -> SyncJob? {
        guard let segment, synced < appended else { return nil }
        return SyncJob(file: segment.file, number: segment.number, target: appended)
    }

    /// Takes the result of a sync over.
    public func finishSync(_ job: SyncJob, _ result: Result<Void, StorageError>) throws(StorageError) {
        // A sync of an older segment says nothing that `roll` did not make sure of.
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

    /// The mark only makes damage easier to tell from a crash, so failing to write it is no failure.
    private func leaveMark() {
        do throws(StorageError) {
            if mark == nil { mark = try files.open(name(SyncMark.fileName), .create) }
            try write(SyncMark.encoded(synced), to: mark!)
        } catch {
            mark = nil
        }
    }

    /// Has a mark on disk that promises nothing. The mark is never synced, so an old one may come back after a loss of
    /// power; and a log or a snapshot that does not continue the files before it may begin far in front of where they
    /// ended, as after a full sync. The old mark would say of the log, or of the next one behind the snapshot, that its
    /// end is missing, and no start would go on from there.
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

    /// Where a snapshot of this moment is to be written: the number of its file.
    ///
    /// A snapshot in a directory without a manifest is taken for what a lost one named, and no start would go on from
    /// there. So there is a manifest on disk before this returns, or no snapshot may be begun.
    public func reserveSnapshot() throws(StorageError) -> Int {
        if manifest.fileNames.isEmpty { try publish(manifest) }
        return try claimNumber()
    }

    private func claimNumber() throws(StorageError) -> Int {
        guard nextNumber <= Manifest.numberMax else { throw StorageError("create", path, code: EOVERFLOW) }
        defer { nextNumber += 1 }
        return nextNumber
    }

    /// Has a finished snapshot take the place of everything that it holds: all logs but those from `offset` on.
    ///
    /// A snapshot begun before the segment behind a gap, or before one adopted meanwhile, is refused with ESTALE:
    /// what happened in between would be in no file.
    ///
    /// - Parameter history: What the journal is called from here on, where the snapshot is of another one; then its
    ///   segment was begun with `roll(continues: false)`.
    /// - Precondition: Where a log is written, everything the snapshot may hold has been appended.
    public func adopt(_ snapshot: FinishedSnapshot, history: String? = nil) throws(StorageError) {
        precondition(history == nil || !(segment?.isPublished ?? false))
        if segment != nil { try sync() }
        let entry = Manifest.Entry(number: snapshot.number, offset: snapshot.journalOffset)
        let old = manifest
        var next = Manifest(history: history ?? manifest.history, snapshot: entry)
        // Without a log there must be none that a later start would put on top of the snapshot.
        if let segment {
            let logs =
                segment.isPublished
                ? manifest.logs : [Manifest.Entry(number: segment.number, offset: segment.offset)]
            // Of several that begin there all but the last are empty.
            guard let first = logs.lastIndex(where: { $0.offset <= snapshot.journalOffset }) else {
                throw StorageError("adopt", name(Manifest.snapshotName(snapshot.number)), code: ESTALE)
            }
            next.logs = Array(logs[first...])
        }
        // Behind a gap, and where there is no log, nothing says that this begins where the files before it ended.
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

    /// A snapshot that came to nothing leaves no file behind.
    public func abandon(snapshot number: Int) { removeQuietly(Manifest.snapshotName(number)) }

    /// Removes what earlier runs began and did not finish; also a snapshot under way, so this comes before the first.
    public func removeLeftovers() {
        let kept = Set(manifest.fileNames)
        var names: [String] = []
        do throws(StorageError) {
            // The manifest that a recovery read may not be on disk yet, and the one there may name them.
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

    /// Whether a file is one that a server makes and may remove.
    static func isOwn(_ name: String) -> Bool {
        number(in: name) != nil || name == Manifest.fileName + ".tmp"
    }

    /// Calls the journal by another name from here on, where it is called `old`: the files on disk are the beginning
    /// of the new history, too. Does nothing where they are of another one, which a snapshot will replace. On disk
    /// before it returns: bytes that belong to the new history alone must not follow before that.
    public func rename(history old: String, to new: String) throws(StorageError) {
        guard old != new, manifest.history == old else { return }
        var next = manifest
        next.history = new
        try publish(next)
    }

    private func removeQuietly(_ file: String) {
        // A file left over costs space until the next start and nothing else; one that is missed costs everything.
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
