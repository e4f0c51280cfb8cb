// What `escapement check` finds in damaged copies of the golden directory, and how --fix repairs them. A start is the
// reference: check and recovery must agree, and a repaired directory must start.

import Glibc
import LimiterEngine
import TestSupport
import Testing

@testable import Persistence

@Suite struct DirectoryCheckTests {
    private let directory = GoldenDirectory.directory

    private func check(_ files: SimulatedFileSystem) -> DirectoryCheck {
        DirectoryCheck(files: files, directory: directory)
    }

    private func summary(_ found: DirectoryCheck) -> CheckSummary {
        CheckSummary(found, CheckSummary.Context(path: "/data", now: EngineTime(nanoseconds: GoldenDirectory.time)))
    }

    private func condition(_ name: String, _ files: SimulatedFileSystem) -> DirectoryCheck.Condition? {
        check(files).files.first { $0.name == name }?.condition
    }

    /// Repairs the directory; it must then be clean and recover up to the end that the repair reports.
    private func repaired(_ files: SimulatedFileSystem) throws -> DirectoryRepair {
        let repair = try #require(try DirectoryRepair(files: files, check: check(files)))
        let now = check(files)
        #expect(now.isClean, "\(now.text)")
        #expect(!now.stateFiles.contains { $0.condition != .sound }, "\(now.text)")
        let (report, _) = try files.recoveredState()
        #expect(report.end == repair.end)
        #expect(report.cut == nil)
        return repair
    }

    // MARK: Checking

