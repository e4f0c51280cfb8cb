// Translates CL.THROTTLE and the names that others have given it between the wire and the engine: RL.THROTTLE takes the
// same arguments, GCRA a period that need not be a whole number of seconds. All reply with the same five integers.

import LimiterEngine
import RESP

enum ThrottleArguments {
    private static let second: Int64 = 1_000_000_000

    /// Reads `max_burst count period [quantity]` after the key, and fills `call`.
    @inline(__always)
    static func read(
        _ arguments: ArgumentList, to call: UnsafeMutablePointer<LimitCall>
    ) throws(ArgumentProblem) {
        guard arguments.count <= 6 else { throw ArgumentProblem(tooMany(arguments[0])) }
        guard let maxBurst = arguments[2].integer, let count = arguments[3].integer,
            let period = arguments[4].integer, let quantity = arguments.count > 5 ? arguments[5].integer : 1
        else { throw ArgumentProblem(outOfRange) }
        let problem = call.pointee.setThrottle(maxBurst: maxBurst, count: count, period: period, quantity: quantity)
        if let problem { throw ArgumentProblem(text(problem)) }
    }

    /// Reads GCRA's `max_burst tokens_per_period period [TOKENS count]` after the key, and fills `call`. The errors are
    /// Redis's, except for an overflow: Redis counts in microseconds, so it overflows elsewhere.
    @inline(never)
    static func readGCRA(
        _ arguments: ArgumentList, to call: UnsafeMutablePointer<LimitCall>
    ) throws(ArgumentProblem) {
        guard arguments.count <= 7 else {
            throw ArgumentProblem("ERR wrong number of arguments for 'gcra' command")
        }
        guard let maxBurst = arguments[2].integer else { throw ArgumentProblem(outOfRange) }
        guard maxBurst >= 0 else { throw ArgumentProblem("ERR value is out of range, must be positive") }
        let count = try positive(arguments[3])
        let period = try nanoseconds(arguments[4])
        var tokens: Int64 = 1
        if arguments.count > 5 {
            guard arguments[5].matches("TOKENS") else { throw ArgumentProblem("ERR syntax error") }
            guard arguments.count > 6 else { throw ArgumentProblem("ERR Missing TOKENS value") }
            tokens = try positive(arguments[6])
        }
        // More than a token per nanosecond counts as one, as more than one per microsecond does in Redis.
        let interval = max(1, period / count)
        guard call.pointee.setThrottle(maxBurst: maxBurst, emissionInterval: interval, quantity: tokens) == nil else {
            throw ArgumentProblem(overflow)
        }
    }

    private static func positive(_ argument: Argument) throws(ArgumentProblem) -> Int64 {
        guard let value = argument.integer else { throw ArgumentProblem(outOfRange) }
        guard value >= 1 else {
            throw ArgumentProblem("ERR value is out of range, value must between 1 and 9223372036854775807")
        }
        return value
    }

    /// GCRA's period: seconds, not necessarily a whole number of them. Whole seconds are read exactly.
    private static func nanoseconds(_ argument: Argument) throws(ArgumentProblem) -> Int64 {
        let value = argument.count <= periodBytesMax ? Double(argument.string) : nil
        guard let value, !value.isNaN else { throw ArgumentProblem("ERR value is not a valid float") }
        guard value > 0, value < 1e12 else { throw ArgumentProblem("ERR period must be > 0 and < 1e12") }
        guard value < 9e9 else { throw ArgumentProblem(overflow) }
        if let whole = argument.integer { return whole * second }
        return Int64((value * Double(second)).rounded())
    }

    /// Longest text of a period that is parsed.
    private static let periodBytesMax = 128

    /// Writes the reply to a decided call. Returns the text if it is an error.
    @inline(__always)
    static func write(_ call: UnsafeMutablePointer<LimitCall>, to reply: ReplyBuffer) -> String? {
        let outcome = call.pointee.decision.outcome
        guard outcome == .allowed || outcome == .denied else { return writeFailure(call, to: reply) }
        let wait = call.pointee.decision.retryAfter
        reply.integers(
            outcome == .allowed ? 0 : 1, call.pointee.limit.capacity, call.pointee.decision.remaining,
            wait < 0 ? -1 : ceilingUnits(wait, unit: second),
            ceilingUnits(call.pointee.decision.resetAfter, unit: second))
        return nil
    }

    @inline(never)
    private static func writeFailure(_ call: UnsafeMutablePointer<LimitCall>, to reply: ReplyBuffer) -> String {
        let text =
            switch call.pointee.decision.outcome {
            case .wrongKind: LimitReply.wrongKind(call.pointee.decision.foundKind, wanted: Limit.Algorithm.gcra.name)
            case .outOfMemory: LimitReply.outOfMemory
            default: outOfRange
            }
        reply.error(text)
        return text
    }

    @inline(never)
    private static func tooMany(_ name: Argument) -> String {
        "ERR wrong number of arguments for '\(name.string.lowercased())' command: "
            + "expected key max_burst count period [quantity]"
    }
    private static let overflow =
        "ERR the combination of max_burst, tokens_per_period, period and TOKENS exceeds 64 bits of nanoseconds"
    private static let outOfRange = "ERR value is not an integer or out of range"

    private static func text(_ problem: ThrottleParameterError) -> String {
        switch problem {
        case .zeroRate: "ERR zero rates are not supported"
        case .outOfRange: outOfRange
        case .negative(let name): "ERR \(name.rawValue) must not be negative"
        }
    }
}
