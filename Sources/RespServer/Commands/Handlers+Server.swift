// Commands on the server as a whole, and those of features that a limiter does not have, which must fail in the words
// that clients know.

import CLinux
import Glibc
import LimiterEngine
import RESP

extension Handlers {
    static func time(_ context: CommandContext) {
        let wall = EngineClock.wall()
        context.reply.array(2)
        context.reply.bulk("\(wall / 1_000_000_000)")
        context.reply.bulk("\(wall % 1_000_000_000 / 1000)")
    }

    static func lolwut(_ context: CommandContext) {
        context.reply.verbatim("tick tock tick tock\nEscapement ver. \(Escapement.version)\n")
    }

    static func monitor(_ context: CommandContext) {
        let client = context.client!
        if !client.flags.contains(.monitor) {
            client.flags.insert(.monitor)
            context.server.monitors.add(client)
            context.loop.isPlain = false
        }
        context.reply.ok()
    }

    static func shutdown(_ context: CommandContext) {
        let words: [StaticString] = ["NOSAVE", "SAVE", "NOW", "FORCE", "ABORT"]
        for index in 1..<max(1, context.arguments.count)
        where !words.contains(where: { context.arguments[index].matches($0) }) {
            return context.syntaxError()
        }
        if context.arguments.count == 2, context.arguments[1].matches("ABORT") {
            return context.reply.error("ERR No shutdown in progress.")
        }
        context.server.log.notice("stopping", ["by": "SHUTDOWN", "client": "\(context.client.peerAddress)"])
        context.client.flags.insert(.closeAfterReply)
        context.server.requestShutdown()
    }

    static func debugSleep(_ context: CommandContext) {
        let access = context.loop.settings.enableDebugCommand
        let isLocal = context.client.peerAddress.hasPrefix("127.") || context.client.peerAddress.hasPrefix("[::1]")
        guard access == .yes || access == .local && (isLocal || context.client.flags.contains(.unixSocket)) else {
            return context.reply.error(
                "ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", you can run "
                    + "it from a local connection, otherwise you need to set this option in the configuration file, "
                    + "and then restart the server.")
        }
        guard let seconds = Double(context.arguments[2].string), seconds >= 0, seconds <= 3600 else {
            return context.reply.error("ERR value is not a valid float or out of range: 0 to 3600 seconds")
        }
        // Blocks the loop, on purpose: this is how tests find out what a stalled server does.
        var pause = timespec(tv_sec: Int(seconds), tv_nsec: Int((seconds - Double(Int(seconds))) * 1e9))
        nanosleep(&pause, nil)
        context.reply.ok()
    }

    // MARK: Replication: this version is always a primary without replicas

    static func role(_ context: CommandContext) {
        context.reply.array(3)
        context.reply.bulk("master")
        context.reply.integer(0)
        context.reply.array(0)
    }

    static func replicaof(_ context: CommandContext) {
        if context.arguments[1].matches("NO"), context.arguments[2].matches("ONE") { return context.reply.ok() }
        context.reply.error("ERR this version of Escapement does not replicate")
    }

    static func slaveof(_ context: CommandContext) { replicaof(context) }

    static func replconf(_ context: CommandContext) {
        context.reply.error("ERR this version of Escapement does not replicate")
    }

    static func psync(_ context: CommandContext) { replconf(context) }
    static func sync(_ context: CommandContext) { replconf(context) }

    static func wait(_ context: CommandContext) {
        guard context.integerOrReply(1) != nil else { return }
        guard let timeout = context.arguments[2].integer else {
            return context.reply.error("ERR timeout is not an integer or out of range")
        }
        guard timeout >= 0 else { return context.reply.error("ERR timeout is negative") }
        // There are no replicas, so nothing is gained by waiting for them.
        context.reply.integer(0)
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
