// Naming, numbering and loading of zones.

import System
import Testing

@testable import LimiterEngine

/// An in-memory disk with zone files.
private struct Files: Error, CustomStringConvertible {
    var contents: [String: [UInt8]] = [:]
    var description: String { "no such file" }

    func read(_ name: ZoneName) throws(Files) -> [UInt8] {
        guard let bytes = contents[name.text] else { throw self }
        return bytes
    }
}

@Suite struct CalendarZoneTableTests {
    private let noon = EngineTime(nanoseconds: nanoseconds(2024, 7, 1, 12))
    private let day = CalendarPeriod(.day)!

    @Test(
        "offsets have one canonical form",
        arguments: [
            ("Z", "UTC", 0), ("z", "UTC", 0), ("UTC", "UTC", 0), ("utc", "UTC", 0), ("+00:00", "UTC", 0),
            ("-0000", "UTC", 0), ("+02:00", "+02:00", 120), ("+0200", "+02:00", 120), ("-0530", "-05:30", -330),
            ("-00:01", "-00:01", -1), ("+23:59", "+23:59", 1439), ("-2359", "-23:59", -1439),
        ])
    func offsets(text: String, canonical: String, minutes: Int) throws {
        let name = try ZoneName(text)
        #expect(name.text == canonical && name.offsetMinutes == minutes)
        #expect(try ZoneName(canonical) == name)
        let table = ZoneTable()
        let number = try #require(table.number(of: name))
        #expect(table.name(of: number) == name)
        #expect((number == .utc) == (minutes == 0))
        #expect(table.failure(of: number) == nil)
    }

    @Test func everyOffsetHasANumberOfItsOwn() {
        var seen: Set<ZoneNumber> = []
        for minutes in -1439...1439 {
            let number = ZoneNumber(offsetMinutes: minutes)
            #expect(number.position < 0 && number.offsetMinutes == minutes && seen.insert(number).inserted)
        }
    }

    @Test(
        "invalid names",
        arguments: [
            "", "/etc/passwd", "Europe/../Berlin", "..", "Europe//Berlin", "Europe/", "europe/Berlin", "localtime",
            "posix/UTC", "Europe/Berlin\n", "Europe/B\0", "Zürich", "+2", "+02", "+2:00", "+24:00", "+02:60", "+02:0",
            "+020", "+02000", "+02:000", "+ab:cd", "-", "+", "1/A", "_A", "A.B", "A B",
            "A23456789012345678901234567890123456789012345678901234567890A2345",
        ])
    func badNames(text: String) {
        #expect(throws: ZoneNameError.self) { try ZoneName(text) }
    }

