// The settings of section Replication.

import Replication

extension SettingsTable {
    static let replication: [Setting] = [
        Setting.make(
            "replicaof", .replication,
            [
                "Host and port of the primary to replicate. Empty: be a primary. REPLICAOF changes it at run time; its",
                "last value is stored with the data, and takes precedence over this line at the next start.",
            ],
            allowed: "a host and a port, or nothing", isList: true
        ) {
            $0.replicaof
        } parse: { text throws(Setting.Refusal) in
            let words = ConfigWord.split(text)
            guard words.isEmpty || PeerAddress(words: words) != nil || words.map({ $0.lowercased() }) == ["no", "one"]
            else { throw Setting.Refusal("argument must be a host and a port") }
            return { $0.replicaof = words.count == 2 && PeerAddress(words: words) != nil ? text : "" }
        }.alias("slaveof").immutable,
        .text(
            "masteruser", \.masteruser, bytesMax: 512, .replication,
            "User to authenticate with at the primary, with masterauth. Empty: its default user."
        ).secret,
        .text(
            "masterauth", \.masterauth, bytesMax: 512, .replication,
            "Password of the primary. If it has one, every node needs the same requirepass and masterauth. A link that",
            "is up stays up; a change is used for the next one."
        ).secret,
        .flag(
            "replica-read-only", \.replicaReadOnly, .replication,
            "Refuse writes while this server is a replica. Always yes in this version."
        ).alias("slave-read-only").defaultOnly,
        .flag(
            "replica-serve-stale-data", \.replicaServeStaleData, .replication,
            "Serve reads while the link to the primary is down. With no, they get MASTERDOWN."
        ).alias("slave-serve-stale-data"),
        .integer(
            "replica-priority", \.replicaPriority, 0...2_147_483_647, .replication,
            "Sentinel promotes the replica with the lowest number. 0: never promote this one."
        ).alias("slave-priority"),
        .text(
            "replica-announce-ip", \.replicaAnnounceIP, bytesMax: 255, .replication,
            "Address at which clients and Sentinels reach this node. Empty: the one that the primary sees. The primary",
            "is told when the link to it is next opened."
        ).alias("slave-announce-ip"),
        .integer(
            "replica-announce-port", \.replicaAnnouncePort, 0...65535, .replication,
            "Port at which they reach it. 0: the value of port."
        ).alias("slave-announce-port"),
        .integer(
            "min-replicas-to-write", \.minReplicasToWrite, 0...1000, unit: "replicas", .replication,
            "Refuse writes with NOREPLICAS while fewer than this many replicas keep up. 0: never."
        ).alias("min-slaves-to-write"),
        .integer(
            "min-replicas-max-lag", \.minReplicasMaxLagSeconds, 0...86_400, unit: "seconds", .replication,
            "A replica that has been silent for longer than this does not keep up."
        ).alias("min-slaves-max-lag"),
        .memory(
            "repl-backlog-size", \.replBacklogSizeBytes, 16 << 10...1 << 40, .replication,
            "Size of the part of the change stream kept in memory for replicas that reconnect."),
        .integer(
            "repl-timeout", \.replTimeoutSeconds, 1...86_400, unit: "seconds", .replication,
            "A replication peer that is silent for longer than this is disconnected."),
    ]
}

extension PeerAddress {
    /// A host and a port; nil if they are not valid.
    init?(words: [String]) {
        guard words.count == 2, PeerAddress.isHost(words[0]),
            let port = Setting.decimal(words[1]), (1...65535).contains(port)
        else { return nil }
        self.init(host: words[0], port: port)
    }
}
