// Limits with calendar windows: where windows end in a zone, zones whose rules are missing or change, and records of
// policies with such limits. LimitModelTests compares every answer with an exact model.

import System
import TestSupport
import Testing

@testable import LimiterEngine

@Suite struct CalendarLimitTests {
    private let session = KeyspaceSession(engine: Engine(shards: 1, seed: HashSeed(1, 2, 3)))
    private let hour: Int64 = 3_600_000_000_000

    /// The zone's file does not exist.
    private struct NoSuchZone: Error {}

    private func zone(_ name: String, _ bytes: [UInt8]?) throws -> ZoneNumber {
        let name = try ZoneName(name)
        let number = try ZoneRegistry.shared.intern(name)
        // Other tests' zones cannot be read here, so they keep their rules.
        ZoneRegistry.shared.load([name]) { (other) throws(NoSuchZone) in
            guard other == name, let bytes else { throw NoSuchZone() }
            return bytes
        }
        return number
    }

    private func machineZone(_ name: String) throws -> ZoneNumber {
        try zone(name, try ZoneDirectory().read(name))
    }

    private func take(
        _ limit: Limit, _ units: Int64 = 1, at now: Int64, _ operation: LimitCall.Operation = .take,
        carriesOver: Bool = false
    ) throws -> LimitDecision {
        var call = LimitCall(limit, try Demand(units))
        call.operation = operation
        call.carriesOver = carriesOver
        session.decide("k", &call, now: EngineTime(nanoseconds: now))
        return call.decision
    }

    @Test("a day of 23 hours, one of 25, and months of every length are one window each")
    func windowsEndAtCalendarBoundaries() throws {
        let berlin = try machineZone("Europe/Berlin")
        let ends: [(CalendarPeriod, begin: Int64, end: Int64)] = [
            (CalendarPeriod(.day)!, nanoseconds(2024, 3, 30, 23), nanoseconds(2024, 3, 31, 22)),
            (CalendarPeriod(.day)!, nanoseconds(2024, 10, 26, 22), nanoseconds(2024, 10, 27, 23)),
            (CalendarPeriod(.day, start: 6)!, nanoseconds(2024, 7, 1, 4), nanoseconds(2024, 7, 2, 4)),
            (CalendarPeriod(.week)!, nanoseconds(2024, 6, 30, 22), nanoseconds(2024, 7, 7, 22)),
            (CalendarPeriod(.week, start: 7)!, nanoseconds(2024, 6, 29, 22), nanoseconds(2024, 7, 6, 22)),
            (CalendarPeriod(.month)!, nanoseconds(2024, 1, 31, 23), nanoseconds(2024, 2, 29, 23)),
            (CalendarPeriod(.month, start: 31)!, nanoseconds(2024, 1, 30, 23), nanoseconds(2024, 2, 28, 23)),
            (CalendarPeriod(.year, start: 4)!, nanoseconds(2024, 3, 31, 22), nanoseconds(2025, 3, 31, 22)),
        ]
        for (period, begin, end) in ends {
            session.removeAll()
            let limit = try Limit(units: 2, per: period, zone: berlin)
            #expect(try take(limit, 2, at: begin - 1).resetAfter == 1, "\(period)")
            #expect(try take(limit, at: begin - 1).retryAfter == 1)
            let first = try take(limit, 2, at: begin)
            #expect(first.outcome == .allowed && first.resetAfter == end - begin, "\(period)")
            let denied = try take(limit, at: end - 1)
            #expect(denied.outcome == .denied && denied.retryAfter == 1)
            #expect(session.timeToLive("k", now: EngineTime(nanoseconds: begin)) == .nanoseconds(end - begin))
            #expect(try take(limit, at: end).remaining == 1)
        }
    }

