// Windows in zones with transitions: known days, and every zone of this machine.

import System
import TestSupport
import Testing

@testable import LimiterEngine

@Suite struct CalendarWindowTests {
    private let hour: Int64 = 3_600_000_000_000

    private func zone(_ name: String) throws -> ZoneRules {
        do {
            return try ZoneRules(file: try ZoneDirectory().read(name))
        } catch let failure as ZoneDirectory.Failure {
            Issue.record("\(name): \(failure); the tests need Debian's package tzdata, which scripts/setup installs")
            throw failure
        }
    }

    /// The begins of consecutive day windows, from the window that contains an instant.
    private func days(_ name: String, from time: Int64, count: Int, start: Int? = nil) throws -> [Int64] {
        let (rules, period) = (try zone(name), try #require(CalendarPeriod(.day, start: start)))
        var begins: [Int64] = []
        var time = time
        for _ in 0..<count {
            let window = rules.window(containing: EngineTime(nanoseconds: time), period)
            begins.append(window.begin)
            time = window.end
        }
        return begins
    }

    @Test func aDayHas23Or25Hours() throws {
        #expect(
            try days("Europe/Berlin", from: nanoseconds(2024, 3, 30, 12), count: 3)
                == [nanoseconds(2024, 3, 29, 23), nanoseconds(2024, 3, 30, 23), nanoseconds(2024, 3, 31, 22)])
        #expect(
            try days("Europe/Berlin", from: nanoseconds(2024, 10, 26, 12), count: 3)
                == [nanoseconds(2024, 10, 25, 22), nanoseconds(2024, 10, 26, 22), nanoseconds(2024, 10, 27, 23)])
        // The clock jumps from 02:00 to 03:00.
        #expect(
            try days("Europe/Berlin", from: nanoseconds(2024, 3, 30, 12), count: 3, start: 2)
                == [nanoseconds(2024, 3, 30, 1), nanoseconds(2024, 3, 31, 1), nanoseconds(2024, 4, 1)])
    }

    @Test func aSkippedMidnightIsAtTheTransition() throws {
        // Beirut, 28 March 1993: at 00:00 the clock was set to 01:00.
        #expect(
            try days("Asia/Beirut", from: nanoseconds(1993, 3, 27, 12), count: 3)
                == [nanoseconds(1993, 3, 26, 22), nanoseconds(1993, 3, 27, 22), nanoseconds(1993, 3, 28, 21)])
    }

    @Test func anAmbiguousMidnightIsTheFirst() throws {
        // Havana, 4 November 2012: at 01:00 back to 00:00.
        #expect(
            try days("America/Havana", from: nanoseconds(2012, 11, 3, 12), count: 3)
                == [nanoseconds(2012, 11, 3, 4), nanoseconds(2012, 11, 4, 4), nanoseconds(2012, 11, 5, 5)])
        // St. John's, 7 November 2010: at 00:01 back to 23:01 of the 6th, which stays the 7th's window.
        let begins = [
            nanoseconds(2010, 11, 6, 2, 30), nanoseconds(2010, 11, 7, 2, 30), nanoseconds(2010, 11, 8, 3, 30),
        ]
        #expect(try days("America/St_Johns", from: nanoseconds(2010, 11, 6, 12), count: 3) == begins)
        #expect(try days("America/St_Johns", from: begins[1] + hour / 2, count: 1) == [begins[1]])
        // Sao Paulo, 18 February 2018: at 00:00 back to 23:00, so midnight exists once, an hour later.
        #expect(
            try days("America/Sao_Paulo", from: nanoseconds(2018, 2, 17, 12), count: 2)
                == [nanoseconds(2018, 2, 17, 2), nanoseconds(2018, 2, 18, 3)])
    }

    @Test func aSkippedDayHasNoWindow() throws {
        #expect(
            try days("Pacific/Apia", from: nanoseconds(2011, 12, 29, 12), count: 3)
                == [nanoseconds(2011, 12, 29, 10), nanoseconds(2011, 12, 30, 10), nanoseconds(2011, 12, 31, 10)])
        let kwajalein = try days("Pacific/Kwajalein", from: nanoseconds(1993, 8, 20, 13), count: 3)
        #expect(
            kwajalein == [nanoseconds(1993, 8, 20, 12), nanoseconds(1993, 8, 21, 12), nanoseconds(1993, 8, 22, 12)])
    }

    @Test func theRuleAtTheEndOfAFileHoldsUntil2262() throws {
        // The last Sundays of March 2260 and of October 2200.
        #expect(
            try days("Europe/Berlin", from: nanoseconds(2260, 3, 25, 12), count: 2)
                == [nanoseconds(2260, 3, 24, 23), nanoseconds(2260, 3, 25, 22)])
        #expect(
            try days("Europe/Berlin", from: nanoseconds(2200, 10, 26, 12), count: 2)
                == [nanoseconds(2200, 10, 25, 22), nanoseconds(2200, 10, 26, 23)])
    }

    @Test func windowsOfEveryZoneOfThisMachineTileTime() throws {
        var random = SeededGenerator(for: "windowsOfEveryZoneOfThisMachineTileTime")
        let directory = ZoneDirectory()
        let names = try directory.names()
        #expect(names.count > 300, "is Debian's package tzdata installed? scripts/setup installs it")
        var seen: Set<[UInt8]> = []
        var count = 0
        for name in names {
            let bytes = try directory.read(name)
            _ = try ZoneName(name)
            let rules = try ZoneRules(file: bytes)
            // Many zones are copies of others.
            guard seen.insert(bytes).inserted else { continue }
            var check = TilingCheck(rules)
            for _ in 0..<40 { check.run(at: Int64(random.next() >> 1), period: .random(&random)) }
            // Around each transition.
            for number in 1..<max(rules.view.count, 1) {
                let time = Int64(rules.view.spans[number].begin) * 1_000_000_000
                let period = number % 2 == 0 ? CalendarPeriod(.day)! : .random(&random)
                check.run(at: time - 1 + Int64(random.below(2)), period: period)
            }
            // A walk: years to the end of time, and some months and days.
            var time: Int64 = 0
            let year = CalendarPeriod(.year, start: 1 + random.below(12))!
            while time < .max {
                let next = check.run(at: time, period: year)
                guard next > time else { break }
                time = next
            }
            for unit: CalendarUnit in [.month, .week, .day] {
                time = Int64(random.next() >> 2)
                let period = CalendarPeriod(unit)!
                for _ in 0..<40 {
                    let next = check.run(at: time, period: period)
                    guard next > time else { break }
                    time = next
                }
            }
            #expect(check.problems.isEmpty, "\(name): \(check.problems)")
            count += check.count
        }
        print("\(count) windows of \(names.count) zones, \(seen.count) of them different")
    }

    @Test func zoneFilesWithLeapSecondsAreRefused() throws {
        let directory = ZoneDirectory()
        // Not every machine has them installed.
        guard let bytes = try? directory.read("right/UTC") else { return }
        #expect(throws: ZoneFileError.countsLeapSeconds) { try ZoneRules(file: bytes) }
    }
}
