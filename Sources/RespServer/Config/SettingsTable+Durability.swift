// The settings of section Lifecycle and durability.

import Persistence

extension SettingsTable {
    static let durability: [Setting] = [
        .text(
            "dir", \.dir, bytesMax: 4000, isRequired: true, .durability,
            "Data directory. Created if it does not exist. Only one server at a time can use it."
        ).immutable.activeInFile,
        .integer(
            "shutdown-timeout", \.shutdownTimeoutSeconds, 0...86_400, unit: "seconds", .durability,
            "Maximum duration of an orderly shutdown before the server exits anyway."),
        .flag(
            "appendonly", \.appendonly, .durability,
            "Write changes to an append-only log, from which a restart recovers them. Without it a restart recovers",
            "only the last snapshot. Switched on by CONFIG SET, the log begins with a snapshot, which is written after",
            "the reply: a restart recovers none of the log until INFO's aof_rewrite_in_progress is 0 again."),
        .fileName(
            "appenddirname", \.appenddirname, .durability,
            "Name of the directory within `dir` that holds the log and the snapshots."
        ).immutable,
        .choice(
            "appendfsync", \.appendfsync, .durability,
            "When the log is synced to disk: before the reply to a change (always), once a second (everysec), or when",
            "the kernel decides (no). With everysec and no, a killed process loses its last 10 to 100 milliseconds; a",
            "power failure also loses what was not synced yet."),
        .choice(
            "fail-mode", \.failMode, .durability,
            "When the disk fails: refuse writes with MISCONF until it works again (closed), or continue to decide in",
            "memory, so that a restart loses these decisions (open)."),
        .integer(
            "auto-aof-rewrite-percentage", \.autoAofRewritePercentage, 0...1_000_000, unit: "percent", .durability,
            "Replace the log by a snapshot when files have grown by this much since the last one. 0: never",
            "automatically."),
        .memory(
            "auto-aof-rewrite-min-size", \.autoAofRewriteMinSizeBytes, 0...1 << 50, .durability,
            "Don't replace the log automatically while the files are smaller than this."),
        .flag(
            "aof-load-truncated", \.aofLoadTruncated, .durability,
            "Start with a log whose tail was torn by a crash: truncate the torn part, and log that. With no, the",
            "server refuses to start in this case. With damage anywhere else it always refuses."),
        Setting.make(
            "save", .durability,
            [
                "When to take a snapshot automatically: pairs of seconds and changes. A snapshot is due after that",
                "many seconds if there were that many changes. Empty: never. Not needed with appendonly.",
            ],
            allowed: "pairs of seconds and changes, or nothing", isList: true
        ) {
            $0.save.text
        } parse: { text throws(Setting.Refusal) in
            guard let rules = SaveRules(text) else { throw Setting.Refusal("Invalid save parameters") }
            return { $0.save = rules }
        },
    ]
}
