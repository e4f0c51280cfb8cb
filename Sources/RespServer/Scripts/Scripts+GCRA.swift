// Scripts on GCRA: they leave this server's own gcra state, which CL.THROTTLE can read, instead of a number of seconds
// as text. Times are whole nanoseconds, and so is the emission interval, rounded to the nearest: a time in a reply may
// differ from Lua's by half a nanosecond for each unit.
//
// throttled-py and redis_rate's AllowN take all units or none, which is one call of the batch. AllowAtMost also takes
// the fraction of a unit that is left, and the peek takes nothing: these run on their own.

import LimiterEngine
import RESP

/// The limit of a script on GCRA, from its arguments.
enum RateScript {
    /// Reads throttled-py's emission interval in seconds, capacity and cost, which is 1 if nil, and fills `call`.
    static func readThrottledPy(
        _ interval: Argument, _ capacity: Argument, _ cost: Argument?, to call: UnsafeMutablePointer<LimitCall>
    ) throws(ArgumentProblem) {
        guard let seconds = LuaNumber.read(interval) else {
            throw ArgumentProblem("ERR emission interval (ARGV[1]) is not a number")
        }
        guard let capacity = capacity.integer else { throw ArgumentProblem(notInteger("capacity (ARGV[2])")) }
        guard let cost = cost == nil ? 1 : cost!.integer else {
            throw ArgumentProblem(notInteger("cost (ARGV[3])"))
        }
        try set(call, seconds: seconds, capacity: capacity, cost: cost, isPartial: false)
    }

    /// Reads redis_rate's burst, rate, period in seconds and cost, and fills `call`.
    static func readRedisRate(
        _ burst: Argument, _ rate: Argument, _ period: Argument, _ cost: Argument, isPartial: Bool,
        to call: UnsafeMutablePointer<LimitCall>
    ) throws(ArgumentProblem) {
        guard let burst = burst.integer else { throw ArgumentProblem(notInteger("burst (ARGV[1])")) }
        guard let rate = LuaNumber.read(rate), rate > 0 else {
            throw ArgumentProblem("ERR rate (ARGV[2]) is not a number above 0")
        }
        guard let period = LuaNumber.read(period) else {
            throw ArgumentProblem("ERR period (ARGV[3]) is not a number")
        }
        guard let cost = cost.integer else { throw ArgumentProblem(notInteger("cost (ARGV[4])")) }
        try set(call, seconds: period / rate, capacity: burst, cost: cost, isPartial: isPartial)
    }

    private static func set(
        _ call: UnsafeMutablePointer<LimitCall>, seconds: Double, capacity: Int64, cost: Int64, isPartial: Bool
    ) throws(ArgumentProblem) {
        // Also false for no number at all.
        guard seconds > 0, let interval = Int64(exactly: (seconds * 1e9).rounded()), interval > 0 else {
            throw ArgumentProblem("ERR a unit must cost between 1 nanosecond and 292 years")
        }
        let problem = call.pointee.setRate(
            emissionInterval: interval, capacity: capacity, quantity: cost, isPartial: isPartial)
        switch problem {
        case nil: break
        case .negative(.quantity): throw ArgumentProblem("ERR cost must not be negative")
        case .negative: throw ArgumentProblem("ERR burst or capacity must not be negative")
        case .zeroRate, .outOfRange: throw ArgumentProblem("ERR value is not an integer or out of range")
        }
    }

    private static func notInteger(_ name: String) -> String { "ERR \(name) is not an integer or out of range" }

    // MARK: Replies

    /// `[limited, remaining, reset, retry]` for a decided call.
    static func writeThrottledPy(_ call: UnsafeMutablePointer<LimitCall>, to reply: ReplyBuffer) {
        let isAllowed = call.pointee.decision.outcome == .allowed
        let remaining = isAllowed ? call.pointee.decision.remaining : room(call)
        let wait = isAllowed ? 0 : wait(call.pointee, units: call.pointee.demand.units)
        writeThrottledPy(
            isLimited: !isAllowed, remaining: remaining, reset: call.pointee.decision.resetAfter, wait: wait, to: reply)
    }

    static func writeThrottledPy(isLimited: Bool, remaining: Int64, reset: Int64, wait: Int64, to reply: ReplyBuffer) {
        reply.array(4)
        reply.integer(isLimited ? 1 : 0)
        reply.integer(remaining)
        LuaNumber.bulk(seconds: reset, to: reply)
        LuaNumber.bulk(seconds: wait, to: reply)
    }

