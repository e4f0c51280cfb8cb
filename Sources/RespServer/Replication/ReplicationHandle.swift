// What loops, commands and INFO see of replication; the work is the replication thread's.

import CLinux
import Glibc
import Persistence
import Replication
import Synchronization
import System
import Transport

/// A connection that turned out to be a replica's, on its way from its loop to the replication thread.
struct ReplicaHandover: Sendable {
    let stream: ByteStream
    let id: Int64
    /// Where it comes from.
    let peerAddress: String
    let announcements: [ReplicaAnnouncement]
    let request: SyncRequest
    /// What it had sent behind PSYNC.
    let input: [UInt8]
    /// What it had not been sent yet.
    let output: [UInt8]
}

/// A connection of the replication thread, as CLIENT LIST shows it.
struct LinkLine: Sendable {
    let isToPrimary: Bool
    /// Of the same row as clients' ids.
    let id: Int64
    let fd: Int32
    let peerAddress: String
    let localAddress: String
    let since: SteadyInstant
    /// How long without a word from the other side.
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

/// What WAIT and WAITAOF ask for.
struct WaitDemand: Sendable {
    var replicas: Int
    /// `.forever` for as long as it takes.
    var timeout: Nanoseconds
    /// WAITAOF: what counts is on disk.
    var onDisk = false
    /// WAITAOF: on this node's, too.
    var onOwnDisk = false
}

/// What is known of replication, for INFO and ROLE.
struct ReplicationStatus: Sendable {
    /// As it was asked for last, though that may not be done yet.
    var primary: PeerAddress?
    /// How often somebody has asked for another role.
    var rolesAsked = 0
    var isLinkUp = false
    /// `connect`, `connecting`, `handshake`, `sync` or `connected`.
    var linkState = "connect"
    var isSyncing = false
    var lastHeard = SteadyInstant.boot
    /// Nil while it is up.
    var downSince: SteadyInstant?
    /// What Sentinel is told: 0 before the first whole state.
    var isPromotable = true
    var replicas: [ReplicaLine] = []
    var links: [LinkLine] = []
    var goodReplicas = 0
    var failover = "no-failover"
    /// It follows a node that it wants to take over: in a failover, or in what is left of one after a start.
    var isHandingOver = false
    /// A start would know what the node was told to be.
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

/// What the other threads see and ask of replication. Everything may be called by any thread.
final class ReplicationHandle: Sendable {
    /// What the replication thread is asked to do.
    enum Request: Sendable {
        /// Follow a node, or lead; `waiter` is answered when that holds. `asker` is the id of the connection, and
        /// `lastClient` that of the last one accepted before the gate to writes was closed.
        case follow(PeerAddress, waiter: Connection?, asker: Int64, lastClient: Int64)
        case lead(waiter: Connection?)
        case wait(Connection, WaitDemand)
        /// The connection of this id, which waited for something, has gone.
        case waiterGone(Int64)
        case failover(Failover.Request, waiter: Connection?, asker: Int64)
        case abortFailover(waiter: Connection?)
        case serve(ReplicaHandover)
        /// Connections of the replication thread, by their ids: CLIENT KILL.
        case closeLinks([Int64])
        /// The addresses of the primary's name, for the attempt that asked.
        case resolved(attempt: Int, PeerAddress, [ResolvedAddress])
        /// The state on disk has been read back.
        case restored(number: Int, RecoveryReport)
        case settingsChanged
    }

    /// What the replication thread is asked.
    let requests: Mailbox<Request>
    private let replica = Atomic<Bool>(false)
    private let receiving = Atomic<Bool>(false)
    private let restoring = Atomic<Bool>(false)
    private let linkIsUp = Atomic<Bool>(false)
    private let hasNothing = Atomic<Bool>(false)
    private let lacksReplicas = Atomic<Bool>(false)
    private let lockedStatus = Locked(ReplicationStatus())

    init() throws(SystemError) { requests = try Mailbox() }

    // MARK: Gates

    /// Writes are the primary's.
    var isReplica: Bool { replica.load(ordering: .relaxed) }
    /// The state is being replaced, by a full sync or by the one on disk: nothing can be read.
    var isReceiving: Bool { receiving.load(ordering: .relaxed) }
    /// The state on disk is being read back; then the node leads. Until then `isReplica` and `isReceiving` hold, too.
    var isRestoring: Bool { restoring.load(ordering: .relaxed) }
    /// A replica that does not hear from its primary.
    var isStale: Bool { isReplica && !linkIsUp.load(ordering: .relaxed) && !isRestoring }
    /// A replica that has never had a state: what it has in memory is nobody's.
    var lacksState: Bool { hasNothing.load(ordering: .relaxed) }
    /// Fewer replicas keep up than `min-replicas-to-write` demands.
    var lacksGoodReplicas: Bool { lacksReplicas.load(ordering: .relaxed) }

    func set(isReplica: Bool) { replica.store(isReplica, ordering: .sequentiallyConsistent) }
    func set(isReceiving: Bool) { receiving.store(isReceiving, ordering: .sequentiallyConsistent) }
    func set(isRestoring: Bool) { restoring.store(isRestoring, ordering: .sequentiallyConsistent) }
    func set(lacksState lacks: Bool) { hasNothing.store(lacks, ordering: .sequentiallyConsistent) }
    func set(linkIsUp isUp: Bool) { linkIsUp.store(isUp, ordering: .sequentiallyConsistent) }
    func set(lacksGoodReplicas lacks: Bool) { lacksReplicas.store(lacks, ordering: .relaxed) }

    // MARK: Status

    var status: ReplicationStatus { lockedStatus.withLock { $0 } }

    func update(_ change: (inout ReplicationStatus) -> Void) { lockedStatus.withLock { change(&$0) } }

    // MARK: Requests

    func ask(_ request: Request) { requests.post(request) }

    /// Has the replication thread look: there may be bytes to send.
    func wake() { requests.wake() }
}
