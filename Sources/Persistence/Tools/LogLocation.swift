// Locates the files of a state from a path given by the user: the log directory, or the data directory that contains
// it.

/// The log directory and the lock held by a server that uses it.
package struct LogLocation: Equatable, Sendable {
    /// The log directory's default name in the data directory.
    package static let defaultName = "appendonlydir"
    /// The name of the lock file in the data directory.
    package static let lockName = "escapement.lock"

    /// The directory that holds the manifest.
    package let directory: String
    /// The lock file of the data directory that contains it.
    package let lockPath: String
    /// The data directory, which contains the lock file.
    package var dataDirectory: String { String(lockPath.dropLast(LogLocation.lockName.count + 1)) }

    /// Finds the log directory: `path` when it contains a manifest, else `appendonlydir` in it, else `path` when it
    /// contains a log or snapshot, whose manifest must have been lost.
    package init(files: any FileSystem, path typed: String) throws(RecoveryError) {
        let path = LogLocation.withoutSlashes(typed)
        let names = try RecoveryError.wrapping { () throws(StorageError) in try files.list(path) }
        if !names.contains(Manifest.fileName), names.contains(LogLocation.defaultName) {
            directory = LogLocation.join(path, LogLocation.defaultName)
            lockPath = LogLocation.join(path, LogLocation.lockName)
        } else if names.contains(where: { $0 == Manifest.fileName || LogDirectory.number(in: $0) != nil }) {
            directory = path
            lockPath = LogLocation.join(LogLocation.parent(of: path), LogLocation.lockName)
        } else {
            throw RecoveryError(
                path, nil,
                "there is no log here: neither a \(Manifest.fileName) nor a directory \(LogLocation.defaultName)"
                    + LogLocation.hint(files, path, names))
        }
    }

    /// A server with another `appenddirname` has its log in a directory of that name.
    private static func hint(_ files: any FileSystem, _ path: String, _ names: [String]) -> String {
        for name in names.sorted() {
            let directory = join(path, name)
            if (try? files.exists(join(directory, Manifest.fileName))) ?? false {
                return "; did you mean \(ShellWord.quoted(directory))?"
            }
        }
        return ""
    }

    private static func join(_ directory: String, _ name: String) -> String {
        directory.hasSuffix("/") ? directory + name : "\(directory)/\(name)"
    }

    /// The directory that contains `path`. Derived from the text where possible, so that a symbolic link to a log on
    /// another disk leads to the data directory that contains the link.
    private static func parent(of path: String) -> String {
        let slash = path.lastIndex(of: "/")
        let name = slash.map { path[path.index(after: $0)...] } ?? path[...]
        if name.isEmpty || name == "." || name == ".." { return join(path, "..") }
        guard let slash else { return "." }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }

    private static func withoutSlashes(_ path: String) -> String {
        var path = path
        while path.count > 1, path.hasSuffix("/") { path.removeLast() }
        return path
    }
}
