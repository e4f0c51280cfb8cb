// A directory tree in memory that never fails by itself: for tests and for the fuzz target, which look at what decoders
// make of bytes. Refuses to model a disk: what is written is there.

import Glibc
import Persistence

/// Files by path; directories are what paths say.
///
/// `@unchecked Sendable`: used by one thread at a time.
final class MemoryFiles: FileSystem, @unchecked Sendable {
    /// Contents by path.
    var contents: [String: [UInt8]] = [:]
    /// Calls that change something, in words; and the one, counted from 0, that fails with EIO instead.
    private(set) var changes: [String] = []
    var failingChange: Int?
    /// Paths that cannot be opened, and why.
    var unreadable: [String: Int32] = [:]

    /// Files open now, and the most there ever were at once.
    fileprivate(set) var openFiles = 0 {
        didSet { mostOpenFiles = max(mostOpenFiles, openFiles) }
    }
    var mostOpenFiles = 0

    init(_ contents: [String: [UInt8]] = [:]) { self.contents = contents }

    fileprivate func change(_ operation: String, _ path: String) throws(StorageError) {
        defer { changes.append("\(operation) \(path)") }
        if changes.count == failingChange { throw StorageError(operation, path, code: EIO) }
    }

    func open(_ path: String, _ mode: OpenMode) throws(StorageError) -> any StorageFile {
        if let code = unreadable[path] { throw StorageError("open", path, code: code) }
        if mode == .create {
            try change("create", path)
            contents[path] = []
        }
        guard contents[path] != nil else { throw StorageError("open", path, code: ENOENT) }
        return MemoryFile(path: path, files: self)
    }

    func rename(_ path: String, to newPath: String) throws(StorageError) {
        try change("rename", path)
        guard let bytes = contents.removeValue(forKey: path) else { throw StorageError("rename", path, code: ENOENT) }
        contents[newPath] = bytes
    }

    func remove(_ path: String) throws(StorageError) {
        try change("unlink", path)
        if contents.removeValue(forKey: path) == nil { throw StorageError("unlink", path, code: ENOENT) }
    }

    func list(_ directory: String) throws(StorageError) -> [String] {
        contents.keys.filter { $0.hasPrefix(directory + "/") }.map { path in
            String(path.dropFirst(directory.count + 1).prefix { $0 != "/" })
        }
    }

    func createDirectory(_ path: String) throws(StorageError) {}

    func syncDirectory(_ path: String) throws(StorageError) { try change("fsync", path) }

    func exists(_ path: String) throws(StorageError) -> Bool { contents[path] != nil }

    func lock(_ path: String) throws(StorageError) -> (any DirectoryLock)? { MemoryLock() }
}

private final class MemoryLock: DirectoryLock {}

/// `@unchecked Sendable`: used by one thread at a time.
private final class MemoryFile: StorageFile, @unchecked Sendable {
    let path: String
    private let files: MemoryFiles

    init(path: String, files: MemoryFiles) {
        self.path = path
        self.files = files
        files.openFiles += 1
    }

    deinit { files.openFiles -= 1 }

    func size() throws(StorageError) -> Int { files.contents[path]?.count ?? 0 }

    func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int) throws(StorageError) -> Int {
        guard let bytes = files.contents[path], offset < bytes.count else { return 0 }
        let count = min(buffer.count, bytes.count - offset)
        bytes.withUnsafeBytes { buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[offset..<offset + count])) }
        return count
    }

    func write(_ bytes: UnsafeRawBufferPointer, at offset: Int) throws(StorageError) -> Int {
        try files.change("write", path)
        var content = files.contents[path] ?? []
        if content.count < offset + bytes.count {
            content += [UInt8](repeating: 0, count: offset + bytes.count - content.count)
        }
        content.withUnsafeMutableBytes {
            UnsafeMutableRawBufferPointer(rebasing: $0[offset..<offset + bytes.count]).copyMemory(from: bytes)
        }
        files.contents[path] = content
        return bytes.count
    }

    func sync() throws(StorageError) { try files.change("fsync", path) }

    func truncate(to size: Int) throws(StorageError) {
        try files.change("truncate", path)
        var content = files.contents[path] ?? []
        if content.count > size { content.removeLast(content.count - size) }
        content += [UInt8](repeating: 0, count: size - content.count)
        files.contents[path] = content
    }
}
