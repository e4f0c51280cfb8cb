// The output of `escapement dump` for the golden directory, intact and damaged.

import LimiterEngine
import Persistence
import TestSupport
import Testing

@Suite struct DumpTests {
    private let directory = GoldenDirectory.directory

    /// The lines of one file in the golden dump.
    private func expected(_ names: String...) throws -> String {
        let lines = try String(decoding: GoldenDirectory.stored("dump.jsonl"), as: UTF8.self).split(separator: "\n")
        return lines.filter { line in names.contains { line.hasPrefix("{\"file\":\"\($0)\"") } }
            .map { "\($0)\n" }.joined()
    }

    /// The output before the dump ended, and why it ended.
    private func interrupted(_ files: SimulatedFileSystem) -> (lines: String, error: RecoveryError?) {
        var bytes: [UInt8] = []
        var failure: RecoveryError?
        do throws(RecoveryError) {
            _ = try RecordDump(files: files, directory: directory).run { part in
                bytes += part
                return true
            }
        } catch {
            failure = error
        }
        return (String(decoding: bytes, as: UTF8.self), failure)
    }

    @Test func everyRecordIsALine() throws {
        let (outcome, lines) = try GoldenDirectory.inMemory().dumped()
        #expect(outcome == .complete)
        #expect(try lines == String(decoding: GoldenDirectory.stored("dump.jsonl"), as: UTF8.self))
    }

    /// Appends a valid batch with one key to the last log, and moves the sync mark after it: a server at work.
    private func append(to files: SimulatedFileSystem) {
        let encoder = BatchEncoder(offset: 4648)
        GoldenDirectory.batch(encoder, at: 9_000) { GoldenDirectory.state(encoder, "later", .counter, 1) }
        files["log-3"] += GoldenDirectory.taken(encoder)
        files["synced"] = SyncMark.encoded(encoder.offset)
    }

    /// The lines match the summary before them, whatever a server has written since.
    @Test func aDumpEndsWhereItsCheckDid() throws {
        let files = try GoldenDirectory.inMemory()
        let check = DirectoryCheck(files: files, directory: directory)
        append(to: files)
        var bytes: [UInt8] = []
        let outcome = try RecordDump(files: files, check: check).run { part in
            bytes += part
            return true
        }
        #expect(outcome == .complete)
        #expect(try bytes == GoldenDirectory.stored("dump.jsonl"))
        #expect(check.tally.total == bytes.count { $0 == UInt8(ascii: "\n") })
        #expect(try files.dumped().lines.split(separator: "\n").count == check.tally.total + 1)
    }

    @Test func theFirstLineSumsUpTheOthers() throws {
        let check = DirectoryCheck(files: try GoldenDirectory.inMemory(), directory: directory)
        let summary = CheckSummary(
            check, CheckSummary.Context(path: "/data", now: EngineTime(nanoseconds: GoldenDirectory.time)))
        let line = String(decoding: check.dumpLine(summary: summary, isInUse: true), as: UTF8.self)
        #expect(
            line.hasPrefix(
                #"{"file":"manifest","offset":0,"time":1700000000008000000,"type":"summary","#
                    + #""directory":"/data/appendonlydir","clean":true,"verdict":"ok","summary":"ok: a server "#))
        #expect(
            line.hasSuffix(
                #""changing":true,"lines":21,"kinds":{"gcra":12,"counter":4,"removed":3,"flush_all":1,"#
                    + #""end_of_snapshot":1}}"# + "\n"), "\(line)")
        #expect(line.contains(#""keys":6,"keys_expired":0,"databases":[{"db":0,"keys":6,"keys_expired":0}],"#))
    }

    @Test func aTornTailIsReportedWithoutFailure() throws {
        let files = try GoldenDirectory.inMemory()
        files["log-3"] += [0]
        let (outcome, lines) = try files.dumped()
        #expect(
            outcome
                == .torn(path: "\(directory)/log-3", position: 449, reason: "is cut off by the end of the file"))
        #expect(try lines == expected("snapshot-1", "log-2", "log-3"))
    }

    @Test func linesBeforeDamageArePrinted() throws {
        let files = try GoldenDirectory.inMemory()
        files["log-3"][60] ^= 1
        let (lines, error) = interrupted(files)
        #expect(error?.path == "\(directory)/log-3")
        #expect(error?.position == 56)
        #expect(try lines == expected("snapshot-1", "log-2"))
    }

    @Test func anIncompleteSnapshotEndsTheDump() throws {
        let files = try GoldenDirectory.inMemory()
        files["snapshot-1"].removeLast(35)
        let (lines, error) = interrupted(files)
        #expect(error?.reason == "the snapshot ends before it is complete")
        #expect(lines.split(separator: "\n").count == 7)
    }

    @Test func theDumpStopsWhenItsReaderDoes() throws {
        // Long keys, so that the lines of a batch are delivered in several parts.
        let encoder = BatchEncoder(offset: 0)
        let key = String(repeating: "k", count: 5000)
        GoldenDirectory.batch(encoder, at: 0) {
            for number in 0..<200 { GoldenDirectory.state(encoder, key + "\(number)", .counter, 1) }
        }
        let files = SimulatedFileSystem()
        files["manifest"] =
            Manifest(history: GoldenDirectory.history, logs: [Manifest.Entry(number: 1, offset: 0)]).encoded()
        files["log-1"] = GoldenDirectory.header(.log, 1, 0) + GoldenDirectory.taken(encoder)
        var sizes: [Int] = []
        let outcome = try RecordDump(files: files, directory: directory).run { part in
            sizes.append(part.count)
            return sizes.count < 3
        }
        #expect(outcome == .stopped)
        #expect(sizes.count == 3)
        // Memory does not grow with the size of the output.
        #expect(sizes.allSatisfy { $0 < 1 << 17 })
        let whole = try files.dumped()
        #expect(whole.outcome == .complete)
        #expect(whole.lines.split(separator: "\n").count == 200)
    }
}
