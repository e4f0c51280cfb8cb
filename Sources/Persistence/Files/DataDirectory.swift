// The directory that holds everything the server keeps on disk.

import Glibc

/// Why a data directory cannot be used: one sentence that names it.
package struct DataDirectoryError: Error, Sendable {
    /// The sentence.
    package let text: String

    /// An error with this text.
    package init(text: String) { self.text = text }
}

/// The data directory.
package enum DataDirectory {
    /// The lock file, held by the server that uses the directory.
    package static let lockName = "escapement.lock"

    /// Mode of directories that the server creates: its data shows who made which calls, so only its own user may read
    /// it. Existing directories and files keep their mode.
    static let directoryMode: mode_t = 0o700
    /// Mode of files that the server creates in it.
    static let fileMode: mode_t = 0o600

    /// Makes sure that `path` is a directory this process can write to; creates it, one level, when it is missing.
    package static func prepare(_ path: String) throws(DataDirectoryError) {
        if mkdir(path, directoryMode) != 0, errno != EEXIST {
            throw DataDirectoryError(text: "cannot create '\(path)': \(reason())")
        }
        var status = stat()
        guard stat(path, &status) == 0 else {
            throw DataDirectoryError(text: "cannot use '\(path)': \(reason())")
        }
        guard status.st_mode & S_IFMT == S_IFDIR else {
            throw DataDirectoryError(text: "'\(path)' is not a directory")
        }
        guard access(path, W_OK | X_OK) == 0 else {
            throw DataDirectoryError(text: "cannot write to '\(path)': \(reason())")
        }
    }

    private static func reason() -> String { String(cString: strerror(errno)) }
}
