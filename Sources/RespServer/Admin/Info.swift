// INFO: sections of `name:value` lines. An interface: exporters, Sentinel and dashboards parse it, so names, their
// order and what a section is called are those of Redis wherever Redis has them; ours are in `# Limiter`.
//
// Rules: a value with both `,` and `=` is made of `k=v` pairs throughout; `db0:` appears only with keys in it; no line
// contains `role:master` or `cluster_enabled:1` but the real one; a number stays the same kind of number.

import CLinux
import Glibc
import LimiterEngine
import RESP
import Synchronization
import System

struct Info {
    let server: Server
    let now: EngineTime
    let steady: SteadyInstant
    let statistics: Engine.Statistics
    private var text = ""

    /// Sections in their order, and whether INFO without arguments shows them.
    private static let sections: [(name: String, isDefault: Bool, write: @Sendable (inout Info) -> Void)] = [
        ("Server", true, { $0.writeServer() }),
        ("Clients", true, { $0.writeClients() }),
        ("Memory", true, { $0.writeMemory() }),
        ("Persistence", true, { $0.writePersistence() }),
        ("Stats", true, { $0.writeStats() }),
        ("Replication", true, { $0.writeReplication() }),
        ("CPU", true, { $0.writeCPU() }),
        ("Modules", true, { _ in }),
        ("Limiter", true, { $0.writeLimiter() }),
        ("Commandstats", false, { $0.writeCommandStatistics() }),
        ("Errorstats", true, { $0.writeErrorStatistics() }),
        ("Unknowncommands", true, { $0.writeUnknownCommands() }),
        ("Latencystats", false, { $0.writeLatencyStatistics() }),
        ("Cluster", true, { $0.line("cluster_enabled", 0) }),
        ("Keyspace", true, { $0.writeKeyspace() }),
    ]

    private init(_ context: CommandContext) {
        server = context.server
        now = context.now
        steady = context.loop.steady
        statistics = context.keyspace.statistics()
    }

    /// The sections asked for, by name or as `default`, `all`, `everything`; no name is `default`. Unknown ones are
    /// left out.
    static func text(_ context: CommandContext, sections names: [String]) -> String {
        var info = Info(context)
        let wanted = Set(names.map { $0.lowercased() })
        let all = wanted.contains("all") || wanted.contains("everything")
        let usual = names.isEmpty || wanted.contains("default")
        for section in sections
        where all || usual && section.isDefault || wanted.contains(section.name.lowercased()) {
            if !info.text.isEmpty { info.text += "\r\n" }
            info.text += "# \(section.name)\r\n"
            section.write(&info)
        }
        return info.text
    }

    // MARK: Lines

    mutating func line(_ name: String, _ value: String) { text += "\(name):\(value)\r\n" }
    mutating func line(_ name: String, _ value: some FixedWidthInteger) { line(name, String(value)) }

    mutating func line(_ name: String, _ value: Double, decimals: Int) {
        line(name, Info.fixed(value, decimals))
    }

    /// A decimal number with so many places, as `%.2f` has it.
    static func fixed(_ value: Double, _ decimals: Int) -> String {
        guard value.isFinite, value.magnitude < 1e15 else { return "0" }
        var scale: Int64 = 1
        for _ in 0..<decimals { scale *= 10 }
        let scaled = Int64(value.magnitude * Double(scale) + 0.5)
        let fraction = String(scaled % scale)
        let sign = value < 0 && scaled > 0 ? "-" : ""
        return "\(sign)\(scaled / scale)."
            + String(repeating: "0", count: decimals - fraction.count) + fraction
    }

    /// Bytes for people: `1.50M`.
    static func human(_ bytes: Int) -> String {
        var value = Double(bytes)
        for unit in ["B", "K", "M", "G"] {
            if value < 1024 { return unit == "B" ? "\(bytes)B" : fixed(value, 2) + unit }
            value /= 1024
        }
        return fixed(value, 2) + "T"
    }

    // MARK: Sections

    private mutating func writeServer() {
        let uptime = (steady - server.startedAt).secondsRoundedDown
        let settings = server.currentSettings.value
        line("redis_version", Escapement.redisVersion)
        line("redis_mode", "standalone")
        line("escapement_version", Escapement.version)
        var system = utsname()
        if uname(&system) == 0 {
            line("os", "\(Info.text(system.sysname)) \(Info.text(system.release)) \(Info.text(system.machine))")
        }
        line("arch_bits", 64)
        line("multiplexing_api", "epoll")
        line("process_id", getpid())
        line("run_id", server.runID)
        line("tcp_port", settings.port)
        let wall = CalendarSecond.now()
        line("server_time_usec", wall.unixSeconds * 1_000_000 + wall.nanosecond / 1000)
        line("uptime_in_seconds", uptime)
        line("uptime_in_days", uptime / 86400)
        line("hz", settings.hz)
        line("configured_hz", settings.hz)
        line("executable", Info.executable)
        line("config_file", server.currentSettings.file ?? "")
        line("io_threads_active", server.loops.count)
        line("engine_time_skew_usec", server.clock.skew().microsecondsRoundedDown)
    }

