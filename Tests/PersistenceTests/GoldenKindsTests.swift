// A second directory of format version 1: every kind of state, answers stored for IDs, policies and rules, and their
// removals. States are encoded here byte by byte from the tables in docs/formats.md.
//
// Golden/v1-kinds was written once by `ESCAPEMENT_WRITE_GOLDEN=1 swift test --filter writeKinds` and must never
// change.

import Glibc
import LimiterEngine
import TestSupport
import Testing

@testable import Persistence

/// The directory: snapshot-1, then log-2 and log-3.
enum GoldenKinds {
    static let path = String(GoldenDirectory.path.dropLast("v1".count)) + "v1-kinds"
    static let time = GoldenDirectory.time
    static let second: Int64 = 1_000_000_000
    static let hour = 3600 * second

    static func word(_ number: Int64) -> [UInt8] { withUnsafeBytes(of: number.littleEndian) { Array($0) } }
    static func long(_ number: UInt32) -> [UInt8] { withUnsafeBytes(of: number.littleEndian) { Array($0) } }
    static func short(_ number: UInt16) -> [UInt8] { withUnsafeBytes(of: number.littleEndian) { Array($0) } }

    static func fixedWindow(_ end: Int64, _ units: Int64) -> [UInt8] { word(time + end) + word(units) }

    static func slidingWindow(_ expiry: Int64, _ period: Int64, _ previous: UInt32, _ current: UInt32) -> [UInt8] {
        word(time + expiry) + word(period) + long(previous) + long(current)
    }

    /// Grants from the oldest on, stored in the ring starting at slot `oldest`.
    static func slidingLog(places: Int, oldest: Int, _ grants: [(end: Int64, units: UInt16)]) -> [UInt8] {
        var ring = [[UInt8]](repeating: [UInt8](repeating: 0, count: 10), count: places)
        for (number, grant) in grants.enumerated() {
            ring[(oldest + number) % places] = word(time + grant.end) + short(grant.units)
        }
        let units = grants.reduce(0) { $0 + $1.units }
        return word(time + grants.last!.end) + short(UInt16(places)) + short(UInt16(oldest))
            + short(UInt16(grants.count)) + short(units) + ring.joined()
    }

    static func token(_ expiry: Int64, _ numbers: [Int64], denied: UInt8 = 0, shadowed: UInt8 = 0) -> [UInt8] {
        word(time + expiry) + numbers.flatMap { word($0) } + [denied, shadowed, 0, 0, 0, 0, 0, 0]
    }

    static func tokenKey(_ key: String, _ token: String) -> [UInt8] {
        long(UInt32(key.utf8.count)) + Array(key.utf8) + Array(token.utf8)
    }

    static func policy(_ algorithm: UInt8, _ mode: UInt8, _ origin: UInt8, _ numbers: [Int64]) -> [UInt8] {
        [1, algorithm, mode, origin] + numbers.flatMap { word($0) }
    }

    static func subject(_ names: [String?]) -> [UInt8] {
        names.flatMap { $0.map { [1] + long(UInt32($0.utf8.count)) + Array($0.utf8) } ?? [0] }
    }

    static func rule(_ origin: UInt8, _ policy: String) -> [UInt8] { [1, origin] + Array(policy.utf8) }

    static func state(
        _ encoder: BatchEncoder, _ key: [UInt8], _ kind: StateKind, _ value: [UInt8], deadline: Int64? = nil
    ) {
        key.withUnsafeBytes { key in
            value.withUnsafeBytes {
                let view = StateView(kind: kind, value: $0, deadline: deadline.map { time + $0 })
                #expect(view.isValid(for: KeyName(key)), "\(kind)")
                encoder.add(view, KeyName(key))
            }
        }
    }

    static func state(
        _ encoder: BatchEncoder, _ key: String, _ kind: StateKind, _ value: [UInt8], deadline: Int64? = nil
    ) {
        state(encoder, Array(key.utf8), kind, value, deadline: deadline)
    }

    static func control(_ encoder: BatchEncoder, _ kind: ControlKind, _ key: [UInt8], _ body: [UInt8] = []) {
        key.withUnsafeBytes { key in body.withUnsafeBytes { encoder.addControl(kind, key: key, body: $0) } }
    }

    /// The files by name.
    static func files() -> [String: [UInt8]] {
        let start = GoldenDirectory.start
        let snapshot = BatchEncoder(offset: 0)
        let count = writeSnapshot(snapshot)
        let log = BatchEncoder(offset: start)
        writeFirstLog(log)
        let first = GoldenDirectory.taken(log)
        let second = log.offset
        writeSecondLog(log)
        let last = GoldenDirectory.taken(log)
        let manifest = Manifest(
            history: GoldenDirectory.history, snapshot: Manifest.Entry(number: 1, offset: start),
            logs: [Manifest.Entry(number: 2, offset: start), Manifest.Entry(number: 3, offset: second)])
        return [
            "manifest": manifest.encoded(),
            "synced": SyncMark.encoded(log.offset),
            "snapshot-1": GoldenDirectory.header(.snapshot, 1, start, keys: count) + GoldenDirectory.taken(snapshot),
            "log-2": GoldenDirectory.header(.log, 2, start) + first,
            "log-3": GoldenDirectory.header(.log, 3, second) + last,
        ]
    }

