// Policies and rules as text: the rules file reads back what was written, whatever the names, and stored overrides
// read back complete or torn.

import LimiterEngine
import RESP
import Testing

@testable import RespServer

@Suite struct PolicyTextTests {
    private static func read(_ line: String) throws -> PolicyEntry? {
        try Array(line.utf8).withUnsafeBufferPointer { try RulesFile.entry($0, ArgumentList()) }
    }

    private static let names: [[UInt8]] = [
        Array("free".utf8), Array("client 7".utf8), Array("**".utf8), [0], [0xFF, 0xFE, 0x22, 0x5C], Array("#".utf8),
        Array("'\n\t\r".utf8), Array("ü".utf8), [UInt8](repeating: 0x20, count: 512),
    ]

    @Test func policiesReadBackAsWritten() throws {
        let minute: Int64 = 60_000_000_000
        let limits = [
            try Limit(.gcra, units: 100, period: minute, burst: 20), try Limit(.gcra, units: 0, period: 1_000_000),
            try Limit(.tokenBucket, units: 3, period: 1_001_000_000, burst: 7),
            try Limit(.fixedWindow, units: 6, period: 24 * 60 * minute, offset: -5 * 60 * minute),
            try Limit(.fixedWindow, units: 6, period: 90 * minute, offset: 1_000_000),
            try Limit(.slidingWindow, units: 5, period: 61_000_000_000),
            try Limit(.slidingLog, units: 5, period: minute),
            try Limit(units: 5, per: CalendarPeriod(.week)!, zone: .utc),
            try Limit(
                units: 0, per: CalendarPeriod(.month, start: 31)!,
                zone: ZoneRegistry.shared.intern(try ZoneName("-05:30"))),
        ]
        for name in Self.names {
            for limit in limits {
                for mode in LimitCall.Mode.allCases {
                    let policy = Policy(name: name, limit: limit, mode: mode)
                    #expect(try Self.read(PolicyText.line(policy)) == .policy(policy))
                }
            }
        }
        #expect(
            PolicyText.terms(Policy(name: [1], limit: limits[3], mode: .shadow))
                == "LIMIT 6 PER 1d ALGO fixed-window OFFSET -5h MODE shadow")
        #expect(
            PolicyText.terms(Policy(name: [1], limit: limits[0])) == "LIMIT 100 PER 1m BURST 20 ALGO gcra MODE enforce")
    }

    /// A stored policy may name a zone that this machine lacks; a new one may not.
    @Test func aMissingZoneIsRefusedOnlyInNewPolicies() throws {
        let zone = try ZoneRegistry.shared.intern(try ZoneName("Never/Heard-Of"))
        let limit = try Limit(units: 5, per: CalendarPeriod(.year, start: 4)!, zone: zone)
        let policy = Policy(name: [UInt8(ascii: "p")], limit: limit)
        let line = PolicyText.line(policy)
        #expect(line == "policy p LIMIT 5 PER year ALGO calendar ZONE Never/Heard-Of START 4 MODE enforce")
        #expect(throws: ArgumentProblem("ERR ZONE: this server has no time zone 'Never/Heard-Of'")) {
            try Self.read(line)
        }
        let read = OverridesFile.read(Array((line + "\n").utf8))
        #expect(read.unreadable == 0 && read.overrides.policies[policy.name]?.limit == limit)
    }

    @Test func rulesReadBackAsWritten() throws {
        for name in Self.names {
            for subject in [
                RuleSubject(tenant: name, client: nil, action: nil),
                RuleSubject(tenant: nil, client: name, action: name),
                RuleSubject(tenant: nil, client: nil, action: nil),
            ] {
                let rule = Rule(subject, policy: name)
                #expect(try Self.read(PolicyText.line(rule)) == .rule(rule))
            }
        }
    }

    @Test func storedOverridesReadBack() {
        let text = """
            # comment
            policy a LIMIT 1 PER 1h
            rule acme * * POLICY a
            policy b LIMIT nonsense
            policy a LIMIT 2 PER 1h
            rule acme * search POL
            """
        let (overrides, unreadable) = OverridesFile.read(Array(text.utf8))
        #expect(overrides.policies.count == 1 && overrides.policies[[0x61]]?.limit.units == 2, "the last one wins")
        #expect(overrides.policies[[0x61]]?.origin == .file)
        #expect(overrides.rules.count == 1, "the last line is torn")
        #expect(unreadable == 1)
        #expect(OverridesFile.read([]).overrides.isEmpty)
    }
}
