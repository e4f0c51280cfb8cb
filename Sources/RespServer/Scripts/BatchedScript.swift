// Scripts on one key that are decided in the batch, with the calls of limits and counters: those that most libraries
// send with every request. Each is one call of the engine, and its reply is formatted from the decision.
//
// A request goes this way if its arguments are what a library sends: plain integers. One with anything else, such as
// "1e3", or 60 seconds written as " 60", is not refused but runs as a script of its own: see ScriptRun.

import LimiterEngine
import RESP

/// How a script's request becomes a call. An enumeration for the reason given at `BatchedCommand`.
enum BatchedScript: UInt8, Sendable {
    case none
    /// Seconds and an amount: limits, python-redis-rate-limit.
    case expiringSum
    /// An amount and seconds, and two arguments that are not used.
    case rateLimiterFlexible
    /// An amount and milliseconds.
    case ulule, cashews
    /// Whether to renew, and milliseconds.
    case rateLimitRedis
    case throttledPy, redisRate

    /// How a decided call is answered.
    var form: Batch.ReplyForm {
        switch self {
        case .none, .expiringSum, .cashews: .scriptSum
        case .rateLimiterFlexible, .ulule, .rateLimitRedis: .scriptSumAndTime
        case .throttledPy: .throttledPy
        case .redisRate: .redisRate
        }
    }
}

extension ArgumentProblem {
    /// The request is not malformed, but not one for the batch either: its handler runs it.
    static let notBatched = ArgumentProblem("")
}

extension BatchReaders {
    /// `EVALSHA sha1 1 key argument …`
    @inline(__always)
    static func scriptBySHA1(_ loop: EventLoop) throws(ArgumentProblem) -> Int {
        guard let number = loop.scripts.find(loop.arguments[1]) else { throw .notBatched }
        return try script(number, loop)
    }

    /// `EVAL text 1 key argument …`
    @inline(__always)
    static func scriptByText(_ loop: EventLoop) throws(ArgumentProblem) -> Int {
        guard case .known(let number) = loop.scriptTexts.find(loop.arguments[1]) else { throw .notBatched }
        return try script(number, loop)
    }

    private static func script(_ number: Int, _ loop: EventLoop) throws(ArgumentProblem) -> Int {
        let facts = loop.scripts.facts[number]
        let arguments = loop.arguments
        let count = arguments.count - 4
        guard facts.batched != .none, arguments[2].count == 1, arguments[2].base[0] == UInt8(ascii: "1"),
            count >= Int(facts.fewest), count <= Int(facts.most)
        else { throw .notBatched }
        let call = loop.batch.next
        switch facts.batched {
        case .none: break
        case .expiringSum:
            try readCount(arguments[5], .onFirstSum, arguments[4], unit: 1_000_000_000, to: call)
        case .rateLimiterFlexible: try readCount(arguments[4], .ifNone, arguments[5], unit: 1_000_000_000, to: call)
        case .ulule: try readCount(arguments[4], .onFirstSum, arguments[5], unit: 1_000_000, to: call)
        case .cashews: try readCount(arguments[4], .onOne, arguments[5], unit: 1_000_000, to: call)
        case .rateLimitRedis:
            let rule: LimitCall.CountRule = arguments[4].equals("1") ? .restartAndRenew : .restart
            call.pointee.setCount(1, rule, lifetime: try lifetime(arguments[5], unit: 1_000_000))
        case .throttledPy:
            try RateScript.readThrottledPy(arguments[4], arguments[5], arguments[6], to: call)
        case .redisRate:
            try RateScript.readRedisRate(
                arguments[4], arguments[5], arguments[6], arguments[7], isPartial: false, to: call)
        }
        let key = arguments[3]
        call.pointee.setKey(key.base, count: key.count)
        loop.batchedScript = (facts.batched.form, UInt8(number))
        return 1
    }

    @inline(__always)
    private static func readCount(
        _ amount: Argument, _ rule: LimitCall.CountRule, _ time: Argument, unit: Int64,
        to call: UnsafeMutablePointer<LimitCall>
    ) throws(ArgumentProblem) {
        // Beyond 2^53 the script compares rounded numbers.
        guard let amount = amount.integer, amount.magnitude < 1 << 53 else { throw .notBatched }
        call.pointee.setCount(amount, rule, lifetime: try lifetime(time, unit: unit))
    }

    /// A time in nanoseconds; nothing that a command might refuse.
    @inline(__always)
    private static func lifetime(_ time: Argument, unit: Int64) throws(ArgumentProblem) -> Int64 {
        guard let amount = time.integer, amount > 0, amount <= 1_000_000_000_000_000_000 / unit else {
            throw .notBatched
        }
        return amount &* unit
    }
}

extension RESPSession {
    /// Writes the reply to a script's decided call. Returns the text if it is an error.
    static func answerScript(
        _ note: Batch.Note, _ call: UnsafeMutablePointer<LimitCall>, on loop: EventLoop
    ) -> String? {
        let reply = loop.reply
        let outcome = call.pointee.decision.outcome
        guard outcome == .allowed || outcome == .denied else {
            let text = scriptFailure(call, note.script)
            reply.error(text)
            return text
        }
        switch note.form {
        case .scriptSum: reply.integer(LuaNumber.reply(call.pointee.counterValue))
        case .scriptSumAndTime:
            let left = call.pointee.counterLifetime
            reply.array(2)
            reply.integer(LuaNumber.reply(call.pointee.counterValue))
            reply.integer(left < 0 ? -1 : ceilingUnits(left, unit: 1_000_000))
        case .redisRate: RateScript.writeRedisRate(call, to: reply)
        default: RateScript.writeThrottledPy(call, to: reply)
        }
        return nil
    }

    @inline(never)
    private static func scriptFailure(_ call: UnsafeMutablePointer<LimitCall>, _ number: UInt8) -> String {
        let problem = call.pointee.operation == .count ? call.pointee.counterProblem : nil
        let text = problem.map { LimitReply.text($0) } ?? LimitReply.errorText(call.pointee)!
        return Scripts.failure(text, ScriptTable.scripts[Int(number)])
    }
}

extension Scripts {
    /// The error of a script that failed while running, which names it as Redis does.
    static func failure(_ text: String, _ script: KnownScript) -> String { "\(text) script: \(script.sha1)" }
}
