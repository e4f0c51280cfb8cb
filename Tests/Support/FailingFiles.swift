// Wraps another file system, by default the kernel's, and makes selected calls fail or block: a disk that is full or
// slow, and works again when the test decides.

import Glibc
package import Persistence
import System

/// Files whose calls can be made to fail.
package final class FailingFiles: FileSystem {
    /// Selects calls by operation and by a prefix of the file's name.
    private struct Calls: Hashable {
        let operation: String
        let prefix: String
    }

    private struct State {
        var failures: [Calls: Int32] = [:]
        var waits: Set<Calls> = []
        var failed = 0
    }

    private let base: any FileSystem
    private let state = Locked(State())

    /// Wraps `base`; initially no call fails.
    package init(_ base: any FileSystem = RealFileSystem()) { self.base = base }

    /// Makes calls of an operation (`create`, `read`, `write`, `fsync`, `ftruncate`, `rename`) fail on files whose
    /// name begins with `prefix`.
    package func fail(_ operation: String, _ prefix: String, code: Int32 = ENOSPC) {
        state.withLock { $0.failures[Calls(operation: operation, prefix: prefix)] = code }
    }

    /// Makes a call block until `work`.
    package func wait(_ operation: String, _ prefix: String) {
        state.withLock { _ = $0.waits.insert(Calls(operation: operation, prefix: prefix)) }
    }

    /// Ends all failures and waits.
    package func work() {
        state.withLock {
            $0.failures = [:]
            $0.waits = []
        }
    }

    /// The number of calls that have failed so far.
    package var failed: Int { state.withLock { $0.failed } }

    fileprivate func check(_ operation: String, _ path: String) throws(StorageError) {
        let name = path.split(separator: "/").last ?? ""
        func concerns(_ calls: Calls) -> Bool { calls.operation == operation && name.hasPrefix(calls.prefix) }
        while state.withLock({ $0.waits.contains(where: concerns) }) { usleep(1000) }
        let code = state.withLock { state in
            let code = state.failures.first { concerns($0.key) }?.value
            if code != nil { state.failed += 1 }
            return code
        }
        if let code { throw StorageError(operation, path, code: code) }
    }

    /// Opens a file; the operation is `create` if that creates it.
    package func open(_ path: String, _ mode: OpenMode) throws(StorageError) -> any StorageFile {
        if mode == .create { try check("create", path) }
        return FailingFile(base: try base.open(path, mode), files: self)
    }

    /// Renames a file; calls are matched by the new name.
    package func rename(_ path: String, to newPath: String) throws(StorageError) {
        try check("rename", newPath)
        try base.rename(path, to: newPath)
    }

    /// Removes a file; like all calls below, it never fails on request.
    package func remove(_ path: String) throws(StorageError) { try base.remove(path) }
    /// Names in a directory.
    package func list(_ directory: String) throws(StorageError) -> [String] { try base.list(directory) }
    /// Creates a directory.
    package func createDirectory(_ path: String) throws(StorageError) { try base.createDirectory(path) }
    /// Makes names durable.
    package func syncDirectory(_ path: String) throws(StorageError) { try base.syncDirectory(path) }
    /// Whether the file exists.
    package func exists(_ path: String) throws(StorageError) -> Bool { try base.exists(path) }
    /// Takes a lock.
    package func lock(_ path: String) throws(StorageError) -> (any DirectoryLock)? { try base.lock(path) }
}

private final class FailingFile: StorageFile {
    private let base: any StorageFile
    private let files: FailingFiles

    init(base: any StorageFile, files: FailingFiles) {
        self.base = base
        self.files = files
    }

    var path: String { base.path }
    func size() throws(StorageError) -> Int { try base.size() }

    func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int) throws(StorageError) -> Int {
        try files.check("read", path)
        return try base.read(into: buffer, at: offset)
    }

    func write(_ bytes: UnsafeRawBufferPointer, at offset: Int) throws(StorageError) -> Int {
        try files.check("write", path)
        return try base.write(bytes, at: offset)
    }

    func sync() throws(StorageError) {
        try files.check("fsync", path)
        try base.sync()
    }

    func truncate(to size: Int) throws(StorageError) {
        try files.check("ftruncate", path)
        try base.truncate(to: size)
    }
}
