// A directory of format version 1 as files, which every later version must still read. Tests of check and dump damage
// the same directory.
//
// Golden/v1 was written once by `ESCAPEMENT_WRITE_GOLDEN=1 swift test --filter writeGolden` and must never change.

import Glibc
import LimiterEngine
import Persistence
import TestSupport
import Testing

/// Builds the golden directory from scratch: snapshot-1, then log-2 and log-3, with every kind of record.
enum GoldenDirectory {
    static let time: Int64 = 1_700_000_000_000_000_000
    static let history = String(repeating: "0123456789abcdef0123", count: 2)
    /// The journal offset at which the snapshot ends and the log begins.
    static let start: Int64 = 4096
    static let notText: [UInt8] = [0xFF, 0xFE, 0x00, 0x80]
    static let long = [UInt8](repeating: UInt8(ascii: "k"), count: 200)

    /// The files by name.
    static func files() -> [String: [UInt8]] {
        let snapshot = BatchEncoder(offset: 0)
        batch(snapshot, at: 0) {
            state(snapshot, "user:1", .gcra, time + 60_000_000_000)
            state(snapshot, "user:2", .gcra, time + 1_000_000_000, deadline: time + 30_000_000_000)
            state(snapshot, "hits", .counter, 42)
            state(snapshot, "hits:daily", .counter, -7, deadline: time + 3_600_000_000_000)
        }
        batch(snapshot, at: 1_000) {
            state(snapshot, "", .gcra, time + 5_000_000_000)
            state(snapshot, notText, .gcra, time + 6_000_000_000)
            state(snapshot, "gone", .gcra, time + 7_000_000_000)
        }
        batch(snapshot, at: 2_000) {
            control(snapshot, .endOfSnapshot, body: withUnsafeBytes(of: Int64(7)) { Array($0) })
        }

        let log = BatchEncoder(offset: start)
        batch(log, at: 3_000) {
            removed(log, "gone")
            state(log, "user:1", .gcra, time + 61_000_000_000)
        }
        batch(log, at: 4_000) { control(log, .flushAll, body: []) }
        batch(log, at: 5_000) {
            state(log, "hits", .counter, Int64.max)
            state(log, "user:1", .gcra, time + 62_000_000_000, deadline: time + 62_500_000_000)
            state(log, "soon gone", .gcra, time + 62_000_000_000)
        }
        let first = taken(log)
        let second = log.offset
        batch(log, at: 6_000) {
            removed(log, "soon gone")
            removed(log, "never there")
            state(log, "", .gcra, time + 8_000_000_000)
            state(log, notText, .counter, Int64.min, deadline: time + 9_000_000_000)
        }
        batch(log, at: 7_000) {
            state(log, long, .gcra, Int64.max)
            state(log, "naïve \"\\\u{1}☃", .gcra, time + 10_000_000_000)
        }
        // A refund: a later record with a lower value.
        batch(log, at: 8_000) { state(log, "user:1", .gcra, time + 59_000_000_000, deadline: time + 62_500_000_000) }
        let last = taken(log)

        let manifest = Manifest(
            history: history, snapshot: Manifest.Entry(number: 1, offset: start),
            logs: [Manifest.Entry(number: 2, offset: start), Manifest.Entry(number: 3, offset: second)])
        return [
            "manifest": manifest.encoded(),
            "synced": SyncMark.encoded(log.offset),
            "snapshot-1": header(.snapshot, 1, start, keys: 7) + taken(snapshot),
            "log-2": header(.log, 2, start) + first,
            "log-3": header(.log, 3, second) + last,
        ]
    }

    static func header(_ content: FileHeader.Content, _ number: Int, _ offset: Int64, keys: Int = 0) -> [UInt8] {
        FileHeader(
            content: content, number: number, journalOffset: offset, time: EngineTime(nanoseconds: time), keys: keys
        ).encoded()
    }

    static func taken(_ encoder: BatchEncoder) -> [UInt8] {
        let buffer = encoder.take(replacement: ByteBuffer())
        return withExtendedLifetime(buffer) { Array(buffer.bytes) }
    }

    static func batch(_ encoder: BatchEncoder, at microseconds: Int64, _ body: () -> Void) {
        encoder.setTime(EngineTime(nanoseconds: time + microseconds * 1000))
        body()
        encoder.end()
    }

