// Commands on the server as a whole, and commands of Redis features that a limiter does not have, which must fail with
// the errors that clients expect.

import CLinux
import Glibc
import LimiterEngine
import Persistence
import RESP
import System

extension Handlers {
    static func time(_ context: CommandContext) {
        let wall = CalendarSecond.now()
        context.reply.array(2)
        context.reply.bulk("\(wall.unixSeconds)")
        context.reply.bulk("\(wall.nanosecond / 1000)")
    }

    static func lolwut(_ context: CommandContext) {
        let arguments = context.arguments
        if arguments.count > 2, arguments[1].matches("VERSION"), context.integerOrReply(2) == nil { return }
        context.reply.verbatim("tick tock tick tock\nEscapement ver. \(Escapement.version)\n")
    }

    static func monitor(_ context: CommandContext) {
        let client = context.client!
        guard !context.loop.isExecuting else {
            return context.reply.error("ERR MONITOR isn't allowed for DENY BLOCKING client")
        }
        if !client.resp.flags.contains(.monitor) {
            client.resp.flags.insert(.monitor)
            context.server.monitors.add(client)
        }
        context.reply.ok()
    }

    static func shutdown(_ context: CommandContext) {
        let words: [StaticString] = ["NOSAVE", "SAVE", "NOW", "FORCE", "ABORT"]
        var given: Set<Int> = []
        for index in 1..<max(1, context.arguments.count) {
            guard let word = words.firstIndex(where: { context.arguments[index].matches($0) }) else {
                return context.syntaxError()
            }
            given.insert(word)
        }
        guard !given.isSuperset(of: [0, 1]) else { return context.syntaxError() }
        if given.contains(4) {
            guard given.count == 1 else { return context.syntaxError() }
            return context.reply.error("ERR No shutdown in progress.")
        }
        let server = context.server
        // Refuse if data not yet on disk would be lost, unless FORCE or NOSAVE is given.
        if server.durability.health != .fine, given.isDisjoint(with: [0, 3]) {
            return context.reply.error("ERR Errors trying to SHUTDOWN. Check logs.")
        }
        server.log.notice("stopping", ["by": "SHUTDOWN", "client": "\(context.client.peerAddress)"])
        context.client.flags.insert(.closeAfterReply)
        server.requestShutdown(savesSnapshot: given.contains(1) ? true : given.contains(0) ? false : nil)
    }

    /// Whether this client may use DEBUG; if not, replies with an error.
    private static func allowsDebug(_ context: CommandContext) -> Bool {
        let access = context.loop.settings.enableDebugCommand
        if access == .yes || access == .local && context.client.isLocal { return true }
        context.reply.error(
            "ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", you can run "
                + "it from a local connection, otherwise you need to set this option in the configuration file, "
                + "and then restart the server.")
        return false
    }

    static func debugMetrics(_ context: CommandContext) {
        guard allowsDebug(context) else { return }
        let isOpenMetrics = context.arguments.count == 3 && context.arguments[2].matches("openmetrics")
        guard context.arguments.count == 2 || isOpenMetrics else { return context.syntaxError() }
        let reading = MetricsReading(
            of: context.server, context.keyspace, now: context.now, steady: context.loop.steady,
            sections: Set(MetricSection.allCases))
        let buffer = ReplyBuffer(capacity: 64 * 1024)
        PrometheusPrinter.print(reading, as: isOpenMetrics ? .openMetrics : .text, to: buffer)
        context.reply.verbatim(String(decoding: buffer.bytes, as: UTF8.self))
    }

    static func debugSleep(_ context: CommandContext) {
        guard allowsDebug(context) else { return }
        guard let seconds = Double(context.arguments[2].string), seconds >= 0, seconds <= 3600 else {
            return context.reply.error("ERR value is not a valid float or out of range: 0 to 3600 seconds")
        }
        // Blocks the loop on purpose: tests use it to check how a stalled server behaves.
        Thread.sleep(Nanoseconds(Int64(seconds * 1e9)))
        context.reply.ok()
    }

    // MARK: Cluster and modules

    static func cluster(_ context: CommandContext) {
        context.reply.error("ERR This instance has cluster support disabled")
    }

    static func readonly(_ context: CommandContext) { cluster(context) }
    static func readwrite(_ context: CommandContext) { cluster(context) }
    static func asking(_ context: CommandContext) { cluster(context) }

    static func moduleList(_ context: CommandContext) { context.reply.array(0) }
}
