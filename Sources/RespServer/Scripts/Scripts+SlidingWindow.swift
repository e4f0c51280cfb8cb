// limits' sliding window counter: two counters, the previous window's and the current one's. The current key lives for
// two windows; when less than one of them is left it becomes the previous key, whose share in the weighted sum shrinks
// with its time to live.

import RESP

extension Scripts {
    static let limitsSlidingWindow: KnownScript.Body = { run throws(ScriptError) in
        let (previous, current) = (run.key(1), run.key(2))
        let limit = run.number(1)
        let window = try run.operand(2) * 1000
        guard let limit, let amount = run.number(3) else { throw .badComparison }
        guard amount <= limit || amount.isNaN || limit.isNaN else { return run.reply.null() }
        try shift(run, window)
        let previousCount = Double(try run.get(previous) ?? 0)
        let previousLeft = Double(max(0, run.timeToLive(previous)))
        let currentCount = Double(try run.get(current) ?? 0)
        let weighted = (previousCount * previousLeft / window).rounded(.down) + currentCount
        if weighted + amount > limit { return run.reply.null() }
        if run.exists(current) {
            _ = try run.add(try ScriptRun.integer(amount), to: current)
        } else {
            let lifetime = try ScriptRun.integer(window * 2)
            try run.set(current, try run.value(amount), expiring: lifetime, milliseconds: millisecond)
        }
        run.reply.integer(1)
    }

    static let limitsSlidingWindowLook: KnownScript.Body = { run throws(ScriptError) in
        let (previous, current) = (run.key(1), run.key(2))
        let window = try run.operand(1) * 1000
        _ = (try run.get(previous), try run.get(current))
        try shift(run, window)
        let counts = (try run.get(previous), try run.get(current))
        run.reply.array(4)
        run.context.replyCounter(counts.0)
        run.reply.integer(run.timeToLive(previous))
        run.context.replyCounter(counts.1)
        run.reply.integer(run.timeToLive(current))
    }

    /// Makes the current window the previous one if it has ended.
    private static func shift(_ run: ScriptRun, _ window: Double) throws(ScriptError) {
        let (previous, current) = (run.key(1), run.key(2))
        let left = Double(run.timeToLive(current))
        guard left > 0, left < window else { return }
        try run.rename(current, to: previous)
        try run.set(current, 0, expiring: try ScriptRun.integer(left + window), milliseconds: millisecond)
    }
}
