// SAVE, BGSAVE, BGREWRITEAOF, LASTSAVE. All but the last request a snapshot from the journal thread. There is only one
// kind of snapshot: with a log it replaces the log so far, without one it is the only persistent state.

import Persistence
import RESP

extension Handlers {
    static func save(_ context: CommandContext) {
        guard !context.server.durability.status.isSnapshotUnderWay else {
            return context.reply.error("ERR Background save already in progress")
        }
        context.loop.block(context.client)
        context.server.durability.ask(.snapshot(.save, waiter: context.client))
    }

    static func bgsave(_ context: CommandContext) {
        let arguments = context.arguments
        let isScheduled = arguments.count == 2 && arguments[1].matches("SCHEDULE")
        guard arguments.count == 1 || isScheduled else { return context.syntaxError() }
        let status = context.server.durability.status
        guard status.isSnapshotUnderWay else {
            context.server.durability.ask(.snapshot(.save, waiter: nil))
            return context.reply.simple("Background saving started")
        }
        guard status.isRewriteUnderWay else {
            return context.reply.error("ERR Background save already in progress")
        }
        guard isScheduled else {
            return context.reply.error(
                "ERR Another child process is active (AOF?): can't BGSAVE right now. Use BGSAVE SCHEDULE in order to "
                    + "schedule a BGSAVE whenever possible.")
        }
        context.server.durability.ask(.snapshot(.save, waiter: nil))
        context.reply.simple("Background saving scheduled")
    }

    static func bgrewriteaof(_ context: CommandContext) {
        let status = context.server.durability.status
        guard !status.isSnapshotUnderWay || !status.isRewriteUnderWay else {
            return context.reply.error("ERR Background append only file rewriting already in progress")
        }
        context.server.durability.ask(.snapshot(.rewrite, waiter: nil))
        context.reply.simple(
            status.isSnapshotUnderWay
                ? "Background append only file rewriting scheduled" : "Background append only file rewriting started")
    }

    static func lastsave(_ context: CommandContext) {
        context.reply.integer(context.server.durability.status.lastSaveTime)
    }
}
