// Metrics of the process and its clients: INFO server, clients, CPU and cluster, and the process metrics that
// Prometheus expects.

import Glibc
import System

extension MetricsTable {
    static let server: [Metric] = [
        .infoOnly(
            .constant, type: .info, "Version of Redis that this server is compatible with",
            info: InfoField("redis_version"), in: .server
        ) { _ in .text(Escapement.redisVersion) },
        .constant("redis_mode", .text("standalone"), "A single server, not a cluster", in: .server),
        .info(
            "escapement_build_info", label: "version", "Version of Escapement",
            info: InfoField("escapement_version"), in: .server
        ) { _ in .text(Escapement.version) },
        .info(
            "escapement_os_info", label: "os", "Name, release and machine of the operating system",
            info: InfoField("os"), in: .server
        ) { $0.operatingSystem.map { .text($0) } ?? .unknown },
        .constant("arch_bits", .integer(64), "Width of an address in bits", in: .server),
        .constant("multiplexing_api", .text("epoll"), "Kernel interface for events", in: .server),
        .infoOnly(
            .identity, "Process id", info: InfoField("process_id"), in: .server
        ) { _ in .count(getpid()) },
        .infoOnly(
            .identity, type: .info, "Random id of this run, new at every start", info: InfoField("run_id"), in: .server
        ) { .text($0.runID) },
        .infoOnly(
            .setting, "TCP port, 0 for none", info: InfoField("tcp_port"), in: .server
        ) { .count($0.settings.port) },
        .infoOnly(
            .identity, type: .gauge, unit: .microseconds, "Wall clock, since 1970", info: InfoField("server_time_usec"),
            in: .server
        ) { .integer($0.wall.unixSeconds * 1_000_000 + $0.wall.nanosecond / 1000) },
        .gauge(
            "escapement_start_time_seconds", unit: .timestampSeconds, "When the server was started", in: .server
        ) { .integer($0.startedAtUnix) },
        .infoOnly(
            .derived(["escapement_start_time_seconds"]), type: .gauge, unit: .seconds,
            "Time since startup, also in whole days",
            info: InfoField("uptime_in_seconds"), InfoField("uptime_in_days", .whole(.days)), in: .server
        ) { .nanoseconds($0.since($0.startedAt).nanoseconds) },
        .infoOnly(
            .setting, "Setting hz, for Redis's tools", info: InfoField("hz"), InfoField("configured_hz"),
            in: .server
        ) { .count($0.settings.hz) },
        .infoOnly(
            .identity, type: .info, "Path of the program", info: InfoField("executable"), in: .server
        ) { _ in .text(MetricsReading.executable) },
        .infoOnly(
            .identity, type: .info, "Path of the configuration file, empty without one", info: InfoField("config_file"),
            in: .server
        ) { .text($0.configFile) },
        .gauge(
            "escapement_ready", "Whether the server can do its work now, as GET /ready reports", in: .server
        ) { .flag($0.readiness.isEmpty) },
        .gauge(
            "escapement_event_loops", "Event loops that serve clients, one thread each",
            info: InfoField("io_threads_active"), in: .server
        ) { .count($0.loopCount) },
        .gauge(
            "escapement_engine_clock_offset_seconds", unit: .seconds,
            "How far engine time is ahead of the wall clock, negative if it is behind",
            info: InfoField("engine_time_skew_usec", .whole(.microseconds)), in: .server
        ) { .nanoseconds($0.clockSkew.nanoseconds) },
    ]

    static let clients: [Metric] = [
        .family(
            .named("escapement_connections"), .gauge, "Clients connected, not counting replicas, by listener",
            by: .listener, in: .clients
        ) { reading in byListener { .count(reading.connections($0)) } },
        .infoOnly(
            .derived(["escapement_connections"]), "Clients connected, not counting replicas",
            info: InfoField("connected_clients"), in: .clients
        ) { .count(max(0, $0.clients - $0.replicaConnections)) },
        .constant("cluster_connections", .integer(0), "Connections of a cluster's bus", in: .clients),
        .gauge(
            "escapement_connections_max", "Maximum number of clients: maxclients, or what open files allow",
            info: InfoField("maxclients"), in: .clients
        ) { .count($0.clientsMax) },
        .gauge(
            "escapement_blocked_clients", "Clients waiting for the reply to a slow command",
            info: InfoField("blocked_clients"), in: .clients
        ) { .count($0.clientsBlocked) },
        .constant("tracking_clients", .integer(0), "Clients with client-side caching", in: .clients),
        .infoOnly(
            .derived(["escapement_pubsub_channels"]), "Channels with subscribers",
            info: InfoField("pubsub_channels_open"), in: .clients
        ) { .count($0.channels) },
    ]

    static let cpu: [Metric] = [
        .counter(
            "escapement_cpu_system_seconds_total", unit: .seconds, "CPU time of the process inside the kernel",
            info: InfoField("used_cpu_sys", .fixed(6)), in: .cpu
        ) { .real($0.cpu.system) },
        .counter(
            "escapement_cpu_user_seconds_total", unit: .seconds, "CPU time of the process outside the kernel",
            info: InfoField("used_cpu_user", .fixed(6)), in: .cpu
        ) { .real($0.cpu.user) },
        .counter(
            "escapement_cpu_children_system_seconds_total", unit: .seconds,
            "CPU time of terminated child processes inside the kernel",
            info: InfoField("used_cpu_sys_children", .fixed(6)), in: .cpu
        ) { .real($0.cpuOfChildren.system) },
        .counter(
            "escapement_cpu_children_user_seconds_total", unit: .seconds,
            "CPU time of terminated child processes outside the kernel",
            info: InfoField("used_cpu_user_children", .fixed(6)), in: .cpu
        ) { .real($0.cpuOfChildren.user) },
    ]

    static let cluster: [Metric] = [
        .constant("cluster_enabled", .integer(0), "Whether the server is part of a cluster", in: .cluster)
    ]

    /// Names that every Prometheus client library uses.
    static let process: [Metric] = [
        .counter(
            "process_cpu_seconds_total", unit: .seconds, "CPU time of the process inside and outside the kernel",
            in: .process
        ) { .real($0.cpu.system + $0.cpu.user) },
        .gauge("process_open_fds", "Open file descriptors", in: .process) { .count($0.openFiles) },
        .gauge("process_max_fds", "Limit of open file descriptors", in: .process) {
            $0.openFilesMax.map { .count($0) } ?? .unknown
        },
        .gauge(
            "process_start_time_seconds", unit: .timestampSeconds, "When the process was started", in: .process
        ) { .integer($0.startedAtUnix) },
    ]
}
