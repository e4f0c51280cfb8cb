// The kernel's file system. Each method is one system call, except that open adds a check and list reads to the end.

import CLinux
import Glibc
import System

/// This machine's file system.
package struct RealFileSystem: FileSystem {
    /// The kernel's file system.
    package init() {}

    /// One `open`, plus a check of what was opened: a pipe or device in place of a file is an error, since reading from
    /// it might block forever.
    package func open(_ path: String, _ mode: OpenMode) throws(StorageError) -> any StorageFile {
        let flags: Int32 =
            switch mode {
            case .read: O_RDONLY
            case .update: O_RDWR
            case .create: O_RDWR | O_CREAT | O_TRUNC
            }
        let fd = Glibc.open(path, flags | O_CLOEXEC | O_NONBLOCK, DataDirectory.fileMode)
        guard fd >= 0 else { throw StorageError("open", path, code: errno) }
        guard FileDescriptor(fd).isRegular else {
            close(fd)
            throw StorageError(notRegular: path)
        }
        return RealFile(fd: fd, path: path)
    }

    /// One `rename`.
    package func rename(_ path: String, to newPath: String) throws(StorageError) {
        if Glibc.rename(path, newPath) != 0 { throw StorageError("rename", path, code: errno) }
    }

    /// One `unlink`.
    package func remove(_ path: String) throws(StorageError) {
        if unlink(path) != 0 { throw StorageError("unlink", path, code: errno) }
    }

    /// Reads the directory to its end.
    package func list(_ directory: String) throws(StorageError) -> [String] {
        guard let stream = opendir(directory) else { throw StorageError("opendir", directory, code: errno) }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
                pointer.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names
    }

    /// One `mkdir`. An existing directory is not an error.
    package func createDirectory(_ path: String) throws(StorageError) {
        guard mkdir(path, DataDirectory.directoryMode) != 0, errno != EEXIST else { return }
        throw StorageError("mkdir", path, code: errno)
    }

    /// Opens the directory and syncs it.
    package func syncDirectory(_ path: String) throws(StorageError) {
        let fd = Glibc.open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard fd >= 0 else { throw StorageError("open", path, code: errno) }
        defer { close(fd) }
        if fsync(fd) != 0 { throw StorageError("fsync", path, code: errno) }
    }

    /// One `access`.
    package func exists(_ path: String) throws(StorageError) -> Bool {
        if access(path, F_OK) == 0 { return true }
        if errno == ENOENT { return false }
        throw StorageError("access", path, code: errno)
    }

    /// Opens the file and takes a lock that the kernel releases when the process ends.
    package func lock(_ path: String) throws(StorageError) -> (any DirectoryLock)? {
        let fd = Glibc.open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NONBLOCK, DataDirectory.fileMode)
        guard fd >= 0 else { throw StorageError("open", path, code: errno) }
        guard FileDescriptor(fd).isRegular else {
            close(fd)
            throw StorageError(notRegular: path)
        }
        guard clinux_lock_file(fd) != 0 else {
            let code = errno
            close(fd)
            if code == EWOULDBLOCK { return nil }
            throw StorageError("flock", path, code: code)
        }
        return RealDirectoryLock(fd: fd)
    }

    /// The outcome of a read-only tool's attempt to lock.
    package enum SharedLock {
        /// While this is held, no process changes anything; other readers may hold it as well.
        case held(any DirectoryLock)
        /// Another process holds the exclusive lock.
        case inUse
        /// There is no such file: no process holds the lock, and nothing prevents one from taking it.
        case absent
    }

    /// As `lock`, for read-only tools: changes nothing, so it also works on a read-only file system.
    package func lockShared(_ path: String) throws(StorageError) -> SharedLock {
        let fd = Glibc.open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard fd >= 0 else {
            if errno == ENOENT { return .absent }
            throw StorageError("open", path, code: errno)
        }
        guard clinux_lock_file_shared(fd) != 0 else {
            let code = errno
            close(fd)
            if code == EWOULDBLOCK { return .inUse }
            throw StorageError("flock", path, code: code)
        }
        return .held(RealDirectoryLock(fd: fd))
    }
}

private final class RealDirectoryLock: DirectoryLock {
    private let fd: Int32

    init(fd: Int32) { self.fd = fd }

    deinit { close(fd) }
}

private final class RealFile: StorageFile {
    let path: String
    private let fd: Int32

    init(fd: Int32, path: String) {
        self.fd = fd
        self.path = path
    }

    deinit { close(fd) }

    func size() throws(StorageError) -> Int {
        let end = lseek(fd, 0, SEEK_END)
        guard end >= 0 else { throw StorageError("lseek", path, code: errno) }
        return Int(end)
    }

    func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int) throws(StorageError) -> Int {
        let count = pread(fd, buffer.baseAddress, buffer.count, off_t(offset))
        guard count >= 0 else { throw StorageError("read", path, code: errno) }
        return count
    }

    func write(_ bytes: UnsafeRawBufferPointer, at offset: Int) throws(StorageError) -> Int {
        let count = pwrite(fd, bytes.baseAddress, bytes.count, off_t(offset))
        guard count >= 0 else { throw StorageError("write", path, code: errno) }
        // A device that accepts nothing and reports no error would make this loop forever.
        guard count > 0 || bytes.isEmpty else { throw StorageError("write", path, code: ENOSPC) }
        return count
    }

    func sync() throws(StorageError) {
        if fdatasync(fd) != 0 { throw StorageError("fsync", path, code: errno) }
    }

    func truncate(to size: Int) throws(StorageError) {
        if ftruncate(fd, off_t(size)) != 0 { throw StorageError("ftruncate", path, code: errno) }
    }
}
