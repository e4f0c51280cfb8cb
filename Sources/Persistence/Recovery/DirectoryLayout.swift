// The first look at a directory, before anything in it is trusted: the manifest, the sync mark, the numbers in use.

import Glibc

/// The files of a directory, by their names, and the manifest.
package struct DirectoryLayout: Sendable {
    /// The manifest; nil in a directory that has none and no logs or snapshots either.
    package let manifest: Manifest?
    /// How far the journal is known to have been synced; nil when unknown.
    package let mark: Int64?
    /// The largest number of any log or snapshot.
    package let largestNumber: Int

    /// Examines a directory.
    package init(files: any FileSystem, path: String) throws(RecoveryError) {
        let names = try RecoveryError.wrapping { () throws(StorageError) in try files.list(path) }
        largestNumber = names.compactMap(LogDirectory.number(in:)).max() ?? 0
        if largestNumber > Manifest.numberMax - Manifest.numbersLeftMin {
            let largest = largestNumber
            let name = names.first { LogDirectory.number(in: $0) == largest }!
            throw RecoveryError(
                "\(path)/\(name)", nil, "its number leaves too few for later files, and no server counts that far")
        }
        mark = try RecoveryError.wrapping { () throws(StorageError) in
            guard names.contains(SyncMark.fileName) else { return nil }
            do throws(StorageError) {
                return SyncMark.decode(try files.contents(of: "\(path)/\(SyncMark.fileName)", limit: 4096))
            } catch {
                // A file that is too large is not a mark.
                if error.code == EFBIG { return nil }
                throw error
            }
        }
        guard names.contains(Manifest.fileName) else {
            try DirectoryLayout.demandNoState(files, path, names)
            manifest = nil
            return
        }
        let name = "\(path)/\(Manifest.fileName)"
        let bytes = try RecoveryError.wrapping { () throws(StorageError) in
            try files.contents(of: name, limit: Manifest.bytesMax)
        }
        do throws(ManifestError) {
            manifest = try Manifest(bytes)
        } catch {
            throw RecoveryError(name, nil, "line \(error.line): \(error.reason)")
        }
    }

    /// The very first start creates a log before the manifest, so a crash in between leaves an empty one. Anything more
    /// without a manifest means that the manifest was lost.
    private static func demandNoState(
        _ files: any FileSystem, _ path: String, _ names: [String]
    ) throws(RecoveryError) {
        for name in names where LogDirectory.number(in: name) != nil {
            let size = try RecoveryError.wrapping { () throws(StorageError) in
                try files.open("\(path)/\(name)", .read).size()
            }
            guard size > FileHeader.size else { continue }
            throw RecoveryError(
                "\(path)/\(name)", nil, "the file contains state, but the directory has no manifest")
        }
    }

    /// Reads a file's header.
    static func header(
        of file: any StorageFile, _ content: FileHeader.Content
    ) throws(StorageError) -> Result<FileHeader, HeaderError> {
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: FileHeader.size, alignment: 8)
        defer { memory.deallocate() }
        let count = try file.readAll(into: memory, at: 0)
        do throws(HeaderError) {
            let bytes = UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(memory)[..<count])
            return .success(try FileHeader(bytes, expecting: content))
        } catch {
            return .failure(error)
        }
    }
}
