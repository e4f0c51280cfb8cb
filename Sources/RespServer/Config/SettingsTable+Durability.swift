// The settings of section Lifecycle and durability.

import Persistence

extension SettingsTable {
    static let durability: [Setting] = [
        .text(
            "dir", \.dir, bytesMax: 4000, isRequired: true, .durability,
            "Directory of the server's data. Created when it does not exist. One server at a time."
        ).immutable.activeInFile,
        .integer(
            "shutdown-timeout", \.shutdownTimeoutSeconds, 0...86_400, unit: "seconds", .durability,
            "How long an orderly shutdown may take before the server exits anyway."),
        .flag(
            "appendonly", \.appendonly, .durability,
            "Write changes to an append-only log, from which a restart puts them back. Without it a restart knows the",
            "last snapshot alone."),
        .fileName(
            "appenddirname", \.appenddirname, .durability,
            "Name of the directory below `dir` that holds the log and the snapshots."
        ).immutable,
        .choice(
            "appendfsync", \.appendfsync, .durability,
            "When the log is forced to disk: before a change is answered (always), once a second (everysec), or when",
            "the kernel likes (no). Under everysec and no a killed process loses its last 10 to 100 milliseconds; a",
            "loss of power also what was not forced yet."),
        .choice(
            "fail-mode", \.failMode, .durability,
            "When the disk fails: writes are refused with MISCONF until it works again (closed), or decisions go on in",
            "memory and a restart would not know them (open)."),
        .integer(
            "auto-aof-rewrite-percentage", \.autoAofRewritePercentage, 0...1_000_000, unit: "percent", .durability,
            "A snapshot replaces the log when files have grown by this much since the last one. 0: never by itself."),
        .memory(
            "auto-aof-rewrite-min-size", \.autoAofRewriteMinSizeBytes, 0...1 << 50, .durability,
            "Files smaller than this are not worth a snapshot."),
        .flag(
            "aof-load-truncated", \.aofLoadTruncated, .durability,
            "Start with a log whose end was torn by a crash: the torn part is cut off, with a line in the log. With no",
            "the server refuses to start then. Damage anywhere else always refuses."),
        Setting.make(
            "save", .durability,
            [
                "When to take a snapshot by itself: pairs of seconds and changes; due when so many seconds have passed",
                "with so many changes. Empty: never. With appendonly the log does not need it.",
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
