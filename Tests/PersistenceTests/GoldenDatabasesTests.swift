// A fourth directory of format version 1: keys of several databases, their removals, an answer to an ID, and the flush
// of one database. Encoded here from the tables in docs/formats.md.
//
// Golden/v1-databases was written once by `ESCAPEMENT_WRITE_GOLDEN=1 swift test --filter writeDatabases` and must never
// change.

import Glibc
import LimiterEngine
import TestSupport
import Testing

@testable import Persistence

/// The directory: snapshot-1, then log-2.
private enum GoldenDatabases {
    static let path = String(GoldenDirectory.path.dropLast("v1".count)) + "v1-databases"
    static let hour = GoldenKinds.hour

    /// A state of a key in a database other than 0.
    static func state(
        _ encoder: BatchEncoder, _ database: UInt8, _ key: String, _ kind: StateKind, _ value: [UInt8],
        deadline: Int64? = nil
    ) {
        add(encoder, [database] + Array(key.utf8), kind, value, deadline: deadline)
    }

    static func add(
        _ encoder: BatchEncoder, _ name: [UInt8], _ kind: StateKind, _ value: [UInt8], deadline: Int64? = nil
    ) {
        name.withUnsafeBytes { bytes in
            value.withUnsafeBytes {
                let view = StateView(kind: kind, value: $0, deadline: deadline.map { GoldenKinds.time + $0 })
                let name = KeyName(bytes, isNumbered: true)
                #expect(view.isValid(for: name), "\(kind)")
                encoder.add(view, name)
            }
        }
    }

    static func removed(_ encoder: BatchEncoder, _ database: UInt8, _ key: String) {
        ([database] + Array(key.utf8)).withUnsafeBytes { encoder.addRemoval(KeyName($0, isNumbered: true)) }
    }

    static func files() -> [String: [UInt8]] {
        let start = GoldenDirectory.start
        let (word, snapshot, log) = (GoldenKinds.word, BatchEncoder(offset: 0), BatchEncoder(offset: start))
        GoldenDirectory.batch(snapshot, at: 1000) {
            GoldenKinds.state(snapshot, "k", .counter, word(1))
            // The same bytes as "k" in database 1.
            GoldenKinds.state(snapshot, "\u{1}k", .counter, word(2))
            state(snapshot, 1, "k", .counter, word(3), deadline: hour)
            state(snapshot, 255, "", .gcra, word(GoldenKinds.time + 3 * hour))
            state(snapshot, 7, "flushed", .fixedWindow, GoldenKinds.fixedWindow(24 * hour, 3))
            state(snapshot, 1, "gone", .counter, word(4))
            let answer = GoldenKinds.token(hour, [3, 10, 7, -1, 24 * hour])
            add(snapshot, GoldenKinds.tokenKey("\u{1}k", "id-1"), .token, answer)
            add(snapshot, GoldenKinds.tokenKey("\u{7}flushed", "id-2"), .token, answer)
        }
        GoldenDirectory.batch(snapshot, at: 2000) { GoldenKinds.control(snapshot, .endOfSnapshot, [], word(8)) }
        GoldenDirectory.batch(log, at: 3000) {
            removed(log, 1, "gone")
            state(log, 7, "also flushed", .counter, word(5))
        }
        GoldenDirectory.batch(log, at: 4000) { GoldenKinds.control(log, .flushDatabase, [], [7]) }
        GoldenDirectory.batch(log, at: 5000) { state(log, 7, "new", .counter, word(-6)) }
        let manifest = Manifest(
            history: GoldenDirectory.history, snapshot: Manifest.Entry(number: 1, offset: start),
            logs: [Manifest.Entry(number: 2, offset: start)])
        return [
            "manifest": manifest.encoded(),
            "synced": SyncMark.encoded(log.offset),
            "snapshot-1": GoldenDirectory.header(.snapshot, 1, start, keys: 8) + GoldenDirectory.taken(snapshot),
            "log-2": GoldenDirectory.header(.log, 2, start) + GoldenDirectory.taken(log),
        ]
    }
}

@Suite struct GoldenDatabasesTests {
    private func stored(_ name: String) throws -> String {
        String(
            decoding: try RealFileSystem().contents(of: "\(GoldenDatabases.path)/\(name)", limit: 1 << 20),
            as: UTF8.self)
    }

    @Test(.enabled(if: getenv("ESCAPEMENT_WRITE_GOLDEN") != nil, "the files are written once"))
    func writeDatabases() throws {
        let disk = RealFileSystem()
        try #require(
            try !disk.exists("\(GoldenDatabases.path)/appendonlydir/manifest"), "golden files are never changed")
        try disk.createDirectory(GoldenDatabases.path)
        try disk.createDirectory("\(GoldenDatabases.path)/appendonlydir")
        let files = SimulatedFileSystem()
        for (name, bytes) in GoldenDatabases.files() { files[name] = bytes }
        var stored = files.contents.map { (String($0.key.dropFirst("/data/".count)), $0.value) }
        stored.append(("expected.jsonl", Array(try files.foundState().utf8)))
        stored.append(("dump.jsonl", Array(try files.dumped().lines.utf8)))
        for (name, bytes) in stored {
            let file = try disk.open("\(GoldenDatabases.path)/\(name)", .create)
            try bytes.withUnsafeBytes { try file.writeAll($0, at: 0) }
        }
    }

    @Test func aStartFindsExactlyTheExpectedState() throws {
        #expect(try GoldenDirectory.inMemory(GoldenDatabases.path).foundState() == stored("expected.jsonl"))
    }

    @Test(arguments: ["snapshot-1", "log-2"])
    func recordsEncodeToTheSameBytes(_ name: String) throws {
        let files = try GoldenDirectory.inMemory(GoldenDatabases.path)
        #expect(try files.encodedAgain(name) == files[name])
    }

    @Test func theDumpShowsEveryRecord() throws {
        #expect(try GoldenDirectory.inMemory(GoldenDatabases.path).dumped().lines == stored("dump.jsonl"))
    }

    @Test func theGoldenFilesMatchTheTables() throws {
        let files = try GoldenDirectory.inMemory(GoldenDatabases.path)
        for (name, bytes) in GoldenDatabases.files() { #expect(files[name] == bytes, "\(name)") }
    }
}
