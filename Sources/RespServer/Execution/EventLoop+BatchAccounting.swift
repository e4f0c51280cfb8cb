// Accounting for the calls of a batch, each counted once: commands and their time, errors, slow log entries and latency
// events. A batch of one is counted like any other.

import LimiterEngine
import RESP
import System

extension EventLoop {
    /// Counts a call that was answered with an error.
    func noteFailure(_ command: Int, _ text: String) {
        noteRejection(text)
        commandStatistics.fail(command)
    }

    /// Counts the decided batch. The time is divided equally among its calls, for lack of a better measure. It includes
    /// reading and parsing: it starts at the end of the last command or batch, or at the beginning of the turn.
    func noteDecidedBatch() {
        let took = timeOfBatch()
        countCalls(took)
        latencyEvents.add("fast-command", took: took, unixSeconds: unixSeconds)
        // No client received its reply before the end of the batch, so the time that matters is that of the whole
        // batch.
        if slowLog.isSlow(took) { noteSlow(took) }
    }

    /// Counts a batch of one whose request is still in `arguments`.
    func noteDecidedAlone(_ command: CommandReference, for connection: Connection) {
        let took = timeOfBatch()
        countCalls(took)
        latencyEvents.add(
            command.flags.contains(.fast) ? "fast-command" : "command", took: took, unixSeconds: unixSeconds)
        noteIfSlow(command, took: took, client: connection)
    }

    /// Counts a malformed request, which is still in `arguments`, and the time spent on reading it.
    func noteRefused(_ command: CommandReference, for connection: Connection) {
        let took = timeOfBatch()
        counters.add(.commands, 1)
        commandStatistics.record(
            command.index, calls: 1, nanoseconds: took.nanoseconds, failed: false, latency: settings.latencyTracking)
        noteIfSlow(command, took: took, client: connection)
    }

    /// The time since the last command or batch ended, or the turn began. The next one starts now.
    private func timeOfBatch() -> Nanoseconds {
        let end = SteadyInstant.now()
        let took = max(.zero, end - lastTimestamp)
        lastTimestamp = end
        isTimestampFresh = true
        return took
    }

    @inline(__always)
    private func countCalls(_ took: Nanoseconds) {
        guard let command = batch.command else { return countMixed(took) }
        let requests = batch.requestCount
        counters.add(.commands, UInt64(requests))
        commandStatistics.record(
            command, calls: requests, nanoseconds: took.nanoseconds, failed: false,
            latency: settings.latencyTracking)
        if batch.groups.isEmpty {
            var tally = DecisionTally()
            for position in 0..<batch.count {
                tally.count(batch.calls + position)
                if batch.calls[position].hasPolicy { policyStatistics.count(batch.calls + position) }
            }
            commandStatistics.record(command, tally)
        } else {
            countDecisionsOneByOne()
        }
    }

    /// Counts decisions of a batch that has several commands, or groups.
    private func countDecisionsOneByOne() {
        var position = 0
        var group = 0
        while position < batch.count {
            var tally = DecisionTally()
            let command = Int(batch.notes[position].command)
            if group < batch.groups.count, batch.groups[group].first == position {
                tally.count(batch.groups[group], batch.calls + position)
                countPolicies(of: batch.groups[group])
                position += batch.groups[group].count
                group += 1
            } else {
                tally.count(batch.calls + position)
                if batch.calls[position].hasPolicy { policyStatistics.count(batch.calls + position) }
                position += 1
            }
            commandStatistics.record(command, tally)
        }
    }

    /// Counts the limits of an all-or-nothing call that are policies: all that allowed it, or those that denied it.
    private func countPolicies(of group: KeyspaceSession.Group) {
        for position in group.first..<group.first + group.count where batch.calls[position].hasPolicy {
            guard group.outcome == .allowed || batch.calls[position].decision.outcome == .denied else { continue }
            policyStatistics.countLimit(of: batch.calls + position)
        }
    }

    /// Counts each command of the batch separately. Every limit of a group gets its share of the time.
    @inline(never)
    private func countMixed(_ took: Nanoseconds) {
        let count = batch.count
        let commandCount = commands.specs.count
        withUnsafeTemporaryAllocation(of: Int32.self, capacity: 2 * commandCount) { numbers in
            numbers.initialize(repeating: 0)
            let decisions = numbers.baseAddress!
            let requests = decisions + commandCount
            for position in 0..<count {
                decisions[Int(batch.notes[position].command)] &+= 1
                requests[Int(batch.notes[position].command)] &+= 1
            }
            for group in batch.groups {
                requests[Int(batch.notes[group.first].command)] -= Int32(truncatingIfNeeded: group.count - 1)
            }
            counters.add(.commands, UInt64(batch.requestCount))
            for command in 0..<commandCount where requests[command] > 0 {
                commandStatistics.record(
                    command, calls: Int(requests[command]),
                    nanoseconds: (took * Int64(decisions[command]) / Int64(count)).nanoseconds, failed: false,
                    latency: settings.latencyTracking)
            }
        }
        countDecisionsOneByOne()
    }

    // MARK: Slow batches

    @inline(never)
    private func noteSlow(_ took: Nanoseconds) {
        let count = batch.count
        let each = took / Int64(count)
        if count == 1 || slowLog.isSlow(each) {
            noteSlowCalls(each)
        } else {
            noteSlowBatch(took)
        }
    }

    /// Adds one entry for a batch that was slow although its calls were not on average. One of them may have been;
    /// finding out which would require reading the clock for each call.
    private func noteSlowBatch(_ took: Nanoseconds) {
        let text = "... (a batch of \(batch.count) calls)"
        addToSlowLog(0, [batch.calls[0].clientKey.map { $0 }, Array(text.utf8)], took: took)
    }

    /// Adds an entry for each call of a batch. By now the keys are all that is left of the requests' arguments, so the
    /// entry shows those, all of a group's in one line.
    private func noteSlowCalls(_ took: Nanoseconds) {
        var position = 0
        var group = 0
        while position < batch.count {
            var keys = 1
            if group < batch.groups.count, batch.groups[group].first == position {
                keys = batch.groups[group].count
                group += 1
            }
            let names = (position..<position + keys).map { batch.calls[$0].clientKey.map { $0 } }
            addToSlowLog(position, names, took: took)
            position += keys
        }
    }

    private func addToSlowLog(_ position: Int, _ arguments: [[UInt8]], took: Nanoseconds) {
        let connection = buffers.served[Int(batch.notes[position].owner)]
        let list = ArgumentList()
        // The request itself is gone. Clients send names in upper case, and Redis shows what they send.
        list.load([Array(commands.specs[Int(batch.notes[position].command)].name.uppercased().utf8)] + arguments)
        slowLog.add(
            list, took: took, unixSeconds: unixSeconds, clientAddress: connection.peerAddress,
            clientName: String(decoding: connection.name, as: UTF8.self))
    }
}
