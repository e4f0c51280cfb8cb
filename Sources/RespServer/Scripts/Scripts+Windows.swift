// Windows that begin with the first hit and end when the key expires: what most limiter libraries build from INCRBY and
// EXPIRE. Those with a row in BatchedScript come here only with unusual arguments.

import RESP

/// Namespace of the known scripts.
enum Scripts {
    static let second: Int64 = 1000
    static let millisecond: Int64 = 1

    // MARK: Counting

    static let rateLimiterFlexible: KnownScript.Body = { run throws(ScriptError) in
        let key = run.key(1)
        let seconds = try ScriptRun.integer(run.argument(2))
        try run.set(key, 0, expiring: seconds, milliseconds: second, ifAbsent: true)
        let sum = try run.add(try ScriptRun.integer(run.argument(1)), to: key)
        var left = run.timeToLive(key)
        if left == -1 {
            try run.expire(key, seconds, milliseconds: second)
            left = LuaNumber.reply(1000 * Double(seconds))
        }
        pair(LuaNumber.reply(sum), left, run)
    }

    static let limitsFixedWindow: KnownScript.Body = { run throws(ScriptError) in
        let amount = run.number(2)
        let sum = try run.add(try ScriptRun.integer(amount), to: run.key(1))
        try expire(run, isFirst: Double(sum) == amount, milliseconds: second, argument: 1)
        run.reply.integer(LuaNumber.reply(sum))
    }

    static let redisRateLimit: KnownScript.Body = { run throws(ScriptError) in
        let sum = try run.add(try ScriptRun.integer(run.argument(2)), to: run.key(1))
        try expire(run, isFirst: Double(sum) == run.number(2), milliseconds: second, argument: 1)
        run.reply.integer(LuaNumber.reply(sum))
    }

    static let cashews: KnownScript.Body = { run throws(ScriptError) in
        let sum = try run.add(try ScriptRun.integer(run.argument(1)), to: run.key(1))
        try expire(run, isFirst: sum == 1, milliseconds: millisecond, argument: 2)
        run.reply.integer(LuaNumber.reply(sum))
    }

    static let ulule: KnownScript.Body = { run throws(ScriptError) in
        let (key, time) = (run.key(1), run.number(2))
        let sum = try run.add(try ScriptRun.integer(run.argument(1)), to: key)
        guard Double(sum) == run.number(1) else { return pair(LuaNumber.reply(sum), run.timeToLive(key), run) }
        guard let time else { throw .badComparison }
        try expire(run, isFirst: time > 0, milliseconds: millisecond, argument: 2)
        pair(LuaNumber.reply(sum), LuaNumber.reply(time), run)
    }

    private static func expire(
        _ run: ScriptRun, isFirst: Bool, milliseconds: Int64, argument: Int
    ) throws(ScriptError) {
        guard isFirst else { return }
        try run.expire(run.key(1), try ScriptRun.integer(run.argument(argument)), milliseconds: milliseconds)
    }

    static let rateLimitRedis: KnownScript.Body = { run throws(ScriptError) in
        let (key, window) = (run.key(1), run.number(2))
        let left = run.timeToLive(key)
        guard left > 0 else {
            try run.set(key, 1, expiring: try ScriptRun.integer(window), milliseconds: millisecond)
            return pair(1, LuaNumber.reply(window!), run)
        }
        let sum = try run.add(1, to: key)
        guard run.argument(1).equals("1") else { return pair(LuaNumber.reply(sum), left, run) }
        try run.expire(key, try ScriptRun.integer(window), milliseconds: millisecond)
        pair(LuaNumber.reply(sum), LuaNumber.reply(window!), run)
    }

    static let fastapiLimiter: KnownScript.Body = { run throws(ScriptError) in
        let (key, limit) = (run.key(1), run.number(1))
        let value = Double(try run.get(key) ?? 0)
        guard value > 0 else {
            try run.set(key, 1, expiring: try ScriptRun.integer(run.argument(2)), milliseconds: millisecond)
            return run.reply.integer(0)
        }
        guard let limit else { throw .badComparison }
        if value + 1 > limit { return run.reply.integer(run.timeToLive(key)) }
        _ = try run.add(1, to: key)
        run.reply.integer(0)
    }

    // MARK: Looking

    static let ululePeek: KnownScript.Body = { run throws(ScriptError) in
        guard let value = try run.get(run.key(1)) else { return pair(0, 0, run) }
        pair(LuaNumber.reply(value), run.timeToLive(run.key(1)), run)
    }

    static let rateLimitRedisGet: KnownScript.Body = { run throws(ScriptError) in
        let value = try run.get(run.key(1))
        run.reply.array(2)
        run.context.replyCounter(value)
        run.reply.integer(run.timeToLive(run.key(1)))
    }

    private static func pair(_ first: Int64, _ second: Int64, _ run: ScriptRun) {
        run.reply.array(2)
        run.reply.integer(first)
        run.reply.integer(second)
    }
}
