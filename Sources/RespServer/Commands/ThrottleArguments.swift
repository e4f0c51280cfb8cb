// CL.THROTTLE between the wire and the engine: five arguments in, five integers out.

import LimiterEngine
import RESP

enum ThrottleArguments {
    private static let second: Int64 = 1_000_000_000

    /// Reads `max_burst count period [quantity]` behind the key. Returns the error's text, or nil when all is well.
    static func read(_ arguments: ArgumentList, into parameters: inout ThrottleParameters) -> String? {
        guard arguments.count <= 6 else { return tooMany }
        guard let maxBurst = arguments[2].integer, let count = arguments[3].integer,
            let period = arguments[4].integer, let quantity = arguments.count > 5 ? arguments[5].integer : 1
        else { return outOfRange }
        switch parameters.set(maxBurst: maxBurst, count: count, period: period, quantity: quantity) {
        case nil: return nil
        case .zeroRate: return "ERR zero rates are not supported"
        case .outOfRange: return outOfRange
        case .negative(let name): return "ERR \(name.rawValue) must not be negative"
        }
    }

    /// Writes the reply of a decided call; `onError` hears the text when it is an error.
    @inline(__always)
    static func write(_ request: ThrottleRequest, to reply: ReplyBuffer, onError: (String) -> Void) {
        let decision = request.decision
        switch decision.outcome {
        case .allowed:
            reply.integers(
                0, request.parameters.limit, decision.remaining, -1, ceilingUnits(decision.resetAfter, unit: second))
        case .denied:
            let retry = decision.retryAfter < 0 ? -1 : ceilingUnits(decision.retryAfter, unit: second)
            reply.integers(
                1, request.parameters.limit, decision.remaining, retry,
                ceilingUnits(decision.resetAfter, unit: second))
        case .wrongKind, .outOfMemory, .outOfRange:
            let text = errorText(decision)
            reply.error(text)
            onError(text)
        }
    }

    private static let tooMany =
        "ERR wrong number of arguments for 'cl.throttle' command: key max_burst count period [quantity] are expected"
    private static let outOfRange = "ERR value is not an integer or out of range"

    private static func errorText(_ decision: ThrottleDecision) -> String {
        switch decision.outcome {
        case .wrongKind: LimitReply.wrongKind(decision.foundKind, wanted: Limit.Algorithm.gcra.name)
        case .outOfMemory: LimitReply.outOfMemory
        default: outOfRange
        }
    }
}

extension Handlers {
    /// CL.THROTTLE off the straight path: inside EXEC, for a monitored server, and so on. The same as a batch of one.
    static func clThrottle(_ context: CommandContext) {
        var parameters = ThrottleParameters()
        if let problem = ThrottleArguments.read(context.arguments, into: &parameters) {
            return context.reply.error(problem)
        }
        let key = context.arguments[1]
        var request = ThrottleRequest(key: key.base, keyLength: key.count, parameters: parameters)
        context.keyspace.decide(&request, count: 1, now: context.now)
        if request.hasChangedState { context.keyspace.noteChange() }
        ThrottleArguments.write(request, to: context.reply) { _ in }
    }
}
