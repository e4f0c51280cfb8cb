// Invariants of every window of every zone, whatever its file contains.

import TestSupport

@testable import LimiterEngine

/// Records violations of a zone's window invariants.
struct TilingCheck {
    let rules: ZoneRules
    private(set) var problems: [String] = []
    private(set) var count = 0

    init(_ rules: ZoneRules) { self.rules = rules }

    /// Checks the window that contains an instant and both of its neighbours. Returns the window's end.
    @discardableResult
    mutating func run(at time: Int64, period: CalendarPeriod) -> Int64 {
        count += 1
        func window(_ time: Int64) -> CalendarWindow {
            rules.window(containing: EngineTime(nanoseconds: time), period)
        }
        let found = window(time)
        func check(_ isRight: Bool, _ what: @autoclosure () -> String) {
            guard !isRight, problems.count < 5 else { return }
            problems.append("\(period.unit) from \(period.start) at \(time): \(found), \(what())")
        }
        check(found.begin <= time && time < found.end, "does not contain its instant")
        check(window(found.begin) == found, "its begin is in \(window(found.begin))")
        check(window(found.end - 1) == found, "its end is in \(window(found.end - 1))")
        if found.end < .max { check(window(found.end).begin == found.end, "followed by \(window(found.end))") }
        guard found.begin > .min else { return found.end }
        check(window(found.begin - 1).end == found.begin, "follows \(window(found.begin - 1))")
        // A boundary lies between the local time just before the begin and the local time of the begin.
        let local = self.local(found.begin)
        let boundary = period.boundaries(around: local).begin
        check(found.begin % 1_000_000_000 == 0, "begins within a second")
        check(self.local(found.begin - 1) < boundary, "does not begin where the local time reaches \(boundary)")
        return found.end
    }

    private func local(_ time: Int64) -> Int {
        floorQuotient(Int(time), 1_000_000_000) + rules.offset(at: EngineTime(nanoseconds: time))
    }
}

extension CalendarPeriod {
    /// A random period.
    static func random(_ random: inout SeededGenerator) -> CalendarPeriod {
        let unit = CalendarUnit.allCases[random.below(4)]
        return CalendarPeriod(unit, start: unit.starts.lowerBound + random.below(unit.starts.count))!
    }
}