    @Test func aCleanDirectoryIsDescribedFileByFile() throws {
        let found = check(try GoldenDirectory.inMemory())
        #expect(found.isClean)
        #expect(
            found.text == """
                manifest: manifest, 127 bytes, ok
                synced: sync mark, journal 4648, 12 bytes, ok
                snapshot-1: snapshot, journal 4096, 7 records, 266 bytes, ok
                log-2: log, journal 4096 to 4255, 6 records, 215 bytes, ok
                log-3: log, journal 4255 to 4648, 7 records, 449 bytes, ok
                /data/appendonlydir: clean, 20 records in 930 bytes, the journal ends at 4648

                """)
        #expect(found.lastTime.nanoseconds == GoldenDirectory.time + 8_000_000)
    }

    @Test func jsonHasTheSameFactsAndEscapesNames() throws {
        let files = try GoldenDirectory.inMemory()
        files.contents["/d\"\\\n/manifest"] = []
        let found = DirectoryCheck(files: files, directory: "/d\"\\\n")
        let text = String(decoding: found.json(summary: summary(found)), as: UTF8.self)
        #expect(text.hasPrefix("{\"directory\":\"/d\\\"\\\\\\u000a\",\"clean\":false,\"problem\":"))
        #expect(!text.contains("\n"))
        files["log-3"][100] ^= 1
        let damaged = String(decoding: check(files).json(summary: summary(check(files))), as: UTF8.self)
        #expect(
            damaged.contains(
                "{\"file\":\"log-3\",\"role\":\"log\",\"start\":4255,\"end\":4255,\"records\":0,"
                    + "\"records_behind_damage\":3,\"bytes\":449,\"condition\":\"damaged\","
                    + "\"position\":56,\"reason\":\""
            ),
            "\(damaged)")
    }

    @Test func aTornTailIsDamageOnlyBeforeTheSyncMark() throws {
        let files = try GoldenDirectory.inMemory()
        files["log-3"] += [1, 2, 3]
        #expect(condition("log-3", files) == .torn(position: 449, reason: "is cut off by the end of the file"))
        #expect(check(files).isClean)
        files["log-3"].removeLast(4)
        #expect(condition("log-3", files)?.isDamage == true)
        files["synced"] = [1]
        #expect(condition("log-3", files)?.isDamage == false)
        #expect(condition("synced", files) == .ignored(reason: "it is not valid and is ignored"))
        #expect(check(files).isClean)
    }

    @Test func leftoversAreReportedAndHarmless() throws {
        let files = try GoldenDirectory.inMemory()
        files["log-9"] = [1]
        files["manifest.tmp"] = [1]
        files["log-3.damaged-1"] = [1]
        let found = check(files)
        #expect(found.isClean)
        #expect(found.files.filter { $0.role == .leftover }.map(\.name) == ["log-9", "manifest.tmp"])
    }

    @Test func stateWithoutAValidManifestIsAProblem() throws {
        let files = try GoldenDirectory.inMemory()
        files.contents["\(directory)/manifest"] = nil
        #expect(check(files).problem?.reason == "the file contains state, but the directory has no manifest")
        #expect(throws: DirectoryRepair.Failure.self) { try DirectoryRepair(files: files, check: check(files)) }
        files["manifest"] = Array("escapement-manifest 1\n".utf8)
        #expect(check(files).problem?.path == "\(directory)/manifest")
        #expect(!check(files).isClean)
    }

    @Test func theLogDirectoryIsFoundFromItsOwnOrTheParentPath() throws {
        let files = try GoldenDirectory.inMemory()
        let location = try LogLocation(files: files, path: "/data")
        #expect(location.directory == directory)
        #expect(location.lockPath == "/data/escapement.lock")
        #expect(try LogLocation(files: files, path: directory) == location)
        #expect(try LogLocation(files: files, path: directory + "//") == location)
        // Other files beside it make no difference.
        files.contents["/data/log-1"] = []
        #expect(try LogLocation(files: files, path: "/data") == location)
        func lock(_ path: String) throws -> String {
            let files = SimulatedFileSystem(["\(path == "/" ? "" : path)/manifest": []])
            return try LogLocation(files: files, path: path).lockPath
        }
        #expect(try lock(".") == "./../escapement.lock")
        #expect(try lock("here") == "./escapement.lock")
        #expect(try lock("/top") == "/escapement.lock")
        #expect(try lock("a/..") == "a/../../escapement.lock")
        files.contents["/elsewhere/x"] = []
        #expect(throws: RecoveryError.self) { try LogLocation(files: files, path: "/elsewhere") }
    }

    /// The log up to a snapshot's offset was synced before the manifest named the snapshot, whatever the mark
    /// contains.
    @Test func aLogThatEndsBeforeItsSnapshotHasLostPromisedBytes() throws {
        let files = try GoldenDirectory.inMemory()
        var manifest = try Manifest(files["manifest"])
        let snapshot = GoldenDirectory.header(.snapshot, 1, 4600, keys: 7)
        files["snapshot-1"].replaceSubrange(0..<snapshot.count, with: snapshot)
        manifest.snapshot?.offset = 4600
        files["manifest"] = manifest.encoded()
        files.contents["\(directory)/synced"] = nil
        files["log-3"].removeLast(49)
        #expect(throws: RecoveryError.self) { try files.recoveredState() }
        let repair = try repaired(files)
        // The snapshot contains everything that remains of the log.
        #expect(repair.dropped == ["log-2", "log-3"])
        #expect(repair.end == 4600)
        #expect(repair.journalBytesGivenUp == 0)
    }

    @Test func offsetsNearTheMaximumAreRefusedWithoutOverflow() throws {
        #expect(SyncMark.decode(SyncMark.encoded(Int64.max)) == nil)
        #expect(throws: HeaderError.self) {
            try GoldenDirectory.header(.log, 2, Int64.max).withUnsafeBytes { try FileHeader($0, expecting: .log) }
        }
        let manifest = Manifest(
            history: GoldenDirectory.history, snapshot: Manifest.Entry(number: 1, offset: Int64.max))
        #expect(throws: ManifestError.self) { try Manifest(manifest.encoded()) }
        let files = try GoldenDirectory.inMemory()
        files["log-9223372036854775807"] = []
        #expect(try files.recoveredState().report.largestNumber == 3)
    }

    // MARK: Repairing

    @Test func aDamagedLogIsCutAndLaterLogsAreDropped() throws {
        let files = try GoldenDirectory.inMemory()
        files["log-2"][120] ^= 0x10  // in the second batch
        let before = files.contents
        let repair = try repaired(files)
        #expect(repair.cut?.name == "log-2")
        #expect(repair.cut?.position == 104)
        #expect(repair.dropped == ["log-3"])
        #expect(repair.end == 4144)
        #expect(repair.journalBytesGivenUp == 4648 - 4144)
        // Three after the damage in its own batch, which has one more, and seven in the following log.
        #expect(repair.recordsGivenUp == 3 + 7)
        #expect(SyncMark.decode(files["synced"]) == 4144)
        #expect(try Manifest(files["manifest"]).logs.map(\.number) == [2])
        #expect(repair.copies.sorted() == ["log-2", "log-3", "manifest", "synced"].map { $0 + ".damaged-1" })
        for copy in repair.copies { #expect(files[copy] == before["\(directory)/\(copy.dropLast(10))"]) }
        #expect(files.contents["\(directory)/log-3"] == nil)
        // The snapshot's keys plus the first batch's changes.
        #expect(try files.recoveredState().lines.contains("\"word\":1700000061000000000"))
        #expect(repair.text.contains("given up: 504 bytes of journal, 10 records that could be counted"))
    }

    @Test func aSecondRepairKeepsTheCopiesOfTheFirst() throws {
        let files = try GoldenDirectory.inMemory()
        files["log-3"][440] ^= 1
        #expect(try repaired(files).copies.contains("log-3.damaged-1"))
        let first = files["log-3.damaged-1"]
        files["log-3"][100] ^= 1
        #expect(try repaired(files).copies.contains("log-3.damaged-2"))
        #expect(files["log-3.damaged-1"] == first)
    }

    @Test func aTornTailIsCutWithACopy() throws {
        let files = try GoldenDirectory.inMemory()
        files["log-3"] += [1, 2, 3]
        let repair = try repaired(files)
        #expect(repair.cut?.position == 449)
        #expect(repair.journalBytesGivenUp == 3)
        #expect(repair.recordsGivenUp == 0)
        #expect(files["log-3.damaged-1"].count == 452)
    }

    @Test func aMissingLogIsGivenUpWithLaterOnes() throws {
        let files = try GoldenDirectory.inMemory()
        files.contents["\(directory)/log-2"] = nil
        let repair = try repaired(files)
        #expect(repair.dropped == ["log-2", "log-3"])
        #expect(repair.end == 4096)
        #expect(repair.journalBytesGivenUp == 4648 - 4096)
        #expect(
            try files.recoveredState().lines
                == String(
                    decoding: GoldenDirectory.stored("expected-snapshot.jsonl"), as: UTF8.self))
    }

    @Test func problemsOtherThanALogsDamageAreNotRepaired() throws {
        func refused(_ change: (SimulatedFileSystem) -> Void, _ text: String) throws {
            let files = try GoldenDirectory.inMemory()
            change(files)
            let before = files.contents
            #expect(!check(files).isClean)
            let failure = #expect(throws: DirectoryRepair.Failure.self) {
                try DirectoryRepair(files: files, check: check(files))
            }
            #expect(failure?.text.contains(text) == true, "\(String(describing: failure))")
            #expect(files.contents == before)
        }
        try refused({ $0["snapshot-1"][60] ^= 1 }, "a damaged snapshot cannot be repaired")
        try refused({ $0.unreadable["/data/appendonlydir/log-2"] = EACCES }, "Permission denied")
        try refused(
            { files in
                files["log-3"][8] = 2
                let sum = files["log-3"].withUnsafeBytes {
                    Checksum.crc32c(UnsafeRawBufferPointer(rebasing: $0[..<52]))
                }
                withUnsafeBytes(of: sum.littleEndian) { files["log-3"].replaceSubrange(52..<56, with: $0) }
            }, "format version 2")
        // Records of a newer version in an intact batch: an unknown kind of state, of control record, of policy
        // encoding.
        let policy = [0x80 | ControlKind.policy.rawValue, 1, 40, 2] + [UInt8](repeating: 0, count: 39) + [0x6B]
        for record in [[9, 1, 1, 0, 0x6B], [0x80 | 60, 0, 0], policy] as [[UInt8]] {
            try refused({ $0.append(record: record) }, "this is not damage, so it is not cut off")
        }
        let files = try GoldenDirectory.inMemory()
        #expect(try DirectoryRepair(files: files, check: check(files)) == nil)
    }

    /// Even an invalid mark: the program ignores it, but it may help a person.
    @Test func theMarkIsCopiedWhateverItContains() throws {
        let files = try GoldenDirectory.inMemory()
        files["log-3"][100] ^= 1
        files["synced"] = [1, 2, 3]
        _ = try repaired(files)
        #expect(files["synced.damaged-1"] == [1, 2, 3])
    }

    /// A repair that fails at any call can be repeated, and gives up nothing more than an uninterrupted one.
    @Test func anInterruptedRepairCanBeRepeated() throws {
        func damaged() throws -> SimulatedFileSystem {
            let files = try GoldenDirectory.inMemory()
            files["log-2"][120] ^= 0x10
            return files
        }
        let whole = try damaged()
        _ = try repaired(whole)
        let expected = try whole.recoveredState().lines
        try #require(whole.calls > 10)
        for failing in 1...whole.calls {
            let files = try damaged()
            files.failure = (failing, EIO)
            #expect(throws: DirectoryRepair.Failure.self) { try DirectoryRepair(files: files, check: check(files)) }
            files.failure = nil
            if !check(files).isClean || files["synced.damaged-1"].isEmpty { _ = try repaired(files) }
            #expect(try files.recoveredState().lines == expected, "interrupted at call \(failing)")
        }
    }

    // MARK: Arbitrary damage

    /// Every byte of every file changed, and every file cut anywhere: check and a start report the same words, and a
    /// directory that can be repaired starts afterwards.
    @Test(arguments: ["manifest", "synced", "snapshot-1", "log-2", "log-3"])
    func checkAgreesWithAStartOnAnyDamage(_ name: String) throws {
        let golden = try GoldenDirectory.inMemory().contents
        let path = "\(directory)/\(name)"
        let size = golden[path]!.count
        for position in 0..<size * 2 {
            let files = SimulatedFileSystem(golden)
            if position < size {
                files.contents[path]![position] ^= UInt8(1 << (position % 8))
            } else {
                files.contents[path]!.removeLast(position - size + 1)
            }
            let found = check(files)
            let damage = found.problem ?? found.files.lazy.compactMap(\.condition.error).first
            let start = SimulatedFileSystem(files.contents)
            do throws(RecoveryError) {
                _ = try start.recoveredState()
                #expect(found.isClean, "\(name), \(position): \(found.text)")
            } catch {
                // A start opens all files before it reads any, so it may report another problem first.
                #expect(!found.isClean, "\(name), \(position): \(error)")
                if damage?.position != 0, error.position != 0 { #expect(damage == error, "\(name), \(position)") }
            }
            if name.hasPrefix("log"), !found.isClean { _ = try repaired(files) }
        }
    }
}

extension DirectoryCheck.Condition {
    var error: RecoveryError? { if case .damaged(let error) = self { error } else { nil } }
    var isDamage: Bool { error != nil }
}

extension SimulatedFileSystem {
    /// Appends a batch with one record, given as bytes, to the last log of the golden directory.
    fileprivate func append(record: [UInt8]) {
        let buffer = ByteBuffer()
        _ = buffer.extend(by: JournalBatch.headerSize)
        buffer.store(UInt32(record.count), at: 0)
        buffer.store(Int64(4648), at: 8)
        buffer.store(GoldenDirectory.time, at: 16)
        record.withUnsafeBytes { buffer.append($0) }
        buffer.store(Checksum.crc32c(UnsafeRawBufferPointer(rebasing: buffer.bytes[8...])), at: 4)
        self["log-3"] += Array(buffer.bytes)
    }
}
