// The operating system's time zone database: a directory of small files, one per zone, some in subdirectories.
//
// Owns: finding and reading the files, within bounds. LimiterEngine interprets their content. Blocks on the disk.

import Glibc

/// The directory of the time zone database.
public struct ZoneDirectory: Sendable {
    /// Location of the database on Linux: the package is called tzdata.
    public static let usual = "/usr/share/zoneinfo"
    /// Maximum size of a file, in bytes.
    public static let lengthMax = 65_536
    /// Maximum number of names listed.
    public static let namesMax = 8192

    private let path: String

    /// The database in a directory. Does not open anything yet.
    public init(_ path: String = ZoneDirectory.usual) { self.path = path }

    /// Why a zone's file was not read.
    public enum Failure: Error, Equatable, Sendable, CustomStringConvertible {
        /// The directory has no such file; the directory's path.
        case notFound(in: String)
        /// Not a regular file; its path.
        case notRegular(String)
        /// More than `lengthMax` bytes; the file's path.
        case tooLong(String)
        /// A system call failed on this path.
        case failed(String, SystemError)

        /// The error text, including the path.
        public var description: String {
            switch self {
            case .notFound(let directory): "there is no such zone in \(directory)"
            case .notRegular(let path): "\(path) is not a regular file"
            case .tooLong(let path): "\(path) has more than \(ZoneDirectory.lengthMax) bytes"
            case .failed(let path, let error): "\(path): \(error)"
            }
        }
    }

    /// The bytes of a zone's file. A name that leads out of the directory is reported as not found.
    public func read(_ name: String) throws(Failure) -> [UInt8] {
        let parts = name.utf8.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
        guard parts.allSatisfy({ !$0.isEmpty && !$0.elementsEqual("..".utf8) }), !name.utf8.contains(0) else {
            throw .notFound(in: path)
        }
        let file = "\(path)/\(name)"
        let bytes: [UInt8]?
        do throws(SystemError) {
            // A FIFO with this name must not block.
            let descriptor = try FileDescriptor.open(file, O_RDONLY | O_NONBLOCK)
            defer { descriptor.close() }
            guard descriptor.isRegular else { throw SystemError("open", code: EISDIR) }
            bytes = try descriptor.readAll(limit: ZoneDirectory.lengthMax)
        } catch {
            switch error.code {
            case ENOENT, ENOTDIR: throw .notFound(in: path)
            case EISDIR: throw .notRegular(file)
            default: throw .failed(file, error)
            }
        }
        guard let bytes else { throw .tooLong(file) }
        return bytes
    }

    /// The names of all zones, sorted: regular files whose names begin with a capital letter, directly or in
    /// directories whose names do. This excludes tables (`zone.tab`), `localtime`, and copies of the database
    /// (`posix/`, `right/`).
    public func names() throws(Failure) -> [String] {
        var names: [String] = []
        var directories = [""]
        while let directory = directories.popLast() {
            let found: [String]
            do throws(Failure) {
                found = try entries(of: directory)
            } catch {
                // One directory that cannot be read does not take the zones of all others away.
                guard directory.isEmpty else { continue }
                throw error
            }
            for entry in found {
                let name = directory + entry
                // No zone is nested deeper than America/Argentina/Salta; this also stops at links to a parent
                // directory.
                let depth = name.utf8.count { $0 == UInt8(ascii: "/") }
                guard depth < 3, names.count + directories.count < ZoneDirectory.namesMax else { continue }
                var status = stat()
                guard stat("\(path)/\(name)", &status) == 0 else { continue }
                switch status.st_mode & S_IFMT {
                case S_IFREG: names.append(name)
                case S_IFDIR: directories.append(name + "/")
                default: break
                }
            }
        }
        return names.sorted()
    }

    private func entries(of directory: String) throws(Failure) -> [String] {
        let full = "\(path)/\(directory)"
        guard let stream = opendir(full) else { throw .failed(full, SystemError("opendir")) }
        defer { closedir(stream) }
        var entries: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if let first = name.utf8.first, (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(first) {
                entries.append(name)
            }
        }
        return entries
    }
}
