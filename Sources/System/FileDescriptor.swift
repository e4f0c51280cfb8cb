// Reads and writes whole files by descriptor, and handles interrupted and partial calls in one place.
//
// For the server's small files (settings, rules, the log's output). Data files go through Persistence's FileSystem,
// which tests can replace.

import Glibc

/// An open file. A value without ownership: the code that opened it closes it.
public struct FileDescriptor: Sendable {
    /// The kernel's number.
    public let rawValue: Int32

    /// Wraps a descriptor that is already open.
    public init(_ rawValue: Int32) { self.rawValue = rawValue }

    /// For a tool's output.
    public static let standardOutput = FileDescriptor(STDOUT_FILENO)
    /// For error messages.
    public static let standardError = FileDescriptor(STDERR_FILENO)

    /// Opens a file with close-on-exec set.
    ///
    /// - Parameters:
    ///   - flags: As for open(2), such as `O_RDONLY | O_NONBLOCK`.
    ///   - mode: Permissions of a file that is created, before the umask.
    public static func open(_ path: String, _ flags: Int32, mode: UInt32 = 0) throws(SystemError) -> FileDescriptor {
        let descriptor = Glibc.open(path, flags | O_CLOEXEC, mode)
        guard descriptor >= 0 else { throw SystemError("open") }
        return FileDescriptor(descriptor)
    }

    /// Closes the descriptor.
    public func close() { Glibc.close(rawValue) }

    /// Whether it is a regular file: I/O on one waits only for its disk.
    public var isRegular: Bool {
        var status = stat()
        return fstat(rawValue, &status) == 0 && status.st_mode & S_IFMT == S_IFREG
    }

    /// Everything from the current position to the end; nil if that is more than `limit` bytes.
    public func readAll(limit: Int) throws(SystemError) -> [UInt8]? {
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: min(limit + 1, 1 << 16))
        while true {
            let count = chunk.withUnsafeMutableBytes { Glibc.read(rawValue, $0.baseAddress, $0.count) }
            guard count >= 0 else {
                if errno == EINTR { continue }
                throw SystemError("read")
            }
            guard count > 0 else { return bytes }
            bytes += chunk[..<count]
            guard bytes.count <= limit else { return nil }
        }
    }

    /// Writes all of the bytes, blocking as long as necessary. After an error some of them may have been written.
    public func writeAll(_ bytes: [UInt8]) throws(SystemError) {
        if let error = bytes.withUnsafeBytes(write) { throw error }
    }

    /// As above.
    public func writeAll(_ bytes: UnsafeRawBufferPointer) throws(SystemError) {
        if let error = write(bytes) { throw error }
    }

    private func write(_ bytes: UnsafeRawBufferPointer) -> SystemError? {
        var done = 0
        while done < bytes.count {
            let count = Glibc.write(rawValue, bytes.baseAddress! + done, bytes.count - done)
            guard count >= 0 else {
                if errno == EINTR { continue }
                return SystemError("write")
            }
            done += count
        }
        return nil
    }

    /// Returns once everything written would survive a loss of power.
    public func sync() throws(SystemError) {
        while fsync(rawValue) != 0 {
            if errno != EINTR { throw SystemError("fsync") }
        }
    }
}

/// Replaces whole files atomically.
public enum AtomicFile {
    /// Why a file was not replaced.
    public struct Failure: Error {
        /// The path on which the operation failed: the file, its directory, or the temporary file beside it.
        public let path: String
        /// The failed call and its error.
        public let error: SystemError
    }

    /// Replaces the content of the file at `path` by `bytes`: after a crash or a loss of power the file has its old or
    /// its new content, complete. Writes a temporary file in the same directory, then fsync, rename, fsync of the
    /// directory. An existing file keeps its mode, and a symbolic link remains one. Blocks on the disk.
    ///
    /// - Parameter mode: Permissions of a file that does not exist yet.
    public static func replace(_ path: String, with bytes: [UInt8], mode: UInt32) throws(Failure) {
        let target = resolved(path)
        let temporary = "\(target).\(getpid()).tmp"
        var status = stat()
        let mode = stat(target, &status) == 0 ? status.st_mode & 0o777 : mode
        // A crash may have left one, and in a container the process id is always the same.
        unlink(temporary)
        do throws(SystemError) {
            let file = try FileDescriptor.open(temporary, O_WRONLY | O_CREAT | O_EXCL, mode: 0o600)
            defer { file.close() }
            try file.writeAll(bytes)
            guard fchmod(file.rawValue, mode) == 0 else { throw SystemError("fchmod") }
            try file.sync()
        } catch {
            unlink(temporary)
            throw Failure(path: temporary, error: error)
        }
        guard rename(temporary, target) == 0 else {
            let failure = SystemError("rename")
            unlink(temporary)
            throw Failure(path: target, error: failure)
        }
        try syncDirectory(of: target)
    }

    private static func syncDirectory(of path: String) throws(Failure) {
        let slash = path.lastIndex(of: "/")
        let directory = slash.map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
        do throws(SystemError) {
            let descriptor = try FileDescriptor.open(directory, O_RDONLY | O_DIRECTORY)
            defer { descriptor.close() }
            try descriptor.sync()
        } catch {
            throw Failure(path: directory, error: error)
        }
    }

    private static func resolved(_ path: String) -> String {
        guard let real = realpath(path, nil) else { return path }
        defer { free(real) }
        return String(cString: real)
    }
}
