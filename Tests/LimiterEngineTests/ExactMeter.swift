// The answers of a limit, computed from its history of grants in numbers that cannot overflow. A window's count is
// summed from the history at every call, so nothing here resembles the engine's representation.

import Glibc
import LimiterEngine

struct ExactMeter: Equatable {
    struct Grant: Equatable {
        var time: Exact
        var units: Exact
    }

    let limit: Limit
    /// Windows and logs: every grant that may still count, oldest first.
    private(set) var grants: [Grant] = []
    /// GCRA: when the limiter is fully replenished.
    private(set) var arrivalTime: Exact = 0

    init(_ limit: Limit, arrivalTime: Exact = 0) {
        self.limit = limit
        self.arrivalTime = arrivalTime
    }

    private var period: Exact { Exact(limit.period) }
    private var isRate: Bool { limit.algorithm == .gcra || limit.algorithm == .tokenBucket }

    /// Division that rounds toward negative infinity.
    private func floored(_ dividend: Exact, _ divisor: Exact) -> Exact {
        let quotient = dividend / divisor
        return quotient * divisor > dividend ? quotient - 1 : quotient
    }

    /// The number of a window; for a calendar window, its end.
    private func window(_ time: Exact) -> Exact {
        limit.calendar == nil ? floored(time + Exact(limit.offset), period) : calendarEnd(time)
    }

    /// The end of the calendar window around an instant: the first later beginning of the unit, computed with the C
    /// library.
    private func calendarEnd(_ time: Exact) -> Exact {
        let calendar = limit.calendar!
        let offset = Exact(limit.zoneName.offsetMinutes!) * 60
        let local = floored(time, 1_000_000_000) + offset
        var seconds = time_t(local)
        var date = tm()
        gmtime_r(&seconds, &date)
        (date.tm_hour, date.tm_min, date.tm_sec) = (0, 0, 0)
        let (year, month, day) = (date.tm_year, date.tm_mon, date.tm_mday)
        func begin(year: Int32, month: Int32, day: Int32, hour: Int32 = 0) -> Exact {
            var date = tm()
            (date.tm_year, date.tm_mon, date.tm_mday, date.tm_hour) = (year, month, day, hour)
            return Exact(timegm(&date))
        }
        let start = Int32(calendar.start)
        let begins: [Exact] =
            switch calendar.unit {
            case .day: (0...1).map { begin(year: year, month: month, day: day + $0, hour: start) }
            // Sunday is 0 in the C library and 7 here.
            case .week:
                (0...7).filter { (date.tm_wday + $0) % 7 == start % 7 }
                    .map { begin(year: year, month: month, day: day + $0) }
            // The day before the first of a month is the last day of the previous month.
            case .month:
                (0...2).map {
                    min(
                        begin(year: year, month: month + $0, day: start),
                        begin(year: year, month: month + $0 + 1, day: 0))
                }
            case .year: (0...1).map { begin(year: year + $0, month: start - 1, day: 1) }
            }
        return (begins.first { $0 > local }! - offset) * 1_000_000_000
    }

    private func spent(in window: Exact) -> Exact {
        grants.reduce(0) { self.window($1.time) == window ? $0 + $1.units : $0 }
    }

    /// Units in force at `time`, rounded up.
    func used(_ time: Exact) -> Exact {
        switch limit.algorithm {
        case .gcra, .tokenBucket:
            let ahead = max(0, arrivalTime - time)
            return (ahead + Exact(limit.emissionInterval) - 1) / Exact(limit.emissionInterval)
        case .fixedWindow, .calendar: return spent(in: window(time))
        case .slidingWindow:
            let left = (window(time) + 1) * period - time
            return spent(in: window(time)) - floored(-spent(in: window(time) - 1) * left, period)
        case .slidingLog: return grants.reduce(0) { $1.time + period > time ? $0 + $1.units : $0 }
        }
    }

    /// When no grant is in force any more, without further calls; nil if none is in force now.
    var expiry: Exact? {
        if isRate { return arrivalTime }
        guard let newest = grants.last else { return nil }
        return end(ofGrantAt: newest.time)
    }

    private func end(ofGrantAt time: Exact) -> Exact {
        switch limit.algorithm {
        case .fixedWindow: (window(time) + 1) * period - Exact(limit.offset)
        case .slidingWindow: (window(time) + 2) * period
        case .calendar: window(time)
        default: time + period
        }
    }

    struct Answer: Equatable {
        var outcome: LimitDecision.Outcome
        var granted: Exact = 0
        var remaining: Exact = 0
    }

    /// The answer to a take; the units are taken only if `isKept`.
    mutating func take(_ demand: Demand, now: Exact, isKept: Bool = true) -> Answer {
        let room = Exact(limit.capacity) - used(now)
        var granted = Exact(demand.units)
        if granted > room {
            guard demand.isPartial, room > 0 else { return Answer(outcome: .denied, remaining: max(0, room)) }
            granted = room
        }
        if granted > 0 {
            let end =
                isRate
                ? max(now, arrivalTime) + granted * Exact(limit.emissionInterval) : end(ofGrantAt: now)
            guard end <= Exact(Int64.max) else { return Answer(outcome: .outOfRange) }
            if isKept, isRate { arrivalTime = end }
            if isKept, !isRate { grants.append(Grant(time: now, units: granted)) }
        }
        return Answer(outcome: .allowed, granted: granted, remaining: isKept ? room - granted : max(0, room))
    }

    /// Refunds the latest grants. Returns by how many units the count in force drops; 0 means nothing changed.
    mutating func refund(_ units: Exact, now: Exact) -> Exact {
        forgetEnded(now)
        guard !isRate else {
            let before = used(now)
            arrivalTime = max(now, max(now, arrivalTime) - units * Exact(limit.emissionInterval))
            return min(units, before)
        }
        let (before, all) = (used(now), grants)
        var left = units
        while left > 0, let newest = grants.popLast() {
            if newest.units > left { grants.append(Grant(time: newest.time, units: newest.units - left)) }
            left -= min(left, newest.units)
        }
        if used(now) == before { grants = all }
        return before - used(now)
    }

    mutating func forgetEnded(_ now: Exact) {
        grants = grants.filter { end(ofGrantAt: $0.time) > now }
    }

    /// Checks a decision's waits by trying calls at the instants they name. Returns what is wrong, or nil.
    func fault(in decision: LimitDecision, to demand: Demand, now: Exact) -> String? {
        func isGranted(at time: Exact) -> Bool {
            var copy = self
            return copy.take(demand, now: time, isKept: false).outcome != .denied
        }
        if decision.outcome == .denied {
            let least = demand.isPartial ? min(1, demand.units) : demand.units
            let isNever = least > limit.capacity
            if (decision.retryAfter < 0) != isNever { return "retry after \(decision.retryAfter)" }
            let retry = now + Exact(decision.retryAfter)
            if !isNever, retry <= Exact(Int64.max), !isGranted(at: retry) { return "still denied after the wait" }
            if !isNever, decision.retryAfter == 0 || isGranted(at: retry - 1) {
                return "granted before the wait is over"
            }
        } else if decision.retryAfter != -1 {
            return "an allowed call waits"
        }
        let reset = now + Exact(decision.resetAfter)
        if decision.resetAfter < 0 || used(reset) != 0 { return "not replenished at its reset" }
        if decision.resetAfter > 0, used(reset - 1) == 0 { return "replenished before its reset" }
        return nil
    }
}
