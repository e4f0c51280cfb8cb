// From decisions to bytes: how each kind of session formats what the batch has decided.
//
// The note of a call specifies how it is answered, and thereby which session answers it: every `Batch.ReplyForm`
// belongs to one kind of session. So the batch does not ask the connection, and dispatching a decision to its formatter
// costs a test of one byte.

import LimiterEngine
import RESP

extension Session {
    /// Writes the reply to a decided request of the batch: to `call`, or to the `group` of calls that begins there.
    /// Returns the error text if the reply is an error.
    @inline(__always)
    static func answer(
        _ note: Batch.Note, _ call: UnsafeMutablePointer<LimitCall>, _ group: @autoclosure () -> KeyspaceSession.Group,
        on loop: EventLoop
    ) -> String? {
        switch note.form {
        case .throttle: return ThrottleArguments.write(call, to: loop.reply)
        case .limit: return LimitReply.write(call, to: loop.reply)
        case .group: return LimitReply.write(group(), call, to: loop.reply)
        case .sum: return LimitReply.sum(call, to: loop.reply)
        case .value: return RESPSession.answerValue(call, on: loop)
        case .scriptSum, .scriptSumAndTime, .throttledPy, .redisRate:
            return RESPSession.answerScript(note, call, on: loop)
        case .http: return HTTPSession.answer(call, nil, on: loop)
        case .httpGroup: return HTTPSession.answer(call, group(), on: loop)
        }
    }
}

extension RESPSession {
    @inline(never)
    fileprivate static func answerValue(_ call: UnsafeMutablePointer<LimitCall>, on loop: EventLoop) -> String? {
        let problem = LimitReply.value(call, to: loop.reply)
        if problem == nil { _ = loop.context.noteLookup(call.pointee.decision.outcome == .allowed) }
        return problem
    }
}
