// What the log and the snapshots ask of a disk, call by call as the kernel has it: a write may be short, any call may
// fail or be interrupted. The real one is in RealFileSystem; tests bring one that loses power.
//
// Owns no policy: what a failure means is decided by whoever called. The loops that finish short and interrupted
// calls are here, once, on top of the protocol.

import Glibc

/// A failed call: which, on what, and the kernel's reason.
public struct StorageError: Error, Equatable, Sendable {
    /// What was attempted, as a verb: `write`, `fsync`, `rename`.
    public let operation: String
    /// The file or directory.
    public let path: String
    /// The kernel's error number; 0 where the kernel has no word for it.
    public let code: Int32
    private let words: String?

    /// The failure of `operation` on `path` with the error number `code`.
    public init(_ operation: String, _ path: String, code: Int32) {
        self.operation = operation
        self.path = path
        self.code = code
        words = nil
    }

    /// A pipe, a device or a directory at `path`, where a file belongs.
    public init(notRegular path: String) {
        operation = "open"
        self.path = path
        code = 0
        words = "not a regular file"
    }

    /// What was wrong, in the kernel's words for the error number where there is one: `No space left on device`.
    public var reason: String { words ?? String(cString: strerror(code)) }
}

extension StorageError: CustomStringConvertible {
    /// `write /data/log-3: No space left on device`.
    public var description: String { "\(operation) \(path): \(reason)" }
}

/// How a file is opened.
public enum OpenMode: Sendable {
    /// It must exist; nothing can be written.
    case read
    /// It must exist; written in place.
    case update
    /// It becomes empty, or comes into being.
    case create
}

/// An open file; closed when its last reference goes. May be used by several threads at once as the kernel allows.
public protocol StorageFile: AnyObject, Sendable {
    /// The name it was opened under.
    var path: String { get }
    /// Bytes in the file.
    func size() throws(StorageError) -> Int
    /// Reads at `offset` as many bytes as the kernel likes, 0 at the end.
    func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int) throws(StorageError) -> Int
    /// Writes at `offset` as many bytes as the kernel likes, at least one.
    func write(_ bytes: UnsafeRawBufferPointer, at offset: Int) throws(StorageError) -> Int
    /// Returns once everything written so far, and the file's size, survive a loss of power.
    func sync() throws(StorageError)
    /// Cuts the file to `size` bytes.
    func truncate(to size: Int) throws(StorageError)
}

/// A lock on a directory; gone when its last reference goes or the process ends.
public protocol DirectoryLock: AnyObject, Sendable {}

/// A place for files.
public protocol FileSystem: Sendable {
    /// Opens a file.
    func open(_ path: String, _ mode: OpenMode) throws(StorageError) -> any StorageFile
    /// Gives a file another name, in one step; a file that had it is gone.
    func rename(_ path: String, to newPath: String) throws(StorageError)
    /// Removes a file.
    func remove(_ path: String) throws(StorageError)
    /// Names of what is in a directory, without its path, in no order.
    func list(_ directory: String) throws(StorageError) -> [String]
    /// Creates a directory, one level; one that exists is fine.
    func createDirectory(_ path: String) throws(StorageError)
    /// Returns once names that came, went and changed in a directory survive a loss of power.
    func syncDirectory(_ path: String) throws(StorageError)
    /// Whether there is such a file or directory.
    func exists(_ path: String) throws(StorageError) -> Bool
    /// Takes the lock that `path` stands for, creating the file; nil when another process has it.
    func lock(_ path: String) throws(StorageError) -> (any DirectoryLock)?
}

extension StorageFile {
    /// Writes all of `bytes` at `offset`. After an error any part of them may have been written.
    public func writeAll(_ bytes: UnsafeRawBufferPointer, at offset: Int) throws(StorageError) {
        var done = 0
        while done < bytes.count {
            let rest = UnsafeRawBufferPointer(rebasing: bytes[done...])
            done += try uninterrupted { () throws(StorageError) in try write(rest, at: offset + done) }
        }
    }

    /// Fills `buffer` from `offset` on. Returns how many bytes there were: fewer than asked for only at the end.
    public func readAll(into buffer: UnsafeMutableRawBufferPointer, at offset: Int) throws(StorageError) -> Int {
        var done = 0
        while done < buffer.count {
            let rest = UnsafeMutableRawBufferPointer(rebasing: buffer[done...])
            let count = try uninterrupted { () throws(StorageError) in try read(into: rest, at: offset + done) }
            if count == 0 { break }
            done += count
        }
        return done
    }

    /// `sync`, again if a signal came in between.
    public func syncAll() throws(StorageError) {
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
    /// Everything in a file of at most `limit` bytes; a larger one is refused with EFBIG.
    public func contents(of path: String, limit: Int) throws(StorageError) -> [UInt8] {
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

    /// Writes `bytes` to a file beside `path`, and has them on disk. Returns its name, for a rename.
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

    /// Puts `bytes` in place of whatever `path` held: after a loss of power there is the old or the new, whole.
    public func replace(_ path: String, with bytes: [UInt8], inDirectory directory: String) throws(StorageError) {
        try rename(try prepareReplacement(of: path, with: bytes), to: path)
        try syncDirectory(directory)
    }
}
