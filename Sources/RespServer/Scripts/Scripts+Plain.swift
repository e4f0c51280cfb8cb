// Scripts that make one command conditional, or apply it to many keys.

import LimiterEngine
import RESP

extension Scripts {
    /// Sets a key that does not exist.
    static let laravelAdd: KnownScript.Body = { run throws(ScriptError) in
        guard !run.exists(run.key(1)) else { return run.reply.null() }
        let seconds = try ScriptRun.integer(run.argument(2))
        try run.set(
            run.key(1), try run.value(run.argument(1)), expiring: seconds, milliseconds: second,
            command: "setex")
        run.reply.ok()
    }

    /// Adds to a key that exists.
    static let djangoIncrement: KnownScript.Body = { run throws(ScriptError) in
        guard run.exists(run.key(1)) else { return run.reply.null() }
        try djangoIncrementUnchecked(run)
    }

    static let djangoIncrementUnchecked: KnownScript.Body = { run throws(ScriptError) in
        run.reply.integer(LuaNumber.reply(try run.add(try ScriptRun.integer(run.argument(1)), to: run.key(1))))
    }

    /// Replaces a value if it is the expected one.
    static let throttledCompareAndSwap: KnownScript.Body = { run throws(ScriptError) in
        guard let value = try run.get(run.key(1)) else {
            // The library recognizes the case by this text.
            return run.reply.error("key does not exist")
        }
        // As text: "05" is not 5.
        guard run.argument(1).integer == value else { return run.reply.integer(0) }
        let seconds = try ScriptRun.integer(run.argument(3))
        try run.set(
            run.key(1), try run.value(run.argument(2)), expiring: seconds, milliseconds: second,
            command: "setex")
        run.reply.integer(1)
    }

    /// Deletes the keys that match a pattern. All stripes are held, so it is over before any other command begins.
    static let limitsReset: KnownScript.Body = { run throws(ScriptError) in
        let (context, pattern) = (run.context, run.key(1))
        guard pattern.count <= GlobPattern.lengthMax else { throw ScriptError(GlobPattern.refusal) }
        let glob = GlobPattern(pattern.bytes)
        let loop = context.loop!
        var budget = StepBudget.transaction(
            steps: loop.isExecuting ? loop.transactionSteps : StepBudget.transactionSteps)
        let found = matches(glob, context, &budget)
        if loop.isExecuting { loop.transactionSteps = max(0, budget.steps) }
        guard let found else {
            throw ScriptError("ERR the pattern takes too long to match with this many keys, nothing was deleted")
        }
        var count = 0
        for key in found {
            key.withUnsafeBytes { if context.keyspace.remove($0, now: context.now) { count += 1 } }
        }
        run.reply.integer(count)
    }

    /// Nil when the budget is spent.
    private static func matches(
        _ glob: GlobPattern, _ context: CommandContext, _ budget: inout StepBudget
    ) -> [[UInt8]]? {
        var found: [[UInt8]] = []
        var walk = KeyWalk()
        defer { context.keyspace.end(&walk) }
        var batch = KeyBatch()
        while !walk.isOver {
            batch.removeAll()
            context.keyspace.advance(&walk, keys: KeyBatch.keysMax, bytes: KeyBatch.bytesMax, now: context.now) {
                key, _ in batch.append(key)
            }
            while !batch.isEmpty {
                guard !budget.isSpent else { return nil }
                batch.withNext { key in
                    if glob.matches(key, budget: &budget) { found.append(Array(key)) }
                }
            }
        }
        return found
    }
}
