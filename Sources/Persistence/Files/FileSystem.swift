// The file operations that the log and the snapshots need, call by call with the kernel's semantics: a write may be
// short, any call may fail or be interrupted. RealFileSystem.swift has the real one; tests supply one that loses power.
//
// Owns no policy: callers decide what a failure means. The loops that complete short and interrupted calls are here,
// once, on top of the protocol.

import Glibc

/// A failed call: the operation, its path, and the kernel's reason.
package struct StorageError: Error, Equatable, Sendable {
    /// What was attempted, as a verb: `write`, `fsync`, `rename`.
    package let operation: String
    /// The file or directory.
    package let path: String
    /// The kernel's error number; 0 where the kernel has none for it.
    package let code: Int32
    private let words: String?

    /// The failure of `operation` on `path` with the error number `code`.
    package init(_ operation: String, _ path: String, code: Int32) {
        self.operation = operation
        self.path = path
        self.code = code
        words = nil
    }

    /// A pipe, device or directory at `path`, where a regular file is required.
    package init(notRegular path: String) {
        operation = "open"
        self.path = path
        code = 0
        words = "not a regular file"
    }

    /// What was wrong, as the kernel's message for the error number where there is one: `No space left on device`.
    package var reason: String { words ?? String(cString: strerror(code)) }
}

extension StorageError: CustomStringConvertible {
    /// `write /data/log-3: No space left on device`.
    package var description: String { "\(operation) \(path): \(reason)" }
}

/// How a file is opened.
package enum OpenMode: Sendable {
    /// The file must exist; read-only.
    case read
    /// The file must exist; written in place.
    case update
    /// The file is truncated, or created.
    case create
}

/// An open file, closed when its last reference is released. Threads may share it as far as the kernel allows.
package protocol StorageFile: AnyObject, Sendable {
    /// The path it was opened with.
    var path: String { get }
    /// Bytes in the file.
    func size() throws(StorageError) -> Int
    /// Reads at `offset`; may return fewer bytes than asked for, 0 at the end of the file.
    func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int) throws(StorageError) -> Int
    /// Writes at `offset`; may write fewer bytes than given, but at least one.
    func write(_ bytes: UnsafeRawBufferPointer, at offset: Int) throws(StorageError) -> Int
    /// Returns once everything written so far, and the file's size, survive a loss of power.
    func sync() throws(StorageError)
    /// Truncates the file to `size` bytes.
    func truncate(to size: Int) throws(StorageError)
}

/// A lock on a directory, released with its last reference or when the process ends.
package protocol DirectoryLock: AnyObject, Sendable {}

/// A file system.
package protocol FileSystem: Sendable {
    /// Opens a file.
    func open(_ path: String, _ mode: OpenMode) throws(StorageError) -> any StorageFile
    /// Renames a file atomically, replacing any file at `newPath`.
    func rename(_ path: String, to newPath: String) throws(StorageError)
    /// Removes a file.
    func remove(_ path: String) throws(StorageError)
    /// Names of a directory's entries, without its path, in no particular order.
    func list(_ directory: String) throws(StorageError) -> [String]
    /// Creates a directory, one level. An existing one is not an error.
    func createDirectory(_ path: String) throws(StorageError)
    /// Returns once created, removed and renamed entries of a directory survive a loss of power.
    func syncDirectory(_ path: String) throws(StorageError)
    /// Whether there is a file or directory at `path`.
    func exists(_ path: String) throws(StorageError) -> Bool
    /// Takes the lock on the file `path`, creating the file if needed; nil when another process holds it.
    func lock(_ path: String) throws(StorageError) -> (any DirectoryLock)?
}

extension StorageFile {
    /// Writes all of `bytes` at `offset`. After an error, any part of them may have been written.
    package func writeAll(_ bytes: UnsafeRawBufferPointer, at offset: Int) throws(StorageError) {
        var done = 0
        while done < bytes.count {
            let rest = UnsafeRawBufferPointer(rebasing: bytes[done...])
            done += try uninterrupted { () throws(StorageError) in try write(rest, at: offset + done) }
        }
    }

    /// Fills `buffer` from `offset` on. Returns the number of bytes read: fewer than asked for only at the end.
    package func readAll(into buffer: UnsafeMutableRawBufferPointer, at offset: Int) throws(StorageError) -> Int {
        var done = 0
        while done < buffer.count {
            let rest = UnsafeMutableRawBufferPointer(rebasing: buffer[done...])
            let count = try uninterrupted { () throws(StorageError) in try read(into: rest, at: offset + done) }
            if count == 0 { break }
            done += count
        }
        return done
    }

    /// `sync`, retried if a signal interrupted it.
    package func syncAll() throws(StorageError) {
        _ = try uninterrupted { () throws(StorageError) in
            try sync()
            return 0
        }
    }

    private func uninterrupted(_ call: () throws(StorageError) -> Int) throws(StorageError) -> Int {
        while true {
            do throws(StorageError) {
                return try call()
            } catch {
                if error.code != EINTR { throw error }
            }
        }
    }
}

extension FileSystem {
    /// The contents of a file of at most `limit` bytes; a larger one is refused with EFBIG.
    package func contents(of path: String, limit: Int) throws(StorageError) -> [UInt8] {
        let file = try open(path, .read)
        let size = try file.size()
        guard size <= limit else { throw StorageError("read", path, code: EFBIG) }
        var bytes = [UInt8](repeating: 0, count: size)
        var count = 0
        var failure: StorageError?
        bytes.withUnsafeMutableBytes { buffer in
            do throws(StorageError) {
                count = try file.readAll(into: buffer, at: 0)
            } catch {
                failure = error
            }
        }
        if let failure { throw failure }
        bytes.removeLast(size - count)
        return bytes
    }

    /// Writes `bytes` to a file next to `path` and syncs it. Returns its name, for a rename.
    func prepareReplacement(of path: String, with bytes: [UInt8]) throws(StorageError) -> String {
        let temporary = path + ".tmp"
        let file = try open(temporary, .create)
        var failure: StorageError?
        bytes.withUnsafeBytes { buffer in
            do throws(StorageError) {
                try file.writeAll(buffer, at: 0)
            } catch {
                failure = error
            }
        }
        if let failure { throw failure }
        try file.syncAll()
        return temporary
    }

    /// Atomically replaces the contents of `path` with `bytes`: after a loss of power there is the old file or the new
    /// one, complete.
    package func replace(_ path: String, with bytes: [UInt8], inDirectory directory: String) throws(StorageError) {
        try rename(try prepareReplacement(of: path, with: bytes), to: path)
        try syncDirectory(directory)
    }
}
