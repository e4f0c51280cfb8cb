// The time zone database's directory: which files are found and read, and which are refused.

import Glibc
import System
import TestSupport
import Testing

@Suite("ZoneDirectory, for Calendar") struct ZoneDirectoryTests {
    private let temporary = TemporaryDirectory("zones")

    /// The path of the temporary directory, with a few files in it.
    private func make() throws -> String {
        let path = temporary.path
        for directory in ["Europe", "America", "America/Argentina", "posix"] { mkdir("\(path)/\(directory)", 0o755) }
        for file in ["Zulu", "Europe/Berlin", "America/Argentina/Salta", "zone.tab", "localtime", "posix/Zulu"] {
            try AtomicFile.replace("\(path)/\(file)", with: Array(file.utf8), mode: 0o644)
        }
        symlink("Europe/Berlin", "\(path)/Link")
        symlink("nothing", "\(path)/Dangling")
        symlink("..", "\(path)/Europe/Loop")
        mkfifo("\(path)/Pipe", 0o644)
        return path
    }

    @Test func namesAreThoseOfFilesWithACapitalInitial() throws {
        let path = try make()
        let names = try ZoneDirectory(path).names()
        for name in ["Zulu", "Europe/Berlin", "America/Argentina/Salta", "Link"] { #expect(names.contains(name)) }
        for name in ["zone.tab", "localtime", "posix/Zulu", "Dangling", "Pipe", "Europe"] {
            #expect(!names.contains(name))
        }
        // A link to a parent directory is followed for a few levels only.
        #expect(names.count < 40 && names == names.sorted())
        #expect(throws: ZoneDirectory.Failure.self) { try ZoneDirectory(path + "/none").names() }
    }

    @Test func aFileIsReadOrTheReasonIsReported() throws {
        let path = try make()
        let directory = ZoneDirectory(path)
        #expect(try directory.read("Europe/Berlin") == Array("Europe/Berlin".utf8))
        #expect(try directory.read("Link") == Array("Europe/Berlin".utf8))
        for name in ["Nowhere", "Zulu/Zulu", "Dangling", "", "/etc/passwd", "../etc", "Europe/../Zulu", "Zulu\0"] {
            #expect(throws: ZoneDirectory.Failure.notFound(in: path), "\(name)") { try directory.read(name) }
        }
        #expect(throws: ZoneDirectory.Failure.notRegular("\(path)/Europe")) { try directory.read("Europe") }
        #expect(throws: ZoneDirectory.Failure.notRegular("\(path)/Pipe")) { try directory.read("Pipe") }
        try AtomicFile.replace("\(path)/Long", with: .init(repeating: 0, count: 65_537), mode: 0o644)
        #expect(throws: ZoneDirectory.Failure.tooLong("\(path)/Long")) { try directory.read("Long") }
    }
}
