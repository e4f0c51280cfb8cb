// The latency monitor: which events it samples, and its bounds.

import System
import Testing

@testable import RespServer

@Suite struct LatencyEventsTests {
    @Test func keepsWhatReachesTheThreshold() {
        let events = LatencyEvents()
        events.add("command", took: .milliseconds(1_000), unixSeconds: 1)
        #expect(events.latest().isEmpty, "0 disables it")
        events.threshold = .milliseconds(100)
        events.add("command", took: .milliseconds(99), unixSeconds: 2)
        #expect(events.latest().isEmpty)
        events.add("command", took: .milliseconds(100), unixSeconds: 3)
        #expect(
            events.latest()
                == [.init(event: "command", unixSeconds: 3, delay: .milliseconds(100), longest: .milliseconds(100))])
        events.threshold = .milliseconds(-1)
        #expect(events.threshold == .zero)
    }

    @Test func mergesDelaysWithinOneSecond() {
        let events = LatencyEvents(threshold: .milliseconds(1))
        events.add("fork", took: .milliseconds(5), unixSeconds: 10)
        events.add("fork", took: .milliseconds(9), unixSeconds: 10)
        events.add("fork", took: .milliseconds(7), unixSeconds: 10)
        events.add("fork", took: .milliseconds(2), unixSeconds: 11)
        #expect(
            events.history("fork")
                == [.init(unixSeconds: 10, delay: .milliseconds(9)), .init(unixSeconds: 11, delay: .milliseconds(2))])
        #expect(events.latest()[0].longest == .milliseconds(9))
        #expect(events.latest()[0].delay == .milliseconds(2))
        #expect(events.history("nope").isEmpty)
    }

    @Test func isBounded() {
        let events = LatencyEvents(threshold: .milliseconds(1))
        for second in 0..<200 { events.add("a", took: .milliseconds(200 - second), unixSeconds: Int64(second)) }
        let history = events.history("a")
        #expect(history.count == LatencyEvents.samplesPerEvent)
        #expect(history.first?.unixSeconds == 40 && history.last?.unixSeconds == 199)
        #expect(events.latest()[0].longest == .milliseconds(200), "the maximum outlives its sample")
        for index in 0..<100 { events.add("event\(index)", took: .milliseconds(1), unixSeconds: 1) }
        #expect(events.latest().count == LatencyEvents.eventsMax)
    }

    @Test func resetsByName() {
        let events = LatencyEvents(threshold: .milliseconds(1))
        for name in ["a", "b", "c"] { events.add(name, took: .milliseconds(1), unixSeconds: 1) }
        #expect(events.reset(["a", "nope"]) == 1)
        #expect(events.latest().map(\.event) == ["b", "c"])
        #expect(events.reset() == 2)
        #expect(events.latest().isEmpty)
    }

    @Test func reportsInWords() {
        let events = LatencyEvents()
        #expect(events.report().contains("latency-monitor-threshold is 0"))
        events.threshold = .milliseconds(10)
        #expect(events.report().contains("No event took 10 ms"))
        events.add("command", took: .milliseconds(10), unixSeconds: 1)
        events.add("command", took: .milliseconds(30), unixSeconds: 1)
        #expect(events.report().contains("command: 2 delays, mean 20 ms, longest 30 ms."))
    }
}