    @Test func errorsAboutNamesArePrintable() {
        for text in ["Europe/B\u{7}", "Zürich", "+\u{1B}[0m", "a\r\n"] {
            #expect {
                try ZoneName(text)
            } throws: { error in
                "\(error)".utf8.allSatisfy { (0x20...0x7E).contains($0) }
            }
        }
    }

    @Test(
        "valid names",
        arguments: ["Europe/Berlin", "Etc/GMT+2", "America/Port-au-Prince", "EST5EDT", "GMT0", "Zulu"])
    func goodNames(text: String) throws {
        let name = try ZoneName(text)
        #expect(name.text == text && name.offsetMinutes == nil)
    }

    @Test func loadFailuresNameTheZone() throws {
        let registry = ZoneRegistry()
        let (berlin, nowhere, damaged) = (try ZoneName("Europe/Berlin"), try ZoneName("No/Where"), try ZoneName("Bad"))
        #expect(registry.table.number(of: berlin) == nil)
        let files = Files(contents: ["Europe/Berlin": ZoneFileBuilder(footer: "CEST-2").bytes, "Bad": [1, 2, 3]])
        let version = registry.version
        let failures = registry.load([berlin, nowhere, damaged, .utc, berlin], read: files.read)
        #expect(failures == [.unreadable(nowhere, "no such file"), .damaged(damaged, .truncated(.firstHeader))])
        #expect("\(failures[0])" == "time zone 'No/Where' cannot be read: no such file")
        #expect(registry.version > version)
        let table = registry.table
        // Unusable names occupy no slot.
        #expect(table.names == [berlin] && table.number(of: nowhere) == nil)
        let number = try #require(table.number(of: berlin))
        #expect(
            registry.window(containing: noon, day, zone: number)
                == CalendarWindow(begin: nanoseconds(2024, 6, 30, 22), end: nanoseconds(2024, 7, 1, 22)))
    }

    @Test func storedStateMayNameAMissingZone() throws {
        let registry = ZoneRegistry()
        let name = try ZoneName("Europe/Kyiv")
        let number = try registry.intern(name)
        #expect(try registry.intern(name) == number && registry.table.name(of: number) == name)
        #expect(registry.window(containing: noon, day, zone: number) == nil)
        #expect(registry.table.failure(of: number) == .unread(name))
        registry.load(read: Files().read)
        #expect(registry.window(containing: noon, day, zone: number) == nil)
        #expect(registry.table.failure(of: number) == .unreadable(name, "no such file"))
        // The package has been installed, and the zones are reloaded.
        registry.load(read: Files(contents: [name.text: ZoneFileBuilder(footer: "EET-2").bytes]).read)
        #expect(registry.table.failure(of: number) == nil)
        #expect(registry.window(containing: noon, day, zone: number)?.begin == nanoseconds(2024, 6, 30, 22))
    }

    @Test func aReloadKeepsNumbersAndRulesThatCannotBeReadAgain() throws {
        let registry = ZoneRegistry()
        let names = try ["A", "B", "C"].map { try ZoneName($0) }
        let first = ZoneFileBuilder(footer: "AAA-1").bytes
        registry.load(names, read: Files(contents: ["A": first, "B": first, "C": first]).read)
        let old = registry.table
        // Zones with equal files share one set of rules.
        #expect(old.byteCount == (try ZoneRules(file: first).byteCount))
        let second = ZoneFileBuilder(footer: "AAA-2").bytes
        let failures = registry.load(read: Files(contents: ["A": second, "C": [0]]).read)
        #expect(failures.map(\.name) == [names[1], names[2]])
        let table = registry.table
        for (position, name) in names.enumerated() {
            let number = try #require(table.number(of: name))
            #expect(old.number(of: name) == number && table.failure(of: number) == nil)
            let hours = position == 0 ? 22 : 23
            #expect(registry.window(containing: noon, day, zone: number)?.begin == nanoseconds(2024, 6, 30, hours))
        }
    }

    @Test func anOlderTableDoesNotKnowANewerZone() throws {
        let registry = ZoneRegistry()
        let old = registry.table
        let number = try registry.intern(try ZoneName("A"))
        #expect(old.name(of: number) == nil && old.failure(of: number) == nil)
    }

    @Test func anUnchangedZoneKeepsItsRules() throws {
        let registry = ZoneRegistry()
        let name = try ZoneName("A")
        let files = Files(contents: ["A": ZoneFileBuilder(footer: "AAA-1").bytes])
        func rules() throws -> ZoneRules { try registry.table.entries[0].rules.get() }
        registry.load([name], read: files.read)
        let first = try rules()
        registry.load(read: files.read)
        #expect(try rules() === first)
    }

    @Test func theNumberOfZonesIsBounded() throws {
        let registry = ZoneRegistry()
        let names = try (0...ZoneTable.zonesMax).map { try ZoneName("Z\($0)") }
        let bytes = ZoneFileBuilder().bytes
        let failures = registry.load(names) { _ throws(Files) in bytes }
        #expect(failures == [.tooMany(names[ZoneTable.zonesMax])])
        #expect(registry.table.names.count == ZoneTable.zonesMax)
        #expect(throws: ZoneError.tooMany(names[ZoneTable.zonesMax])) { try registry.intern(names[ZoneTable.zonesMax]) }
        let last = try #require(registry.table.number(of: names[ZoneTable.zonesMax - 1]))
        #expect(registry.table.name(of: last) == names[ZoneTable.zonesMax - 1])
    }
}
