// Delays of the server's own making, by event: what LATENCY LATEST, HISTORY, RESET and DOCTOR know. Owns the samples;
// who measures decides what an event is called. Bounded in events and in samples an event. Reads no clock.

import Synchronization
import System

/// The latency monitor. Thread-safe; one short lock, taken only for a delay that reaches the threshold.
final class LatencyEvents: Sendable {
    /// One second's longest delay.
    struct Sample: Equatable, Sendable {
        var unixSeconds: Int64
        var milliseconds: Int64
    }

    /// The newest sample of an event, and its longest delay since the last reset.
    struct Latest: Equatable, Sendable {
        var event: String
        var unixSeconds: Int64
        var milliseconds: Int64
        var longestMilliseconds: Int64
    }

    fileprivate struct Event {
        var samples: [Sample] = []
        var longest: Int64 = 0
        /// All delays ever, for the report; the samples keep one a second.
        var delays: Int64 = 0
        var total: Int64 = 0
    }

    /// As many samples an event as Redis keeps; older ones are dropped.
    static let samplesPerEvent = 160
    /// More events than these are not kept, whatever their names.
    static let eventsMax = 64

    private let threshold: Atomic<Int64>
    private let events = Locked<[String: Event]>([:])

    /// A monitor that keeps delays of `thresholdMilliseconds` and more; 0 keeps none.
    init(thresholdMilliseconds: Int64 = 0) { threshold = Atomic(max(thresholdMilliseconds, 0)) }

    /// `latency-monitor-threshold` in milliseconds; 0 is off. Cheap to read.
    var thresholdMilliseconds: Int64 {
        get { threshold.load(ordering: .relaxed) }
        set { threshold.store(max(newValue, 0), ordering: .relaxed) }
    }

    /// Keeps a delay if it reaches the threshold. Two in one second become the longer one.
    func add(_ event: String, milliseconds: Int64, unixSeconds: Int64) {
        let threshold = thresholdMilliseconds
        guard threshold > 0, milliseconds >= threshold else { return }
        events.withLock { events in
            guard events[event] != nil || events.count < Self.eventsMax else { return }
            events[event, default: Event()].add(milliseconds, at: unixSeconds)
        }
    }

    /// The newest sample of each event, by name.
    func latest() -> [Latest] {
        events.withLock { events in
            events.sorted { $0.key < $1.key }.compactMap { name, event in
                guard let last = event.samples.last else { return nil }
                return Latest(
                    event: name, unixSeconds: last.unixSeconds, milliseconds: last.milliseconds,
                    longestMilliseconds: event.longest)
            }
        }
    }

    /// An event's samples, oldest first; empty for an event never seen.
    func history(_ event: String) -> [Sample] { events.withLock { $0[event]?.samples ?? [] } }

    /// Forgets these events, or all if the list is empty, and answers how many there were.
    func reset(_ names: [String] = []) -> Int {
        events.withLock { events in
            let doomed = names.isEmpty ? Array(events.keys) : names
            return doomed.count { events.removeValue(forKey: $0) != nil }
        }
    }

    /// What LATENCY DOCTOR answers: the delays in words, ending in a line feed.
    func report() -> String {
        let threshold = thresholdMilliseconds
        guard threshold > 0 else {
            return "Latency monitoring is off: latency-monitor-threshold is 0. "
                + "CONFIG SET latency-monitor-threshold <milliseconds> turns it on.\n"
        }
        let lines = events.withLock { events in
            events.sorted { $0.key < $1.key }.map { name, event in
                "\(name): \(event.delays) delays, mean \(event.total / max(event.delays, 1)) ms, "
                    + "longest \(event.longest) ms.\n"
            }
        }
        guard !lines.isEmpty else { return "No event took \(threshold) ms or longer since monitoring began.\n" }
        return "Events that took \(threshold) ms or longer:\n" + lines.joined()
    }
}

extension LatencyEvents.Event {
    fileprivate mutating func add(_ milliseconds: Int64, at unixSeconds: Int64) {
        longest = max(longest, milliseconds)
        delays += 1
        total = total.addingReportingOverflow(milliseconds).partialValue
        if let last = samples.last, last.unixSeconds == unixSeconds {
            samples[samples.count - 1].milliseconds = max(last.milliseconds, milliseconds)
            return
        }
        if samples.count == LatencyEvents.samplesPerEvent { samples.removeFirst() }
        samples.append(LatencyEvents.Sample(unixSeconds: unixSeconds, milliseconds: milliseconds))
    }
}
