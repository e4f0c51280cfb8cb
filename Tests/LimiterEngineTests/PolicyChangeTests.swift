// Changes of a policy by a command: unspecified fields keep their values; fields that no longer apply are dropped as
// documented.

import Testing

@testable import LimiterEngine

@Suite struct PolicyChangeTests {
    private let registry = KeyspaceSession(engine: Engine(shards: 1, seed: HashSeed(1, 2, 3))).engine.policies
    private let minute: Int64 = 60_000_000_000
    private let day: Int64 = 86_400_000_000_000

    private func change(_ body: (inout PolicyChange) -> Void) throws(PolicyError) -> Policy {
        var change = PolicyChange(name: Array("p".utf8))
        body(&change)
        try registry.edit(now: .seconds(1_000)) { draft throws(PolicyError) in try draft.change(change) }
        return registry.table.policies[0]
    }

    private func expect(
        _ policy: Policy, _ algorithm: Limit.Algorithm, _ units: Int64, per period: Int64, burst: Int64? = nil,
        offset: Int64 = 0, mode: LimitCall.Mode = .enforce, sourceLocation: SourceLocation = #_sourceLocation
    ) {
        let limit = policy.limit
        #expect(
            limit.algorithm == algorithm && limit.units == units && limit.period == period
                && limit.capacity == burst ?? units && limit.offset == offset && policy.mode == mode,
            "\(policy)", sourceLocation: sourceLocation)
    }

    @Test func unspecifiedFieldsStay() throws {
        expect(
            try change {
                ($0.units, $0.period, $0.algorithm) = (100, minute, .fixedWindow)
                ($0.offset, $0.mode) = (7_200_000_000_000, .shadow)
            }, .fixedWindow, 100, per: minute, offset: 7_200_000_000_000, mode: .shadow)
        expect(
            try change { ($0.units, $0.period) = (6, day) }, .fixedWindow, 6, per: day, offset: 7_200_000_000_000,
            mode: .shadow)
        expect(try change { $0.mode = .off }, .fixedWindow, 6, per: day, offset: 7_200_000_000_000, mode: .off)
        expect(try change { $0.offset = 0 }, .fixedWindow, 6, per: day, mode: .off)
        expect(try change { $0.units = 7 }, .fixedWindow, 7, per: day, mode: .off)
        expect(try change { $0.period = minute }, .fixedWindow, 7, per: minute, mode: .off)
    }

    @Test func aBurstStaysUnlessItIsTheLimit() throws {
        expect(try change { ($0.units, $0.period) = (100, minute) }, .gcra, 100, per: minute, burst: 100)
        expect(try change { $0.units = 6 }, .gcra, 6, per: minute, burst: 6)
        expect(try change { $0.burst = 20 }, .gcra, 6, per: minute, burst: 20)
        expect(try change { $0.units = 50 }, .gcra, 50, per: minute, burst: 20)
        expect(try change { $0.algorithm = .tokenBucket }, .tokenBucket, 50, per: minute, burst: 20)
        // A block has no burst, and the limit after it gets the default burst.
        expect(try change { $0.units = 0 }, .tokenBucket, 0, per: minute, burst: 0)
        expect(try change { $0.units = 50 }, .tokenBucket, 50, per: minute, burst: 50)
    }

    @Test func anotherAlgorithmDropsFieldsThatDoNotApply() throws {
        _ = try change { ($0.units, $0.period, $0.burst, $0.mode) = (10, minute, 3, .shadow) }
        expect(try change { $0.algorithm = .slidingLog }, .slidingLog, 10, per: minute, mode: .shadow)
        expect(try change { $0.algorithm = .gcra }, .gcra, 10, per: minute, burst: 10, mode: .shadow)
        _ = try change { ($0.algorithm, $0.offset) = (.fixedWindow, -3_600_000_000_000) }
        expect(try change { $0.algorithm = .slidingWindow }, .slidingWindow, 10, per: minute, mode: .shadow)
        expect(try change { $0.algorithm = .fixedWindow }, .fixedWindow, 10, per: minute, mode: .shadow)
    }

    @Test func aSpecifiedFieldThatDoesNotApplyIsAnError() throws {
        #expect(throws: PolicyError.incomplete(.limit)) { try change { $0.period = minute } }
        #expect(throws: PolicyError.incomplete(.period)) { try change { $0.units = 1 } }
        let old = try change { ($0.units, $0.period, $0.algorithm) = (10_000, minute, .fixedWindow) }
        #expect(throws: PolicyError.invalidLimit(.unsupported(.burst, .fixedWindow), keeping: nil)) {
            try change { $0.burst = 5 }
        }
        #expect(throws: PolicyError.invalidLimit(.unsupported(.offset, .gcra), keeping: nil)) {
            try change { ($0.algorithm, $0.offset) = (.gcra, 1) }
        }
        // The invalid limit is the policy's stored one, and the error reports that.
        #expect(throws: PolicyError.invalidLimit(.tooLarge(.limit, maximum: 4096), keeping: old)) {
            try change { $0.algorithm = .slidingLog }
        }
        #expect(throws: PolicyError.invalidLimit(.tooLarge(.limit, maximum: 4096), keeping: nil)) {
            try change { ($0.algorithm, $0.units) = (.slidingLog, 4097) }
        }
        #expect(throws: PolicyError.invalidLimit(.zero(.burst), keeping: nil)) {
            try change { ($0.algorithm, $0.burst) = (.gcra, 0) }
        }
        #expect(registry.table.policies == [old])
    }

    @Test func anEditWithoutAChangeBuildsNoTable() throws {
        let version = registry.version
        try registry.edit(now: .seconds(1)) { _ throws(PolicyError) in
        } journal: { _ in
            Issue.record("no records")
        }
        #expect(registry.version == version)
    }
}
