// The interface of replication for loops, commands and INFO; the replication thread does the work.

import CLinux
import Glibc
import Persistence
import Replication
import Synchronization
import System
import Transport

/// A connection that turned out to be a replica's, in transit from its loop to the replication thread.
struct ReplicaHandover: Sendable {
    let stream: ByteStream
    let id: Int64
    /// The address it connects from.
    let peerAddress: String
    let announcements: [ReplicaAnnouncement]
    let request: SyncRequest
    /// Input received after PSYNC.
    let input: [UInt8]
    /// Output not yet sent.
    let output: [UInt8]
}

/// A connection of the replication thread, as CLIENT LIST shows it.
struct LinkLine: Sendable {
    let isToPrimary: Bool
    /// From the same sequence as clients' ids.
    let id: Int64
    let fd: Int32
    let peerAddress: String
    let localAddress: String
    let since: SteadyInstant
    /// Time since the other side last sent anything.
    var idle: Nanoseconds
}

/// A replica as INFO and ROLE show it.
struct ReplicaLine: Sendable {
    let host: String
    let port: Int
    /// `wait_bgsave`, `send_bulk` or `online`.
    let state: String
    let offset: Int64
    let lag: Nanoseconds
}

/// What WAIT and WAITAOF wait for.
struct WaitDemand: Sendable {
    var replicas: Int
    /// `.forever` for no time-out.
    var timeout: Nanoseconds
    /// WAITAOF: only changes on disk count.
    var onDisk = false
    /// WAITAOF: this node's disk is required, too.
    var onOwnDisk = false
}

/// The state of replication, for INFO and ROLE.
struct ReplicationStatus: Sendable {
    /// As last requested, even if the change is not complete yet.
    var primary: PeerAddress?
    /// Number of requests for another role.
    var rolesAsked = 0
    var isLinkUp = false
    /// `connect`, `connecting`, `handshake`, `sync` or `connected`.
    var linkState = "connect"
    var isSyncing = false
    var lastHeard = SteadyInstant.boot
    /// Since when the link is down; nil while it is up. Meaningful only on a replica.
    var downSince: SteadyInstant?
    /// Reported to Sentinel: false before the first complete state.
    var isPromotable = true
    var replicas: [ReplicaLine] = []
    var links: [LinkLine] = []
    /// Replicas within `min-replicas-max-lag`.
    var goodReplicas = 0
    var failover = "no-failover"
    /// It follows a node that is to take over from it: during a failover, or when completing one after a restart.
    var isHandingOver = false
    /// Whether a restart would restore the role set at run time.
    var isRoleSaved = true
    var id = String(repeating: "0", count: 40)
    var pastID = String(repeating: "0", count: 40)
    var pastOffset: Int64 = -1
    var backlogStart: Int64 = 0
    var backlogCount = 0
    var hasBacklog = false
    var fullSyncs = 0
    var partialSyncs = 0
    var refusedPartialSyncs = 0
}

/// What other threads read and request of replication. All members are safe to call from any thread.
final class ReplicationHandle: Sendable {
    /// A change that a command requests. It is in force before the command is answered.
    enum Change: Sendable {
        /// Follow a node. `asker` is the id of the connection, and `lastClient` that of the last one accepted before
        /// writes were gated.
        case follow(PeerAddress, asker: Int64, lastClient: Int64)
        /// Become the primary.
        case lead
        case failover(Failover.Request, asker: Int64)
        case abortFailover
        /// Connections of the replication thread to close, by id: CLIENT KILL, which has written its reply.
        case closeLinks([Int64])
    }

    /// A request to the replication thread.
    enum Request: Sendable {
        case change(Change, PendingReply)
        case wait(Connection, WaitDemand)
        /// The connection with this id, which waited for something, has closed.
        case waiterGone(Int64)
        case serve(ReplicaHandover)
        /// The addresses of the primary's name, for the attempt that requested them.
        case resolved(attempt: Int, PeerAddress, [ResolvedAddress])
        /// The state on disk has been restored.
        case restored(number: Int, RecoveryReport)
        /// The thread adopts changed settings before each request, so this one only wakes it.
        case settingsChanged
    }