    @Test func aZoneWithoutRulesOpensNoWindow() throws {
        let missing = try zone("Missing/Zone", nil)
        let month = CalendarPeriod(.month)!
        let limit = try Limit(units: 5, per: month, zone: missing)
        for operation in [LimitCall.Operation.take, .peek] {
            let decision = try take(limit, at: 1_700_000_000 * 1_000_000_000, operation)
            #expect(decision.outcome == .unknownZone && decision.granted == 0)
        }
        #expect(session.count() == 0)
        // A call that takes nothing needs no window.
        #expect(try take(limit, 0, at: 5, .peek).remaining == 5)
        #expect(try take(limit, 1, at: 5, .refund).granted == 0)
        // A window that has begun ends when it was due to end, whatever zone is used in between.
        let utc = try Limit(units: 5, per: month, zone: .utc)
        let now = nanoseconds(2024, 2, 10, 12)
        #expect(try take(utc, 3, at: now).remaining == 2)
        #expect(try take(limit, at: now + hour).remaining == 1)
        #expect(try take(limit, 2, at: now).retryAfter == nanoseconds(2024, 3, 1) - now)
        #expect(try take(limit, at: nanoseconds(2024, 3, 1)).outcome == .unknownZone)
    }

    @Test func spentUnitsSurviveAZoneWithoutRules() throws {
        let missing = try zone("Missing/Other", nil)
        let now = nanoseconds(2024, 2, 10, 12)
        let old = try Limit(.slidingLog, units: 5, period: 24 * hour)
        _ = try take(old, 3, at: now)
        let new = try Limit(units: 5, per: CalendarPeriod(.day)!, zone: missing)
        for operation in [LimitCall.Operation.take, .peek] {
            #expect(try take(new, at: now, operation, carriesOver: true).outcome == .unknownZone)
        }
        #expect(try take(old, 0, at: now, .peek).remaining == 2)
        let together = session.takeAll("k", new, "other", try Limit(.gcra, units: 1, period: 1), now: now)
        #expect(together.first?.outcome == .unknownZone)
        #expect(session.count() == 1)
    }

    /// Changed rules do not move a window that has begun.
    @Test func reloadedZoneRulesApplyFromTheNextWindow() throws {
        var file = ZoneFileBuilder()
        let name = "Changing/Zone"
        let limit = try Limit(units: 5, per: CalendarPeriod(.day)!, zone: try zone(name, file.bytes))
        let now = nanoseconds(2024, 2, 10, 12)
        #expect(try take(limit, at: now).resetAfter == 11 * hour)
        file.types = [ZoneFileBuilder.LocalType(offset: 7200)]
        file.footer = "CET-2"
        #expect(try zone(name, file.bytes) == limit.zone)
        #expect(try take(limit, at: now).resetAfter == 11 * hour)
        let end = now + 11 * hour
        #expect(try take(limit, at: end).resetAfter == 23 * hour)
        // If the file is missing or invalid, the known rules stay in force.
        _ = try zone(name, nil)
        _ = try zone(name, [1, 2, 3])
        #expect(try take(limit, at: end + 23 * hour).resetAfter == 24 * hour)
    }

    // MARK: Records of policies

    private func record(_ zone: String, _ period: CalendarPeriod, earlier: Bool = false) throws -> PolicyRecord {
        let number = try ZoneRegistry.shared.intern(try ZoneName(zone))
        var policy = Policy(name: Array("p".utf8), limit: try Limit(units: 9, per: period, zone: number))
        if earlier {
            policy = policy.succeeding(
                Policy(name: policy.name, limit: try Limit(.gcra, units: 5, period: hour)), now: 1000)
        }
        return PolicyRecord(policy)
    }

    @Test func recordsNameTheZone() throws {
        for zone in ["UTC", "-05:30", "Europe/Berlin", "Never/Heard-Of_It"] {
            for unit in CalendarUnit.allCases {
                for earlier in [false, true] {
                    let record = try record(
                        zone, CalendarPeriod(unit, start: unit.starts.upperBound)!, earlier: earlier)
                    #expect(record.value[0] == 2 && record.isValid && !record.isOfOtherVersion)
                    let policy = try #require(record.policy)
                    #expect(policy.limit.zoneName.text == zone && PolicyRecord(policy) == record)
                    #expect(policy.limit.calendar == CalendarPeriod(unit, start: unit.starts.upperBound))
                    #expect(PolicyRecord.earlierEnds(record.value).map { $0 }.count == (earlier ? 1 : 0))
                }
            }
        }
    }

