// Whole text files, read and written at once. Only small ones: none is larger than a megabyte.

import Glibc

/// A file that could not be read or written, with a message for the user.
public struct FileFailure: Error {
    /// What went wrong, and with which file.
    public let message: String
}

/// A text file by its path.
public struct TextFile {
    /// The file's path.
    public let path: String
    /// Upper bound on the size of a file in bytes.
    private static let sizeMax = 1 << 20

    /// The file at this path; nothing is opened yet.
    public init(_ path: String) { self.path = path }

    /// The whole text.
    public func read() throws(FileFailure) -> String {
        guard let file = fopen(path, "r") else { throw failure("cannot open") }
        defer { fclose(file) }
        var bytes = [UInt8](repeating: 0, count: TextFile.sizeMax + 1)
        let count = fread(&bytes, 1, bytes.count, file)
        guard ferror(file) == 0 else { throw failure("cannot read") }
        guard count <= TextFile.sizeMax else { throw FileFailure(message: "\(path): larger than a megabyte") }
        return String(decoding: bytes[..<count], as: UTF8.self)
    }

    /// Replaces the contents of the file with `text`.
    func write(_ text: String) throws(FileFailure) {
        guard let file = fopen(path, "w") else { throw failure("cannot open") }
        let bytes = Array(text.utf8)
        let isWritten = fwrite(bytes, 1, bytes.count, file) == bytes.count
        guard fclose(file) == 0, isWritten else { throw failure("cannot write") }
    }

    private func failure(_ what: String) -> FileFailure {
        FileFailure(message: "\(path): \(what): \(String(cString: strerror(errno)))")
    }
}