    /// Requests to the replication thread.
    let requests: Mailbox<Request>
    private let replica = Atomic<Bool>(false)
    private let receiving = Atomic<Bool>(false)
    private let restoring = Atomic<Bool>(false)
    private let linkIsUp = Atomic<Bool>(false)
    private let hasNothing = Atomic<Bool>(false)
    private let lacksReplicas = Atomic<Bool>(false)
    private let goodReplicas = Locked(GoodReplicas())
    private let lockedStatus = Locked(ReplicationStatus())

    /// What decides whether writes are refused for lack of replicas.
    private struct GoodReplicas {
        /// When each online replica last acknowledged.
        var heard: [SteadyInstant] = []
        /// Whether the node leads: a replica refuses writes for another reason.
        var leads = false
        /// `min-replicas-to-write`
        var minimum = 0
        /// `min-replicas-max-lag`
        var lag = Nanoseconds.zero
    }

    init() throws(SystemError) { requests = try Mailbox() }

    // MARK: Gates

    /// The node is a replica: clients cannot write.
    var isReplica: Bool { replica.load(ordering: .relaxed) }
    /// The state is being replaced, by a full sync or by the state on disk: nothing can be read.
    var isReceiving: Bool { receiving.load(ordering: .relaxed) }
    /// The state on disk is being restored; then the node becomes the primary. Until then `isReplica` and `isReceiving`
    /// are true as well.
    var isRestoring: Bool { restoring.load(ordering: .relaxed) }
    /// A replica without a link to its primary.
    var isStale: Bool { isReplica && !linkIsUp.load(ordering: .relaxed) && !isRestoring }
    /// A replica that has never received a dataset: what it has in memory is unowned.
    var lacksState: Bool { hasNothing.load(ordering: .relaxed) }
    /// Fewer replicas keep up than `min-replicas-to-write` requires.
    var lacksGoodReplicas: Bool { lacksReplicas.load(ordering: .relaxed) }

    func set(isReplica: Bool) { replica.store(isReplica, ordering: .sequentiallyConsistent) }
    func set(isReceiving: Bool) { receiving.store(isReceiving, ordering: .sequentiallyConsistent) }
    func set(isRestoring: Bool) { restoring.store(isRestoring, ordering: .sequentiallyConsistent) }
    func set(lacksState lacks: Bool) { hasNothing.store(lacks, ordering: .sequentiallyConsistent) }
    func set(linkIsUp isUp: Bool) { linkIsUp.store(isUp, ordering: .sequentiallyConsistent) }

    // The replication thread knows the replicas, and CONFIG SET the requirement. Whichever changes decides again, at
    // once: a client that has its reply to CONFIG SET must not be answered by the old requirement.

    /// Applies `min-replicas-to-write` and `min-replicas-max-lag`.
    func require(replicas minimum: Int, within lag: Nanoseconds) {
        changeGoodReplicas {
            $0.minimum = minimum
            $0.lag = lag
        }
    }

    /// When each online replica last acknowledged, and whether the node leads. Also to be called when time has passed.
    func show(acknowledged heard: [SteadyInstant], leads: Bool) {
        changeGoodReplicas {
            $0.heard = heard
            $0.leads = leads
        }
    }

    private func changeGoodReplicas(_ change: (inout GoodReplicas) -> Void) {
        goodReplicas.withLock { good in
            change(&good)
            let lacks =
                good.leads
                && Acknowledgements.refusesWrites(
                    heard: good.heard, minimum: good.minimum, lag: good.lag, now: .now())
            lacksReplicas.store(lacks, ordering: .relaxed)
        }
    }

    // MARK: Status

    var status: ReplicationStatus {
        var status = lockedStatus.withLock { $0 }
        status.goodReplicas = goodReplicas.withLock {
            Acknowledgements.good(heard: $0.heard, lag: $0.lag, now: .now())
        }
        return status
    }

    func update(_ change: (inout ReplicationStatus) -> Void) { lockedStatus.withLock { change(&$0) } }

    // MARK: Requests

    func ask(_ request: Request) { requests.post(request) }

    /// Wakes the replication thread: there may be bytes to send.
    func wake() { requests.wake() }
}