    @Test func damagedRecordsAreRefused() throws {
        let sound = try record("Europe/Berlin", CalendarPeriod(.month, start: 31)!, earlier: true)
        for position in sound.value.indices {
            for byte in [0, 1, 0x20, 0x7F, 0xFF] as [UInt8] {
                var damaged = sound
                damaged.value[position] = byte
                // An accepted record is canonical: encoded again, it is the same.
                if let policy = damaged.policy { #expect(PolicyRecord(policy) == damaged, "byte \(position)") }
            }
            var cut = sound
            cut.value = Array(sound.value.prefix(position))
            if let policy = cut.policy { #expect(PolicyRecord(policy) == cut) }
        }
        var later = sound
        later.value[0] = 3
        #expect(!later.isValid && later.isOfOtherVersion)
        var other = sound
        other.value[0] = 1
        #expect(!other.isValid && !other.isOfOtherVersion)
    }

    // MARK: Changes of a policy

    @Test func aPolicysCalendarStaysUnlessChanged() throws {
        func change(_ old: Policy?, _ body: (inout PolicyChange) -> Void) throws -> Policy {
            var change = PolicyChange(name: Array("p".utf8))
            body(&change)
            return try change.applied(to: old)
        }
        let tokyo = try ZoneRegistry.shared.intern(try ZoneName("+09:00"))
        let first = try change(nil) {
            ($0.algorithm, $0.units, $0.unit, $0.zone, $0.start) = (.calendar, 10, .month, tokyo, 15)
            $0.mode = .shadow
        }
        let more = try change(first) { $0.units = 20 }
        #expect(more.limit.units == 20 && more.limit.calendar == CalendarPeriod(.month, start: 15))
        #expect(more.limit.zone == tokyo && more.mode == .shadow)
        let week = try change(first) { $0.unit = .week }
        #expect(week.limit.calendar == CalendarPeriod(.week) && week.limit.zone == tokyo)
        #expect(try change(first) { $0.zone = .utc }.limit.zone == .utc)
        let window = try change(first) { ($0.algorithm, $0.period) = (.fixedWindow, hour) }
        #expect(window.limit == (try Limit(.fixedWindow, units: 10, period: hour)) && window.mode == .shadow)
        #expect(throws: PolicyError.invalidLimit(.wrongPeriod(.gcra), keeping: first)) {
            try change(first) { $0.algorithm = .gcra }
        }
        #expect(throws: PolicyError.invalidLimit(.wrongPeriod(.calendar), keeping: window)) {
            try change(window) { $0.algorithm = .calendar }
        }
        #expect(throws: PolicyError.invalidLimit(.badStart(.month), keeping: first)) {
            try change(first) { $0.start = 32 }
        }
        #expect(throws: PolicyError.invalidLimit(.unsupported(.burst, .calendar), keeping: nil)) {
            try change(first) { $0.burst = 3 }
        }
        #expect(throws: PolicyError.invalidLimit(.unsupported(.zone, .fixedWindow), keeping: nil)) {
            try change(window) { $0.zone = tokyo }
        }
        #expect(throws: PolicyError.incomplete(.period)) {
            try change(nil) { ($0.algorithm, $0.units) = (.calendar, 5) }
        }
    }
}

extension KeyspaceSession {
    fileprivate func takeAll(
        _ key: String, _ limit: Limit, _ other: String, _ otherLimit: Limit, now: Int64
    ) -> [LimitDecision] {
        var first = LimitCall(limit, .one)
        first.carriesOver = true
        var rows = [TakeAllRow(key: key, take: first), TakeAllRow(key: other, take: LimitCall(otherLimit, .one))]
        _ = takeAll(&rows, now: EngineTime(nanoseconds: now))
        return rows.map(\.take.decision)
    }
}
