// Counters of an event loop: written by its own thread with plain stores, read by any thread that serves INFO.

/// Counters of one event loop. Only the loop's thread adds; see `CounterBlock` for what readers can rely on.
final class LoopCounters: Sendable {
    enum Counter: Int, CaseIterable {
        case commands, inputBytes, outputBytes, protocolErrors, outputLimitDisconnections, errorReplies
        case keyHits, keyMisses, failedAuthentications, httpRequests, evictedClients
        /// Those of `inputBytes` and `outputBytes` that were exchanged over HTTP.
        case gatewayInputBytes, gatewayOutputBytes, adminInputBytes, adminOutputBytes
    }

    private let block = CounterBlock(count: Counter.allCases.count)

    @inline(__always)
    func add(_ counter: Counter, _ amount: UInt64) { block.add(counter.rawValue, amount) }

    func value(_ counter: Counter) -> UInt64 { block.load(counter.rawValue) }

    /// CONFIG RESETSTAT. Requires that the loop is stopped.
    func reset() { block.reset() }
}

/// Calls, time, rejections, failures, limit decisions and latency of every command on one event loop.
final class CommandStatistics: Sendable {
    private enum Field: Int, CaseIterable {
        case calls, nanoseconds, rejected, failed
        // See `DecisionTally`.
        case allowed, denied, undecided, grantedUnits, deniedUnits
    }

    private let block: CounterBlock
    let latency: LatencyHistograms

    init(commands: Int) {
        block = CounterBlock(count: commands * Field.allCases.count)
        latency = LatencyHistograms(commandCount: commands)
    }

    /// Records `calls` calls of one command that took `nanoseconds` in total.
    func record(_ command: Int, calls: Int, nanoseconds: Int64, failed: Bool, latency tracksLatency: Bool) {
        add(command, .calls, UInt64(calls))
        add(command, .nanoseconds, UInt64(max(0, nanoseconds)))
        if failed { add(command, .failed, UInt64(calls)) }
        if tracksLatency {
            latency.record(
                command: command, nanoseconds: UInt64(max(0, nanoseconds)) / UInt64(calls), calls: UInt64(calls))
        }
    }

    /// Counts a call that was rejected before it reached a handler.
    func reject(_ command: Int) { add(command, .rejected, 1) }

    /// Counts a call as failed that is recorded as well.
    func fail(_ command: Int) { add(command, .failed, 1) }

    /// Adds the decisions that limits made in calls of one command.
    func record(_ command: Int, _ tally: DecisionTally) {
        if tally.allowed > 0 {
            add(command, .allowed, tally.allowed)
            add(command, .grantedUnits, tally.grantedUnits)
        }
        if tally.denied > 0 {
            add(command, .denied, tally.denied)
            add(command, .deniedUnits, tally.deniedUnits)
        }
        if tally.undecided > 0 { add(command, .undecided, tally.undecided) }
    }

    private func add(_ command: Int, _ field: Field, _ amount: UInt64) {
        block.add(command * Field.allCases.count + field.rawValue, amount)
    }

    struct Sum {
        var calls: UInt64 = 0
        var nanoseconds: UInt64 = 0
        var rejected: UInt64 = 0
        var failed: UInt64 = 0
        /// Decisions of calls that take from limits: see `DecisionTally`.
        var allowed: UInt64 = 0
        var denied: UInt64 = 0
        var undecided: UInt64 = 0
        var grantedUnits: UInt64 = 0
        var deniedUnits: UInt64 = 0
    }

    func add(_ command: Int, to sum: inout Sum) {
        let base = command * Field.allCases.count
        sum.calls += block.load(base + Field.calls.rawValue)
        sum.nanoseconds += block.load(base + Field.nanoseconds.rawValue)
        sum.rejected += block.load(base + Field.rejected.rawValue)
        sum.failed += block.load(base + Field.failed.rawValue)
        sum.allowed += block.load(base + Field.allowed.rawValue)
        sum.denied += block.load(base + Field.denied.rawValue)
        sum.undecided += block.load(base + Field.undecided.rawValue)
        sum.grantedUnits &+= block.load(base + Field.grantedUnits.rawValue)
        sum.deniedUnits &+= block.load(base + Field.deniedUnits.rawValue)
    }

    func reset() {
        block.reset()
        latency.reset()
    }
}
