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
        let found = context.server.currentSettings.value.configGet(patterns)
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
            try server.currentSettings.update { settings throws(ConfigSetError) in try settings.configSet(pairs) }
        } catch {
            return context.reply.error(error.text)
        }
        let settings = server.applyCurrent()
        context.loop.refreshSettings()
        for loop in server.loops where loop !== context.loop { loop.mailbox.post(.settingsChanged) }
        let shown = pairs.compactMap { SettingsTable.setting(named: $0.name)?.readForLog(settings) }
        for (pair, value) in zip(pairs, shown) {
            server.log.notice("setting changed", ["setting": "\(pair.name.lowercased())", "value": "\(value)"])
        }
        context.reply.ok()
    }

    static func configRewrite(_ context: CommandContext) {
        let current = context.server.currentSettings
        guard let file = current.file else {
            return context.reply.error("ERR The server is running without a config file")
        }
        do throws(ConfigFileError) {
            let old = try ConfigFile.read(file)
            let new = ConfigRewrite.text(old, settings: current.value, changed: current.changed)
            try ConfigFile.replace(file, with: new)
        } catch {
            context.server.log.warning("CONFIG REWRITE failed", ["error": "\(error.text)"])
            return context.reply.error("ERR Rewriting config file: \(error.text)")
        }
        context.server.log.notice("CONFIG REWRITE done", ["file": "\(file)"])
        context.reply.ok()
    }

    static func configResetstat(_ context: CommandContext) {
        let server = context.server
        for loop in server.loops {
            loop.counters.reset()
            loop.commandStatistics.reset()
        }
        context.keyspace.resetStatistics()
        server.errorStatistics.reset()
        server.clientsRejected.store(0, ordering: .relaxed)
        context.reply.ok()
    }
}
