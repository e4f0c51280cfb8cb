// What RL.* answer: a decision as six numbers in one order, in RESP3 with their names, and failures as errors.

import LimiterEngine
import RESP

enum LimitReply {
    private static let millisecond: Int64 = 1_000_000

    /// Writes the answer of a decided call. Returns the text when it is an error.
    static func write(_ call: UnsafeMutablePointer<LimitCall>, to reply: ReplyBuffer) -> String? {
        switch call.pointee.decision.outcome {
        case .allowed, .denied:
            row(call, to: reply)
            return nil
        default:
            let text = errorText(call.pointee)!
            reply.error(text)
            return text
        }
    }

    /// allowed, granted, limit, remaining, retry_after_ms, reset_after_ms; `shadow` behind them, where a limit that
    /// only watches would have refused. Milliseconds are rounded up.
    static func row(_ call: UnsafeMutablePointer<LimitCall>, to reply: ReplyBuffer) {
        let isAllowed: Int64 = call.pointee.decision.outcome == .allowed ? 1 : 0
        let wait = call.pointee.decision.retryAfter
        let retry = wait < 0 ? -1 : ceilingUnits(wait, unit: millisecond)
        let reset = ceilingUnits(call.pointee.decision.resetAfter, unit: millisecond)
        let isShadowed = call.pointee.decision.isShadowed
        if !isShadowed, reply.version == .resp2 {
            return reply.integers(
                isAllowed, call.pointee.decision.granted, call.pointee.decision.limit,
                call.pointee.decision.remaining, retry, reset)
        }
        begin(isShadowed ? 7 : 6, to: reply)
        number("allowed", isAllowed, to: reply)
        number("granted", call.pointee.decision.granted, to: reply)
        number("limit", call.pointee.decision.limit, to: reply)
        number("remaining", call.pointee.decision.remaining, to: reply)
        number("retry_after_ms", retry, to: reply)
        number("reset_after_ms", reset, to: reply)
        guard isShadowed else { return }
        name("note", to: reply)
        reply.bulk("shadow")
    }

    /// Writes the answer of an all-or-nothing call, whose first limit is at `calls`: allowed, granted, the key that
    /// refused first, the longest wait, and a row for each limit. Returns the text when it is an error.
    static func write(
        _ group: KeyspaceSession.Group, _ calls: UnsafeMutablePointer<LimitCall>, to reply: ReplyBuffer
    ) -> String? {
        var refused: Int?
        var retry: Int64 = -1
        switch group.outcome {
        case .allowed: break
        case .denied(let first, let wait):
            for position in 0..<group.count {
                guard let text = errorText(calls[position]) else { continue }
                return failed("\(text) (limit \(position + 1))", reply)
            }
            refused = first
            retry = wait < 0 ? -1 : ceilingUnits(wait, unit: millisecond)
        case .sameKey(let first, let second):
            return failed("ERR limits \(first + 1) and \(second + 1) have the same key, which holds one state", reply)
        case .tooMany: return failed(TakeAllArguments.tooMany, reply)
        }
        begin(5, to: reply)
        number("allowed", refused == nil ? 1 : 0, to: reply)
        // One cost counts for all limits.
        number("granted", refused == nil ? calls[0].demand.units : 0, to: reply)
        name("refused", to: reply)
        if let refused {
            reply.bulk(Argument(base: calls[refused].key, count: calls[refused].keyLength))
        } else {
            reply.null()
        }
        number("retry_after_ms", retry, to: reply)
        name("limits", to: reply)
        reply.array(group.count)
        for position in 0..<group.count { row(calls + position, to: reply) }
        return nil
    }

    private static func failed(_ text: String, _ reply: ReplyBuffer) -> String {
        reply.error(text)
        return text
    }

    /// Begins a list of named values: a map in RESP3; in RESP2 the values alone, in their order.
    static func begin(_ count: Int, to reply: ReplyBuffer) {
        reply.version == .resp3 ? reply.map(count) : reply.array(count)
    }

    /// The name in front of a value, where the version has names.
    static func name(_ name: StaticString, to reply: ReplyBuffer) {
        guard reply.version == .resp3 else { return }
        reply.bulk(UnsafeBufferPointer(start: name.utf8Start, count: name.utf8CodeUnitCount))
    }

    static func number(_ label: StaticString, _ value: Int64, to reply: ReplyBuffer) {
        name(label, to: reply)
        reply.integer(value)
    }

    // MARK: Counters

    /// Writes the sum that a call has made of a counter. Returns the text when it is an error.
    static func sum(_ call: UnsafeMutablePointer<LimitCall>, to reply: ReplyBuffer) -> String? {
        guard call.pointee.decision.outcome == .allowed else { return counterFailure(call, reply) }
        reply.integer(call.pointee.counterValue)
        return nil
    }

    /// Writes a counter's value, null where there is none. Returns the text when it is an error.
    static func value(_ call: UnsafeMutablePointer<LimitCall>, to reply: ReplyBuffer) -> String? {
        switch call.pointee.decision.outcome {
        case .allowed: reply.bulk(call.pointee.counterValue)
        case .absent: reply.null()
        default: return counterFailure(call, reply)
        }
        return nil
    }

    private static func counterFailure(_ call: UnsafeMutablePointer<LimitCall>, _ reply: ReplyBuffer) -> String {
        failed(text(call.pointee.counterProblem!), reply)
    }

    /// Why a call of a counter changed nothing.
    static func text(_ problem: CounterError) -> String {
        switch problem {
        case .wrongKind(let kind): wrongKind(kind, wanted: "a counter")
        case .overflow: "ERR increment or decrement would overflow"
        case .outOfMemory: outOfMemory
        }
    }

    // MARK: Failures

    static let outOfMemory = "OOM command not allowed when used memory > 'maxmemory'."

    /// Why the call was not decided; nil when it was.
    static func errorText(_ call: LimitCall) -> String? {
        switch call.decision.outcome {
        case .allowed, .denied, .absent: nil
        case .wrongKind: wrongKind(call.decision.foundKind, wanted: call.limit.algorithm.name)
        case .outOfMemory: outOfMemory
        case .outOfRange: outOfRange(call)
        case .unknownZone:
            "ERR ZONE: this server has no time zone '\(call.limit.zoneName)', so no window can begin; nothing was taken"
        case .tooManyTokens:
            "ERR ID cannot be remembered: there are as many tokens as idempotency-tokens-max allows, nothing was taken"
        }
    }

    private static func outOfRange(_ call: LimitCall) -> String {
        if call.decision.foundKind == .token {
            return
                "ERR ID is out of range: with the key's name it is longer than a key may be, or it would be remembered "
                + "beyond the last representable instant"
        }
        // A window is as long as PER says; a debt in time grows with what is taken.
        let argument = call.limit.algorithm.hasBurst ? "COST" : "PER"
        return "ERR \(argument) is out of range: the limit would be full again behind the last representable instant"
    }

    static func wrongKind(_ found: StateKind?, wanted: StaticString) -> String {
        let held = found.map { "\($0.facts.noun)" } ?? "something else"
        return "WRONGTYPE Operation against a key holding the wrong kind of value: it holds \(held), "
            + "this needs \(wanted)"
    }
}
