// Translates CL.THROTTLE between the wire and the engine: five arguments in, five integers out.

import LimiterEngine
import RESP

enum ThrottleArguments {
    private static let second: Int64 = 1_000_000_000

    /// Reads `max_burst count period [quantity]` after the key, and fills `call`.
    @inline(__always)
    static func read(
        _ arguments: ArgumentList, to call: UnsafeMutablePointer<LimitCall>
    ) throws(ArgumentProblem) {
        guard arguments.count <= 6 else { throw ArgumentProblem(tooMany) }
        guard let maxBurst = arguments[2].integer, let count = arguments[3].integer,
            let period = arguments[4].integer, let quantity = arguments.count > 5 ? arguments[5].integer : 1
        else { throw ArgumentProblem(outOfRange) }
        let problem = call.pointee.setThrottle(maxBurst: maxBurst, count: count, period: period, quantity: quantity)
        if let problem { throw ArgumentProblem(text(problem)) }
    }

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

    private static let tooMany =
        "ERR wrong number of arguments for 'cl.throttle' command: expected key max_burst count period [quantity]"
    private static let outOfRange = "ERR value is not an integer or out of range"

    private static func text(_ problem: ThrottleParameterError) -> String {
        switch problem {
        case .zeroRate: "ERR zero rates are not supported"
        case .outOfRange: outOfRange
        case .negative(let name): "ERR \(name.rawValue) must not be negative"
        }
    }
}