    /// `[allowed, remaining, retry, reset]` for a decided call.
    static func writeRedisRate(_ call: UnsafeMutablePointer<LimitCall>, to reply: ReplyBuffer) {
        let decision = call.pointee.decision
        guard decision.outcome == .allowed else {
            let wait = wait(call.pointee, units: call.pointee.demand.units)
            return writeRedisRate(granted: 0, remaining: 0, wait: wait, reset: decision.resetAfter, to: reply)
        }
        writeRedisRate(
            granted: decision.granted, remaining: decision.remaining, wait: nil, reset: decision.resetAfter, to: reply)
    }

    /// - Parameter wait: Nil for an allowed call.
    static func writeRedisRate(granted: Int64, remaining: Int64, wait: Int64?, reset: Int64, to reply: ReplyBuffer) {
        reply.array(4)
        reply.integer(granted)
        reply.integer(remaining)
        if let wait { LuaNumber.bulk(seconds: wait, to: reply) } else { reply.bulk("-1") }
        LuaNumber.bulk(seconds: reset, to: reply)
    }

    /// Whole units left after a denial; negative when more has been taken than the limit now allows.
    private static func room(_ call: UnsafeMutablePointer<LimitCall>) -> Int64 {
        let interval = call.pointee.limit.emissionInterval
        let left = call.pointee.limit.tolerance - call.pointee.decision.resetAfter
        return min(call.pointee.limit.capacity, left >= 0 ? left / interval : -ceilingUnits(-left, unit: interval))
    }

    /// Nanoseconds until so many units of a denied call would fit, even if there are never as many.
    static func wait(_ call: LimitCall, units: Int64) -> Int64 {
        let missing = units * call.limit.emissionInterval - call.limit.tolerance
        let (sum, overflows) = missing.addingReportingOverflow(call.decision.resetAfter)
        return overflows ? Int64.max : sum
    }
}

extension Scripts {
    /// What throttled-py's gcra would answer to one unit.
    static let throttledPyPeek: KnownScript.Body = { run throws(ScriptError) in
        var call = LimitCall.blank
        try filling(&call) { pointer throws(ArgumentProblem) in
            try RateScript.readThrottledPy(run.argument(1), run.argument(2), nil, to: pointer)
        }
        call.operation = .peek
        try decide(&call, run)
        let isLimited = call.decision.outcome == .denied
        // The library's time until a unit fits is what is missing without the unit itself.
        let missing = abs(call.limit.tolerance - call.decision.resetAfter)
        RateScript.writeThrottledPy(
            isLimited: isLimited, remaining: call.decision.remaining, reset: call.decision.resetAfter,
            wait: isLimited ? missing : 0, to: run.reply)
    }

    /// redis_rate's AllowAtMost: as many units as there are, if at least one is; fewer than requested leave nothing,
    /// not even a fraction of a unit. For no units it answers whether there is one.
    static let redisRateAtMost: KnownScript.Body = { run throws(ScriptError) in
        var call = LimitCall.blank
        try filling(&call) { pointer throws(ArgumentProblem) in
            try RateScript.readRedisRate(
                run.argument(1), run.argument(2), run.argument(3), run.argument(4), isPartial: true, to: pointer)
        }
        let isQuery = call.demand.units == 0
        if isQuery {
            call.demand = .one
            call.operation = .peek
        }
        try decide(&call, run)
        let decision = call.decision
        guard decision.outcome == .allowed else {
            let wait = RateScript.wait(call, units: 1)
            return RateScript.writeRedisRate(
                granted: 0, remaining: 0, wait: wait, reset: decision.resetAfter, to: run.reply)
        }
        var reset = decision.resetAfter
        if decision.granted < call.demand.units {
            let now = run.context.now
            let emptied = now.advanced(by: call.limit.tolerance).nanoseconds
            _ = run.context.keyspace.apply(KeyState(kind: .gcra, word: emptied), to: run.key(1).raw, now: now)
            reset = call.limit.tolerance
        }
        RateScript.writeRedisRate(
            granted: isQuery ? 0 : decision.granted, remaining: decision.remaining, wait: nil, reset: reset,
            to: run.reply)
    }

    private static func filling(
        _ call: inout LimitCall, _ body: (UnsafeMutablePointer<LimitCall>) throws(ArgumentProblem) -> Void
    ) throws(ScriptError) {
        do throws(ArgumentProblem) {
            try withUnsafeMutablePointer(to: &call) { pointer throws(ArgumentProblem) in try body(pointer) }
        } catch {
            throw ScriptError(error.text)
        }
    }

    private static func decide(_ call: inout LimitCall, _ run: ScriptRun) throws(ScriptError) {
        run.context.keyspace.decide(&call, key: run.key(1).raw, now: run.context.now)
        if let text = LimitReply.errorText(call) { throw ScriptError(text) }
    }
}
