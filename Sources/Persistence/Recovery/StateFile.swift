// One file of the state, opened, and the judgement of what reading it through has shown.
//
// Owns: what counts as complete, as a continuation, as a torn tail, and as damage. Recovery and the offline check both
// ask here, so that they cannot come to different answers. Refuses to change anything on disk.

/// A log segment or a snapshot that the manifest names, its header read and found to be the right one.
struct StateFile: Sendable {
    let file: any StorageFile
    let header: FileHeader
    /// Bytes, the header's included.
    let size: Int

    /// What a manifest names, in the order in which it is read.
    static func entries(of manifest: Manifest) -> [(entry: Manifest.Entry, content: FileHeader.Content)] {
        (manifest.snapshot.map { [($0, .snapshot)] } ?? []) + manifest.logs.map { ($0, .log) }
    }

    /// Opens the file that a line of the manifest means.
    init(
        files: any FileSystem, directory: String, entry: Manifest.Entry, content: FileHeader.Content
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
                throw RecoveryError(path, 0, "the file is not the one that the manifest means by this name")
            }
            self.file = file
            self.header = header
            self.size = size
        }
    }

    var path: String { file.path }
    var isSnapshot: Bool { header.content == .snapshot }

    /// Where in its stream the first batch is.
    var streamStart: Int64 { isSnapshot ? 0 : header.journalOffset }

    /// A reader that stands behind the header.
    func reader() -> BatchReader { BatchReader(file: file, fileSize: size, streamStart: streamStart) }

    /// Where in the journal a log's valid batches end.
    func end(_ result: ReplayResult) -> Int64 { header.journalOffset + Int64(result.position - FileHeader.size) }

    /// Of a snapshot, read by one worker or shared by several: it must be valid to its end and say that it is complete.
    func demandComplete(_ results: [ReplayResult]) throws(RecoveryError) {
        let records = results.reduce(0) { $0 + $1.records }
        if let damage = results.compactMap(\.invalid).min(by: { $0.position < $1.position }) {
            throw RecoveryError(path, damage.position, "the batch \(damage.reason)")
        }
        guard let promised = results.compactMap(\.endOfSnapshot).first else {
            throw RecoveryError(path, size, "the snapshot ends before it is complete")
        }
        guard promised == records else {
            throw RecoveryError(path, size, "the snapshot has \(records) records and says it has \(promised)")
        }
    }

    /// Of a log that is not the last: it must be valid to its end and end where the next one begins.
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

    /// Of the last log: returns what a crash has torn off its end, nil when nothing; throws when it ends in front of
    /// `promised`, the offset in the journal up to which everything had reached the disk.
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
    /// The offset up to which the journal must be there: what the sync mark says, and everything in front of the
    /// snapshot, which is named here only once the log up to its offset has reached the disk.
    func promised(mark: Int64?) -> Int64 { max(mark ?? 0, snapshot?.offset ?? 0) }
}
