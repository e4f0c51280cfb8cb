// A third directory of format version 1: states of calendar windows and policies that use them, which were added
// after the other golden directories. Encoded here byte by byte from the tables in docs/formats.md.
//
// Golden/v1-calendar was written once by `ESCAPEMENT_WRITE_GOLDEN=1 swift test --filter writeCalendar` and must never
// change.

import Glibc
import LimiterEngine
import TestSupport
import Testing

@testable import Persistence

/// The directory: snapshot-1, then logs 2 and 3.
private enum GoldenCalendar {
    static let path = String(GoldenDirectory.path.dropLast("v1".count)) + "v1-calendar"
    static let hour = GoldenKinds.hour

    /// `period` is the nominal period of the calendar unit, which sets the price of a unit spent.
    static func policy(
        _ mode: UInt8, _ origin: UInt8, units: Int64, period: Int64, _ unit: UInt8, start: UInt8, _ zone: String
    ) -> [UInt8] {
        [2, 6, mode, origin] + [units, period, units, 0].flatMap(GoldenKinds.word)
            + [unit, start, UInt8(zone.utf8.count)] + Array(zone.utf8)
    }

    static let month = policy(
        0, 0, units: 1000, period: (28 * 24 - 1) * hour, 2, start: 31, "America/Argentina/Buenos_Aires")

    static func files() -> [String: [UInt8]] {
        let start = GoldenDirectory.start
        let snapshot = BatchEncoder(offset: 0)
        GoldenDirectory.batch(snapshot, at: 0) {
            GoldenKinds.control(snapshot, .policy, Array("month".utf8), month)
            GoldenKinds.control(
                snapshot, .policy, Array("day".utf8), policy(1, 1, units: 0, period: 23 * hour, 0, start: 6, "UTC"))
        }
        GoldenDirectory.batch(snapshot, at: 1000) {
            GoldenKinds.state(snapshot, "month", .calendar, GoldenKinds.fixedWindow(700 * hour, 3))
            GoldenKinds.state(snapshot, "day", .calendar, GoldenKinds.fixedWindow(5 * hour, 1), deadline: 2 * hour)
        }
        GoldenDirectory.batch(snapshot, at: 2000) {
            GoldenKinds.control(snapshot, .endOfSnapshot, [], GoldenKinds.word(4))
        }
        let log = BatchEncoder(offset: start)
        GoldenDirectory.batch(log, at: 3000) {
            GoldenKinds.state(log, "month", .calendar, GoldenKinds.fixedWindow(700 * hour, Int64.max))
            GoldenKinds.state(log, "week", .calendar, GoldenKinds.fixedWindow(100 * hour, 9))
        }
        let first = GoldenDirectory.taken(log)
        let second = log.offset
        GoldenDirectory.batch(log, at: 4000) {
            // An offset in canonical form, a zone that is in no database, and a superseded limit of the policy.
            let before = [12, 240, GoldenKinds.time / GoldenKinds.second + 300].map { $0 * GoldenKinds.second }
            let week = policy(0, 0, units: 7, period: (7 * 24 - 1) * hour, 1, start: 7, "-05:30")
            GoldenKinds.control(log, .policy, Array("week".utf8), week + before.flatMap(GoldenKinds.word))
            GoldenKinds.control(
                log, .policy, Array("year".utf8), policy(2, 0, units: 5, period: 8760 * hour, 3, start: 12, "No/Zone"))
            GoldenDirectory.removed(log, "day")
        }
        let last = GoldenDirectory.taken(log)
        let manifest = Manifest(
            history: GoldenDirectory.history, snapshot: Manifest.Entry(number: 1, offset: start),
            logs: [Manifest.Entry(number: 2, offset: start), Manifest.Entry(number: 3, offset: second)])
        return [
            "manifest": manifest.encoded(),
            "synced": SyncMark.encoded(log.offset),
            "snapshot-1": GoldenDirectory.header(.snapshot, 1, start, keys: 2) + GoldenDirectory.taken(snapshot),
            "log-2": GoldenDirectory.header(.log, 2, start) + first,
            "log-3": GoldenDirectory.header(.log, 3, second) + last,
        ]
    }
}

@Suite struct GoldenCalendarTests {
    private func stored(_ name: String) throws -> String {
        String(
            decoding: try RealFileSystem().contents(of: "\(GoldenCalendar.path)/\(name)", limit: 1 << 20),
            as: UTF8.self)
    }

    @Test(.enabled(if: getenv("ESCAPEMENT_WRITE_GOLDEN") != nil, "the files are written once"))
    func writeCalendar() throws {
        let disk = RealFileSystem()
        try #require(
            try !disk.exists("\(GoldenCalendar.path)/appendonlydir/manifest"), "golden files are never changed")
        try disk.createDirectory(GoldenCalendar.path)
        try disk.createDirectory("\(GoldenCalendar.path)/appendonlydir")
        let files = SimulatedFileSystem()
        for (name, bytes) in GoldenCalendar.files() { files[name] = bytes }
        var stored = files.contents.map { (String($0.key.dropFirst("/data/".count)), $0.value) }
        stored.append(("expected.jsonl", Array(try files.foundState().utf8)))
        stored.append(("dump.jsonl", Array(try files.dumped().lines.utf8)))
        for (name, bytes) in stored {
            let file = try disk.open("\(GoldenCalendar.path)/\(name)", .create)
            try bytes.withUnsafeBytes { try file.writeAll($0, at: 0) }
        }
    }

    @Test func aStartFindsExactlyTheExpectedState() throws {
        #expect(try GoldenDirectory.inMemory(GoldenCalendar.path).foundState() == stored("expected.jsonl"))
    }

    @Test(arguments: ["snapshot-1", "log-2", "log-3"])
    func recordsEncodeToTheSameBytes(_ name: String) throws {
        let files = try GoldenDirectory.inMemory(GoldenCalendar.path)
        #expect(try files.encodedAgain(name) == files[name])
    }

    @Test func theDumpShowsEveryRecord() throws {
        #expect(try GoldenDirectory.inMemory(GoldenCalendar.path).dumped().lines == stored("dump.jsonl"))
    }

    /// The tables as encoded here yield exactly these files, and so do the product's own records.
    @Test func theGoldenFilesMatchTheTables() throws {
        let files = try GoldenDirectory.inMemory(GoldenCalendar.path)
        for (name, bytes) in GoldenCalendar.files() { #expect(files[name] == bytes, "\(name)") }
        let zone = try ZoneRegistry.shared.intern(try ZoneName("America/Argentina/Buenos_Aires"))
        let limit = try Limit(units: 1000, per: CalendarPeriod(.month, start: 31)!, zone: zone)
        #expect(PolicyRecord(Policy(name: Array("month".utf8), limit: limit)).value == GoldenCalendar.month)
    }
}
