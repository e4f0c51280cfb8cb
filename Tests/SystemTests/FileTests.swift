// Reading, writing and atomically replacing files.

import Glibc
import System
import TestSupport
import Testing

extension TemporaryDirectory {
    fileprivate func read(_ name: String, limit: Int = 1 << 20) throws -> [UInt8]? {
        let file = try FileDescriptor.open("\(path)/\(name)", O_RDONLY)
        defer { file.close() }
        return try file.readAll(limit: limit)
    }

    fileprivate func mode(_ name: String) -> UInt32 {
        var status = stat()
        return stat("\(path)/\(name)", &status) == 0 ? status.st_mode & 0o7777 : 0
    }
}

@Suite struct FileTests {
    @Test func aFileIsReadToItsEndOrRefused() throws {
        let directory = TemporaryDirectory("files")
        let bytes = (0..<200_000).map { UInt8(truncatingIfNeeded: $0) }
        try AtomicFile.replace("\(directory.path)/file", with: bytes, mode: 0o600)
        #expect(try directory.read("file", limit: 200_000) == bytes)
        #expect(try directory.read("file", limit: 199_999) == nil)
        try AtomicFile.replace("\(directory.path)/file", with: [], mode: 0o600)
        #expect(try directory.read("file", limit: 0) == [])
    }

    @Test func aReplacedFileKeepsItsModeAndANewOneGetsTheGivenMode() throws {
        let directory = TemporaryDirectory("files")
        let path = "\(directory.path)/file"
        try AtomicFile.replace(path, with: [1], mode: 0o640)
        #expect(directory.mode("file") == 0o640)
        chmod(path, 0o604)
        try AtomicFile.replace(path, with: [2], mode: 0o640)
        #expect(directory.mode("file") == 0o604)
        #expect(try directory.read("file") == [2])
        #expect(directory.names == ["file"], "no temporary file is left")
    }

    @Test func aSymbolicLinkStaysALink() throws {
        let directory = TemporaryDirectory("files")
        try AtomicFile.replace("\(directory.path)/file", with: [1], mode: 0o600)
        symlink("file", "\(directory.path)/link")
        try AtomicFile.replace("\(directory.path)/link", with: [2], mode: 0o600)
        var status = stat()
        #expect(lstat("\(directory.path)/link", &status) == 0 && status.st_mode & S_IFMT == S_IFLNK)
        #expect(try directory.read("file") == [2])
    }

    @Test func aTemporaryFileLeftByACrashDoesNotInterfere() throws {
        let directory = TemporaryDirectory("files")
        let left = try FileDescriptor.open(
            "\(directory.path)/file.\(getpid()).tmp", O_WRONLY | O_CREAT | O_EXCL, mode: 0o400)
        left.close()
        try AtomicFile.replace("\(directory.path)/file", with: [1], mode: 0o600)
        #expect(directory.names == ["file"])
    }

    @Test func aFailureNamesTheCallAndTheFile() {
        do throws(AtomicFile.Failure) {
            try AtomicFile.replace("/proc/escapement/file", with: [1], mode: 0o600)
            Issue.record("replaced")
        } catch {
            #expect(error.path.hasPrefix("/proc/escapement/file"))
            #expect(error.error == SystemError("open", code: ENOENT))
            #expect("\(error.error)" == "open: No such file or directory")
        }
    }

    @Test func onlyAFileIsRegular() throws {
        let directory = TemporaryDirectory("files")
        try AtomicFile.replace("\(directory.path)/file", with: [1], mode: 0o600)
        mkfifo("\(directory.path)/pipe", 0o600)
        for (name, isRegular) in [("file", true), ("pipe", false)] {
            let file = try FileDescriptor.open("\(directory.path)/\(name)", O_RDONLY | O_NONBLOCK)
            defer { file.close() }
            #expect(file.isRegular == isRegular, "\(name)")
        }
    }
}
