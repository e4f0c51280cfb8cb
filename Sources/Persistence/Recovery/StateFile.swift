// One opened file of the state, and the assessment of what reading it revealed.
//
// Owns: what counts as complete, as a continuation, as a torn tail, and as damage. Recovery and the offline check share
// this code, so that they cannot disagree. Changes nothing on disk.

/// A log segment or snapshot named by the manifest, whose header has been read and matches.
struct StateFile: Sendable {
    let file: any StorageFile
    let header: FileHeader
    /// Bytes, including the header.
    let size: Int

    /// The files a manifest names, in reading order.
    static func entries(of manifest: Manifest) -> [(entry: Manifest.Entry, content: FileHeader.Content)] {
        (manifest.snapshot.map { [($0, .snapshot)] } ?? []) + manifest.logs.map { ($0, .log) }
    }

    /// Opens the file named by a line of the manifest.
    ///
    /// - Parameter limit: Bytes after it are not part of the file: a server has appended them since.
    init(
        files: any FileSystem, directory: String, entry: Manifest.Entry, content: FileHeader.Content,
        limit: Int = .max
    ) throws(RecoveryError) {
        let name = content == .snapshot ? Manifest.snapshotName(entry.number) : Manifest.logName(entry.number)
        let path = "\(directory)/\(name)"
        let (file, size, result) = try RecoveryError.wrapping { () throws(StorageError) in
            let file = try files.open(path, .read)
            return (file, try file.size(), try DirectoryLayout.header(of: file, content))
        }
        switch result {
        case .failure(let error):
            throw RecoveryError(path, 0, "the file \(error.reason)", cause: error.isOtherVersion ? .version : .damage)
        case .success(let header):
            guard header.number == entry.number, header.journalOffset == entry.offset else {
                throw RecoveryError(path, 0, "the file's header does not match the manifest")
            }
            self.file = file
            self.header = header
            self.size = min(size, limit)
        }
    }

    var path: String { file.path }
    var isSnapshot: Bool { header.content == .snapshot }

    /// Stream offset of the first batch.
    var streamStart: Int64 { isSnapshot ? 0 : header.journalOffset }

    /// A reader positioned after the header.
    func reader() -> BatchReader { BatchReader(file: file, fileSize: size, streamStart: streamStart) }

    /// Journal offset where a log's valid batches end.
    func end(_ result: ReplayResult) -> Int64 { header.journalOffset + Int64(result.position - FileHeader.size) }

    /// For a snapshot, read by one worker or shared by several: it must be valid to its end and marked as complete.
    func demandComplete(_ results: [ReplayResult]) throws(RecoveryError) {
        let records = results.reduce(0) { $0 + $1.records }
        if let damage = results.compactMap(\.invalid).min(by: { $0.position < $1.position }) {
            throw RecoveryError(path, damage.position, "the batch \(damage.reason)")
        }
        guard let promised = results.compactMap(\.endOfSnapshot).first else {
            throw RecoveryError(path, size, "the snapshot ends before it is complete")
        }
        guard promised == records else {
            throw RecoveryError(path, size, "the snapshot has \(records) records, its end record states \(promised)")
        }
    }

    /// For a log that is not the last: it must be valid to its end and end where the next one begins.
    func demandContinuation(_ result: ReplayResult, next: Int64) throws(RecoveryError) {
        if let damage = result.invalid {
            throw RecoveryError(path, damage.position, "the batch \(damage.reason)")
        }
        guard end(result) == next else {
            throw RecoveryError(
                path, result.position,
                "the log ends at offset \(end(result)) of the journal, and the next file begins at \(next)")
        }
    }

    /// For the last log: returns what a crash tore off its end, nil for nothing; throws when it ends before `promised`,
    /// the journal offset up to which everything had reached the disk.
    func tornTail(_ result: ReplayResult, promised: Int64) throws(RecoveryError) -> (position: Int, reason: String)? {
        guard end(result) < promised else { return result.invalid }
        let what = result.invalid.map { "the batch \($0.reason)" } ?? "the log ends here"
        throw RecoveryError(
            path, result.position,
            "\(what), although the journal had reached the disk up to byte "
                + "\(FileHeader.size + Int(promised - header.journalOffset)) of this file")
    }
}

extension Manifest {
    /// The offset up to which the journal must be present: the sync mark, and everything before the snapshot, which the
    /// manifest names only once the log up to the snapshot's offset is on disk.
    func promised(mark: Int64?) -> Int64 { max(mark ?? 0, snapshot?.offset ?? 0) }
}
