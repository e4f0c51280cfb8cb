// RL.RESET. The other commands on limits are batched: see Execution/Batch.

import LimiterEngine
import RESP

extension Handlers {
    static func rlReset(_ context: CommandContext) {
        let key = context.arguments[1].raw
        let kind = context.keyspace.state(of: key, now: context.now)?.kind
        if kind == .counter {
            return context.reply.error(LimitReply.wrongKind(kind, wanted: "a limit"))
        }
        context.reply.integer(context.keyspace.reset(key, now: context.now) ? 1 : 0)
    }
}
