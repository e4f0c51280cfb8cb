// The reference's pages of the commands about replication, without WAIT and WAITAOF, which are about keys.

extension CommandPages {
    static let replication: [String: CommandPage] = [
        "replicaof": replicaOf(
            "REPLICAOF",
            notes: """
                The reply comes when the role has changed, inside EXEC before that. The role is stored in the data
                directory: it survives restarts, and takes precedence over the setting `replicaof`; Redis keeps it only
                with CONFIG REWRITE. The primary must be an Escapement, too: Redis's servers have another stream.

                - A primary that becomes a replica refuses writes from the reply on, and closes all connections but the
                  caller's, so that clients look for the new primary. It keeps its state until it has received that of
                  the new primary; until then it replies MASTERDOWN, or LOADING while it receives.
                - `NO ONE` makes a replica a primary with the state that it has. If its first sync was not complete,
                  that is its state before, or none. On a primary it does nothing.
                - No data of the old primary is waited for. FAILOVER hands over without loss.

                Procedures, and what is guaranteed: [high-availability.md](high-availability.md#runbook).
                """),
        "slaveof": replicaOf("SLAVEOF", notes: "See [REPLICAOF](#replicaof)."),
        "role": CommandPage(
            replies: [.array("three elements on a primary, five on a replica: see the table above")],
            notes: """
                | # | primary | replica |
                |---|---|---|
                | 1 | `master` | `slave` |
                | 2 | offset of its journal | host of its primary |
                | 3 | array with an element for each replica: an array of host, port and acknowledged offset, as bulk \
                strings | port of its primary |
                | 4 | | state of the link: `connect` (waits for the next attempt), `connecting`, `handshake`, `sync` \
                (receives the state), `connected` |
                | 5 | | offset up to which it has the journal |

                There is no third form: Sentinels are Redis's own program. INFO replication shows more, such as the lag.
                """,
            examples: """
                > ROLE
                1) "master"
                2) (integer) ...
                3) (empty array)
                > REPLICAOF 127.0.0.1 1
                OK
                > ROLE
                1) "slave"
                2) "127.0.0.1"
                3) (integer) 1
                4) "connect..."
                5) (integer) ...
                > REPLICAOF NO ONE
                OK
                """),
        "replconf": CommandPage(
            replies: [.ok, .nothing("to ACK, except inside EXEC")],
            errors: [
                .error("ERR Unrecognized REPLCONF option: ...", "", "REPLCONF GETACK *"),
                .notAnInteger("also a port above 65535", "REPLCONF listening-port 70000"),
                .error(
                    "ERR ip-address is neither a name nor an address", "it is empty, or contains a space",
                    "REPLCONF ip-address ''"),
                .error("ERR too many announcements", "more than 64 on one connection"),
                .syntax("none or an odd number of arguments", "REPLCONF listening-port"),
            ],
            notes: """
                Only replicas send this. Its arguments are pairs of an option and a value: `listening-port`,
                `ip-address` and `capa` before PSYNC, `ACK` with `FACK` while the replica receives the journal
                ([replication.md](replication.md#the-handshake)).
                """,
            examples: """
                > REPLCONF listening-port 6380 capa psync2
                OK
                """),
        "failover": CommandPage(
            replies: [.ok("the failover has begun, or with ABORT has ended")],
            errors: [
                .error("ERR FAILOVER requires connected replicas.", "", "FAILOVER"),
                .error(
                    "ERR FAILOVER target HOST and PORT is not a replica.",
                    "TO names an address that INFO replication does not list"),
                .error("ERR FAILOVER target replica is not online.", "its `state` there is not `online` yet"),
                .error(
                    "ERR FAILOVER with force option requires both a timeout and target HOST and IP.", "",
                    "FAILOVER FORCE"),
                .error("ERR FAILOVER timeout must be greater than 0", "", "FAILOVER TIMEOUT 0"),
                .notAnInteger("the timeout is not an integer", "FAILOVER TIMEOUT soon"),
                .error("ERR Invalid master host", "likewise `port`", "FAILOVER TO '' 6380"),
                .error("ERR FAILOVER already in progress.", ""),
                .error("ERR No failover in progress.", "", "FAILOVER ABORT"),
                .error(
                    "ERR FAILOVER is not valid when server is a replica.", "", "REPLICAOF 127.0.0.1 1", "FAILOVER"),
                .syntax("also ABORT with another word", "FAILOVER ABORT NOW"),
            ],
            notes: """
                Writes wait until the target, or without TO any replica, has acknowledged everything; then it becomes
                the primary, and this server its replica, without loss and without a full sync. `master_failover_state`
                in INFO replication shows the progress.

                If TIMEOUT passes first, writes continue and nothing has changed; with FORCE the target takes over at
                that time, and changes that it lacks are lost. Without TIMEOUT writes wait without limit. ABORT makes
                this server the primary again at any time before the target has replied.

                After the handover, connections are closed as by REPLICAOF. Other replicas have to be told, with
                REPLICAOF. Under Sentinel use `SENTINEL FAILOVER`
                ([high-availability.md](high-availability.md#runbook)).
                """,
            examples: """
                > FAILOVER TO 127.0.0.1 6380 TIMEOUT 5000
                (error) ERR FAILOVER requires connected replicas.
                > FAILOVER ABORT
                (error) ERR No failover in progress.
                """),
        "psync": CommandPage(
            replies: [
                .simple(
                    "`CONTINUE` and the history's id, then the journal from the offset on; or `FULLRESYNC`, the id and "
                        + "an offset, then a snapshot and the journal after it")
            ],
            errors: [
                .error(
                    "NOMASTERLINK Can't SYNC while not connected with my master",
                    "the server is a replica without a complete state", "REPLICAOF 127.0.0.1 1", "PSYNC ? -1"),
                .error(
                    "ERR this connection cannot be used for replication",
                    "it uses the Unix domain socket, has subscribed or sent MONITOR", "MONITOR", "PSYNC ? -1"),
                .syntax("the offset is not an integer, or a third word is not FAILOVER", "PSYNC ? all"),
            ],
            notes: """
                Only replicas and `escapement backup` send this; the connection then serves nothing else. The offset is
                that of the next byte; `? -1` requests the whole state. With FAILOVER as a third argument, a primary
                asks its replica to take over. The stream differs from Redis's, so redis-server cannot be a replica, nor
                can programs that read its stream: [replication.md](replication.md).
                """,
            examples: """
                > PSYNC ? all
                (error) ERR syntax error
                """),
        "sync": CommandPage(
            replies: [.error("always")],
            errors: [.error("ERR SYNC is not supported; use PSYNC", "", "SYNC")],
            notes: "So `redis-cli --rdb` and `--replica` do not work; for a backup use `escapement backup`.",
            examples: """
                > SYNC
                (error) ERR SYNC is not supported; use PSYNC
                """),
    ]

    private static func replicaOf(_ name: String, notes: String) -> CommandPage {
        CommandPage(
            replies: [
                .ok, .simple("`OK Already connected to specified master`: the server follows that address already"),
            ],
            errors: [
                .error("ERR Invalid master port", "it is not an integer from 1 to 65535", "\(name) 127.0.0.1 0"),
                .error(
                    "ERR Invalid master host", "it is empty, longer than 255 bytes, or contains a space",
                    "\(name) '' 6379"),
            ],
            notes: notes,
            examples: """
                > \(name) 127.0.0.1 1
                OK
                > \(name) 127.0.0.1 1
                OK Already connected to specified master
                > \(name) NO ONE
                OK
                """)
    }
}