    private static let executable: String = {
        var buffer = [CChar](repeating: 0, count: 4096)
        let length = readlink("/proc/self/exe", &buffer, buffer.count - 1)
        guard length > 0 else { return "escapement" }
        return String(decoding: buffer[..<length].map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }()

    private static func text<Tuple>(_ field: Tuple) -> String {
        withUnsafeBytes(of: field) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
    }

    private mutating func writeClients() {
        // Replicas are none, as with Redis.
        let replicas = server.replicasNow.load(ordering: .relaxed)
        line("connected_clients", max(0, server.clientsNow.load(ordering: .relaxed) - replicas))
        line("cluster_connections", 0)
        line("maxclients", server.maxclients)
        line("blocked_clients", server.clientsBlocked.load(ordering: .relaxed))
        line("tracking_clients", 0)
        line("pubsub_channels_open", server.publisher.channelCount)
    }

    private mutating func writeStats() {
        let rates = server.rates.latest
        line("total_connections_received", server.clientsEver.load(ordering: .relaxed))
        line("total_commands_processed", server.total(.commands))
        line("instantaneous_ops_per_sec", Int64(rates.commands))
        line("total_net_input_bytes", server.total(.inputBytes))
        line("total_net_output_bytes", server.total(.outputBytes))
        line("instantaneous_input_kbps", rates.inputBytes / 1024, decimals: 2)
        line("instantaneous_output_kbps", rates.outputBytes / 1024, decimals: 2)
        line("rejected_connections", server.clientsRejected.load(ordering: .relaxed))
        let replication = server.replication.status
        line("sync_full", replication.fullSyncs)
        line("sync_partial_ok", replication.partialSyncs)
        line("sync_partial_err", replication.refusedPartialSyncs)
        line("expired_keys", statistics.expired)
        line("evicted_keys", statistics.evicted)
        line("evicted_clients", server.total(.evictedClients))
        line("keyspace_hits", server.total(.keyHits))
        line("keyspace_misses", server.total(.keyMisses))
        line("pubsub_channels", server.publisher.channelCount)
        line("pubsub_patterns", server.publisher.patternCount)
        line("latest_fork_usec", 0)
        line("total_error_replies", server.total(.errorReplies))
        line("total_protocol_errors", server.total(.protocolErrors))
        line("client_output_buffer_limit_disconnections", server.total(.outputLimitDisconnections))
        line("total_reads_processed", server.total(.commands))
        line("total_writes_processed", server.total(.commands))
        line("acl_access_denied_auth", server.total(.failedAuthentications))
        line("http_requests_refused", server.total(.httpRequests))
    }

    private mutating func writeCPU() {
        let own = ProcessMemory.cpu()
        let children = ProcessMemory.cpu(children: true)
        line("used_cpu_sys", own.system, decimals: 6)
        line("used_cpu_user", own.user, decimals: 6)
        line("used_cpu_sys_children", children.system, decimals: 6)
        line("used_cpu_user_children", children.user, decimals: 6)
    }

    private mutating func writeLimiter() {
        line("limiter_allowed", statistics.allowed)
        line("limiter_denied", statistics.denied)
        line("limiter_keys", statistics.keys)
        line("limiter_persistent_keys", statistics.persistent)
        line("limiter_expired", statistics.expired)
        line("limiter_evicted", statistics.evicted)
        line("limiter_shadowed", statistics.shadowed)
        line("limiter_tokens", statistics.tokens)
        line("limiter_tokens_refused", statistics.tokensRefused)
        line("limiter_repeated_answers", statistics.repeated)
        let policies = server.engine.policies.table
        line("limiter_policies", policies.policies.count)
        line("limiter_rules", policies.ruleCount)
        line("limiter_shards", server.engine.shardCount)
        line("limiter_probes_max", statistics.probesMax)
        line("log_lines_queued", server.log.queuedLines)
        line("log_lines_dropped", server.log.droppedLines)
        line("log_write_failures", server.log.failedWrites)
    }

    private mutating func writeCommandStatistics() {
        for command in server.commands.flat {
            let sum = server.statistics(of: command.index)
            guard sum.calls + sum.rejected + sum.failed > 0 else { continue }
            let microseconds = sum.nanoseconds / 1000
            let each = sum.calls == 0 ? 0 : Double(sum.nanoseconds) / 1000 / Double(sum.calls)
            line(
                "cmdstat_\(command.fullName)",
                "calls=\(sum.calls),usec=\(microseconds),usec_per_call=\(Info.fixed(each, 2)),"
                    + "rejected_calls=\(sum.rejected),failed_calls=\(sum.failed)")
        }
    }

    private mutating func writeErrorStatistics() {
        for (word, count) in server.errorStatistics.all { line("errorstat_\(word)", "count=\(count)") }
    }

    private mutating func writeLatencyStatistics() {
        let percentiles = server.currentSettings.value.latencyTrackingInfoPercentiles
        for command in server.commands.flat {
            let latency = server.latency(of: command.index)
            guard latency.calls > 0 else { continue }
            let parts = percentiles.map { percent in
                "p\(SettingsTable.percentileText(percent))=\(Info.fixed(latency.percentile(percent), 3))"
            }
            line("latency_percentiles_usec_\(command.fullName)", parts.joined(separator: ","))
        }
    }

    private mutating func writeKeyspace() {
        guard statistics.keys > 0 else { return }
        // Milliseconds. A limiter that only its own state ends has not expired by a client's word.
        let meanTimeToLive = statistics.meanTimeToLive(now: now) / 1_000_000
        line("db0", "keys=\(statistics.keys),expires=\(statistics.expiring),avg_ttl=\(meanTimeToLive)")
    }
}

extension Handlers {
    static func info(_ context: CommandContext) {
        let names = (1..<max(1, context.arguments.count)).map { context.arguments[$0].string }
        context.reply.verbatim(Info.text(context, sections: names))
    }
}
