// CONFIG GET, SET, REWRITE, RESETSTAT.

import LimiterEngine
import RESP
import Synchronization

extension Handlers {
    static func configGet(_ context: CommandContext) {
        let places = 2..<context.arguments.count
        guard places.count <= ConfigCommands.patternsMax else {
            return context.reply.error("ERR CONFIG GET takes at most \(ConfigCommands.patternsMax) patterns")
        }
        var patterns: [GlobPattern] = []
        for place in places {
            guard let pattern = context.patternOrReply(place, ignoringCase: true) else { return }
            patterns.append(pattern)
        }
        var settings = context.server.currentSettings.value
        // Shows the effective value; CONFIG REWRITE writes the configured one.
        settings.maxclients = context.server.maxclients
        let found = settings.configGet(patterns)
        context.reply.map(found.count)
        for (name, value) in found {
            context.reply.bulk(name)
            context.reply.bulk(value)
        }
    }

    static func configSet(_ context: CommandContext) {
        let arguments = context.arguments
        guard arguments.count % 2 == 0 else {
            return context.reply.error("ERR wrong number of arguments for 'config|set' command")
        }
        let pairs = stride(from: 2, to: arguments.count, by: 2).map {
            (name: arguments[$0].string, value: arguments[$0 + 1].string)
        }
        let server = context.server
        do throws(ConfigSetError) {
            try server.currentSettings.update { settings throws(ConfigSetError) in
                let change = try settings.configSet(pairs)
                try change.check(server.openFiles)
                if let problem = change.settings.contradiction { throw .failed(problem.setting, problem.text) }
                return change
            }
        } catch {
            return context.reply.error(error.text)
        }
        // No loop is in a turn now, and each turn begins by adopting changed settings. So every call sent after the
        // reply, on any connection, is decided by the new values.
        precondition(context.loop.hasStoppedAllLoops)
        server.applyCurrent()
        context.loop.refreshSettings()
        // Switching the log takes every stripe, some of which an EXEC holds.
        context.loop.followUp.switchesLog = true
        let settings = server.currentSettings.value
        let shown = pairs.compactMap { SettingsTable.setting(named: $0.name)?.readForLog(settings) }
        for (pair, value) in zip(pairs, shown) {
            server.log.notice("setting changed", ["setting": "\(pair.name.lowercased())", "value": "\(value)"])
        }
        context.reply.ok()
    }

    static func configRewrite(_ context: CommandContext) {
        guard context.server.currentSettings.file != nil else {
            return context.reply.error("ERR The server is running without a config file")
        }
        context.loop.followUp.add(.files(.rewriteConfiguration), replyOffset: context.reply.count)
    }

    static func configResetstat(_ context: CommandContext) {
        let server = context.server
        precondition(context.loop.hasStoppedAllLoops, "only the loop itself may write its counters")
        for loop in server.loops {
            loop.counters.reset()
            loop.commandStatistics.reset()
            loop.policyStatistics.reset()
            loop.http.statistics.reset()
        }
        context.keyspace.resetStatistics()
        server.errorStatistics.reset()
        server.clientsRejected.store(0, ordering: .relaxed)
        server.strangersRejected.store(0, ordering: .relaxed)
        server.unsupportedCalls.reset()
        server.log.resetStatistics()
        context.reply.ok()
    }
}