    /// Returns the number of records stated in the end-of-snapshot record.
    private static func writeSnapshot(_ snapshot: BatchEncoder) -> Int {
        GoldenDirectory.batch(snapshot, at: 0) {
            control(snapshot, .policy, Array("free".utf8), policy(1, 0, 0, [5, 60 * second, 20, 0]))
            control(snapshot, .policy, [0xFF, 0], policy(5, 2, 1, [4096, hour, 4096, 0]))
            control(snapshot, .rule, subject([nil, nil, nil]), rule(0, "free"))
            control(snapshot, .rule, subject(["acme", nil, "login"]), rule(1, "free"))
        }
        GoldenDirectory.batch(snapshot, at: 1000) {
            state(snapshot, "rate", .gcra, word(time + 3 * hour))
            state(snapshot, "number", .counter, word(-7), deadline: hour)
            state(snapshot, "day", .fixedWindow, fixedWindow(24 * hour, 3))
            state(snapshot, "window", .slidingWindow, slidingWindow(2 * hour, hour, 4, 2))
            state(snapshot, "log", .slidingLog, slidingLog(places: 2, oldest: 1, [(hour, 1), (hour, 2)]))
            state(snapshot, tokenKey("day", "id-1"), .token, token(hour, [3, 10, 7, -1, 24 * hour]))
            state(snapshot, "forgotten", .fixedWindow, fixedWindow(24 * hour, 1))
        }
        GoldenDirectory.batch(snapshot, at: 2000) { control(snapshot, .endOfSnapshot, [], word(11)) }
        return 7
    }

    private static func writeFirstLog(_ log: BatchEncoder) {
        GoldenDirectory.batch(log, at: 3000) {
            state(log, "day", .fixedWindow, fixedWindow(24 * hour, 10), deadline: 2 * hour)
            state(log, "window", .slidingWindow, slidingWindow(hour, 2 * hour, 9, 0))
            GoldenDirectory.removed(log, "forgotten")
            state(log, "rate", .slidingLog, slidingLog(places: 1, oldest: 0, [(5 * hour, 4096)]))
        }
        // A key removed by a flush, and a key set after it.
        GoldenDirectory.batch(log, at: 4000) { control(log, .flushAll, []) }
        GoldenDirectory.batch(log, at: 5000) {
            control(log, .policy, Array("tier".utf8), policy(3, 1, 0, [9, 24 * hour, 9, -5 * hour]))
            control(log, .rule, subject(["acme", "joe", nil]), rule(0, "tier"))
            control(log, .ruleRemoval, subject(["acme", nil, "login"]))
            control(log, .policyRemoval, [0xFF, 0])
        }
    }

    private static func writeSecondLog(_ log: BatchEncoder) {
        GoldenDirectory.batch(log, at: 6000) {
            // Two superseded limits: emission interval, tolerance, end.
            let before = [12 * second, 240 * second, time + 300 * second, second, 10 * second, time + 500 * second]
            control(log, .policy, Array("free".utf8), policy(2, 0, 0, [1, 60 * second, 30, 0] + before))
            control(log, .policy, Array("none".utf8), policy(4, 0, 1, [0, second, 0, 0]))
            control(log, .ruleRemoval, subject([nil, "never", nil]))
        }
        GoldenDirectory.batch(log, at: 7000) {
            state(log, "log", .slidingLog, slidingLog(places: 4, oldest: 3, [(hour, 1), (hour + 1, 2), (2 * hour, 3)]))
            state(log, "day", .fixedWindow, fixedWindow(1, Int64.max), deadline: hour)
            state(log, "fixed", .fixedWindow, fixedWindow(24 * hour, Int64.max))
            state(log, "window", .slidingWindow, slidingWindow(hour, 2 * hour, UInt32.max, 0), deadline: 3 * hour)
            state(log, "both", .slidingWindow, slidingWindow(2 * hour, hour, UInt32.max, UInt32.max))
            state(log, "rate", .gcra, word(time + hour))
            state(log, "n", .counter, word(Int64.min))
            let denied = token(hour, [0, 10, 2, 5 * second, 8 * second], denied: 1)
            state(log, tokenKey("rate", "id-2"), .token, denied)
            state(log, tokenKey("", ""), .token, token(2 * hour, [0, 0, 0, -1, 0], shadowed: 1))
            state(
                log, [0, 67, 4] + Array("acme".utf8) + [3] + Array("joelogin".utf8), .fixedWindow, fixedWindow(hour, 1))
        }
        GoldenDirectory.batch(log, at: 8000) {
            // The same again, and an ordinary key with the bytes of an ID's key, which is a different key.
            state(log, tokenKey("rate", "id-2"), .counter, word(1))
            GoldenDirectory.removed(log, "n")
        }
    }
}

