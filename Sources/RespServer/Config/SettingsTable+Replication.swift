// The settings of section Replication.

import Replication

extension SettingsTable {
    static let replication: [Setting] = [
        Setting.make(
            "replicaof", .replication,
            [
                "Follow this node: its host and port. Empty: be a primary. REPLICAOF changes it while the server runs,",
                "and what it said last, kept beside the data, counts more than this line at the next start.",
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
            "User to give the primary with masterauth. Empty: its default user."
        ).secret,
        .text(
            "masterauth", \.masterauth, bytesMax: 512, .replication,
            "Password to give the primary. Where it has one, every node needs the same requirepass and masterauth."
        ).secret,
        .flag(
            "replica-read-only", \.replicaReadOnly, .replication,
            "Refuse writes while this server is a replica. Always so in this version."
        ).alias("slave-read-only").defaultOnly,
        .flag(
            "replica-serve-stale-data", \.replicaServeStaleData, .replication,
            "Answer reads while the link to the primary is down. With no they get MASTERDOWN."
        ).alias("slave-serve-stale-data"),
        .integer(
            "replica-priority", \.replicaPriority, 0...2_147_483_647, .replication,
            "Sentinel promotes the replica with the lowest number; 0: never this one."
        ).alias("slave-priority"),
        .text(
            "replica-announce-ip", \.replicaAnnounceIP, bytesMax: 255, .replication,
            "Address under which clients and Sentinels reach this node. Empty: the one the primary sees."
        ).alias("slave-announce-ip"),
        .integer(
            "replica-announce-port", \.replicaAnnouncePort, 0...65535, .replication,
            "Port under which they reach it. 0: the port."
        ).alias("slave-announce-port"),
        .integer(
            "min-replicas-to-write", \.minReplicasToWrite, 0...1000, unit: "replicas", .replication,
            "Refuse writes with NOREPLICAS while fewer replicas than this keep up. 0: never."
        ).alias("min-slaves-to-write"),
        .integer(
            "min-replicas-max-lag", \.minReplicasMaxLagSeconds, 0...86_400, unit: "seconds", .replication,
            "A replica that was silent longer than this does not keep up."
        ).alias("min-slaves-max-lag"),
        .memory(
            "repl-backlog-size", \.replBacklogSizeBytes, 16 << 10...1 << 40, .replication,
            "How much of the change stream is kept in memory for replicas that reconnect."),
        .integer(
            "repl-timeout", \.replTimeoutSeconds, 1...86_400, unit: "seconds", .replication,
            "A peer of replication that is silent longer than this is gone."),
    ]
}

extension PeerAddress {
    /// A host and a port; nil when they are none.
    init?(words: [String]) {
        guard words.count == 2, PeerAddress.isHost(words[0]),
            let port = Setting.decimal(words[1]), (1...65535).contains(port)
        else { return nil }
        self.init(host: words[0], port: port)
    }
}