    static func state(_ encoder: BatchEncoder, _ key: String, _ kind: StateKind, _ word: Int64, deadline: Int64? = nil)
    {
        state(encoder, Array(key.utf8), kind, word, deadline: deadline)
    }

    static func state(_ encoder: BatchEncoder, _ key: [UInt8], _ kind: StateKind, _ word: Int64, deadline: Int64? = nil)
    {
        key.withUnsafeBytes { key in
            withUnsafeBytes(of: word.littleEndian) {
                encoder.add(StateView(kind: kind, value: $0, deadline: deadline), KeyName(key))
            }
        }
    }

    static func removed(_ encoder: BatchEncoder, _ key: String) {
        Array(key.utf8).withUnsafeBytes { encoder.addRemoval(KeyName($0)) }
    }

    static func control(_ encoder: BatchEncoder, _ kind: ControlKind, body: [UInt8]) {
        body.withUnsafeBytes { encoder.addControl(kind, key: UnsafeRawBufferPointer(start: nil, count: 0), body: $0) }
    }

    // MARK: On disk

    static let path = String(#filePath.dropLast("GoldenTests.swift".count)) + "Golden/v1"

    /// A file of Golden/v1, verbatim.
    static func stored(_ name: String) throws -> [UInt8] {
        try RealFileSystem().contents(of: "\(path)/\(name)", limit: 1 << 20)
    }

    /// The stored directory in memory, as `/data/appendonlydir`.
    static func inMemory() throws -> SimulatedFileSystem { try inMemory(path) }

    /// A directory of golden files, in memory.
    static func inMemory(_ path: String) throws -> SimulatedFileSystem {
        let files = SimulatedFileSystem()
        for name in try RealFileSystem().list("\(path)/appendonlydir") {
            files[name] = try RealFileSystem().contents(of: "\(path)/appendonlydir/\(name)", limit: 1 << 20)
        }
        return files
    }

    static let directory = "/data/appendonlydir"
}

extension SimulatedFileSystem {
    /// Recovers `/data/appendonlydir` and returns the engine's contents, one line per key, sorted by key.
    func recoveredState() throws(RecoveryError) -> (report: RecoveryReport, lines: String) {
        let engine = Engine(shards: 4)
        let horizon = EngineTime(nanoseconds: GoldenDirectory.time)
        let report = try Recovery(
            files: self, path: GoldenDirectory.directory, engine: engine, horizon: horizon
        ).run(history: GoldenDirectory.history, cutsTornTail: true)
        #expect(engine.violatedInvariants() == [])
        let session = KeyspaceSession(engine: engine)
        var keys: [[UInt8]] = []
        session.forEachKey(now: horizon) { key, _ in keys.append(Array(key)) }
        keys.sort { $0.lexicographicallyPrecedes($1) }
        var lines = ""
        for key in keys {
            guard let state = key.withUnsafeBytes({ session.state(of: $0, now: horizon) }) else { continue }
            let hex = key.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
            lines += "{\"key_hex\":\"\(hex)\",\"kind\":\"\(state.kind == .counter ? "counter" : "gcra")\","
            lines += "\"word\":\(state.word)" + (state.deadline.map { ",\"deadline_ns\":\($0)" } ?? "") + "}\n"
        }
        return (report, lines)
    }

    /// Every record as `escapement dump` prints it.
    func dumped() throws(RecoveryError) -> (outcome: RecordDump.Outcome, lines: String) {
        var bytes: [UInt8] = []
        let outcome = try RecordDump(files: self, directory: GoldenDirectory.directory).run { part in
            bytes += part
            return true
        }
        return (outcome, String(decoding: bytes, as: UTF8.self))
    }

    /// Decodes a log or snapshot and encodes it again: header, batches, records.
    func encodedAgain(_ name: String) throws -> [UInt8] {
        let bytes = self[name]
        let content: FileHeader.Content = name.hasPrefix("log") ? .log : .snapshot
        let header = try bytes.withUnsafeBytes { try FileHeader($0, expecting: content) }
        let streamStart = content == .log ? header.journalOffset : 0
        let encoder = BatchEncoder(offset: streamStart)
        let file = try open("\(GoldenDirectory.directory)/\(name)", .read)
        let reader = BatchReader(file: file, fileSize: bytes.count, streamStart: streamStart)
        while case .batch(let batch, let content) = try reader.next() {
            encoder.setTime(batch.time)
            try JournalBatch.forEachRecord(in: content) { record throws(Never) in
                switch record {
                case .state(let key, let state): encoder.add(state, key)
                case .removed(let key): encoder.addRemoval(key)
                case .control(let kind, let key, let body): encoder.addControl(kind, key: key, body: body)
                }
            }
            encoder.end()
        }
        try #require(reader.position == bytes.count)
        return header.encoded() + GoldenDirectory.taken(encoder)
    }

