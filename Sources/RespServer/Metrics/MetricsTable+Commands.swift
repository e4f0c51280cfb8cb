// Metrics by command and by error: INFO commandstats, errorstats, unknowncommands and latencystats, and decisions.
//
// Each family is bounded by a table: commands by the command table, errors by `ErrorStatistics`. Keys, client names and
// other text from clients are never labels.

extension MetricsTable {
    static let commands: [Metric] = [
        .family(
            .named("escapement_command_calls_total"), .counter, "Calls", by: .command,
            info: InfoField("cmdstat_*", part: "calls"), in: .commandStatistics
        ) { byCommand($0) { .count($0.calls) } },
        .family(
            .named("escapement_command_seconds_total"), .counter, unit: .seconds, "Total time of calls",
            by: .command, info: InfoField("cmdstat_*", part: "usec", .whole(.microseconds)), in: .commandStatistics
        ) { byCommand($0) { .nanoseconds(Int64(clamping: $0.nanoseconds)) } },
        .family(
            .infoOnly(.derived(["escapement_command_seconds_total", "escapement_command_calls_total"])), .gauge,
            unit: .microseconds, "Mean time of a call", by: .command,
            info: InfoField("cmdstat_*", part: "usec_per_call", .fixed(2)), in: .commandStatistics
        ) { byCommand($0) { .real($0.calls == 0 ? 0 : Double($0.nanoseconds) / 1000 / Double($0.calls)) } },
        .family(
            .named("escapement_command_rejected_total"), .counter, "Calls rejected before execution",
            by: .command, info: InfoField("cmdstat_*", part: "rejected_calls"), in: .commandStatistics
        ) { byCommand($0) { .count($0.rejected) } },
        .family(
            .named("escapement_command_failed_total"), .counter, "Calls that were executed and failed with an error",
            by: .command, info: InfoField("cmdstat_*", part: "failed_calls"), in: .commandStatistics
        ) { byCommand($0) { .count($0.failed) } },
        .family(
            .named("escapement_decisions_total"), .counter,
            "Calls that take from limits, by result: one per call, whatever the number of its limits",
            by: .command,
            .result, in: .commandStatistics
        ) { reading in
            reading.commandsDeciding.flatMap { command in
                let sum = command.sum
                return [("allowed", sum.allowed), ("denied", sum.denied), ("error", sum.undecided)].map {
                    MetricSample(labels: [command.name, $0.0], value: .count($0.1))
                }
            }
        },
        .family(
            .named("escapement_granted_units_total"), .counter, "Units granted to allowed calls", by: .command,
            in: .commandStatistics
        ) { byDecidingCommand($0) { .count($0.grantedUnits) } },
        .family(
            .named("escapement_denied_units_total"), .counter, "Units requested by denied calls", by: .command,
            in: .commandStatistics
        ) { byDecidingCommand($0) { .count($0.deniedUnits) } },
    ]

    static let errors: [Metric] = [
        .family(
            .named("escapement_errors_total"), .counter, "Error replies by their first word", by: .errorPrefix,
            info: InfoField("errorstat_*", part: "count"), in: .errorStatistics
        ) { $0.errors.map { MetricSample(labels: [$0.word], value: .count($0.count)) } }
    ]

    static let unknownCommands: [Metric] = [
        .counter(
            "escapement_unknown_commands_total", "Calls of commands, scripts or value types that the server lacks",
            info: InfoField("unknown_commands_calls"), in: .unknownCommands
        ) { .count($0.unsupportedCalls.calls) },
        .gauge(
            "escapement_unknown_command_names", "Distinct names of such calls that are counted by name",
            info: InfoField("unknown_commands_names"), in: .unknownCommands
        ) { .count($0.unsupportedCalls.names.count) },
        .counter(
            "escapement_unknown_commands_unnamed_total", "Such calls that are not counted by name",
            info: InfoField("unknown_commands_other_calls"), in: .unknownCommands
        ) { .count($0.unsupportedCalls.others) },
        .family(
            .infoOnly(.chosenByClients), .counter, "Calls of one name",
            by: .init(name: "command", seriesMax: UnsupportedCalls.namesMax),
            info: InfoField("unknowncmd_*", part: "calls"), in: .unknownCommands
        ) {
            $0.unsupportedCalls.names.sorted { $0.key < $1.key }.map {
                MetricSample(labels: [$0.key], value: .count($0.value))
            }
        },
    ]

    static let latency: [Metric] = [
        .family(
            .named("escapement_command_duration_seconds"), .histogram, unit: .seconds,
            "Duration of calls, with latency-tracking", by: .command,
            info: InfoField("latency_percentiles_usec_*", .percentiles), in: .latencyStatistics
        ) {
            $0.commands.filter { $0.latency.calls > 0 }
                .map { MetricSample(labels: [$0.name], value: .histogram($0.latency)) }
        }
    ]

    private static func byCommand(
        _ reading: MetricsReading, _ value: (CommandStatistics.Sum) -> MetricValue
    ) -> [MetricSample] {
        reading.commandsSeen.map { MetricSample(labels: [$0.name], value: value($0.sum)) }
    }

    private static func byDecidingCommand(
        _ reading: MetricsReading, _ value: (CommandStatistics.Sum) -> MetricValue
    ) -> [MetricSample] {
        reading.commandsDeciding.map { MetricSample(labels: [$0.name], value: value($0.sum)) }
    }
}
