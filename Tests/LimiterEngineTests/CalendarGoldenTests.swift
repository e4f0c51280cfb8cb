// Windows compared with those that Python's zoneinfo computes from the same zone files: Golden/calendar_windows.py.

import Glibc
import System
import Testing

@testable import LimiterEngine

@Suite struct CalendarGoldenTests {
    /// The list next to the script, or another list written by it.
    private static let path =
        getenv("ESCAPEMENT_CALENDAR_WINDOWS").map { String(cString: $0) }
        ?? String(#filePath.dropLast("CalendarGoldenTests.swift".count)) + "Golden/calendar-windows.txt"

    @Test func windowsAgreeWithPython() throws {
        let file = try FileDescriptor.open(CalendarGoldenTests.path, O_RDONLY)
        defer { file.close() }
        let bytes = try #require(try file.readAll(limit: 1 << 28))
        var zone = ""
        var rules: ZoneRules?
        var (count, wrong): (Int, [String]) = (0, [])
        for line in bytes.split(separator: UInt8(ascii: "\n")) {
            let words = line.split(separator: UInt8(ascii: " ")).map { String(decoding: $0, as: UTF8.self) }
            if words[0] == "zone" {
                zone = words[1]
                rules = try ZoneRules(file: CalendarGoldenTests.bytes(Array(words[2].utf8)))
                continue
            }
            let unit = try #require(CalendarUnit.allCases.first { $0.name == words[0] })
            let numbers = try words.dropFirst().map { try #require(Int64($0)) }
            let period = try #require(CalendarPeriod(unit, start: Int(numbers[0])))
            let second: Int64 = 1_000_000_000
            let expected = CalendarWindow(begin: numbers[2] * second, end: numbers[3] * second)
            let found = try #require(rules).window(containing: EngineTime(nanoseconds: numbers[1] * second), period)
            count += 1
            if found != expected { wrong.append("\(zone), \(words.joined(separator: " ")): \(found)") }
        }
        #expect(wrong.isEmpty, "\(wrong.count) of \(count) differ: \(wrong.prefix(10))")
        #expect(count > 1000)
        print("\(count) windows compared")
    }

    private static func bytes(_ digits: [UInt8]) -> [UInt8] {
        func value(_ digit: UInt8) -> UInt8 { digit >= UInt8(ascii: "a") ? digit - UInt8(ascii: "a") + 10 : digit & 15 }
        return stride(from: 0, to: digits.count, by: 2).map { value(digits[$0]) << 4 | value(digits[$0 + 1]) }
    }
}