    /// The bytes of a file of the directory.
    subscript(name: String) -> [UInt8] {
        get { contents["\(GoldenDirectory.directory)/\(name)"] ?? [] }
        set { contents["\(GoldenDirectory.directory)/\(name)"] = newValue }
    }
}

@Suite struct GoldenTests {
    @Test(.enabled(if: getenv("ESCAPEMENT_WRITE_GOLDEN") != nil, "the files are written once"))
    func writeGolden() throws {
        let disk = RealFileSystem()
        try #require(
            try !disk.exists("\(GoldenDirectory.path)/appendonlydir/manifest"), "golden files are never changed")
        try disk.createDirectory(GoldenDirectory.path)
        try disk.createDirectory("\(GoldenDirectory.path)/appendonlydir")
        let files = SimulatedFileSystem()
        for (name, bytes) in GoldenDirectory.files() { files[name] = bytes }
        var stored = files.contents.map { (String($0.key.dropFirst("/data/".count)), $0.value) }
        stored.append(("expected.jsonl", Array(try files.recoveredState().lines.utf8)))
        stored.append(("dump.jsonl", Array(try files.dumped().lines.utf8)))
        files["manifest"] = GoldenDirectory.snapshotAlone()
        stored.append(("expected-snapshot.jsonl", Array(try files.recoveredState().lines.utf8)))
        for (name, bytes) in stored {
            let file = try disk.open("\(GoldenDirectory.path)/\(name)", .create)
            try bytes.withUnsafeBytes { try file.writeAll($0, at: 0) }
        }
    }

    @Test func aStartFindsExactlyTheExpectedState() throws {
        let (report, lines) = try GoldenDirectory.inMemory().recoveredState()
        #expect(try lines == String(decoding: GoldenDirectory.stored("expected.jsonl"), as: UTF8.self))
        #expect(report.records == 7 + 13)
        #expect(report.end == SyncMark.decode(try GoldenDirectory.stored("appendonlydir/synced")))
        #expect(report.lastTime.nanoseconds == GoldenDirectory.time + 8_000_000)
        #expect(report.cut == nil)
    }

    @Test func theSnapshotAloneIsTheStateBeforeTheLog() throws {
        let files = try GoldenDirectory.inMemory()
        files["manifest"] = GoldenDirectory.snapshotAlone()
        let (report, lines) = try files.recoveredState()
        #expect(try lines == String(decoding: GoldenDirectory.stored("expected-snapshot.jsonl"), as: UTF8.self))
        #expect(report.end == GoldenDirectory.start)
    }

    /// Decoding and encoding again yields the same bytes: files, batches, records, manifest, mark.
    @Test(arguments: ["snapshot-1", "log-2", "log-3"])
    func recordsEncodeToTheSameBytes(_ name: String) throws {
        let files = try GoldenDirectory.inMemory()
        #expect(try files.encodedAgain(name) == files[name])
    }

    @Test func manifestAndMarkEncodeToTheSameBytes() throws {
        let manifest = try GoldenDirectory.stored("appendonlydir/manifest")
        #expect(try Manifest(manifest).encoded() == manifest)
        let mark = try GoldenDirectory.stored("appendonlydir/synced")
        #expect(SyncMark.encoded(try #require(SyncMark.decode(mark))) == mark)
    }

    /// This version writes exactly these files.
    @Test func thisVersionWritesTheGoldenFiles() throws {
        for (name, bytes) in GoldenDirectory.files() {
            #expect(try bytes == GoldenDirectory.stored("appendonlydir/\(name)"), "\(name)")
        }
    }
}

extension GoldenDirectory {
    /// A manifest with the snapshot and no log.
    static func snapshotAlone() -> [UInt8] {
        Manifest(history: history, snapshot: Manifest.Entry(number: 1, offset: start)).encoded()
    }
}