extension SimulatedFileSystem {
    /// The recovered state: one line per key, then one line per policy or rule.
    func foundState() throws(RecoveryError) -> String {
        let engine = Engine(shards: 4)
        let horizon = EngineTime(nanoseconds: GoldenKinds.time)
        _ = try Recovery(files: self, path: GoldenDirectory.directory, engine: engine, horizon: horizon)
            .run(history: GoldenDirectory.history, cutsTornTail: true)
        #expect(engine.violatedInvariants() == [])
        func hex(_ bytes: some Sequence<UInt8>) -> String {
            bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
        }
        var lines: [String] = []
        _ = KeyspaceSession(engine: engine).scanStates(cursor: 0, effort: 1 << 20, now: horizon) { key, state in
            var line = "{\"kind\":\(state.kind.rawValue),\"key_hex\":\"\(hex(key.bytes))\""
            if key.isNumbered { line += ",\"numbered\":true" }
            line += ",\"state_hex\":\"\(hex(state.value))\""
            lines.append(line + (state.deadline.map { ",\"deadline_ns\":\($0)" } ?? "") + "}")
        }
        for record in engine.policies.table.records {
            let kind = 0x80 | ControlKind(record.kind).rawValue
            lines.append("{\"kind\":\(kind),\"key_hex\":\"\(hex(record.key))\",\"body_hex\":\"\(hex(record.value))\"}")
        }
        return lines.sorted().map { $0 + "\n" }.joined()
    }
}

@Suite struct GoldenKindsTests {
    private func stored(_ name: String) throws -> String {
        String(
            decoding: try RealFileSystem().contents(of: "\(GoldenKinds.path)/\(name)", limit: 1 << 20), as: UTF8.self)
    }

    @Test(.enabled(if: getenv("ESCAPEMENT_WRITE_GOLDEN") != nil, "the files are written once"))
    func writeKinds() throws {
        let disk = RealFileSystem()
        try #require(try !disk.exists("\(GoldenKinds.path)/appendonlydir/manifest"), "golden files are never changed")
        try disk.createDirectory(GoldenKinds.path)
        try disk.createDirectory("\(GoldenKinds.path)/appendonlydir")
        let files = SimulatedFileSystem()
        for (name, bytes) in GoldenKinds.files() { files[name] = bytes }
        var stored = files.contents.map { (String($0.key.dropFirst("/data/".count)), $0.value) }
        stored.append(("expected.jsonl", Array(try files.foundState().utf8)))
        stored.append(("dump.jsonl", Array(try files.dumped().lines.utf8)))
        files["manifest"] = GoldenDirectory.snapshotAlone()
        stored.append(("expected-snapshot.jsonl", Array(try files.foundState().utf8)))
        for (name, bytes) in stored {
            let file = try disk.open("\(GoldenKinds.path)/\(name)", .create)
            try bytes.withUnsafeBytes { try file.writeAll($0, at: 0) }
        }
    }

    @Test func aStartFindsExactlyTheExpectedState() throws {
        #expect(try GoldenDirectory.inMemory(GoldenKinds.path).foundState() == stored("expected.jsonl"))
    }

    @Test func theSnapshotAloneIsTheStateBeforeTheLog() throws {
        let files = try GoldenDirectory.inMemory(GoldenKinds.path)
        files["manifest"] = GoldenDirectory.snapshotAlone()
        #expect(try files.foundState() == stored("expected-snapshot.jsonl"))
    }

    @Test(arguments: ["snapshot-1", "log-2", "log-3"])
    func recordsEncodeToTheSameBytes(_ name: String) throws {
        let files = try GoldenDirectory.inMemory(GoldenKinds.path)
        #expect(try files.encodedAgain(name) == files[name])
    }

    @Test func theDumpShowsEveryRecord() throws {
        #expect(try GoldenDirectory.inMemory(GoldenKinds.path).dumped().lines == stored("dump.jsonl"))
    }

    /// The tables as encoded here yield exactly these files.
    @Test func theGoldenFilesMatchTheTables() throws {
        let files = try GoldenDirectory.inMemory(GoldenKinds.path)
        for (name, bytes) in GoldenKinds.files() { #expect(files[name] == bytes, "\(name)") }
    }

    /// The product encodes policies and rules to the same bytes.
    @Test func policiesAndRulesAreEncodedByTheSameTables() throws {
        let limit = try Limit(.fixedWindow, units: 9, period: 24 * GoldenKinds.hour, offset: -5 * GoldenKinds.hour)
        let policy = PolicyRecord(Policy(name: Array("tier".utf8), limit: limit, mode: .shadow))
        let hour = GoldenKinds.hour
        #expect(policy.value == GoldenKinds.policy(3, 1, 0, [9, 24 * hour, 9, -5 * hour]))
        let subject = RuleSubject(tenant: Array("acme".utf8), client: Array("joe".utf8), action: nil)
        let rule = PolicyRecord(Rule(subject, policy: Array("tier".utf8)))
        #expect(rule.key == GoldenKinds.subject(["acme", "joe", nil]))
        #expect(rule.value == GoldenKinds.rule(0, "tier"))
    }
}
