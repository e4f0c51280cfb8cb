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
