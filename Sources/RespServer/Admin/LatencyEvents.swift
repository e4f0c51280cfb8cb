// Delays of the server's own making, by event: what LATENCY LATEST, HISTORY, RESET and DOCTOR know. Owns the samples;
// who measures decides what an event is called. Bounded in events and in samples an event. Reads no clock.

import Synchronization
import System

/// The latency monitor. Thread-safe; one short lock, taken only for a delay that reaches the threshold.
final class LatencyEvents: Sendable {
    /// One second's longest delay.
    struct Sample: Equatable, Sendable {
        var unixSeconds: Int64
        var delay: Nanoseconds
    }

    /// The newest sample of an event, and its longest delay since the last reset.
    struct Latest: Equatable, Sendable {
        var event: String
        var unixSeconds: Int64
        var delay: Nanoseconds
        var longest: Nanoseconds
    }

    fileprivate struct Event {
        var samples: [Sample] = []
        var longest = Nanoseconds.zero
        /// All delays ever, for the report; the samples keep one a second.
        var delays: Int64 = 0
        var total = Nanoseconds.zero
    }

    /// As many samples an event as Redis keeps; older ones are dropped.
    static let samplesPerEvent = 160
    /// More events than these are not kept, whatever their names.
    static let eventsMax = 64

    private let thresholdLength: Atomic<Nanoseconds>
    private let events = Locked<[String: Event]>([:])

    /// A monitor that keeps delays of `threshold` and more; zero keeps none.
    init(threshold: Nanoseconds = .zero) { thresholdLength = Atomic(max(threshold, .zero)) }

    /// `latency-monitor-threshold`; zero is off. Cheap to read.
    var threshold: Nanoseconds {
        get { thresholdLength.load(ordering: .relaxed) }
        set { thresholdLength.store(max(newValue, .zero), ordering: .relaxed) }
    }

    /// Keeps a delay if it reaches the threshold. Two in one second become the longer one.
    func add(_ event: String, took delay: Nanoseconds, unixSeconds: Int64) {
        let threshold = threshold
        guard threshold > .zero, delay >= threshold else { return }
        events.withLock { events in
            guard events[event] != nil || events.count < Self.eventsMax else { return }
            events[event, default: Event()].add(delay, at: unixSeconds)
        }
    }

    /// The newest sample of each event, by name.
    func latest() -> [Latest] {
        events.withLock { events in
            events.sorted { $0.key < $1.key }.compactMap { name, event in
                guard let last = event.samples.last else { return nil }
                return Latest(
                    event: name, unixSeconds: last.unixSeconds, delay: last.delay, longest: event.longest)
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
        let threshold = threshold.millisecondsRoundedDown
        guard threshold > 0 else {
            return "Latency monitoring is off: latency-monitor-threshold is 0. "
                + "CONFIG SET latency-monitor-threshold <milliseconds> turns it on.\n"
        }
        let lines = events.withLock { events in
            events.sorted { $0.key < $1.key }.map { name, event in
                let mean = event.total / max(event.delays, 1)
                return "\(name): \(event.delays) delays, mean \(mean.millisecondsRoundedDown) ms, "
                    + "longest \(event.longest.millisecondsRoundedDown) ms.\n"
            }
        }
        guard !lines.isEmpty else { return "No event took \(threshold) ms or longer since monitoring began.\n" }
        return "Events that took \(threshold) ms or longer:\n" + lines.joined()
    }
}

extension LatencyEvents.Event {
    fileprivate mutating func add(_ delay: Nanoseconds, at unixSeconds: Int64) {
        longest = max(longest, delay)
        delays += 1
        total += delay
        if let last = samples.last, last.unixSeconds == unixSeconds {
            samples[samples.count - 1].delay = max(last.delay, delay)
            return
        }
        if samples.count == LatencyEvents.samplesPerEvent { samples.removeFirst() }
        samples.append(LatencyEvents.Sample(unixSeconds: unixSeconds, delay: delay))
    }
}
