// The first line of a check: its words for every kind of result, and that its numbers are those of a start.

import Glibc
import LimiterEngine
import System
import TestSupport
import Testing

@testable import Persistence

@Suite struct CheckSummaryTests {
    private let directory = GoldenDirectory.directory
    private let last = EngineTime(nanoseconds: GoldenDirectory.time + 8_000_000)

    private func golden(_ name: String) throws -> SimulatedFileSystem {
        try GoldenDirectory.inMemory(String(GoldenDirectory.path.dropLast("v1".count)) + name)
    }

    private func summary(
        _ files: SimulatedFileSystem, path: String = "/data", now: EngineTime? = nil, role: String? = nil,
        isInUse: Bool = false
    ) -> CheckSummary {
        let now = now ?? last
        let found = DirectoryCheck(files: files, directory: directory, now: now)
        return CheckSummary(found, CheckSummary.Context(path: path, now: now, role: role, isInUse: isInUse))
    }

    // MARK: A server can start

    @Test func itNamesWhatAServerStartsWith() throws {
        let files = try golden("v1")
        let now = last + .seconds(30)
        #expect(
            summary(files, now: now).line
                == "ok: a server can start from /data: 3 keys (3 more have expired), 0 policies, 0 rules, 930 bytes, "
                + "last written 2023-11-14T22:13:20.008Z, 30 s ago")
        #expect(summary(files, now: now).next == nil)
        #expect(summary(files, now: now).verdict == .ok)
        #expect(
            summary(files, role: "as a primary").line.hasPrefix(
                "ok: a server can start from /data, as a primary: 6 keys, "))
        #expect(
            summary(files, isInUse: true).line.hasSuffix(
                "; a server is writing to it, and this is what it had written when the reading began"))
        #expect(
            summary(try golden("v1-databases")).line.hasPrefix(
                "ok: a server can start from /data: 5 keys in 4 databases (db0 2, db1 1, db7 1, db255 1), "))
        #expect(summary(try golden("v1-kinds")).line.contains(", 3 policies, 2 rules, 1,524 bytes, "))
        #expect(
            summary(SimulatedFileSystem(["\(directory)/x": []])).line
                == "ok: a server can start from /data, with an empty state: it contains no log and no snapshot")
    }

    @Test func aTornTailAndAClockThatWasAheadAreNamed() throws {
        let files = try golden("v1")
        files["log-3"] += [1, 2, 3]
        #expect(
            summary(files).line.hasSuffix("; the start cuts off 3 bytes torn by a crash at the end of the log"))
        #expect(!summary(files, isInUse: true).line.contains("torn"))
        let year = EngineTime(nanoseconds: last.nanoseconds - 365 * 86_400_000_000_000)
        #expect(
            summary(try golden("v1"), now: year).line.hasSuffix(
                "Z, 365 d ahead of this machine's clock (correct the clock, or see "
                    + "`escapement check /data --rebase-clock`)"))
        #expect(summary(try golden("v1"), now: last + .seconds(-59)).line.hasSuffix("Z, 0 s ago"))
    }

    /// The numbers are those of a start at the same time, for every directory of golden files and many times.
    @Test(arguments: ["v1", "v1-kinds", "v1-calendar", "v1-databases"])
    func theNumbersAreThoseOfAStart(_ name: String) throws {
        let files = try golden(name)
        for seconds in [0, 1, 5, 8, 9, 10, 30, 31, 59, 60, 62, 3600, 7200, 86_400, 864_000, 100_000_000] as [Int64] {
            let now = EngineTime(nanoseconds: GoldenDirectory.time + seconds * 1_000_000_000)
            let engine = Engine(shards: 4)
            let report = try Recovery(files: files, path: directory, engine: engine, horizon: now)
                .run(history: GoldenDirectory.history, cutsTornTail: true)
            let statistics = KeyspaceSession(engine: engine).statistics()
            let found = DirectoryCheck(files: files, directory: directory, now: now)
            let contents = try #require(found.contents)
            #expect(contents.keys == statistics.keys && contents.tokens == statistics.tokens, "\(seconds)")
            for database in contents.databases where database.keys > 0 {
                #expect(database.keys == statistics.databases[database.number].keys, "\(seconds)")
            }
            #expect(contents.policies == engine.policies.table.policies.count)
            #expect(contents.rules == engine.policies.table.rules.count)
            #expect(found.lastTime == report.lastTime && found.tally.total == report.records + 1)
        }
    }

    // MARK: A server cannot

    @Test func damageOfALogNamesTheRepair() throws {
        let files = try golden("v1")
        files["log-2"][120] ^= 0x10
        let found = summary(files, path: "/my data/it's")
        #expect(
            found.line == "damaged: a server does not start from '/my data/it'\\''s': log-2, byte 104: the batch has a "
                + "wrong checksum; repair with `escapement check '/my data/it'\\''s' --fix`, which gives up 504 bytes "
                + "of journal with at least 10 records, and keeps copies")
        #expect(found.verdict == .damaged)
        #expect(found.next == "escapement check '/my data/it'\\''s' --fix")
        let before = DirectoryCheck(files: files, directory: directory)
        #expect(before.contents == nil)
        let repair = try #require(try DirectoryRepair(files: files, check: before))
        let after = DirectoryCheck(files: files, directory: directory)
        let context = CheckSummary.Context(path: "/data", now: last)
        // If more is wrong than the repair could change, that comes first.
        #expect(
            CheckSummary(before, context, after: .fix(repair)).line.hasPrefix(
                "damaged: gave up 504 bytes of journal with at least 10 records, and kept copies ("))
        #expect(
            CheckSummary(after, context, after: .fix(repair)).line.hasPrefix(
                "repaired: gave up 504 bytes of journal with at least 10 records, and kept copies (log-2.damaged-1, "
                    + "manifest.damaged-1, synced.damaged-1, log-3.damaged-1); a server can start from /data: 6 "
                    + "keys, "))
        #expect(
            CheckSummary(after, context, after: .fix(nil)).line.hasPrefix("ok: nothing to repair; a server can start "))
    }

    @Test func whatCannotBeRepairedNamesTheRemedy() throws {
        func line(_ change: (SimulatedFileSystem) -> Void) throws -> String {
            let files = try golden("v1")
            change(files)
            let found = summary(files)
            #expect(found.verdict == .unusable)
            return found.line
        }
        let advice =
            "no command repairs this: restore a backup, or move /data away on a replica, which then gets a full sync"
        #expect(
            try line { $0["manifest"][60] ^= 1 }.hasPrefix(
                "unusable: a server does not start from /data: manifest: line "))
        #expect(try line { $0["manifest"][60] ^= 1 }.hasSuffix("; \(advice)"))
        #expect(try line { $0.contents["\(directory)/manifest"] = nil }.hasSuffix("has no manifest; \(advice)"))
        #expect(
            try line { $0["snapshot-1"][60] ^= 1 }
                == "unusable: a server does not start from /data: snapshot-1, byte 56: the batch has a wrong checksum; "
                + advice)
        #expect(
            try line { $0.contents["\(directory)/snapshot-1"] = nil }.hasSuffix("No such file or directory; \(advice)"))
        #expect(
            try line { $0.unreadable["\(directory)/log-2"] = EACCES }.hasSuffix(
                "Permission denied; run this as the server's user, for example "
                    + "`sudo -u escapement escapement check /data`"))
        #expect(
            try line { $0.unreadable["\(directory)/log-2"] = EIO }.hasSuffix(
                "; this is not damage of the file: see the kernel's messages (dmesg) about the disk"))
        #expect(
            try line { files in
                files["log-3"][8] = 2
                let sum = files["log-3"].withUnsafeBytes {
                    Checksum.crc32c(UnsafeRawBufferPointer(rebasing: $0[..<52]))
                }
                withUnsafeBytes(of: sum.littleEndian) { files["log-3"].replaceSubrange(52..<56, with: $0) }
            }.hasSuffix("; this is not damage: start it with the version that wrote it, or a newer one"))
    }

    /// A rule whose policy does not exist: a start accepts the record and ignores the rule.
    @Test func aRuleWithoutAPolicyIsNotCounted() throws {
        let files = SimulatedFileSystem()
        let encoder = BatchEncoder(offset: 0)
        GoldenDirectory.batch(encoder, at: 0) {
            let subject = GoldenKinds.subject([nil, nil, nil])
            GoldenKinds.control(encoder, .rule, subject, GoldenKinds.rule(0, "nowhere"))
        }
        files["log-1"] = GoldenDirectory.header(.log, 1, 0) + GoldenDirectory.taken(encoder)
        files["manifest"] =
            Manifest(history: GoldenDirectory.history, logs: [Manifest.Entry(number: 1, offset: 0)]).encoded()
        _ = try files.recoveredState()
        #expect(summary(files).line.hasPrefix("ok: a server can start from /data: 0 keys, 0 policies, 0 rules, "))
    }

    // MARK: Words

    @Test(arguments: [
        (0, "0"), (7, "7"), (999, "999"), (1000, "1,000"), (12_345, "12,345"), (1_234_567, "1,234,567"),
        (-1000, "-1,000"), (-999, "-999"),
    ])
    func numbersAreGrouped(_ number: Int, _ text: String) { #expect(Quantity.grouped(number) == text) }

    @Test(arguments: [
        (0, "0 s"), (119, "119 s"), (120, "2 min"), (7199, "119 min"), (7200, "2 h"), (172_799, "47 h"),
        (172_800, "2 d"), (86_400_000, "1,000 d"),
    ])
    func durationsHaveOneUnit(_ seconds: Int64, _ text: String) {
        #expect(Quantity.duration(.seconds(seconds)) == text)
    }

    @Test(arguments: [
        ("/var/lib/escapement", "/var/lib/escapement"), ("", "''"), ("a b", "'a b'"), ("it's", "'it'\\''s'"),
        ("$HOME`x`\"\\", "'$HOME`x`\"\\'"), ("naïve", "naïve"), ("a\nb'\\", "$'a\\x0ab\\'\\\\'"), ("~", "'~'"),
    ])
    func wordsAreQuotedForAShell(_ word: String, _ quoted: String) { #expect(ShellWord.quoted(word) == quoted) }
}
