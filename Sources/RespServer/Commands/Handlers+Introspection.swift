// SLOWLOG and LATENCY.

import RESP
import System

extension Handlers {
    static func slowlogGet(_ context: CommandContext) {
        var count: Int64 = 10
        if context.arguments.count > 3 {
            return context.reply.error("ERR wrong number of arguments for 'slowlog|get' command")
        }
        if context.arguments.count == 3 {
            guard let asked = context.arguments[2].integer, asked >= -1 else {
                return context.reply.error("ERR count should be greater than or equal to -1")
            }
            count = asked
        }
        let entries = context.server.slowLog.entries(Int(count))
        context.reply.array(entries.count)
        for entry in entries {
            context.reply.array(6)
            context.reply.integer(entry.id)
            context.reply.integer(entry.unixSeconds)
            context.reply.integer(entry.took.microsecondsRoundedDown)
            context.reply.array(entry.arguments.count)
            for argument in entry.arguments { context.reply.bulk(argument) }
            context.reply.bulk(entry.clientAddress)
            context.reply.bulk(entry.clientName)
        }
    }

    static func slowlogLen(_ context: CommandContext) { context.reply.integer(context.server.slowLog.count) }

    static func slowlogReset(_ context: CommandContext) {
        context.server.slowLog.reset()
        context.reply.ok()
    }

    // MARK: LATENCY

    static func latencyLatest(_ context: CommandContext) {
        let events = context.server.latencyEvents.latest()
        context.reply.array(events.count)
        for event in events {
            context.reply.array(4)
            context.reply.bulk(event.event)
            context.reply.integer(event.unixSeconds)
            context.reply.integer(event.delay.millisecondsRoundedDown)
            context.reply.integer(event.longest.millisecondsRoundedDown)
        }
    }

    static func latencyHistory(_ context: CommandContext) {
        let samples = context.server.latencyEvents.history(context.arguments[2].string)
        context.reply.array(samples.count)
        for sample in samples {
            context.reply.array(2)
            context.reply.integer(sample.unixSeconds)
            context.reply.integer(sample.delay.millisecondsRoundedDown)
        }
    }

    static func latencyReset(_ context: CommandContext) {
        let names = (2..<max(2, context.arguments.count)).map { context.arguments[$0].string }
        context.reply.integer(context.server.latencyEvents.reset(names))
    }

    static func latencyDoctor(_ context: CommandContext) {
        context.reply.verbatim(context.server.latencyEvents.report())
    }

    static func latencyHistogram(_ context: CommandContext) {
        let server = context.server
        let wanted = Set((2..<max(2, context.arguments.count)).map { context.arguments[$0].string.lowercased() })
        let rows = server.commands.flat.filter { command in
            guard !wanted.isEmpty, !wanted.contains(command.fullName) else { return true }
            guard let bar = command.fullName.firstIndex(of: "|") else { return false }
            return wanted.contains(String(command.fullName[..<bar]))
        }
        let found = rows.map { (name: $0.fullName, latency: server.latency(of: $0.index)) }
            .filter { $0.latency.calls > 0 }
        context.reply.map(found.count)
        for (name, latency) in found {
            context.reply.bulk(name)
            context.reply.map(2)
            context.reply.bulk("calls")
            context.reply.integer(Int64(latency.calls))
            context.reply.bulk("histogram_usec")
            let buckets = latency.cumulativeMicroseconds()
            context.reply.map(buckets.count)
            for bucket in buckets {
                context.reply.integer(Int64(bucket.microseconds))
                context.reply.integer(Int64(bucket.calls))
            }
        }
    }
}

extension Server {
    /// How long calls of a command took, on all loops together.
    func latency(of command: Int) -> LatencySnapshot {
        var snapshot = LatencySnapshot()
        for loop in loops { loop.commandStatistics.latency.add(command: command, to: &snapshot) }
        return snapshot
    }

    /// Calls, time and failures of a command, on all loops together.
    func statistics(of command: Int) -> CommandStatistics.Sum {
        var sum = CommandStatistics.Sum()
        for loop in loops { loop.commandStatistics.add(command, to: &sum) }
        return sum
    }
}
