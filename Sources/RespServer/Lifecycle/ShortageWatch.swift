// Warns in the log when a bounded resource has run out: memory (maxmemory) and idempotency tokens. Calls then fail, or
// keys are evicted, and no client is in a position to tell the operator.
//
// One line when it begins, then at most one a minute while it lasts, with the number of calls or keys affected. INFO
// counts all of them: errorstat_OOM, evicted_keys, limiter_tokens_refused. Owns the pace of the lines, not the
// counters.

import LimiterEngine
import System

/// A counter of which the log is told when it grows.
struct ShortageCount {
    /// From one line to the next.
    static let interval = Nanoseconds.seconds(60)

    private var seen: UInt64 = 0
    private var unsaid: UInt64 = 0
    private var saidAt: SteadyInstant?

    /// Takes the counter's value. Returns by how much it has grown since the last line, if a line is due.
    mutating func note(_ total: UInt64, now: SteadyInstant) -> Int? {
        // CONFIG RESETSTAT has it begin at 0.
        unsaid += total >= seen ? total - seen : total
        seen = total
        guard unsaid > 0, saidAt.map({ now - $0 >= ShortageCount.interval }) ?? true else { return nil }
        saidAt = now
        defer { unsaid = 0 }
        return Int(clamping: unsaid)
    }
}

struct ShortageWatch {
    /// From one look to the next: a look takes every stripe in turn.
    private static let pace = Nanoseconds.seconds(1)

    private let server: Server
    private let keyspace: KeyspaceSession
    private var nextLook = SteadyInstant.boot
    private var refused = ShortageCount()
    private var evicted = ShortageCount()
    private var tokens = ShortageCount()

    init(server: Server) {
        self.server = server
        keyspace = KeyspaceSession(engine: server.engine)
    }

    /// Looks once a second, however often it is called.
    mutating func look(now: SteadyInstant) {
        guard now >= nextLook else { return }
        nextLook = now + ShortageWatch.pace
        let statistics = keyspace.statistics()
        let settings = server.currentSettings.value
        let memory: LogFields = [
            "used_memory": .integer(statistics.memory), "maxmemory": .integer(settings.maxmemoryBytes),
            "maxmemory_policy": "\(settings.maxmemoryPolicy.rawValue)",
        ]
        if let calls = refused.note(UInt64(server.errorStatistics.count(of: "OOM")), now: now) {
            var fields: LogFields = ["calls": .integer(calls)]
            fields.append(memory)
            server.log.warning("memory is full (maxmemory): calls that need more are refused with OOM", fields)
        }
        if let keys = evicted.note(statistics.evicted, now: now) {
            var fields: LogFields = ["keys": .integer(keys)]
            fields.append(memory)
            server.log.warning("memory is full (maxmemory): keys are forgotten before they have expired", fields)
        }
        if let calls = tokens.note(statistics.tokensRefused, now: now) {
            server.log.warning(
                "as many IDs as idempotency-tokens-max allows: calls with further ones are refused",
                ["calls": .integer(calls), "idempotency_tokens_max": .integer(settings.idempotencyTokensMax)])
        }
    }
}
