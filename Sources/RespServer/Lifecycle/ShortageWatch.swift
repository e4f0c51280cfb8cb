// Warns in the log when a bounded resource is exhausted: memory (maxmemory) or idempotency tokens. Calls then fail, or
// keys are evicted, and no client is in a position to inform the operator.
//
// Logs one line when it begins, then at most one a minute while it lasts, with the number of calls or keys affected.
// INFO counts all of them: errorstat_OOM, evicted_keys, limiter_tokens_refused. Owns the pace of the lines, not the
// counters.

import LimiterEngine
import System

/// A counter whose growth is logged.
struct ShortageCount {
    /// Minimum interval between lines.
    static let interval = Nanoseconds.seconds(60)

    private var seen: UInt64 = 0
    private var unlogged: UInt64 = 0
    private var loggedAt: SteadyInstant?

    /// Records the counter's value. Returns its growth since the last line, if a line is due.
    mutating func note(_ total: UInt64, now: SteadyInstant) -> Int? {
        // CONFIG RESETSTAT restarts it at 0.
        unlogged += total >= seen ? total - seen : total
        seen = total
        guard unlogged > 0, loggedAt.map({ now - $0 >= ShortageCount.interval }) ?? true else { return nil }
        loggedAt = now
        defer { unlogged = 0 }
        return Int(clamping: unlogged)
    }
}

struct ShortageWatch {
    /// Minimum interval between checks: a check locks every stripe in turn.
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

    /// Checks once a second, however often it is called.
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
            server.log.warning("maxmemory reached: calls that need more memory are refused with OOM", fields)
        }
        if let keys = evicted.note(statistics.evicted, now: now) {
            var fields: LogFields = ["keys": .integer(keys)]
            fields.append(memory)
            server.log.warning("maxmemory reached: keys are evicted before they expire", fields)
        }
        if let calls = tokens.note(statistics.tokensRefused, now: now) {
            server.log.warning(
                "idempotency-tokens-max reached: calls with new IDs are refused",
                ["calls": .integer(calls), "idempotency_tokens_max": .integer(settings.idempotencyTokensMax)])
        }
    }
}
