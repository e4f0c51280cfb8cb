// What a metrics reading sums up, and how a batch's decisions are counted.

import LimiterEngine
import RESP
import Testing

@testable import RespServer

@Suite struct MetricsReadingTests {
    @Test func countersOfAllLoopsAreAddedUp() throws {
        let sample = try SampleServer(loops: 3)
        let throttle = sample.command("cl.throttle")
        for (number, loop) in sample.server.loops.enumerated() {
            loop.counters.add(.commands, UInt64(10 + number))
            loop.counters.add(.inputBytes, 100)
            loop.commandStatistics.record(
                throttle, calls: 2, nanoseconds: 4_000, failed: false, latency: true)
            loop.commandStatistics.record(
                throttle, DecisionTally(allowed: 5, denied: 2, undecided: 1, grantedUnits: 50, deniedUnits: 20))
        }
        let reading = sample.reading()
        #expect(reading.total(.commands) == .integer(33) && reading.total(.inputBytes) == .integer(300))
        let command = reading.commands[throttle]
        #expect(command.name == "cl.throttle" && command.sum.calls == 6 && command.sum.nanoseconds == 12_000)
        #expect(command.sum.allowed == 15 && command.sum.denied == 6 && command.sum.undecided == 3)
        #expect(command.sum.grantedUnits == 150 && command.sum.deniedUnits == 60)
        #expect(command.latency.calls == 6 && command.latency.totalNanoseconds == 12_000)
        #expect(InfoPrinter.text([.stats], reading).contains("total_commands_processed:33\r\n"))
    }

    /// INFO without arguments does not scan every histogram.
    @Test func onlyRequestedSectionsAreRead() throws {
        let sample = try SampleServer(loops: 1)
        _ = sample.primaryReading()
        #expect(sample.reading(MetricSection.allCases.filter(\.isDefault)).commands.isEmpty)
        let counts = sample.reading([.commandStatistics])
        #expect(counts.commandsSeen.count == 2 && counts.commandsSeen.allSatisfy { $0.latency.calls == 0 })
        #expect(counts.openFiles == 0 && sample.reading([.process]).openFiles > 0)
        #expect(counts.memoryResident == 0 && sample.reading([.memory]).memoryResident > 0)
    }

    @Test func resetClearsDecisions() {
        let statistics = CommandStatistics(commands: 2)
        statistics.record(1, DecisionTally(allowed: 1, denied: 1, undecided: 1, grantedUnits: 3, deniedUnits: 4))
        var sum = CommandStatistics.Sum()
        statistics.add(1, to: &sum)
        #expect(sum.allowed == 1 && sum.denied == 1 && sum.undecided == 1)
        #expect(sum.grantedUnits == 3 && sum.deniedUnits == 4 && sum.calls == 0)
        statistics.reset()
        sum = CommandStatistics.Sum()
        statistics.add(1, to: &sum)
        #expect(sum.allowed == 0 && sum.deniedUnits == 0)
    }

    // MARK: Decisions

    private static func decide(_ calls: [LimitCall], groups: [KeyspaceSession.Group] = []) throws -> DecisionTally {
        let keyspace = KeyspaceSession(engine: Engine(shards: 4))
        let now = EngineTime(nanoseconds: 1_700_000_000_000_000_000)
        let keys = UnsafeMutableBufferPointer<UInt8>.allocate(capacity: calls.count)
        let batch = UnsafeMutableBufferPointer<LimitCall>.allocate(capacity: calls.count)
        let places = UnsafeMutableBufferPointer<KeyspaceSession.Group>.allocate(capacity: max(1, groups.count))
        defer {
            keys.deallocate()
            batch.deallocate()
            places.deallocate()
        }
        _ = batch.initialize(from: calls)
        _ = places.initialize(from: groups)
        let used = UnsafeMutableBufferPointer(start: places.baseAddress, count: groups.count)
        for position in calls.indices {
            keys[position] = groups.isEmpty ? 0x61 : 0x61 + UInt8(position)
            batch[position].setKey(keys.baseAddress! + position, count: 1)
        }
        keyspace.decide(batch.baseAddress!, count: calls.count, groups: used, now: now)
        var tally = DecisionTally()
        if groups.isEmpty {
            for position in calls.indices { tally.count(batch.baseAddress! + position) }
        } else {
            for group in used { tally.count(group, batch.baseAddress! + group.first) }
        }
        return tally
    }

    private static func call(_ units: Int64, _ operation: LimitCall.Operation = .take) throws -> LimitCall {
        let limit = try Limit(.gcra, units: 10, period: 3_600_000_000_000)
        var call = LimitCall(limit, try Demand(units))
        call.operation = operation
        return call
    }

    @Test func onlyTakesCountAsDecisions() throws {
        let tally = try Self.decide([
            Self.call(7), Self.call(1, .peek), Self.call(5), Self.call(2, .refund), Self.call(5), Self.call(0),
        ])
        #expect(tally == DecisionTally(allowed: 3, denied: 1, undecided: 0, grantedUnits: 12, deniedUnits: 5))
    }

    /// A counter's key has no limit: a call that takes from it fails.
    @Test func failedCallsCountAsErrors() throws {
        var counter = LimitCall.blank
        counter.setAdd(1)
        let tally = try Self.decide([counter, Self.call(1)])
        #expect(tally == DecisionTally(allowed: 0, denied: 0, undecided: 1, grantedUnits: 0, deniedUnits: 0))
    }

    @Test func anAllOrNothingCallIsOneDecision() throws {
        let groups = [KeyspaceSession.Group(first: 0, count: 2), KeyspaceSession.Group(first: 2, count: 2)]
        let tally = try Self.decide(
            [Self.call(3), Self.call(4), Self.call(2), Self.call(11)], groups: groups)
        #expect(tally == DecisionTally(allowed: 1, denied: 1, undecided: 0, grantedUnits: 7, deniedUnits: 13))
    }
}
