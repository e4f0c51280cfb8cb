// Files read and written whole, by descriptor: interrupted and short calls are finished here, once.
//
// For small files of the server's own (settings, rules, the log's output). Data files go through Persistence's
// FileSystem, which tests can replace.

import Glibc

/// An open file. A value without ownership: the one who opened it closes it.
public struct FileDescriptor: Sendable {
    /// The kernel's number.
    public let rawValue: Int32

    /// A descriptor that is open already.
    public init(_ rawValue: Int32) { self.rawValue = rawValue }

    /// Where a tool's answer goes.
    public static let standardOutput = FileDescriptor(STDOUT_FILENO)
    /// Where complaints go.
    public static let standardError = FileDescriptor(STDERR_FILENO)

    /// Opens a file; the descriptor is not handed on to programs that are started.
    ///
    /// - Parameters:
    ///   - flags: As for open(2), such as `O_RDONLY | O_NONBLOCK`.
    ///   - mode: Of a file that is created, before the umask.
    public static func open(_ path: String, _ flags: Int32, mode: UInt32 = 0) throws(SystemError) -> FileDescriptor {
        let descriptor = Glibc.open(path, flags | O_CLOEXEC, mode)
        guard descriptor >= 0 else { throw SystemError("open") }
        return FileDescriptor(descriptor)
    }

    /// Gives the descriptor back.
    public func close() { Glibc.close(rawValue) }

    /// Whether it is a regular file: one that is never waited for but for its disk.
    public var isRegular: Bool {
        var status = stat()
        return fstat(rawValue, &status) == 0 && status.st_mode & S_IFMT == S_IFREG
    }

    /// Everything from the present position to the end, or nil if that is more than `limit` bytes.
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

    /// Writes all of the bytes, waiting for as long as the file wants. After an error some of them may be written.
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

    /// Returns once everything written survives a loss of power.
    public func sync() throws(SystemError) {
        while fsync(rawValue) != 0 {
            if errno != EINTR { throw SystemError("fsync") }
        }
    }
}

/// A file that is replaced whole.
public enum AtomicFile {
    /// Why a file was not replaced.
    public struct Failure: Error {
        /// The file or directory that something failed on: the file itself, or the temporary one beside it.
        public let path: String
        /// What failed, and why.
        public let error: SystemError
    }

    /// Puts `bytes` in place of what the file at `path` holds: a crash or a loss of power leaves the old or the new,
    /// whole. A temporary file in the same directory, fsync, rename, fsync of the directory. A file that is there keeps
    /// its mode, and a symbolic link stays one. Waits for the disk.
    ///
    /// - Parameter mode: Of a file that is not there yet.
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
